"""Gaussian mixtures with diagonal covariances: likelihoods, statistics, and (from diagonal_update) their update.

Source: Kaldi's gmm/diag-gmm and gmm/mle-diag-gmm, and its tools gmm-global-acc-stats, gmm-global-get-frame-likes.
`T` frames, `D` dims, `G` Gaussians. Everything is float64; features may be float32. Memory stays bounded whatever `T`
is, but for results that have a row for every frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vouch.errors import VouchError
from vouch.gmm.diagonal_update import EstimateOptions, estimate, gconsts, make, objective, remove, split
from vouch.gmm.models import DiagGmm, DiagStats, FullGmm
from vouch.gmm.ragged import check_likelihoods, log_sum_exp, selected_blocks, softmax

__all__ = [
    "DiagGmm",
    "DiagStats",
    "EstimateOptions",
    "accumulate",
    "check_dim",
    "estimate",
    "frame_blocks",
    "frame_log_likelihoods",
    "gconsts",
    "log_likelihoods",
    "make",
    "objective",
    "remove",
    "selected_log_likelihoods",
    "split",
    "to_full",
]

_PAIRS = 1 << 18  # (frame, Gaussian) pairs worked on at once
_VALUES = 1 << 18  # log likelihoods worked on at once, without a selection: few enough to stay in the cache
_LEAST_FRAMES = 512
_GATHERED = 4096  # parameter rows copied at once


def to_full(gmm: DiagGmm) -> FullGmm:
    """The same model as a full-covariance one (Kaldi, gmm-global-to-fgmm)."""
    dims = np.arange(gmm.inv_vars.shape[1])
    inv_covars = np.zeros((*gmm.inv_vars.shape, len(dims)))
    inv_covars[:, dims, dims] = gmm.inv_vars
    constants = gconsts(gmm.weights, gmm.means_invvars, gmm.inv_vars)
    return FullGmm(gmm.weights.copy(), constants, gmm.means_invvars.copy(), inv_covars)


def log_likelihoods(gmm: DiagGmm, features: np.ndarray) -> np.ndarray:
    """Log of weight · density of every frame under every Gaussian, `(T, G)`."""
    frames = np.asarray(features, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # infinity in a frame gives NaN, which is looked for later
        result = frames @ gmm.means_invvars.T
        result += gmm.gconsts
        result -= frames**2 @ (0.5 * gmm.inv_vars.T)
    return result


def selected_log_likelihoods(
    gmm: DiagGmm, features: np.ndarray, selection: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Log of weight · density of each (frame, Gaussian) pair of a selection, `(N,)`.

    With Kaldi's slip: a list whose last index is as far from its first as if it counted upwards is taken to count
    upwards, whatever lies between. Of lists of 15 out of 32, best first, that is one in 60, and models trained by
    Kaldi's tools bear it: a diagonal UBM is 1e-2 away from the one without.
    """
    result = np.empty(len(selection[1]))
    done = 0
    parameters = np.concatenate([gmm.means_invvars, -0.5 * gmm.inv_vars], axis=1)
    for block in selected_blocks(features, selection, len(gmm.weights), _PAIRS):
        indices = _scored_indices(block.offsets, block.indices)
        scores = _scores_of_pairs(parameters, block.features, block.offsets, indices)
        result[done : done + len(scores)] = scores + gmm.gconsts[indices]
        done += len(scores)
    return result


