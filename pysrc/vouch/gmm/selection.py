"""Gaussian selection: the best Gaussians of every frame under a mixture.

Source: Kaldi's gmm/diag-gmm and gmm/full-gmm (GaussianSelection), and its tools gmm-gselect and fgmm-gselect.
"""

from __future__ import annotations

import numpy as np

from vouch.gmm import diagonal, full
from vouch.gmm.models import DiagGmm, FullGmm
from vouch.gmm.ragged import check_likelihoods, check_selection, frames_of_pairs, log_sum_exp, softmax


def select(
    gmm: DiagGmm | FullGmm | full.Scorer,
    features: np.ndarray,
    best: int,
    among: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `best` Gaussians of every frame, best first, as gmm-gselect; of equally good ones the later comes first.

    among: a selection to choose from. Of a full-covariance mixture give the `full.scorer`, when this is called for many
    features. Returns (offsets `(T + 1,)`, indices `(N,)` int32, log of the summed likelihoods
    of the chosen Gaussians `(T,)`). Raises VouchError on a frame without a finite likelihood.
    """
    kind = diagonal if isinstance(gmm, DiagGmm) else full
    model = gmm if kind is diagonal else full.scorer(gmm)
    kind.check_dim(model, features)
    gaussians = len(model[0])
    if among is not None:
        check_selection(among, len(features), gaussians)
        return _best_of(kind.selected_log_likelihoods(model, features, among), best, among)
    best = min(best, gaussians)
    indices = np.empty((len(features), best), dtype=np.int32)
    totals = np.empty(len(features))
    for start, part in diagonal.frame_blocks(features, gaussians):
        scores = kind.log_likelihoods(model, part)
        chosen = _best_columns(scores, best)
        indices[start : start + len(part)] = chosen
        totals[start : start + len(part)] = log_sum_exp(np.take_along_axis(scores, chosen, axis=1))
        check_likelihoods(totals[start : start + len(part)], start)
    return np.arange(len(features) + 1) * best, indices.reshape(-1), totals


def _best_columns(scores: np.ndarray, best: int) -> np.ndarray:
    """Columns of the `best` greatest of each row `(T, best)`, greatest first, the later column first among equals.

    The doubles are turned into integers of the same order, whose last bits (of 52; a relative 1e-12) are replaced by
    the column: one partition of plain integers then gives values, order and columns.
    """
    columns = scores.shape[1]
    bits = max(1, (columns - 1).bit_length())
    keys = (scores + 0.0).view(np.int64)  # + 0.0: a copy, without −0
    keys ^= (keys >> 63) & np.int64(0x7FFF_FFFF_FFFF_FFFF)
    keys &= np.int64(-1 << bits)
    keys |= np.arange(columns)
    if best < columns:
        keys.partition(columns - best, axis=1)
        keys = keys[:, columns - best :]
    return np.sort(keys, axis=1)[:, ::-1] & np.int64((1 << bits) - 1)


def _best_of(
    scores: np.ndarray, best: int, among: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `select` gives, by the scores `(N,)` of the pairs of a selection."""
    offsets, indices = np.asarray(among[0]), np.asarray(among[1])
    frames = frames_of_pairs(offsets)
    order = np.lexsort((-indices, -scores, frames))
    order = order[np.arange(len(order)) - offsets[frames] < best]
    chosen = np.concatenate([[0], np.cumsum(np.minimum(np.diff(offsets), best))]).astype(np.int64)
    totals = softmax(scores[order], chosen)[1]
    check_likelihoods(totals, 0)
    return chosen, indices[order].astype(np.int32), totals
