"""Cllr, the cost of log likelihood ratios over all applications, and its minimum by the best monotone calibration.

Source: Brummer and du Preez, Application-independent evaluation of speaker detection, Computer Speech and Language
20, 2006.
"""

from __future__ import annotations

import numpy as np

from vouch.metrics.eer import check_scores


def cllr(targets: np.ndarray, nontargets: np.ndarray) -> float:
    """Cllr in bits of the natural log likelihood ratios of target `(targets,)` and nontarget `(nontargets,)` trials.

    (mean over targets of log2(1 + exp(-llr)) + mean over nontargets of log2(1 + exp(llr))) / 2: 0 for a perfect
    system, 1 for one that says 0 to all, infinite when an infinite ratio is wrong.
    Raises VouchError when a class is empty or a score is NaN.
    """
    check_scores(targets, nontargets)
    nats = np.logaddexp(0, -targets).mean() + np.logaddexp(0, nontargets).mean()
    return float(nats / (2 * np.log(2)))


def minimum_cllr(targets: np.ndarray, nontargets: np.ndarray) -> float:
    """The smallest Cllr that a non-decreasing function of the scores can have, in bits, in [0, 1].

    The function is found by pool adjacent violators: blocks of neighbouring scores in which the ratio of the share of
    all targets to the share of all nontargets rises from block to block; its log is the block's log likelihood ratio,
    infinite (and right) in end blocks of one kind only. Equal scores stay in one block, as a function has one value
    for them. Raises VouchError as `cllr`.
    """
    from scipy.optimize import isotonic_regression

    check_scores(targets, nontargets)
    is_target = np.repeat([True, False], [len(targets), len(nontargets)])
    scores, place = np.unique(np.concatenate([targets, nontargets]), return_inverse=True)
    target_share = np.bincount(place[is_target], minlength=len(scores)) / len(targets)
    nontarget_share = np.bincount(place[~is_target], minlength=len(scores)) / len(nontargets)
    weights = target_share + nontarget_share
    starts = isotonic_regression(target_share / weights, weights=weights).blocks[:-1]
    p, q = np.add.reduceat(target_share, starts), np.add.reduceat(nontarget_share, starts)
    # log2(1 + q/p) for the targets, log2(1 + p/q) for the nontargets; a block without targets costs its targets nothing
    with np.errstate(divide="ignore", invalid="ignore"):
        costs = np.where(p > 0, p * np.log2(1 + q / p), 0) + np.where(q > 0, q * np.log2(1 + p / q), 0)
    return float(costs.sum() / 2)
