"""Calibration: an affine function that turns scores into log likelihood ratios."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.backend.fusion import learn_weights
from vouch.errors import VouchError


class Calibration(NamedTuple):
    """llr = slope * score + offset, in nats; trained with the targets weighing `prior`."""

    slope: float
    offset: float
    prior: float

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Log likelihood ratios of scores, of the same shape."""
        return self.slope * scores + self.offset


def train_calibration(scores: np.ndarray, is_target: np.ndarray, prior: float) -> Calibration:
    """Affine logistic regression on the scores `(trials,)` of labelled trials, is_target `(trials,)` bool.

    It minimises prior mean_targets log(1 + exp(-x)) + (1 - prior) mean_nontargets log(1 + exp(x)), x = slope score +
    offset + log(prior / (1 - prior)): the lower the prior, the more the function is fitted to high scores (Brummer et
    al. 2007, "Fusion of heterogeneous speaker recognition systems", with one system). Of Gaussian scores with one
    variance the result is the same for every prior. Raises VouchError when the prior is not inside (0, 1), when all
    trials are of one kind, or when all scores are equal.
    """
    if not 0 < prior < 1:
        raise VouchError(f"a prior of {prior:g}: want 0 < prior < 1")
    if is_target.all() or not is_target.any():
        raise VouchError(
            f"{int(is_target.sum())} target and {int((~is_target).sum())} nontarget trials: calibration needs both"
        )
    try:
        weights, offset = learn_weights(scores[None], is_target, prior)
    except ValueError:
        raise VouchError("all scores are equal: there is nothing to calibrate") from None
    return Calibration(float(weights[0]), offset, prior)
