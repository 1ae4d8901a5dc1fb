"""The variances of the i-vector extractor's M-step (Kaldi, UpdateVariances)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from vouch.errors import VouchError
from vouch.gmm import packed
from vouch.gmm.extractor import ExtractorStats, IvectorExtractor, Note, log_dets


def update_variances(
    extractor: IvectorExtractor, stats: ExtractorStats, floor_factor: float, min_count: float, shown: int
) -> tuple[IvectorExtractor, float, list[Note]]:
    """(model with new covariances, improvement per frame, what there is to say).

    floor_factor: least variance, relative to the average covariance; Gaussians under min_count stay as they are; of the
    first `shown` the own improvement is told. Raises VouchError where no Gaussian has the count, or nothing varies.
    """
    updated = np.flatnonzero(stats.occupancy >= min_count)
    if not len(updated):
        raise VouchError(
            f"no Gaussian has a count of {min_count:g}: more data, fewer Gaussians, or a lower --gaussian-min-count"
        )
    counts = stats.occupancy[updated]
    sums = np.stack([_residual_scatter(extractor, stats, i) for i in updated])
    covars = sums / counts[:, None, None]
    factor, notes = _floor_factor(sums.sum(axis=0) * (floor_factor / counts.sum()))
    floored, numbers = _floor(covars, factor)
    new, old = np.linalg.inv(floored), extractor.inv_covars[updated]
    new = (new + new.transpose(0, 2, 1)) / 2
    gains = -0.5 * (np.einsum("gij,gij->g", covars, new - old) - log_dets(new) + log_dets(old))
    for i, number, gain in zip(updated.tolist(), numbers.tolist(), gains.tolist(), strict=True):
        if number:
            notes.append(Note("log", f"For Gaussian index {i}, floored {number} eigenvalues of variance."))
        if i < shown:
            notes.append(Note("detail", f"Objf impr/frame for variance for Gaussian index {i} was {gain:.6g}"))
    percent = numbers.sum() * 100.0 / (extractor.num_gauss * extractor.dim)
    notes.append(Note("log", f"Floored {percent:.6g}% of all Gaussian eigenvalues"))
    frames = float(stats.occupancy.sum())
    gain = float(counts @ gains) / frames
    notes.append(Note("log", f"Overall objf impr/frame for variances was {gain:.6g} over {frames:.6g} frames."))
    inv_covars = extractor.inv_covars.copy()
    inv_covars[updated] = new
    return extractor._replace(inv_covars=inv_covars), gain, notes


def _residual_scatter(extractor: IvectorExtractor, stats: ExtractorStats, i: int) -> np.ndarray:
    """S_i - Y_i M_iᵀ - M_i Y_iᵀ + M_i R_i M_iᵀ `(D, D)`: the scatter around the means that i-vectors give."""
    projection = extractor.projections[i]
    cross = stats.linear[i] @ projection.T
    explained = projection @ packed.unpack(stats.quadratic[i]) @ projection.T
    full = stats.scatter[i] - cross - cross.T + explained
    return (full + full.T) / 2


def _floor_factor(floor: np.ndarray) -> tuple[np.ndarray, list[Note]]:
    """(Cholesky factor `(D, D)` of the floor with its eigenvalues at least the largest / 10,000, notes)."""
    values, vectors = np.linalg.eigh(floor)
    least = np.abs(values).max() * 1e-4
    low = int((values < least).sum())
    notes = []
    if low:
        text = f"Floored {low} eigenvalues of the variance floor matrix. This is not expected."
        notes.append(Note("warn", f"{text} Maybe your feature data is linearly dependent."))
        floor = (vectors * np.maximum(values, least)) @ vectors.T
    try:
        return np.linalg.cholesky(floor), notes
    except np.linalg.LinAlgError:
        raise VouchError("the features have no variance at all; look at the step that made them") from None


def _floor(covars: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(covars `(N, D, D)` with nowhere less variance than L Lᵀ, raised directions of each `(N,)`); L: factor `(D, D)`.

    Kaldi's SpMatrix::ApplyFloor(C): the eigenvalues of L⁻¹ S L⁻ᵀ are raised to 1.
    """
    inverse = solve_triangular(factor, np.eye(len(factor)), lower=True)
    values, vectors = np.linalg.eigh(inverse @ covars @ inverse.T)
    raised = (vectors * np.maximum(values, 1.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    return factor @ raised @ factor.T, (values < 1.0).sum(axis=1)
