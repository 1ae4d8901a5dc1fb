"""Arrays over the (frame, Gaussian) pairs of a selection, and frames in blocks.

A selection is (offsets `(T + 1,)`, indices `(N,)`): frame t has the Gaussians indices[offsets[t]:offsets[t + 1]].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError


class Block(NamedTuple):
    """Some consecutive frames."""

    start: int  # number of the first frame
    features: np.ndarray  # (T, D) float64
    offsets: np.ndarray  # (T + 1,) from 0
    indices: np.ndarray  # (N,) int64


def check_selection(selection: tuple[np.ndarray, np.ndarray], frames: int, gaussians: int) -> None:
    """Raises VouchError unless every frame has one Gaussian or more, all of them in the model."""
    offsets, indices = selection[0], selection[1]
    if len(offsets) != frames + 1:
        raise VouchError(f"the selection has {len(offsets) - 1} frames, the features {frames}; select again")
    if frames and int(np.diff(offsets).min()) < 1:
        raise VouchError(f"the selection has no Gaussian for frame {int(np.diff(offsets).argmin())}; select again")
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < gaussians:
        worst = int(indices.max()) if indices.min() >= 0 else int(indices.min())
        raise VouchError(
            f"the selection names Gaussian {worst}, the model has 0 to {gaussians - 1}; "
            "select with the model that belongs to it"
        )


def selected_blocks(
    features: np.ndarray, selection: tuple[np.ndarray, np.ndarray] | None, gaussians: int, pairs: int
) -> Iterator[Block]:
    """The frames `(T, D)` in blocks of about `pairs` (frame, Gaussian) pairs; without a selection, all Gaussians."""
    frames = len(features)
    if selection is None:
        size = max(1, pairs // gaussians)
        for start in range(0, frames, size):
            part = _double(features[start : start + size])
            offsets = np.arange(len(part) + 1) * gaussians
            yield Block(start, part, offsets, np.tile(np.arange(gaussians), len(part)))
        return
    check_selection(selection, frames, gaussians)
    offsets, indices = np.asarray(selection[0]), selection[1]
    start = 0
    while start < frames:
        end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + pairs, "right")) - 1)
        first, last = int(offsets[start]), int(offsets[end])
        part = _double(features[start:end])
        yield Block(start, part, offsets[start : end + 1] - first, indices[first:last].astype(np.int64))
        start = end


def _double(features: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return np.asarray(features, dtype=np.float64)


def frames_of_pairs(offsets: np.ndarray) -> np.ndarray:
    """The frame of each pair `(N,)`."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def by_gaussian(indices: np.ndarray, gaussians: int) -> Iterator[tuple[int, np.ndarray]]:
    """(Gaussian, the positions in `indices` that name it), for every Gaussian that is named."""
    small = indices.astype(np.uint16) if gaussians <= 1 << 16 else indices  # 16 bits: sorted in linear time
    order = np.argsort(small, kind="stable")
    ends = np.cumsum(np.bincount(indices, minlength=gaussians))
    start = 0
    for gaussian, end in enumerate(ends.tolist()):
        if end > start:
            yield gaussian, order[start:end]
        start = end


def softmax(log_likelihoods: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(posteriors `(N,)`, log of the summed likelihoods `(T,)`) of the pairs of each frame; a bad frame gives NaN."""
    counts = np.diff(offsets)
    if not len(counts):
        return np.zeros(0), np.zeros(0)
    with np.errstate(invalid="ignore"):
        best = np.maximum.reduceat(log_likelihoods, offsets[:-1])
        likelihoods = np.exp(log_likelihoods - np.repeat(best, counts))
        sums = np.add.reduceat(likelihoods, offsets[:-1])
        return likelihoods / np.repeat(sums, counts), best + np.log(sums)


def log_sum_exp(log_likelihoods: np.ndarray) -> np.ndarray:
    """Log of the summed likelihoods of each row of `(T, G)`; a bad row gives NaN."""
    best = log_likelihoods.max(axis=1)
    with np.errstate(invalid="ignore"):
        return best + np.log(np.exp(log_likelihoods - best[:, None]).sum(axis=1))


def check_likelihoods(frame_log_likelihoods: np.ndarray, start: int) -> None:
    """Raises VouchError when a frame's log likelihood is no finite number; `start` is the number of the first frame."""
    bad = np.flatnonzero(~np.isfinite(frame_log_likelihoods))
    if len(bad):
        raise VouchError(
            f"the likelihood of frame {start + bad[0]} is not a finite number: the features hold NaN or infinity, or "
            "the model's variances are damaged; make the features again"
        )
