"""Maximum-likelihood update, splitting and removal of Gaussians with diagonal covariances.

Source: Kaldi's gmm/diag-gmm and gmm/mle-diag-gmm, and its tool gmm-global-est. `D` dims, `G` Gaussians, float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vouch.gmm.models import (
    DiagGmm,
    DiagStats,
    Estimate,
    check_gconsts,
    check_shape,
    check_statistics,
    count,
    parse_flags,
    split_weights,
)


class EstimateOptions(NamedTuple):
    """Kaldi's MleDiagGmmOptions; floats as Kaldi's defaults."""

    update_flags: str = "mvw"
    min_gaussian_weight: float = 1e-5
    min_gaussian_occupancy: float = 10.0
    min_variance: float = 0.001
    remove_low_count_gaussians: bool = True


def gconsts(weights: np.ndarray, means_invvars: np.ndarray, inv_vars: np.ndarray) -> np.ndarray:
    """Log likelihood of x = 0 under each Gaussian `(G,)`, its log weight included.

    log w − ½ D log 2π + ½ Σ log P − ½ Σ (P m)² / P; −inf for weight 0. Raises VouchError where it is no number.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        constants = (
            np.log(weights)
            - 0.5 * math.log(2 * math.pi) * inv_vars.shape[1]
            + 0.5 * (np.log(inv_vars) - means_invvars**2 / inv_vars).sum(axis=1)
        )
    return check_gconsts(constants)


def make(weights: np.ndarray, means_invvars: np.ndarray, inv_vars: np.ndarray) -> DiagGmm:
    """The model of these arrays, with its constants computed."""
    return DiagGmm(weights, gconsts(weights, means_invvars, inv_vars), means_invvars, inv_vars)


def remove(gmm: DiagGmm, gaussians: np.ndarray) -> DiagGmm:
    """The model without these Gaussians, its weights scaled to sum to one."""
    left = np.delete(np.arange(len(gmm.weights)), gaussians)
    weights = gmm.weights[left]
    return make(weights / weights.sum(), gmm.means_invvars[left], gmm.inv_vars[left])


def split(gmm: DiagGmm, target: int, perturb: float, rng: np.random.Generator) -> DiagGmm:
    """`target` Gaussians, by splitting the heaviest in two again and again (Kaldi, DiagGmm::Split).

    The halves' means move apart by `perturb` standard deviations times normal numbers. Raises VouchError when the
    model has more than `target` already.
    """
    gaussians, dim = gmm.inv_vars.shape
    weights, sources = split_weights(gmm.weights, target)
    means = np.concatenate([gmm.means_invvars, np.empty((target - gaussians, dim))])
    inv_vars = np.concatenate([gmm.inv_vars, np.empty((target - gaussians, dim))])
    for new, old in enumerate(sources, gaussians):
        inv_vars[new] = inv_vars[old]
        move = perturb * rng.standard_normal(dim) * np.sqrt(inv_vars[old])  # of precision · mean, hence the root
        means[new] = means[old] + move
        means[old] -= move
    return make(weights, means, inv_vars)


def objective(gmm: DiagGmm, stats: DiagStats) -> float:
    """The auxiliary function of the model: the expected log likelihood, summed over the frames."""
    seen = stats.occupancy > 0
    total = float(stats.occupancy[seen] @ gmm.gconsts[seen])
    if stats.means is not None:
        total += float(np.vdot(stats.means, gmm.means_invvars))
    if stats.variances is not None:
        total -= 0.5 * float(np.vdot(stats.variances, gmm.inv_vars))
    return total


def estimate(gmm: DiagGmm, stats: DiagStats, options: EstimateOptions) -> Estimate:
    """M-step: the model that maximises the auxiliary function (Kaldi, MleDiagGmmUpdate).

    Variances are floored; Gaussians with too little data keep their parameters or are removed.
    Raises VouchError when the statistics belong to another model, or lack what the flags ask for.
    """
    flags = parse_flags(options.update_flags)
    check_statistics(flags, stats.occupancy, stats.means, stats.variances)
    check_shape(stats.occupancy, stats.means, gmm.means_invvars)
    gmm = make(gmm.weights, gmm.means_invvars, gmm.inv_vars)
    counts = count(gmm.weights, stats.occupancy, gmm.inv_vars.shape[1], options)
    notes = list(counts.notes)
    means, variances, floored = _maximum_likelihood(gmm, stats, counts.enough, "m" in flags, options.min_variance)
    if floored.any():
        notes.append(f"{floored.sum()} variances floored in {floored.any(axis=1).sum()} Gaussians.")
    old_means = gmm.means_invvars / gmm.inv_vars
    with np.errstate(divide="ignore", invalid="ignore"):  # a variance of 0 is found with the constants
        inv_vars = 1 / variances if "v" in flags else gmm.inv_vars
        means_invvars = (means if "m" in flags else old_means) * inv_vars
    new = make(counts.weights if "w" in flags else gmm.weights, means_invvars, inv_vars)
    change = objective(new, stats) - objective(gmm, stats)
    if len(counts.removed):
        new = remove(new, counts.removed)
    return Estimate(new, change, float(stats.occupancy.sum()), notes)


def _maximum_likelihood(
    gmm: DiagGmm, stats: DiagStats, enough: np.ndarray, move_means: bool, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(means, variances, which variances were floored), each `(G, D)`; Gaussians not in `enough` keep theirs."""
    means, variances = gmm.means_invvars / gmm.inv_vars, 1 / gmm.inv_vars
    floored = np.zeros(variances.shape, dtype=bool)
    if stats.means is None:
        return means, variances, floored
    occupancy = stats.occupancy[enough, None]
    found = stats.means[enough] / occupancy
    if stats.variances is not None:
        spread = stats.variances[enough] / occupancy - found**2
        if not move_means:  # the spread is around the old mean, which stays
            spread += (means[enough] - found) ** 2
        floored[enough] = spread < floor
        variances[enough] = np.maximum(spread, floor)
    means[enough] = found
    return means, variances, floored
