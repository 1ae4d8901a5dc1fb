"""Differences of features over time (Kaldi, add-deltas)."""

from __future__ import annotations

import numpy as np

from vouch.errors import VouchError

_MOST = 1000  # Kaldi's bound on order and window


def delta_filters(order: int, window: int) -> list[np.ndarray]:
    """Filters of the differences of order 0 … `order`; that of order i has 2 i window + 1 taps.

    Order i is order i−1 convolved with j / Σ j², j = −window … window (Kaldi, DeltaFeatures). Raises VouchError on a
    negative order, or a window that is not positive.
    """
    if not (0 <= order < _MOST and 0 < window < _MOST):
        raise VouchError(f"--delta-order={order} must be 0 or more, --delta-window={window} 1 or more (below {_MOST})")
    slope = np.arange(-window, window + 1, dtype=np.float64)
    slope /= np.dot(slope, slope)
    filters = [np.ones(1)]
    for _ in range(order):
        filters.append(np.convolve(filters[-1], slope))
    return filters


def add_deltas(features: np.ndarray, order: int = 2, window: int = 2) -> np.ndarray:
    """Features (frames, dims) to (frames, (order + 1) · dims) float32: static, delta, delta-delta, …

    Each order is one filter over the frames, the first and last of which are repeated beyond the ends; so it differs
    there from deltas of deltas. Sums are in double precision. Raises VouchError where there is no frame.
    """
    filters = delta_filters(order, window)
    frames, dims = features.shape
    if not frames:
        raise VouchError("there are no frames to take differences of")
    reach = order * window
    padded = np.pad(features.astype(np.float64), ((reach, reach), (0, 0)), mode="edge")
    result = np.empty((frames, len(filters), dims), dtype=np.float32)
    result[:, 0] = features
    term = np.empty((frames, dims))
    for number, taps in enumerate(filters[1:], 1):
        total = np.zeros((frames, dims))
        start = reach - len(taps) // 2
        for place in np.flatnonzero(taps):
            total += np.multiply(padded[start + place : start + place + frames], taps[place], out=term)
        result[:, number] = total
    return result.reshape(frames, -1)
