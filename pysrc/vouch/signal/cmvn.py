"""Sliding-window cepstral mean and variance normalisation (Kaldi, apply-cmvn-sliding)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError

VARIANCE_FLOOR = 1e-10
CHUNK = 10_000  # frames normalised together: bounds the memory for an utterance of any length


class SlidingCmvn(NamedTuple):
    """features (frames, dim) float32; floored (frames,): how many variances of each frame's window were floored."""

    features: np.ndarray
    floored: np.ndarray


def sliding_cmvn(
    features: np.ndarray,
    window: int = 600,
    min_window: int = 100,
    normalize_variance: bool = False,
    center: bool = False,
) -> SlidingCmvn:
    """Subtract from each frame of features (frames, dim) the mean of its window, and divide by its deviation.

    center: the window of frame t is [t − window//2, t − window//2 + window), moved, not shrunk, at the ends.
    Otherwise it is [t − window, t], one frame more than its name says, and early frames look ahead until it has
    min_window frames. Variances are biased (divided by the number of frames) and floored at 1e-10; a window of one
    frame gives zeros. Sums are float64. Raises VouchError when a window is not positive.
    """
    if window < 1 or (not center and min_window < 1):
        raise VouchError(f"--cmn-window and --min-cmn-window must be positive, not {window} and {min_window}")
    frames = len(features)
    output = np.empty(features.shape, dtype=np.float32)
    floored = np.zeros(frames, dtype=np.int64)
    start, end = windows(frames, window, min_window, center)
    for first in range(0, frames, CHUNK):
        chunk = slice(first, min(first + CHUNK, frames))
        low, high = int(start[chunk][0]), int(end[chunk][-1])
        part = features[low:high].astype(np.float64)
        offset = part.mean(axis=0)  # keeps the sums of squares small
        part -= offset
        edges = start[chunk] - low, end[chunk] - low
        count = (end[chunk] - start[chunk])[:, None]
        mean = _window_sums(part, *edges) / count
        normalised = part[first - low : first - low + len(mean)] - mean
        if normalize_variance:
            variance = _window_sums(part * part, *edges) / count - mean * mean
            single = count == 1
            floored[chunk] = np.sum((variance < VARIANCE_FLOOR) & ~single, axis=1)
            normalised /= np.sqrt(np.maximum(variance, VARIANCE_FLOOR))
            normalised[single[:, 0]] = 0.0
        output[chunk] = normalised
    return SlidingCmvn(output, floored)


def windows(frames: int, window: int, min_window: int, center: bool) -> tuple[np.ndarray, np.ndarray]:
    """First frame and one past the last frame of the window of every frame, as `sliding_cmvn` says them."""
    t = np.arange(frames)
    if center:
        start = np.maximum(t - window // 2, 0)
        end = start + window
    else:
        start = np.maximum(t - window, 0)
        end = np.maximum(t + 1, min_window)
    beyond = np.maximum(end - frames, 0)
    return np.maximum(start - beyond, 0), end - beyond


def _window_sums(values: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return total[end] - total[start]
