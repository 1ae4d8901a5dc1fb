"""Fusion: one score a trial from those of several systems."""

from __future__ import annotations

import numpy as np


def normalise(scores: np.ndarray) -> np.ndarray:
    """Scores (systems, trials) -> each system's shifted and scaled to mean 0 and variance 1 over the trials.

    Raises ValueError with the system's number where all its scores are equal.
    """
    spread = scores.std(axis=1, keepdims=True)
    flat = np.flatnonzero(spread[:, 0] <= 1e-12 * np.abs(scores).max(axis=1))
    if len(flat):
        raise ValueError(int(flat[0]))
    return (scores - scores.mean(axis=1, keepdims=True)) / spread


def fuse(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean (trials,) of normalised scores (systems, trials); weights (systems,).

    Source: Bhattacharya et al. (1811.03063) fuse by the mean of normalised scores; over which trials they are
    normalised is not said there: here over the list that is fused, whose labels are not looked at.
    """
    return (weights / weights.sum()) @ normalise(scores)
