"""Files: Kaldi's tables and models, audio, segments. The one part of the package that opens files."""
