"""The metric of NIST SRE 2016: detection costs and EER in which every partition of the trials counts the same.

Source: NIST 2016 Speaker Recognition Evaluation Plan, section 3, and the weighting of NIST's scoring software of SRE16
and SRE18. A partition is a combination of the trials' properties (gender, language, number of enrollment segments, same
or different phone number). C_norm(beta) = P_miss + beta P_fa, beta = (1 - P_target) / P_target with unit costs.
"""

from __future__ import annotations

import numpy as np

from vouch.metrics.detection_cost import ErrorRates, minimum_detection_cost
from vouch.metrics.eer import check_scores

P_TARGETS = (0.01, 0.005)  # beta = 99 and 199; C_primary is the mean over the two


def actual_primary_cost(scores: np.ndarray, is_target: np.ndarray, partitions: np.ndarray) -> float:
    """C_primary of decisions at the thresholds ln(beta) of the log likelihood ratios `scores` `(trials,)`.

    is_target `(trials,)` bool, partitions `(trials,)` whole numbers. A trial is accepted when its score is above the
    threshold. P_miss is the mean of the partitions' miss rates, P_fa of their false-alarm rates; a partition without
    targets does not count in the first, one without nontargets not in the second. With one partition it is the
    unequalised cost. Raises VouchError when all trials are of one kind or a score is NaN.
    """
    check_scores(scores[is_target], scores[~is_target])
    weights = equalising_weights(is_target, partitions)
    target_weight, nontarget_weight = weights[is_target].sum(), weights[~is_target].sum()
    costs = []
    for p_target in P_TARGETS:
        beta = (1 - p_target) / p_target
        accepted = scores > np.log(beta)
        p_miss = weights[is_target & ~accepted].sum() / target_weight
        p_fa = weights[~is_target & accepted].sum() / nontarget_weight
        costs.append(p_miss + beta * p_fa)
    return float(np.mean(costs))


def equalising_weights(is_target: np.ndarray, partitions: np.ndarray) -> np.ndarray:
    """Weights `(trials,)` by which the target trials of every partition count as much as those of the partition that
    has the most of them, and likewise the nontarget trials.

    A weighted miss rate over all trials is then the mean of the miss rates of the partitions that have targets. With
    one partition all weights are 1.
    """
    _, partition = np.unique(partitions, return_inverse=True)
    weights = np.empty(len(partition))
    for kind in (is_target, ~is_target):
        counts = np.bincount(partition[kind])
        weights[kind] = counts.max(initial=0) / counts[partition[kind]]
    return weights


def equalised_error_rates(scores: np.ndarray, is_target: np.ndarray, partitions: np.ndarray) -> ErrorRates:
    """Error rates over all thresholds, equalised, for `minimum_primary_cost` and `equalised_eer`.

    Arguments as of actual_primary_cost, operating points as of detection_cost.error_rates, which it equals with
    one partition: a trial is accepted when its score is above the threshold, equal scores are one step, and accepting
    all is among them. Raises VouchError as actual_primary_cost.
    """
    check_scores(scores[is_target], scores[~is_target])
    order = np.argsort(scores, kind="stable")
    scores, weights = scores[order], equalising_weights(is_target, partitions)[order]
    steps = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # the last of equal scores
    missed = np.cumsum(np.where(is_target[order], weights, 0.0))[steps]
    rejected = np.cumsum(np.where(is_target[order], 0.0, weights))[steps]
    thresholds = np.concatenate([[-np.inf], scores[steps]])
    p_miss = np.concatenate([[0.0], missed / missed[-1]])
    p_fa = np.concatenate([[1.0], 1 - rejected / rejected[-1]])
    return ErrorRates(thresholds, p_miss, p_fa)


def minimum_primary_cost(rates: ErrorRates) -> float:
    """Minimum C_primary: the mean over beta of the smallest C_norm, each at a threshold of its own."""
    return float(np.mean([minimum_detection_cost(rates, p_target)[0] for p_target in P_TARGETS]))


def equalised_eer(rates: ErrorRates) -> float:
    """EER in [0, 1]: where the ROC, its operating points joined by straight lines, crosses P_miss = P_fa.

    Without ties between the kinds the ROC is a staircase, and one of the two rates at the crossing is a rate that
    occurs; a tie of targets and nontargets is a slanted step. Kaldi's rule (eer.equal_error_rate) takes the first miss
    rate that occurs at or after the crossing, but none above 1 - 1/targets: with one partition and no ties, and
    scores that are better than that, it is the higher by less than one target trial's share.
    """
    after = int(np.argmax(rates.p_miss >= rates.p_fa))  # not the first point, which is (0, 1)
    gap_before = rates.p_fa[after - 1] - rates.p_miss[after - 1]
    gap_after = rates.p_miss[after] - rates.p_fa[after]
    share = gap_before / (gap_before + gap_after)
    return float(rates.p_miss[after - 1] + share * (rates.p_miss[after] - rates.p_miss[after - 1]))
