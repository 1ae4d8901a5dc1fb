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
    He et al. 2016), stride 1, batch normalisation after each convolution. A receptive field of 19 frames; 35 with a
    stride of 2, at half the cost.

    Arguments: feature_dim (dims of a frame), channels (width of every layer), stride (of the first convolution).
    """

    context = 0  # the convolutions pad with zeros, in a padded batch too

    def __init__(self, feature_dim: int, channels: int = 512, stride: int = 1) -> None:
        super().__init__()
        if channels < 1 or stride < 1:
            raise ValueError(f"channels {channels} and stride {stride}, want 1 or more")
        self.stem, self.stride = _convolution(feature_dim, channels, stride), stride
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(4))
        self.out_channels = channels

    def forward(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, dims), lengths (batch,) or None (every frame is real)
        -> hidden (batch, channels, frames / stride, rounded up), lengths."""
        hidden = self.stem(zero_padding(features.transpose(1, 2), lengths))
        if lengths is not None:
            lengths = (lengths + self.stride - 1) // self.stride
        hidden = zero_padding(functional.elu(hidden), lengths)
        for block in self.blocks:
            hidden = block(hidden, lengths)
        return hidden, lengths


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv1d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm1d(channels_out))
