"""Miss and false-alarm rates over all thresholds, and the minimum detection cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError
from vouch.metrics.eer import check_scores


class ErrorRates(NamedTuple):
    """Operating points, from accepting all trials to rejecting all; arrays `(points,)`.

    thresholds: a trial is accepted when its score is above the threshold (the first is -inf).
    """

    thresholds: np.ndarray
    p_miss: np.ndarray
    p_fa: np.ndarray


def error_rates(targets: np.ndarray, nontargets: np.ndarray) -> ErrorRates:
    """Error rates of target `(targets,)` and nontarget `(nontargets,)` scores at every threshold that matters.

    One point per distinct score, and the point that accepts all: equal scores are one step, since no threshold can
    part them. Raises VouchError when a class is empty or a score is NaN.
    """
    check_scores(targets, nontargets)
    targets, nontargets = np.sort(targets), np.sort(nontargets)
    thresholds = np.concatenate([[-np.inf], np.unique(np.concatenate([targets, nontargets]))])
    p_miss = np.searchsorted(targets, thresholds, side="right") / len(targets)
    p_fa = 1 - np.searchsorted(nontargets, thresholds, side="right") / len(nontargets)
    p_miss[0], p_fa[0] = 0.0, 1.0
    return ErrorRates(thresholds, p_miss, p_fa)


def minimum_detection_cost(
    rates: ErrorRates, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> tuple[float, float]:
    """Return (minimum normalised detection cost, its threshold).

    min over thresholds of C_miss P_target P_miss + C_fa (1 - P_target) P_fa, divided by the cost of the better of
    rejecting and accepting all, min(C_miss P_target, C_fa (1 - P_target)) (NIST SRE 2016 evaluation plan, equations
    2 to 4). It is at most 1, as accepting and rejecting all are among the thresholds; of equal costs the
    lowest threshold is returned. Raises VouchError when p_target is not inside (0, 1) or a cost is not above 0.
    """
    _check_costs(p_target, c_miss, c_fa)
    costs = c_miss * p_target * rates.p_miss + c_fa * (1 - p_target) * rates.p_fa
    best = int(np.argmin(costs))
    return float(costs[best] / min(c_miss * p_target, c_fa * (1 - p_target))), float(rates.thresholds[best])


def _check_costs(p_target: float, c_miss: float, c_fa: float) -> None:
    if not (0 < p_target < 1 and c_miss > 0 and c_fa > 0):
        raise VouchError(f"P_target {p_target:g}, C_miss {c_miss:g}, C_fa {c_fa:g}: want 0 < P < 1 and costs above 0")


def minimum_detection_cost_in_order(
    scores: np.ndarray, is_target: np.ndarray, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> tuple[float, float]:
    """(minimum normalised detection cost, its threshold) by the rule of Kaldi's sid/compute_min_dcf.py.

    scores `(trials,)`, is_target `(trials,)` bool. It differs from `minimum_detection_cost` in two points: accepting
    all trials is not considered, and of equal scores those that come first are rejected first, so that the cost can
    depend on the order of the trials. Of equal costs the lowest threshold is returned. Raises VouchError as
    `minimum_detection_cost` and `error_rates` do.
    """
    _check_costs(p_target, c_miss, c_fa)
    check_scores(scores[is_target], scores[~is_target])
    order = np.argsort(scores, kind="stable")
    misses = np.cumsum(is_target[order])
    rejected = np.arange(1, len(scores) + 1) - misses
    p_miss = misses / float(misses[-1])
    p_fa = 1 - rejected / float(rejected[-1])
    costs = c_miss * p_miss * p_target + c_fa * p_fa * (1 - p_target)
    best = int(np.argmin(costs))
    return float(costs[best]) / min(c_miss * p_target, c_fa * (1 - p_target)), float(scores[order[best]])


def det_points(rates: ErrorRates, most: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """(P_fa, P_miss) `(points,)` of a DET curve, thinned to about `most` points evenly spread on probit axes."""
    if len(rates.p_fa) <= most:
        return rates.p_fa, rates.p_miss
    from scipy.special import ndtri

    tiny = 0.5 / len(rates.p_fa)
    along = ndtri(np.clip(rates.p_miss, tiny, 1 - tiny)) - ndtri(np.clip(rates.p_fa, tiny, 1 - tiny))
    kept = np.unique(np.searchsorted(along, np.linspace(along[0], along[-1], most)))
    return rates.p_fa[kept], rates.p_miss[kept]
