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


def learn_weights(scores: np.ndarray, is_target: np.ndarray, prior: float = 0.5) -> tuple[np.ndarray, float]:
    """Weights (systems,) and offset of a logistic regression on development trials: scores (systems, trials), is_target
    (trials,). The target trials together weigh `prior`, the nontarget trials 1 - prior, and the log odds of the prior
    are taken off the offset, so that weights @ scores + offset is a log likelihood ratio.

    Source: Brummer et al. 2007, "Fusion of heterogeneous speaker recognition systems"; scikit-learn's solver, with a
    weak penalty (C = 1e4 on scores of unit variance) that keeps separable trials finite, and a tolerance that is small
    beside the gradient at a prior of 0.01. Raises ValueError as `normalise`.
    """
    from sklearn.linear_model import LogisticRegression

    spread = scores.std(axis=1)
    unit = normalise(scores)
    shares = {True: prior / is_target.mean(), False: (1 - prior) / (1 - is_target.mean())}
    found = LogisticRegression(C=1e4, class_weight=shares, max_iter=1000, tol=1e-8).fit(unit.T, is_target)
    weights = found.coef_[0] / spread
    return weights, float(found.intercept_[0] - np.log(prior / (1 - prior)) - weights @ scores.mean(axis=1))


def fuse(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean (trials,) of normalised scores (systems, trials); weights (systems,).

    Source: Bhattacharya et al. (1811.03063) fuse by the mean of normalised scores; over which trials they are
    normalised is not said there: here over the list that is fused, whose labels are not looked at.
    """
    return (weights / weights.sum()) @ normalise(scores)