def _scored_indices(offsets: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The Gaussian whose likelihood each pair gets `(N,)`; see `selected_log_likelihoods`."""
    counts = np.diff(offsets)
    first, last = indices[offsets[:-1]], indices[offsets[1:] - 1]
    counting = np.repeat(last - first == counts - 1, counts)
    upwards = np.repeat(first - offsets[:-1], counts) + np.arange(len(indices))
    return np.where(counting, upwards, indices)


def _scores_of_pairs(
    parameters: np.ndarray, features: np.ndarray, offsets: np.ndarray, indices: np.ndarray
) -> np.ndarray:
    """parameters[g] · (x, x²) of each pair `(N,)`; parameters `(G, 2 D)`. One small product for each frame."""
    counts = np.diff(offsets)
    widest = int(counts.max())
    filled = np.arange(widest) < counts[:, None]
    grid = np.zeros(filled.shape, dtype=np.int64)
    grid[filled] = indices
    extended = np.concatenate([features, features**2], axis=1)[:, :, None]
    scores = np.empty(filled.shape)
    step = max(1, _GATHERED // widest)
    for start in range(0, len(grid), step):
        part = slice(start, start + step)
        scores[part] = np.matmul(parameters[grid[part]], extended[part])[:, :, 0]
    return scores[filled]


def frame_log_likelihoods(
    gmm: DiagGmm, features: np.ndarray, selection: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Log likelihood of every frame `(T,)` under the mixture, or its selected Gaussians; NaN for a bad frame."""
    if selection is not None:
        scores = selected_log_likelihoods(gmm, features, selection)
        return softmax(scores, np.asarray(selection[0]))[1]
    result = np.empty(len(features))
    for start, part in frame_blocks(features, len(gmm.weights)):
        result[start : start + len(part)] = log_sum_exp(log_likelihoods(gmm, part))
    return result


def frame_blocks(features: np.ndarray, gaussians: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first frame, frames in float64) of blocks for which `(T, G)` arrays stay small."""
    size = max(_LEAST_FRAMES, _VALUES // gaussians)
    for start in range(0, len(features), size):
        yield start, np.asarray(features[start : start + size], dtype=np.float64)


def accumulate(
    gmm: DiagGmm,
    features: np.ndarray,
    selection: tuple[np.ndarray, np.ndarray] | None = None,
    frame_weights: np.ndarray | None = None,
) -> DiagStats:
    """E-step: statistics of frames `(T, D)`, each over all Gaussians or over those of the selection.

    selection: (offsets `(T + 1,)`, indices `(N,)`); frame_weights: `(T,)`, 1 each when None; frames of weight 0 are
    passed over. Raises VouchError on a frame without a finite likelihood or a selection that does not fit.
    """
    check_dim(gmm, features)
    gaussians, dim = gmm.inv_vars.shape
    occupancy, moments = np.zeros(gaussians), np.zeros((gaussians, 2 * dim))
    total, frames = 0.0, 0.0
    parts = _posteriors(gmm, features) if selection is None else _selected_posteriors(gmm, features, selection)
    for start, part, posteriors, likelihoods in parts:
        weights = np.ones(len(part)) if frame_weights is None else frame_weights[start : start + len(part)]
        used = np.flatnonzero(weights)
        if len(used) < len(part):
            part, posteriors, likelihoods = part[used], posteriors[used], likelihoods[used]
            weights = weights[used]
        check_likelihoods(likelihoods, start)
        extended = np.concatenate([part, part**2], axis=1)
        if frame_weights is not None:
            extended *= weights[:, None]
        occupancy += posteriors.T @ weights
        moments += posteriors.T @ extended
        total += float(weights @ likelihoods)
        frames += float(weights.sum())
    return DiagStats(occupancy, moments[:, :dim], moments[:, dim:], total, frames)


def _posteriors(gmm: DiagGmm, features: np.ndarray) -> Iterator[tuple]:
    """(first frame, features, posteriors `(T, G)`, log likelihoods `(T,)`) of blocks of frames."""
    for start, part in frame_blocks(features, len(gmm.weights)):
        scores = log_likelihoods(gmm, part)
        likelihoods = log_sum_exp(scores)
        with np.errstate(invalid="ignore"):
            scores -= likelihoods[:, None]
        yield start, part, np.exp(scores, out=scores), likelihoods


def _selected_posteriors(
    gmm: DiagGmm, features: np.ndarray, selection: tuple[np.ndarray, np.ndarray]
) -> Iterator[tuple]:
    """As `_posteriors`, the posteriors being a sparse matrix `(T, G)` of the selected Gaussians."""
    from scipy.sparse import csr_matrix

    gaussians = len(gmm.weights)
    for block in selected_blocks(features, selection, gaussians, _PAIRS):
        scores = selected_log_likelihoods(gmm, block.features, (block.offsets, block.indices))
        posteriors, likelihoods = softmax(scores, block.offsets)
        shape = (len(block.features), gaussians)
        yield block.start, block.features, csr_matrix((posteriors, block.indices, block.offsets), shape), likelihoods


def check_dim(gmm: DiagGmm, features: np.ndarray) -> None:
    """Raises VouchError when the frames have another dimension than the model."""
    dim = gmm.inv_vars.shape[1]
    if len(features) and features.shape[1] != dim:
        raise VouchError(f"the features have {features.shape[1]} dims, the model {dim}: take the model's own features")
