"""ECAPA-TDNN: a TDNN of Res2Net blocks with squeeze and excitation, whose layers are summed and joined."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vouch.nn.masks import zero_padding


class _Unit(nn.Module):
    """Convolution over time, ReLU, batch normalisation; zeros behind the end of each utterance in what comes out."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.convolution = nn.Conv1d(channels_in, channels_out, kernel, padding=padding, dilation=dilation)
        self.norm = nn.BatchNorm1d(channels_out)

    def forward(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        return zero_padding(self.norm(torch.relu_(self.convolution(hidden))), lengths)


class _Res2(nn.Module):
    """Res2Net's chain: y_1 = x_1, y_2 = K_2(x_2), y_i = K_i(x_i + y_{i-1}) on `scale` groups of the channels.

    Source: Gao et al. 2019 (1904.01169), equation 1.
    """

    def __init__(self, channels: int, dilation: int, scale: int) -> None:
        super().__init__()
        width = channels // scale
        self.scale = scale
        self.units = nn.ModuleList(_Unit(width, width, 3, dilation) for _ in range(scale - 1))

    def forward(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        groups = hidden.chunk(self.scale, 1)
        outputs = [groups[0]]
        for number, unit in enumerate(self.units, 1):
            group = groups[number] if number == 1 else groups[number] + outputs[-1]
            outputs.append(unit(group, lengths))
        return torch.cat(outputs, 1)


class _SqueezeExcitation(nn.Module):
    """Each channel times a gate made of the mean of all channels over time. Desplanques et al. 2020, section 3.2."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, bottleneck), nn.ReLU(inplace=True), nn.Linear(bottleneck, channels), nn.Sigmoid()
        )

    def forward(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        """hidden (batch, channels, frames) with zeros behind the lengths."""
        if lengths is None:
            mean = hidden.mean(2)
        else:
            mean = hidden.sum(2) / lengths[:, None]
        return hidden * self.gate(mean)[:, :, None]


class _Block(nn.Module):
    """SE-Res2Block: frame-wise unit, Res2 chain, frame-wise unit, squeeze and excitation, and a shortcut over all."""

    def __init__(self, channels: int, dilation: int, scale: int, bottleneck: int) -> None:
        super().__init__()
        self.before = _Unit(channels, channels)
        self.res2 = _Res2(channels, dilation, scale)
        self.after = _Unit(channels, channels)
        self.excitation = _SqueezeExcitation(channels, bottleneck)

    def forward(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        inner = self.after(self.res2(self.before(hidden, lengths), lengths), lengths)
        return hidden + self.excitation(inner, lengths)


class ECAPA(nn.Module):
    """The frame level of ECAPA-TDNN: a layer over 5 frames, three SE-Res2Blocks of dilations 2, 3 and 4 (each sees the
    sum of the outputs of all before it), and a frame-wise layer with ReLU on the three joined.

    Source: Desplanques et al. 2020 (2005.07143), figures 1 and 2, section 3. With channel-attentive statistics, batch
    normalisation of the pooled values and a 192-d embedding, on 80 features, it has the paper's 6.2 M (channels 512) or
    14.7 M (1024) parameters.

    Arguments: feature_dim, channels (C of the paper), pooled_channels (of the last layer), scale (groups of channels in
    a Res2 chain), bottleneck (of squeeze and excitation).
    """

    context = 0  # the convolutions pad with zeros, in a padded batch too

    def __init__(
        self,
        feature_dim: int,
        channels: int = 512,
        pooled_channels: int = 1536,
        scale: int = 8,
        bottleneck: int = 128,
    ) -> None:
        super().__init__()
        if scale < 2 or channels % scale:
            raise ValueError(f"channels {channels} do not make {scale} equal groups; scale wants 2 or more")
        self.first = _Unit(feature_dim, channels, 5)
        self.blocks = nn.ModuleList(_Block(channels, dilation, scale, bottleneck) for dilation in (2, 3, 4))
        self.last = nn.Sequential(nn.Conv1d(3 * channels, pooled_channels, 1), nn.ReLU(inplace=True))
        self.out_channels = pooled_channels

    def forward(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, dims), lengths (batch,) or None (every frame is real)
        -> hidden (batch, pooled_channels, frames), lengths."""
        total = self.first(zero_padding(features.transpose(1, 2), lengths), lengths)
        outputs = []
        for block in self.blocks:
            outputs.append(block(total, lengths))
            total = total + outputs[-1]
        return self.last(torch.cat(outputs, 1)), lengths
