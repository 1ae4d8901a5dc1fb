"""The score of one trial: a few enrollment embeddings against one test embedding, as steps/score.sh scores a list."""

from __future__ import annotations

import numpy as np

from vouch.backend.plda import Plda
from vouch.errors import VouchError


def cosine_score(enrollment: np.ndarray, test: np.ndarray, mean: np.ndarray) -> float:
    """Cosine of the mean of enrollment `(utterances, dims)` and test `(dims,)`, both less `mean` `(dims,)`.

    Raises VouchError when one of them equals the mean.
    """
    model, test = enrollment.astype(np.float64).mean(axis=0) - mean, test.astype(np.float64) - mean
    return float(_scaled(model, 1.0) @ _scaled(test, 1.0))


def plda_score(enrollment: np.ndarray, test: np.ndarray, mean: np.ndarray, lda: np.ndarray, plda: Plda) -> float:
    """PLDA log likelihood ratio of the mean of enrollment `(utterances, dims)` and test `(dims,)`, both centred on
    `mean` `(dims,)`, transformed by lda `(plda.dim, dims or dims + 1)`, whose last column is then an offset, and
    normalised in length.

    Raises VouchError when one of them equals the mean.
    """
    vectors = np.stack([enrollment.astype(np.float64).mean(axis=0), test.astype(np.float64)]) - mean
    projected = vectors @ lda[:, : vectors.shape[1]].T + (lda[:, -1] if lda.shape[1] > vectors.shape[1] else 0.0)
    unit = np.stack([_scaled(vector, np.sqrt(len(vector))) for vector in projected])
    model = plda.transform_vectors(unit[:1], len(enrollment))
    return float(plda.log_likelihood_ratio(model, len(enrollment), plda.transform_vectors(unit[1:]))[0, 0])


def _scaled(vector: np.ndarray, length: float) -> np.ndarray:
    norm = np.linalg.norm(vector)
    if not norm:
        raise VouchError("an embedding equals the mean and has no direction to score; is the recording empty?")
    return vector * (length / norm)
