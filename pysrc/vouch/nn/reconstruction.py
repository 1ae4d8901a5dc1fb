"""The decoder of disentangled embeddings: from vectors back to a chunk of features."""

from __future__ import annotations

from math import ceil

from torch import Tensor, nn
from torch.nn import functional

_GROWTH = 8  # of each axis: three stages double it


class ChunkDecoder(nn.Module):
    """One vector -> a chunk of features of any number of frames.

    An affine layer makes a small picture, three stages double both axes (nearest neighbours, 3 x 3 convolution, layer
    norm, ReLU), a last convolution leaves one channel; the picture is then stretched to the frames and bins that are
    asked for (bilinear). Source: SEEF-ALDR (1912.02608) has a reconstruction decoder of the input spectrogram; its
    layers are not public, all of them are our choice.

    Arguments: in_dim, feature_dim (bins), channels (of the first picture; halved by each stage), frames (of the first
    picture).
    """

    def __init__(self, in_dim: int, feature_dim: int, channels: int = 64, frames: int = 5) -> None:
        super().__init__()
        if channels < _GROWTH or frames < 1:
            raise ValueError(f"a decoder wants channels of {_GROWTH} or more, and 1 frame or more")
        self.feature_dim = feature_dim
        self._shape = channels, ceil(feature_dim / _GROWTH), frames
        self.first = nn.Linear(in_dim, channels * self._shape[1] * frames)
        self.stages = nn.ModuleList()
        for _ in range(3):
            self.stages.append(
                nn.Sequential(
                    nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False),
                    nn.GroupNorm(1, channels // 2),
                    nn.ReLU(inplace=True),
                )
            )
            channels //= 2
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, vectors: Tensor, frames: int) -> Tensor:
        """vectors (batch, in_dim) -> (batch, frames, feature_dim)."""
        picture = functional.relu(self.first(vectors)).unflatten(1, self._shape)
        for stage in self.stages:
            picture = stage(functional.interpolate(picture, scale_factor=2.0))
        picture = functional.interpolate(
            self.last(picture), size=(self.feature_dim, frames), mode="bilinear", align_corners=False
        )
        return picture[:, 0].transpose(1, 2)
