"""Equal error rate, by the rule of Kaldi's compute-eer."""

from __future__ import annotations

import numpy as np

from vouch.errors import VouchError


def check_scores(targets: np.ndarray, nontargets: np.ndarray) -> None:
    """Raise VouchError when a class has no score or a score is NaN."""
    for scores, name in ((targets, "target"), (nontargets, "nontarget")):
        if not len(scores):
            raise VouchError(f"no {name} scores: error rates need trials of both kinds; check the labels")
        if np.isnan(scores).any():
            raise VouchError(f"{int(np.isnan(scores).sum())} {name} scores are NaN: check the embeddings")


def equal_error_rate(targets: np.ndarray, nontargets: np.ndarray) -> tuple[float, float]:
    """Return (EER in [0, 1], threshold) of target `(targets,)` and nontarget `(nontargets,)` scores.

    Kaldi compute-eer's rule: of the T target and N nontarget scores in ascending order, the threshold is the first
    target score, at position p = 0 … T - 2, above the nontarget score at position N - 1 - floor(N p / T) (the last
    target score when there is none), and the EER is p / T. Nothing is interpolated: the miss rate is exact, the
    false-alarm rate the nearest to it, and a list with one target always has an EER of 0.
    Raises VouchError when a class is empty or a score is NaN.
    """
    check_scores(targets, nontargets)
    targets, nontargets = np.sort(targets), np.sort(nontargets)
    positions = np.arange(len(targets) - 1)
    opposite = len(nontargets) - 1 - (len(nontargets) * positions / len(targets)).astype(np.int64)
    above = nontargets[opposite] < targets[:-1]
    position = int(np.argmax(above)) if above.any() else len(targets) - 1
    return position / len(targets), float(targets[position])


def weighted_equal_error_rate(
    targets: np.ndarray, target_weights: np.ndarray, nontargets: np.ndarray, nontarget_weights: np.ndarray
) -> float:
    """EER of the list in which every score stands as often as its whole-number weight says.

    `targets` and `nontargets` ascending, weights of the same shapes, at least one of each above 0. The same rule as
    equal_error_rate; as p rises, the target score rises and the opposite nontarget score falls, so that the
    first p is found by bisection on the cumulative weights and the repeated list is never made.
    """
    target_ends = np.cumsum(target_weights)
    nontarget_ends = np.cumsum(nontarget_weights)
    num_targets, num_nontargets = int(target_ends[-1]), int(nontarget_ends[-1])

    def is_above(position: int) -> bool:
        opposite = num_nontargets - 1 - int(num_nontargets * position / num_targets)
        target = targets[np.searchsorted(target_ends, position, side="right")]
        return bool(nontargets[np.searchsorted(nontarget_ends, opposite, side="right")] < target)

    low, high = 0, num_targets - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_above(middle) else (middle + 1, high)
    return low / num_targets
