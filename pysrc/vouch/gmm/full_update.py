"""Maximum-likelihood update, splitting and removal of Gaussians with full covariances.

Source: Kaldi's gmm/full-gmm and gmm/mle-full-gmm, and its tool fgmm-global-est. `D` dims, `G` Gaussians, float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError
from vouch.gmm.models import (
    Estimate,
    FullGmm,
    FullStats,
    check_gconsts,
    check_shape,
    check_statistics,
    count,
    parse_flags,
    split_weights,
)


class EstimateOptions(NamedTuple):
    """Kaldi's MleFullGmmOptions; floats as Kaldi's defaults."""

    update_flags: str = "mvw"
    min_gaussian_weight: float = 1e-5
    min_gaussian_occupancy: float = 100.0
    variance_floor: float = 0.001
    max_condition: float = 1e4
    remove_low_count_gaussians: bool = True


def cholesky(matrices: np.ndarray) -> np.ndarray:
    """Lower factors `(G, D, D)`; raises VouchError naming the first Gaussian that has none."""
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        for gaussian, matrix in enumerate(matrices):
            try:
                np.linalg.cholesky(matrix)
            except np.linalg.LinAlgError:
                raise VouchError(
                    f"the covariance of Gaussian {gaussian} is singular or not positive: estimate the model with more "
                    "data, fewer Gaussians or a greater --variance-floor"
                ) from None
        raise


def gconsts(weights: np.ndarray, means_invcovars: np.ndarray, inv_covars: np.ndarray) -> np.ndarray:
    """Log likelihood of x = 0 under each Gaussian `(G,)`, its log weight included.

    log w − ½ D log 2π + ½ log det P − ½ m'P m; −inf for weight 0. Raises VouchError on a singular covariance.
    """
    lower = cholesky(inv_covars)
    whitened = np.linalg.solve(lower, means_invcovars[:, :, None])[:, :, 0]
    half_log_determinants = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(weights)
    constants = logs - 0.5 * math.log(2 * math.pi) * inv_covars.shape[1] + half_log_determinants
    return check_gconsts(constants - 0.5 * (whitened**2).sum(axis=1))


def make(weights: np.ndarray, means_invcovars: np.ndarray, inv_covars: np.ndarray) -> FullGmm:
    """The model of these arrays, with its constants computed."""
    return FullGmm(weights, gconsts(weights, means_invcovars, inv_covars), means_invcovars, inv_covars)


def moments(gmm: FullGmm) -> tuple[np.ndarray, np.ndarray]:
    """(means `(G, D)`, covariances `(G, D, D)`); raises VouchError on a singular covariance."""
    covariances = _inverse(gmm.inv_covars)
    return (covariances @ gmm.means_invcovars[:, :, None])[:, :, 0], covariances


def _inverse(matrices: np.ndarray) -> np.ndarray:
    cholesky(matrices)
    return _symmetric(np.linalg.inv(matrices))


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    return 0.5 * (matrices + np.swapaxes(matrices, -1, -2))


def remove(gmm: FullGmm, gaussians: np.ndarray) -> FullGmm:
    """The model without these Gaussians, its weights scaled to sum to one."""
    left = np.delete(np.arange(len(gmm.weights)), gaussians)
    weights = gmm.weights[left]
    return make(weights / weights.sum(), gmm.means_invcovars[left], gmm.inv_covars[left])


def split(gmm: FullGmm, target: int, perturb: float, rng: np.random.Generator) -> FullGmm:
    """`target` Gaussians, by splitting the heaviest in two again and again (Kaldi, FullGmm::Split).

    The halves' means move apart by `perturb` times a normal vector of their covariance. Raises VouchError when the
    model has more than `target` already.
    """
    gaussians, dim = gmm.means_invcovars.shape
    weights, sources = split_weights(gmm.weights, target)
    means = np.concatenate([gmm.means_invcovars, np.empty((target - gaussians, dim))])
    origins = list(range(gaussians))  # the Gaussian of `gmm` whose covariance each one has
    lower = cholesky(gmm.inv_covars)
    for new, old in enumerate(sources, gaussians):
        origins.append(origins[old])
        move = perturb * (lower[origins[old]] @ rng.standard_normal(dim))  # of precision · mean
        means[new] = means[old] + move
        means[old] -= move
    return make(weights, means, gmm.inv_covars[origins])


def objective(gmm: FullGmm, stats: FullStats) -> float:
    """The auxiliary function of the model: the expected log likelihood, summed over the frames."""
    seen = stats.occupancy > 0
    total = float(stats.occupancy[seen] @ gmm.gconsts[seen])
    if stats.means is not None:
        total += float(np.vdot(stats.means, gmm.means_invcovars))
    if stats.covariances is not None:
        total -= 0.5 * float(np.vdot(stats.covariances, gmm.inv_covars))
    return total


def estimate(gmm: FullGmm, stats: FullStats, options: EstimateOptions) -> Estimate:
    """M-step: the model that maximises the auxiliary function (Kaldi, MleFullGmmUpdate).

    Eigenvalues of a covariance under variance_floor or under the greatest divided by max_condition are raised to it;
    Gaussians with too little data keep their parameters or are removed. Raises VouchError when the statistics belong to
    another model or lack what the flags ask for, and on a singular covariance.
    """
    flags = parse_flags(options.update_flags)
    check_statistics(flags, stats.occupancy, stats.means, stats.covariances)
    check_shape(stats.occupancy, stats.means, gmm.means_invcovars)
    gmm = make(gmm.weights, gmm.means_invcovars, gmm.inv_covars)
    counts = count(gmm.weights, stats.occupancy, gmm.means_invcovars.shape[1], options)
    old_means, old_covariances = moments(gmm)
    means, covariances, floored = _maximum_likelihood(
        old_means, old_covariances, stats, counts.enough, "m" in flags, options
    )
    notes = list(counts.notes)
    if floored.any():
        notes.append(f"{floored.sum()} variances floored in {np.count_nonzero(floored)} Gaussians.")
    inv_covars = _inverse(covariances) if "v" in flags else gmm.inv_covars
    centres = means if "m" in flags else old_means
    new = make(counts.weights if "w" in flags else gmm.weights, (inv_covars @ centres[:, :, None])[:, :, 0], inv_covars)
    change = objective(new, stats) - objective(gmm, stats)
    if len(counts.removed):
        new = remove(new, counts.removed)
    return Estimate(new, change, float(stats.occupancy.sum()), notes)


def _maximum_likelihood(
    means: np.ndarray,
    covariances: np.ndarray,
    stats: FullStats,
    enough: np.ndarray,
    move_means: bool,
    options: EstimateOptions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(means, covariances, number of floored eigenvalues `(G,)`); Gaussians not in `enough` keep theirs."""
    floored = np.zeros(len(means), dtype=np.int64)
    if stats.means is None:
        return means, covariances, floored
    found = stats.means[enough] / stats.occupancy[enough, None]
    new_means, new_covariances = means.copy(), covariances.copy()
    new_means[enough] = found
    if stats.covariances is not None:
        spread = stats.covariances[enough] / stats.occupancy[enough, None, None]
        spread -= found[:, :, None] * found[:, None, :]
        if not move_means:  # the spread is around the old mean, which stays
            shift = means[enough] - found
            spread += shift[:, :, None] * shift[:, None, :]
        new_covariances[enough], floored[enough] = _floor_eigenvalues(spread, options)
    return new_means, new_covariances, floored


def _floor_eigenvalues(covariances: np.ndarray, options: EstimateOptions) -> tuple[np.ndarray, np.ndarray]:
    """(covariances `(G, D, D)` with raised eigenvalues, how many were raised `(G,)`)."""
    if not len(covariances):
        return covariances, np.zeros(0, dtype=np.int64)
    values, vectors = np.linalg.eigh(covariances)
    floors = np.maximum(options.variance_floor, np.abs(values).max(axis=1) / options.max_condition)
    floored = (values < floors[:, None]).sum(axis=1)
    values = np.maximum(values, floors[:, None])
    raised = (vectors * values[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    return np.where(floored[:, None, None] > 0, _symmetric(raised), covariances), floored
