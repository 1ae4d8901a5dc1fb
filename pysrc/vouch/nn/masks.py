"""Which frames of a padded batch are real, and keeping the others silent."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """lengths (batch,) -> (batch, 1, frames), True where a frame belongs to the utterance."""
    return (torch.arange(frames, device=lengths.device) < lengths[:, None])[:, None]


def zero_padding(hidden: Tensor, lengths: Tensor | None) -> Tensor:
    """hidden (batch, channels, [frequencies,] frames) with zeros in the frames behind each utterance's end.

    A convolution that pads its input with zeros then gives an utterance in a padded batch what it gives it alone.
    lengths None: every frame is real, and hidden comes back as it is.
    """
    if lengths is None:
        return hidden
    mask = frame_mask(lengths, hidden.shape[-1])
    return torch.where(mask if hidden.dim() == 3 else mask[:, None], hidden, 0.0)  # keeps the memory's layout
