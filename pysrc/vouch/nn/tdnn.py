"""Frame-level time-delay neural network of the x-vector system."""

from __future__ import annotations

from torch import Tensor, nn


class TDNN(nn.Module):
    """Five TDNN layers, each affine (a convolution over time), ReLU, batch normalisation.

    Contexts [-2..2], {-2,0,2}, {-3,0,3}, {0}, {0}: a receptive field of 15 frames.
    Source: Snyder et al. 2018, "X-vectors", table 1; Kaldi egs/sre16/v2 run_xvector_1a.sh (512 x 4, 1500);
    Okabe et al. (1803.10963), section 4.1.2, has the same. Convolutions see only real frames (no padding), so an
    input of T frames gives T - 14; Kaldi repeats edge frames at extraction instead.

    Arguments: feature_dim (dims of a frame), channels (width of layers 1 to 4), pooled_channels (width of layer 5).
    """

    context = 14  # frames lost: receptive field - 1

    def __init__(self, feature_dim: int, channels: int = 512, pooled_channels: int = 1500) -> None:
        super().__init__()
        shapes = [(5, 1), (3, 2), (3, 3), (1, 1), (1, 1)]  # kernel size, dilation
        widths = [feature_dim, channels, channels, channels, channels, pooled_channels]
        layers: list[nn.Module] = []
        for (kernel, dilation), width_in, width_out in zip(shapes, widths, widths[1:], strict=False):
            layers += [
                nn.Conv1d(width_in, width_out, kernel, dilation=dilation),
                nn.ReLU(inplace=True),
                nn.BatchNorm1d(width_out),
            ]
        self.layers = nn.Sequential(*layers)
        self.out_channels = pooled_channels

    def forward(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, dims), lengths (batch,) -> hidden (batch, channels, frames - 14), lengths - 14.

        lengths None: every frame is real. Raises ValueError for an input of 14 frames or fewer.
        """
        if features.shape[1] <= self.context:
            raise ValueError(f"{features.shape[1]} frames, want more than {self.context}")
        hidden = self.layers(features.transpose(1, 2))
        return hidden, None if lengths is None else lengths - self.context
