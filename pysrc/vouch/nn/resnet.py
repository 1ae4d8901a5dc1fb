"""Two-dimensional residual networks over filter banks: time and frequency are the two axes of a picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.nn.masks import zero_padding


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut. He et al. 2016 (1512.03385), figure 5 left, and their shortcut B.

    Arguments: channels_in, width (channels out), stride (of both axes, in the first convolution).
    """

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(channels_in, width, 3, stride)
        self.second = _convolution(width, width, 3, 1)
        self.shortcut = _shortcut(channels_in, width, stride)

    def forward(self, hidden: Tensor, lengths: Tensor | None, lengths_out: Tensor | None) -> Tensor:
        """hidden (batch, channels, frequencies, frames) with zeros behind the lengths; so is what comes out."""
        residual = zero_padding(functional.relu(self.first(hidden), inplace=True), lengths_out)
        return zero_padding(functional.relu(self.second(residual) + self.shortcut(hidden), inplace=True), lengths_out)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut. He et al. 2016 (1512.03385), figure 5 right.

    The stride is in the 3 x 3 convolution (the custom since Goyal et al. 2017).

    Arguments: channels_in, width (of the 3 x 3 convolution; channels out are 4 times as many), stride.
    """

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(channels_in, width, 1, 1)
        self.second = _convolution(width, width, 3, stride)
        self.third = _convolution(width, 4 * width, 1, 1)
        self.shortcut = _shortcut(channels_in, 4 * width, stride)

    def forward(self, hidden: Tensor, lengths: Tensor | None, lengths_out: Tensor | None) -> Tensor:
        """hidden (batch, channels, frequencies, frames) with zeros behind the lengths; so is what comes out."""
        residual = zero_padding(functional.relu(self.first(hidden), inplace=True), lengths)
        residual = self.third(functional.relu(self.second(residual), inplace=True))
        return zero_padding(functional.relu(residual + self.shortcut(hidden), inplace=True), lengths_out)


class ResNet(nn.Module):
    """A 3 x 3 convolution, four stages of residual blocks, and what is to become of the frequency axis.

    The stages have `channels` times 1, 2, 4 and 8 channels; the second to fourth halve both axes, so that
    T frames give ceil(T / 8) and F bins ceil(F / 8). There is no max pooling (the custom for speech: Cai et al. 2018,
    table 1; WeSpeaker). The picture is kept channels-last in memory, which is what the fast convolutions want.

    Arguments: feature_dim (bins of the filter bank), block (BasicBlock or Bottleneck), blocks (of each stage),
    channels (of the first stage), frequency: flatten (channels and bins become the channels of the pooling), mean
    (over the bins, as Cai et al. 2018) or convolution (over all bins at once, as Xie et al. 2019, with ReLU).
    """

    context = 0  # the convolutions pad with zeros, in a padded batch too

    def __init__(
        self,
        feature_dim: int,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        channels: int,
        frequency: str,
    ) -> None:
        super().__init__()
        if frequency not in ("flatten", "mean", "convolution"):
            raise ValueError(f"frequency '{frequency}', want flatten, mean or convolution")
        self.stem = _convolution(1, channels, 3, 1)
        stages, width_in = [], channels
        for stage, count in enumerate(blocks):
            width = channels * 2**stage
            for number in range(count):
                stages.append(block(width_in, width, 2 if stage > 0 and number == 0 else 1))
                width_in = width * block.expansion
        self.blocks = nn.ModuleList(stages)
        self._strides = [2 if stage > 0 and number == 0 else 1 for stage in range(4) for number in range(blocks[stage])]
        bins = -(-feature_dim // 8)
        self.frequency = frequency
        self.out_channels = width_in * bins if frequency == "flatten" else width_in
        if frequency == "convolution":
            self.over_bins = nn.Sequential(nn.Conv2d(width_in, width_in, (bins, 1)), nn.ReLU(inplace=True))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    def forward(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, bins), lengths (batch,) or None (every frame is real)
        -> hidden (batch, out_channels, ceil(frames / 8)), lengths of it."""
        hidden = zero_padding(features.transpose(1, 2)[:, None], lengths)
        hidden = self.stem(hidden).contiguous(memory_format=torch.channels_last)
        hidden = zero_padding(functional.relu(hidden, inplace=True), lengths)
        for block, stride in zip(self.blocks, self._strides, strict=True):
            lengths_out = lengths if lengths is None else (lengths + stride - 1) // stride
            hidden = block(hidden, lengths, lengths_out)
            lengths = lengths_out
        if self.frequency == "mean":
            return hidden.mean(2), lengths
        if self.frequency == "convolution":
            return self.over_bins(hidden).squeeze(2), lengths
        return hidden.flatten(1, 2), lengths


class ResNet34(ResNet):
    """ResNet-34 on filter banks. He et al. 2016 (1512.03385), table 1, in the size usual for speakers.

    channels 32 is the usual one (WeSpeaker's "ResNet34", 6.63 M parameters with 80 bins, statistics pooling and a
    256-d embedding), 16 the thin one.

    Arguments: feature_dim, channels, frequency: see ResNet.
    """

    def __init__(self, feature_dim: int, channels: int = 32, frequency: str = "flatten") -> None:
        super().__init__(feature_dim, BasicBlock, (3, 4, 6, 3), channels, frequency)


class ResNet50(ResNet):
    """ResNet-50 on filter banks: as ResNet-34, of bottlenecks. He et al. 2016 (1512.03385), table 1.

    Arguments: feature_dim, channels (of the first stage's 3 x 3 convolutions), frequency: see ResNet.
    """

    def __init__(self, feature_dim: int, channels: int = 32, frequency: str = "flatten") -> None:
        super().__init__(feature_dim, Bottleneck, (3, 4, 6, 3), channels, frequency)


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class _Shortcut(nn.Sequential):
    """A 1 x 1 convolution of every `stride`-th bin and frame, with batch norm.

    What lies between is left out first, in place of a convolution with that stride: PyTorch 2.13 crashes on a processor
    in the gradient of one from 8 to 16 channels, channels-last, where both axes are even.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__(*_convolution(channels_in, channels_out, 1, 1))
        self._stride = stride

    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden[:, :, :: self._stride, :: self._stride])


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return _Shortcut(channels_in, channels_out, stride)
