"""The one-dimensional residual network of the GAN speaker embeddings."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from vouch.nn.masks import zero_padding


class _Block(nn.Module):
    """ELU(x + conv(ELU(conv(x)))), each convolution over 3 frames and followed by batch normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        residual = zero_padding(functional.elu(self.first(hidden)), lengths)
        return zero_padding(functional.elu(hidden + self.second(residual)), lengths)


class ResNet1d(nn.Module):
    """A convolution over 3 frames of all coefficients, then four residual blocks, ELU everywhere.

    Source: Bhattacharya et al. (1811.03063, 1811.03055): "3 x 23" convolution, four residual blocks, ELU. Their
    widths, kernels and strides are not known to us; ours: 512 channels, two convolutions over 3 frames a block (as
    He et al. 2016), stride 1, batch normalisation after each convolution. A receptive field of 19 frames.

    Arguments: feature_dim (dims of a frame), channels (width of every layer).
    """

    context = 0  # the convolutions pad with zeros, in a padded batch too

    def __init__(self, feature_dim: int, channels: int = 512) -> None:
        super().__init__()
        self.stem = _convolution(feature_dim, channels)
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(4))
        self.out_channels = channels

    def forward(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, dims), lengths (batch,) or None (every frame is real)
        -> hidden (batch, channels, frames), lengths."""
        hidden = self.stem(zero_padding(features.transpose(1, 2), lengths))
        hidden = zero_padding(functional.elu(hidden), lengths)
        for block in self.blocks:
            hidden = block(hidden, lengths)
        return hidden, lengths


def _convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm1d(channels_out))
