"""Networks: backbones, poolings and classifier heads. Modules only: no training, no files."""
