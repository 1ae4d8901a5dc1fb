"""Gaussian mixtures with full covariances: likelihoods, posteriors, statistics, and (from full_update) their update.

Source: Kaldi's gmm/full-gmm and gmm/mle-full-gmm, and its tools fgmm-global-acc-stats, fgmm-global-gselect-to-post,
fgmm-global-get-frame-likes. `T` frames, `D` dims, `G` Gaussians, `N` (frame, Gaussian) pairs of a selection. Everything
is float64; features may be float32. Work is done Gaussian by Gaussian, one matrix product for all its frames.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError
from vouch.gmm import diagonal_update
from vouch.gmm.full_update import (
    EstimateOptions,
    cholesky,
    estimate,
    gconsts,
    make,
    moments,
    objective,
    remove,
    split,
)
from vouch.gmm.models import DiagGmm, FullGmm, FullStats
from vouch.gmm.ragged import Block, by_gaussian, check_likelihoods, frames_of_pairs, selected_blocks, softmax

__all__ = [
    "EstimateOptions",
    "FullGmm",
    "FullStats",
    "Posteriors",
    "Scorer",
    "accumulate",
    "check_dim",
    "estimate",
    "frame_log_likelihoods",
    "gconsts",
    "log_likelihoods",
    "make",
    "moments",
    "objective",
    "posteriors",
    "remove",
    "scorer",
    "selected_log_likelihoods",
    "split",
    "to_diag",
]

_PAIRS = 1 << 18  # (frame, Gaussian) pairs worked on at once
_NEGLIGIBLE = 1e-12  # a posterior whose part in the statistics is lost in the single precision of their file


class Scorer(NamedTuple):
    """A FullGmm made ready for likelihoods: offset − ½ |factor' (x, 1)|² (see `scorer`)."""

    offsets: np.ndarray  # (G,) log weight − ½ D log 2π + ½ log det P
    factors: np.ndarray  # (G, D + 1, D) L over −(L' m)', with P = L L'


class Posteriors(NamedTuple):
    """Posteriors of the Gaussians of each frame, and the log likelihood of each frame."""

    offsets: np.ndarray  # (T + 1,) int64: frame t has the entries offsets[t]:offsets[t + 1]
    indices: np.ndarray  # (N,) int32
    weights: np.ndarray  # (N,) float32
    log_likelihoods: np.ndarray  # (T,), NaN for a frame with NaN or infinity in it


def scorer(gmm: FullGmm | Scorer) -> Scorer:
    """The Cholesky factors of a model; give them in place of the model where it is used many times.

    Raises VouchError on a covariance that is singular.
    """
    if isinstance(gmm, Scorer):
        return gmm
    lower = cholesky(gmm.inv_covars)
    whitened = np.linalg.solve(lower, gmm.means_invcovars[:, :, None])[:, :, 0]  # L^-1 P m = L' m
    offsets = gmm.gconsts + 0.5 * (whitened**2).sum(axis=1)
    return Scorer(offsets, np.concatenate([lower, -whitened[:, None, :]], axis=1))


def to_diag(gmm: FullGmm) -> DiagGmm:
    """The model with the diagonals of its covariances (Kaldi, fgmm-global-to-gmm)."""
    means, covariances = moments(gmm)
    inv_vars = 1 / np.diagonal(covariances, axis1=1, axis2=2)
    return diagonal_update.make(gmm.weights.copy(), means * inv_vars, inv_vars)


def log_likelihoods(gmm: FullGmm | Scorer, features: np.ndarray) -> np.ndarray:
    """Log of weight · density of every frame under every Gaussian, `(T, G)`."""
    model = scorer(gmm)
    extended = _extended(np.asarray(features, dtype=np.float64))
    result = np.empty((len(features), len(model.offsets)))
    for gaussian, factor in enumerate(model.factors):
        result[:, gaussian] = model.offsets[gaussian] - 0.5 * _squared_norms(extended @ factor)
    return result


