"""The last part of the extractor's M-step: a new i-vector space in which the prior is N(offset e_0, I) again.

Kaldi, UpdatePrior and GetOrthogonalIvectorTransform: the space is whitened by the covariance of the training i-vectors,
reflected so that their mean lies on axis 0, and the other axes are turned so that the average quadratic term is
diagonal, the largest first. Only the signs of these axes depend on the eigenvectors' signs, which
`vouch.gmm.symmetric_qr` finds as Kaldi does.
"""

from __future__ import annotations

import numpy as np

from vouch.errors import VouchError
from vouch.gmm.extractor import ExtractorStats, IvectorExtractor, Note
from vouch.gmm.symmetric_qr import eigen, eigen_sorted

_LEAST = 1e-7  # eigenvalues of the covariance of i-vectors are raised to it


def update_prior(
    extractor: IvectorExtractor, stats: ExtractorStats, diagonalize: bool = True
) -> tuple[IvectorExtractor, float, list[Note]]:
    """(the model in the new space, improvement of the objective function per frame, notes).

    Raises VouchError where the i-vectors' covariance is not positive definite.
    """
    mean = stats.ivector_sum / stats.num_ivectors
    covar = stats.ivector_scatter / stats.num_ivectors - np.outer(mean, mean)
    transform, notes = _whitening(covar)
    transform = _reflection(transform @ mean) @ transform
    if diagonalize and len(mean) > 1:
        turn, eigenvalues = _orthogonal_turn(extractor, transform[1:, 1:])
        transform[1:] = turn @ transform[1:]
        notes.append(Note("log", f"Eigenvalues of Vavg: [ {' '.join(f'{value:.6g}' for value in eigenvalues)} ]"))
    improvement, text = _improvement(extractor.prior_offset, mean, covar, stats)
    offset = float((transform @ mean)[0])
    notes += [Note("log", text), Note("log", f"Setting iVector prior offset to {offset:.6g}")]
    return _transformed(extractor, np.linalg.inv(transform), offset), improvement, notes


def _whitening(covar: np.ndarray) -> tuple[np.ndarray, list[Note]]:
    """T `(R, R)` such that T covar Tᵀ = I, and the notes."""
    try:
        values, vectors = eigen(covar)
    except np.linalg.LinAlgError as error:
        raise VouchError(
            f"the covariance of the i-vectors has no eigenvectors: {error}; make the statistics again"
        ) from None
    notes = [Note("log", f"Eigenvalues of iVector covariance range from {values.min():.6g} to {values.max():.6g}")]
    floored = int((values < _LEAST).sum())
    if floored:
        notes.append(Note("warn", f"Floored {floored} eigenvalues of covar of iVectors."))
    return vectors.T / np.sqrt(np.maximum(values, _LEAST))[:, None], notes


def _reflection(vector: np.ndarray) -> np.ndarray:
    """The Householder reflection `(R, R)` that sends the vector to the positive axis 0."""
    size = len(vector)
    normal = vector / np.linalg.norm(vector)
    normal[0] -= 1.0
    length = np.linalg.norm(normal)
    if length == 0.0:  # it lies there already
        return np.eye(size)
    normal /= length
    return np.eye(size) - 2.0 * np.outer(normal, normal)


def _orthogonal_turn(extractor: IvectorExtractor, transform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rotation to the eigenvectors of the average M_iᵀ SigmaInv_i M_i in the new space, their eigenvalues).

    transform `(R - 1, R - 1)`: the one so far, of all axes but the first.
    """
    if extractor.has_weight_projections:
        weights = np.full(extractor.num_gauss, 1.0 / extractor.num_gauss)
    else:
        weights = extractor.weights
    average = np.zeros((extractor.ivector_dim, extractor.ivector_dim))
    for weight, projection, inv_covar in zip(weights, extractor.projections, extractor.inv_covars, strict=True):
        average += weight * (projection.T @ (inv_covar @ projection))
    inverse = np.linalg.inv(transform)
    turned = inverse.T @ average[1:, 1:] @ inverse
    eigenvalues, vectors = eigen_sorted((turned + turned.T) / 2)
    return vectors.T, eigenvalues


def _improvement(offset: float, mean: np.ndarray, covar: np.ndarray, stats: ExtractorStats) -> tuple[float, str]:
    """The gain per frame from modelling the i-vectors by their own mean and covariance, not the old prior's."""
    sign, log_det = np.linalg.slogdet(covar)
    if sign <= 0:
        raise VouchError("the covariance of the i-vectors is not positive definite; make the statistics again")
    beside = mean.copy()
    beside[0] -= offset
    old = -0.5 * (np.trace(covar) + beside @ beside)
    new = -0.5 * (len(mean) + log_det)
    gain = float(new - old)
    per_frame = gain * stats.num_ivectors / float(stats.occupancy.sum())
    return per_frame, f"Overall auxf improvement from prior is {per_frame:.6g} per frame, or {gain:.6g} per iVector."


def _transformed(extractor: IvectorExtractor, inverse: np.ndarray, offset: float) -> IvectorExtractor:
    """The same model of i-vectors that a transform with this inverse `(R, R)` was applied to."""
    projections = np.empty_like(extractor.projections)
    for i, projection in enumerate(extractor.projections):
        projections[i] = projection @ inverse
    weights = extractor.weight_projections
    if extractor.has_weight_projections:
        weights = weights @ inverse
    return extractor._replace(weight_projections=weights, projections=projections, prior_offset=offset)
