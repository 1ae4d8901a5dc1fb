"""Weights that depend on the i-vector: the softmax of w x (Kaldi's --use-weights=true).

Their log likelihood is not quadratic in x; it is replaced by a quadratic lower one around a point, with the safety term
max(gamma_i, gamma w_i) (Povey et al., The subspace Gaussian mixture model, 2011, equation 58).
"""

from __future__ import annotations

import numpy as np

from vouch.gmm import packed


def coefficients(projections: np.ndarray, zeroth: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(linear, quadratic) coefficients `(N, G)` of each w_i x in the expansion around points `(N, R)`.

    projections: w `(G, R)`; zeroth: counts `(G,)` of one utterance.
    """
    scores = points @ projections.T
    expected = zeroth.sum() * np.exp(_log_softmax(scores))
    safe = np.maximum(zeroth, expected)
    return zeroth - expected + safe * scores, safe


def terms(projections: np.ndarray, zeroth: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the weights add to the (linear `(R,)`, packed quadratic `(P,)`) terms of an i-vector (around `(R,)`)."""
    linear, quadratic = coefficients(projections, zeroth, point[None])
    return projections.T @ linear[0], packed.pack((projections.T * quadratic[0]) @ projections)


def log_likelihoods(projections: np.ndarray, zeroth: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Log likelihood of the counts `(B, G)` under the weights at points `(B, R)`: `(B,)`."""
    return np.einsum("bg,bg->b", _log_softmax(points @ projections.T), zeroth)


def expected_log_likelihoods(
    projections: np.ndarray, zeroth: np.ndarray, means: np.ndarray, covars: np.ndarray
) -> np.ndarray:
    """The same over distributions of i-vectors, by a second-order term: `(B,)`.

    means `(B, R)`, covars `(B, P)`. The Jacobian has Kaldi's form w + p (wᵀ p)ᵀ with p the weights; it is part of a
    reported figure only.
    """
    answers = log_likelihoods(projections, zeroth, means)
    probabilities = np.exp(_log_softmax(means @ projections.T))
    for b, p in enumerate(probabilities):
        jacobian = projections + np.outer(p, p @ projections)
        curvature = packed.pack((jacobian.T * zeroth[b]) @ jacobian)
        answers[b] -= 0.5 * packed.trace_products(curvature, covars[b])
    return answers


def sample(mean: np.ndarray, covar: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`(count, R)` i-vectors of N(mean `(R,)`, packed covar `(P,)`), moved so that their mean is exact; count > 1."""
    factor = np.linalg.cholesky(packed.unpack(covar))
    points = rng.standard_normal((count, len(mean))) @ factor.T
    points -= points.mean(axis=0)
    return mean + points * np.sqrt(count / (count - 1.0))


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
