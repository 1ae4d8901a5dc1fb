"""The convolutional network of the joint cross-entropy and centre loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.nn.masks import frame_mask, zero_padding


class _Block(nn.Module):
    """Convolution, ReLU, batch normalisation, 2 x 2 max pooling (where `pooled`), dropout."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, pooled: bool, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
        self.norm, self.pooled, self.dropout = nn.BatchNorm2d(channels_out), pooled, nn.Dropout(dropout)

    def forward(self, hidden: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """hidden (batch, channels, frequencies, frames) with zeros behind the lengths; so is what comes out."""
        hidden = self.norm(functional.relu(self.convolution(hidden), inplace=True))
        if self.pooled:
            if lengths is not None:
                hidden = hidden.masked_fill(~frame_mask(lengths, hidden.shape[3])[:, None], float("-inf"))
                lengths = (lengths + 1) // 2
            hidden = functional.max_pool2d(hidden, 2, ceil_mode=True)
        return self.dropout(zero_padding(hidden, lengths)), lengths


class CNN5(nn.Module):
    """Five convolutions over time and frequency: 5 x 5, then four of 3 x 3 with 2 x 2 max pooling; mean over the bins.

    Source: Thoidis et al., ICASSP 2023, and their code: 512 channels, then 64, 128, 256, 512, dropout 0.3; 64 bins;
    the mean over frequency and time (here with pooling `mean`), then an affine layer of 512 with ReLU, whose output is
    the embedding, one more layer, and the classifier. EmbeddingNetwork differs: the embedding is before the ReLU, and
    batch normalisation follows each ReLU. Ours: zeros around the picture, so that a convolution keeps its size, and
    the last frame or bin of an odd number is pooled alone.

    Arguments: feature_dim (bins of the filter bank), channels (of the second block; the others have 8, 2, 4 and 8 times
    as many), dropout (share of the values dropped in training).
    """

    context = 0  # the convolutions pad with zeros, in a padded batch too

    def __init__(self, feature_dim: int, channels: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        if channels < 1 or not 0 <= dropout < 1:
            raise ValueError(f"channels {channels} and dropout {dropout}, want 1 or more, and 0 to below 1")
        widths = [1, *(channels * factor for factor in (8, 1, 2, 4, 8))]
        self.blocks = nn.ModuleList(
            _Block(width_in, width_out, 3 if number else 5, number > 0, dropout)
            for number, (width_in, width_out) in enumerate(zip(widths, widths[1:], strict=False))
        )
        self.out_channels = widths[-1]
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    def forward(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, dims), lengths (batch,) or None (every frame is real)
        -> hidden (batch, channels, frames / 16, rounded up), lengths."""
        hidden = zero_padding(features.transpose(1, 2)[:, None], lengths)
        for block in self.blocks:
            hidden, lengths = block(hidden, lengths)
        return hidden.mean(2), lengths
