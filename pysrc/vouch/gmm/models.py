"""The arrays of Gaussian mixture models and of their statistics, and what diagonal and full-covariance updates share.

`G` is the number of Gaussians, `D` the dimension. A model is kept in Kaldi's natural form: with mean m and precision P
of a Gaussian, the log likelihood of x is gconst + (P m)·x − ½ x'P x.
Source: Kaldi, gmm/mle-diag-gmm, gmm/mle-full-gmm (what both updates do with weights and low counts), gmm/model-common.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from vouch.errors import VouchError

LARGEST = 1.8e19  # of a feature: the square of a larger number is infinite in single precision, and so in Kaldi


class DiagGmm(NamedTuple):
    """Gaussians with diagonal covariances, float64."""

    weights: np.ndarray  # (G,)
    gconsts: np.ndarray  # (G,) log likelihood at x = 0, with the log weight
    means_invvars: np.ndarray  # (G, D) mean / variance
    inv_vars: np.ndarray  # (G, D) 1 / variance


class FullGmm(NamedTuple):
    """Gaussians with full covariances, float64."""

    weights: np.ndarray  # (G,)
    gconsts: np.ndarray  # (G,) log likelihood at x = 0, with the log weight
    means_invcovars: np.ndarray  # (G, D) precision · mean
    inv_covars: np.ndarray  # (G, D, D) precision


class DiagStats(NamedTuple):
    """Statistics for a diagonal model; means and variances are None when they were not asked for."""

    occupancy: np.ndarray  # (G,) sum of the posteriors
    means: np.ndarray | None  # (G, D) posterior-weighted sum of x
    variances: np.ndarray | None  # (G, D) posterior-weighted sum of x²
    log_likelihood: float  # weighted sum over the frames
    frames: float  # sum of the frame weights


class FullStats(NamedTuple):
    """Statistics for a full-covariance model; means and covariances are None when they were not asked for."""

    occupancy: np.ndarray  # (G,) sum of the posteriors
    means: np.ndarray | None  # (G, D) posterior-weighted sum of x
    covariances: np.ndarray | None  # (G, D, D) posterior-weighted sum of x x', not centred
    log_likelihood: float  # weighted sum over the frames
    frames: float  # sum of the frame weights


class Estimate(NamedTuple):
    """A new model with what the update did."""

    gmm: Any  # DiagGmm or FullGmm
    objective_change: float  # of the auxiliary function, summed over the frames
    count: float  # sum of the occupancies
    notes: list[str]  # one line for each thing that deserves a warning


class LowCounts(Protocol):
    """What both EstimateOptions have."""

    min_gaussian_weight: float
    min_gaussian_occupancy: float
    remove_low_count_gaussians: bool


class Counts(NamedTuple):
    """What the occupancies alone decide about an update."""

    weights: np.ndarray  # (G,) new weights, before any removal
    enough: np.ndarray  # (G,) bool: has the data for a new mean and covariance
    removed: np.ndarray  # indices of the Gaussians to take out
    notes: list[str]


def parse_flags(text: str) -> str:
    """The subset of "mvwt" (means, variances, weights, transitions) that `text` names; "a" is all.

    Raises VouchError on another letter. A GMM alone has no transitions: "t" is accepted and changes nothing in it.
    """
    wrong = set(text) - set("mvwta")
    if wrong:
        raise VouchError(f"--update-flags={text}: '{min(wrong)}' is none of m (means), v (variances), w (weights)")
    return "".join(flag for flag in "mvwt" if flag in text or "a" in text)


def accumulated_flags(flags: str) -> str:
    """The statistics that an update of `flags` needs: variances need means, and weights are always counted."""
    needed = set(flags) | {"w"} | ({"m"} if "v" in flags else set())
    return "".join(flag for flag in "mvwt" if flag in needed)


def check_statistics(
    flags: str, occupancy: np.ndarray, means: np.ndarray | None, second_order: np.ndarray | None
) -> None:
    """Raises VouchError when an update of `flags` has no statistics to go by, or they are empty or not all finite."""
    if not all(np.isfinite(array).all() for array in (occupancy, means, second_order) if array is not None):
        raise VouchError("the statistics hold NaN or infinity: accumulate them again")
    if not occupancy.sum() > 0:
        raise VouchError("the statistics are of no frame at all: look at the log of the step that made them")
    if ("m" in flags and means is None) or ("v" in flags and second_order is None):
        have = "w" + ("m" if means is not None else "") + ("v" if second_order is not None else "")
        raise VouchError(
            f"--update-flags={flags}: the statistics are for '{have}' only; accumulate with the same flags"
        )


def check_shape(occupancy: np.ndarray, means: np.ndarray | None, model_means: np.ndarray) -> None:
    """Raises VouchError when statistics are not of the model's shape `(G, D)`."""
    shape = (len(occupancy), model_means.shape[1]) if means is None else means.shape
    if shape != model_means.shape:
        raise VouchError(
            f"the statistics are of {shape[0]} Gaussians and {shape[1]} dims, the model has {model_means.shape[0]} and "
            f"{model_means.shape[1]}: accumulate them with this model"
        )


def count(weights: np.ndarray, occupancy: np.ndarray, dim: int, options: LowCounts) -> Counts:
    """New weights `(G,)` and which Gaussians have too little data; the last Gaussian is never removed."""
    gaussians, total = len(occupancy), float(occupancy.sum())
    shares = occupancy / total if total > 0 else np.full(gaussians, 1 / gaussians)
    enough = (occupancy > options.min_gaussian_occupancy) & (shares > options.min_gaussian_weight)
    low = np.flatnonzero(~enough)
    removed = low[: gaussians - 1] if options.remove_low_count_gaussians else low[:0]
    kept = low[len(removed) :]
    new = np.where(enough, shares, weights)
    new[kept] = np.maximum(shares[kept], options.min_gaussian_weight)
    notes = [
        f"Too little data - removing Gaussian (weight {shares[i]:.6f}, occupation count {occupancy[i]:.6f}, "
        f"vector size {dim})"
        for i in removed
    ]
    why = "it is the last Gaussian" if options.remove_low_count_gaussians else "remove-low-count-gaussians == false"
    notes += [
        f"Gaussian has too little data but not removing it because {why}: g = {i}, occ = {occupancy[i]:.6g}, "
        f"weight = {shares[i]:.6g}"
        for i in kept
    ]
    return Counts(new, enough, removed, notes)


def check_gconsts(gconsts: np.ndarray) -> np.ndarray:
    """`gconsts` with +inf made −inf, as a Gaussian that never wins; raises VouchError where one is not a number."""
    bad = np.flatnonzero(np.isnan(gconsts))
    if len(bad):
        raise VouchError(
            f"the constant of Gaussian {bad[0]} is not a number: a variance of 0 or a damaged number; train again"
        )
    return np.where(np.isposinf(gconsts), -np.inf, gconsts)


def split_weights(weights: np.ndarray, target: int) -> tuple[np.ndarray, list[int]]:
    """(weights `(target,)`, the Gaussian that each new one is split from): always the heaviest, halved.

    Raises VouchError when there are more than `target` Gaussians already.
    """
    gaussians = len(weights)
    if target < gaussians:
        raise VouchError(f"cannot split {gaussians} Gaussians to {target}: ask for at least as many as there are")
    halved = np.concatenate([weights, np.zeros(target - gaussians)])
    sources = []
    for new in range(gaussians, target):
        old = int(np.argmax(halved[:new]))
        halved[old] /= 2
        halved[new] = halved[old]
        sources.append(old)
    return halved, sources