def selected_log_likelihoods(
    gmm: FullGmm | Scorer, features: np.ndarray, selection: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray:
    """Log of weight · density of each (frame, Gaussian) pair of a selection (None: all pairs), `(N,)`."""
    model = scorer(gmm)
    blocks = selected_blocks(features, selection, len(model.offsets), _PAIRS)
    return np.concatenate([np.zeros(0), *(_scores(model, block) for block in blocks)])


def _scores(model: Scorer, block: Block) -> np.ndarray:
    """Log of weight · density of each pair of the block."""
    extended, frames = _extended(block.features), frames_of_pairs(block.offsets)
    scores = np.empty(len(block.indices))
    for gaussian, pairs in by_gaussian(block.indices, len(model.offsets)):
        with np.errstate(invalid="ignore"):  # infinity in a frame gives NaN, which is looked for later
            whitened = extended.take(frames[pairs], axis=0) @ model.factors[gaussian]
        scores[pairs] = model.offsets[gaussian] - 0.5 * _squared_norms(whitened)
    return scores


def _extended(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _squared_norms(rows: np.ndarray) -> np.ndarray:
    return np.einsum("td,td->t", rows, rows)


def frame_log_likelihoods(
    gmm: FullGmm | Scorer, features: np.ndarray, selection: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Log likelihood of every frame `(T,)` under the mixture, or its selected Gaussians; NaN for a bad frame."""
    model = scorer(gmm)
    check_dim(model, features)
    blocks = selected_blocks(features, selection, len(model.offsets), _PAIRS)
    return np.concatenate([np.zeros(0), *(softmax(_scores(model, block), block.offsets)[1] for block in blocks)])


def check_dim(model: Scorer, features: np.ndarray) -> None:
    """Raises VouchError when the frames have another dimension than the model."""
    dim = model.factors.shape[2]
    if len(features) and features.shape[1] != dim:
        raise VouchError(f"the features have {features.shape[1]} dims, the model {dim}: take the model's own features")


def posteriors(
    gmm: FullGmm | Scorer, features: np.ndarray, selection: tuple[np.ndarray, np.ndarray], min_post: float = 0.0
) -> Posteriors:
    """Posteriors of the selected Gaussians of each frame, in the order of the selection (fgmm-global-gselect-to-post).

    Those under min_post are dropped and the others scaled to sum to one; where all would go, the greatest stays with
    posterior 1. Posteriors that are 0 in single precision are dropped too.
    """
    model = scorer(gmm)
    check_dim(model, features)
    counts, indices = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    weights, likelihoods = [np.zeros(0, np.float32)], [np.zeros(0)]
    for block in selected_blocks(features, selection, len(model.offsets), _PAIRS):
        shares, sums = softmax(_scores(model, block), block.offsets)
        pruned = _prune(shares, block.offsets, min_post)
        used = pruned != 0
        indices.append(block.indices[used].astype(np.int32))
        weights.append(pruned[used])
        counts.append(np.add.reduceat(used, block.offsets[:-1], dtype=np.int64))
        likelihoods.append(sums)
    offsets = np.cumsum(np.concatenate(counts))
    return Posteriors(offsets, *(np.concatenate(parts) for parts in (indices, weights, likelihoods)))


def _prune(shares: np.ndarray, offsets: np.ndarray, min_post: float) -> np.ndarray:
    """float32 posteriors of the pairs, 0 for the dropped ones."""
    single = shares.astype(np.float32)
    if min_post == 0:
        return single
    counts = np.diff(offsets)
    small = single < np.float32(min_post)
    left = np.where(small, 0.0, shares)
    sums = np.add.reduceat(left, offsets[:-1])
    empty = np.flatnonzero(sums == 0)
    if len(empty):
        greatest = np.flatnonzero(shares == np.repeat(np.maximum.reduceat(shares, offsets[:-1]), counts))
        left[greatest[np.searchsorted(greatest, offsets[empty])]] = 1.0  # the first of equally great ones
        sums[empty] = 1.0
    return (left / np.repeat(sums, counts)).astype(np.float32)


def accumulate(
    gmm: FullGmm | Scorer,
    features: np.ndarray,
    selection: tuple[np.ndarray, np.ndarray] | None = None,
    frame_weights: np.ndarray | None = None,
    second_order: bool = True,
) -> FullStats:
    """E-step: statistics of frames `(T, D)`, each over all Gaussians or over those of the selection.

    selection: (offsets `(T + 1,)`, indices `(N,)`); frame_weights: `(T,)`, 1 each when None; frames of weight 0 are
    passed over; second_order=False leaves the covariances out. Raises VouchError on a frame without a finite likelihood
    or a selection that does not fit.
    """
    model = scorer(gmm)
    check_dim(model, features)
    gaussians, dim = model.factors.shape[0], model.factors.shape[2]
    occupancy, means = np.zeros(gaussians), np.zeros((gaussians, dim))
    covariances = np.zeros((gaussians, dim, dim)) if second_order else None
    total, count = 0.0, 0.0
    for block in selected_blocks(features, selection, gaussians, _PAIRS):
        shares, likelihoods = softmax(_scores(model, block), block.offsets)
        frames = frames_of_pairs(block.offsets)
        weights = np.ones(len(block.features))
        if frame_weights is not None:
            weights = np.asarray(frame_weights[block.start : block.start + len(weights)], dtype=np.float64)
        used = weights != 0
        check_likelihoods(np.where(used, likelihoods, 0.0), block.start)
        total += float(weights[used] @ likelihoods[used])
        count += float(weights.sum())
        matter = np.flatnonzero(used[frames] & (shares > _NEGLIGIBLE))
        frames = frames[matter]
        shares = shares[matter] * weights[frames]
        for gaussian, pairs in by_gaussian(block.indices[matter], gaussians):
            rows, share = block.features.take(frames[pairs], axis=0), shares[pairs]
            occupancy[gaussian] += share.sum()
            means[gaussian] += share @ rows
            if covariances is not None:
                covariances[gaussian] += (rows * share[:, None]).T @ rows
    return FullStats(occupancy, means, covariances, total, count)
