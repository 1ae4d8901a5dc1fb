"""Frame-level time-delay neural networks of the x-vector systems."""

from __future__ import annotations

from torch import Tensor, nn


class _Layers(nn.Module):
    """Layers of affine (a convolution over time), ReLU and batch normalisation.

    Convolutions see only real frames (no padding), so that an input of T frames gives T - context; Kaldi repeats edge
    frames at extraction instead.
    """

    context: int  # frames lost: receptive field - 1

    def __init__(self, shapes: list[tuple[int, int]], widths: list[int]) -> None:
        """shapes: kernel size and dilation of each layer; widths: channels in of the first, then out of each."""
        super().__init__()
        layers: list[nn.Module] = []
        for (kernel, dilation), width_in, width_out in zip(shapes, widths, widths[1:], strict=False):
            layers += [
                nn.Conv1d(width_in, width_out, kernel, dilation=dilation),
                nn.ReLU(inplace=True),
                nn.BatchNorm1d(width_out),
            ]
        self.layers = nn.Sequential(*layers)
        self.out_channels = widths[-1]

    def forward(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, dims), lengths (batch,) -> hidden (batch, channels, frames - context), its lengths.

        lengths None: every frame is real. Raises ValueError for an input of `context` frames or fewer.
        """
        if features.shape[1] <= self.context:
            raise ValueError(f"{features.shape[1]} frames, want more than {self.context}")
        hidden = self.layers(features.transpose(1, 2))
        return hidden, None if lengths is None else lengths - self.context


class TDNN(_Layers):
    """Five TDNN layers with contexts [-2..2], {-2,0,2}, {-3,0,3}, {0}, {0}: a receptive field of 15 frames.

    Source: Snyder et al. 2018, "X-vectors", table 1; Kaldi egs/sre16/v2 run_xvector_1a.sh (512 x 4, 1500);
    Okabe et al. (1803.10963), section 4.1.2, has the same.

    Arguments: feature_dim (dims of a frame), channels (width of layers 1 to 4), pooled_channels (width of layer 5).
    """

    context = 14

    def __init__(self, feature_dim: int, channels: int = 512, pooled_channels: int = 1500) -> None:
        shapes = [(5, 1), (3, 2), (3, 3), (1, 1), (1, 1)]
        super().__init__(shapes, [feature_dim, *[channels] * 4, pooled_channels])


class ETDNN(_Layers):
    """The extended TDNN: ten layers, contexts [-2..2], {-2,0,2}, {-3,0,3}, {-4,0,4} with a frame-wise layer after each,
    then two more: a receptive field of 23 frames.

    Source: Snyder et al. 2019, "Speaker recognition for multi-speaker conversations using x-vectors", table 1; Villalba
    et al. 2020, "State-of-the-art speaker recognition with neural network embeddings" (10 M parameters with the
    segment-level layers and about 7,000 speakers).

    Arguments: feature_dim, channels (width of layers 1 to 9), pooled_channels (width of layer 10).
    """

    context = 22

    def __init__(self, feature_dim: int, channels: int = 512, pooled_channels: int = 1500) -> None:
        shapes = [(5, 1), (1, 1), (3, 2), (1, 1), (3, 3), (1, 1), (3, 4), (1, 1), (1, 1), (1, 1)]
        super().__init__(shapes, [feature_dim, *[channels] * 9, pooled_channels])
