"""Calibration: an affine function that turns scores, and the quality of both sides of a trial, into log likelihood
ratios."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.backend.fusion import learn_weights
from vouch.errors import VouchError

_NONE = np.zeros(0)


class Calibration(NamedTuple):
    """llr = slope * score + weights @ qualities + offset, in nats; trained with the targets weighing `prior`.

    weights: of the rows of pair_qualities; empty where the calibration takes scores alone.
    """

    slope: float
    offset: float
    prior: float
    weights: np.ndarray = _NONE

    def apply(self, scores: np.ndarray, qualities: np.ndarray | None = None) -> np.ndarray:
        """Log likelihood ratios `(trials,)` of scores `(trials,)` and, where there are weights, qualities
        `(weights, trials)`."""
        ratios = self.slope * scores + self.offset
        return ratios if qualities is None else ratios + self.weights @ qualities


def pair_qualities(enrollment: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Qualities of trials `(2 measures, trials)` from those of both sides `(trials, measures)`: of each measure the
    lower, then of each the higher of the two sides, so that it does not matter which is enrolled.

    Source: Thienpondt et al. 2021 (The Idlab VoxSRC-20 submission), quality measure functions.
    """
    return np.concatenate([np.minimum(enrollment, test).T, np.maximum(enrollment, test).T])


def train_calibration(
    scores: np.ndarray, is_target: np.ndarray, prior: float, qualities: np.ndarray | None = None
) -> Calibration:
    """Affine logistic regression on the scores `(trials,)` of labelled trials, is_target `(trials,)` bool, and, where
    given, their qualities `(rows, trials)`.

    It minimises prior mean_targets log(1 + exp(-x)) + (1 - prior) mean_nontargets log(1 + exp(x)), x = slope score +
    weights qualities + offset + log(prior / (1 - prior)): the lower the prior, the more the function is fitted to high
    scores (Brummer et al. 2007, "Fusion of heterogeneous speaker recognition systems", with one system). Of Gaussian
    scores with one variance the result is the same for every prior. A quality that is the same for all trials has
    weight 0. Raises VouchError when the prior is not inside (0, 1), when all trials are of one kind, or when all scores
    are equal.
    """
    if not 0 < prior < 1:
        raise VouchError(f"a prior of {prior:g}: want 0 < prior < 1")
    if is_target.all() or not is_target.any():
        raise VouchError(
            f"{int(is_target.sum())} target and {int((~is_target).sum())} nontarget trials: calibration needs both"
        )
    rows = np.zeros((0, len(scores))) if qualities is None else qualities
    varied = np.flatnonzero(np.ptp(rows, axis=1) > 0) if len(rows) else np.zeros(0, int)
    weights = np.zeros(len(rows))
    try:
        found, offset = learn_weights(np.vstack([scores, rows[varied]]), is_target, prior)
    except ValueError:
        raise VouchError("all scores are equal: there is nothing to calibrate") from None
    weights[varied] = found[1:]
    return Calibration(float(found[0]), offset, prior, weights)
