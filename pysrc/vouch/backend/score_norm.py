"""Adaptive symmetric score normalisation by a cohort of other speakers.

Source: Matejka et al., Analysis of score normalization in multilingual speaker recognition, Interspeech 2017, adaptive
s-norm with the top cohort chosen for either side by itself.
"""

from __future__ import annotations

import numpy as np

from vouch.backend.plda import Plda

_BLOCK_VALUES = 1 << 22  # cohort scores in memory at once
_FLAT = 1e-9  # a standard deviation of this share of the scores' size is rounding


def cohort_statistics(vectors: np.ndarray, cohort: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean `(vectors,)`, standard deviation `(vectors,)`) of each vector's `top` highest scores with the cohort.

    A score is the dot product of a row of `vectors` `(vectors, dims)` with one of `cohort` `(cohort, dims)`: the cosine
    of vectors of length 1, or PLDA's score of plda_model_factors and plda_test_factors. All cohort scores are taken
    where there are not more than `top`; the variance is divided by their number. Works in blocks of about 4 million
    cohort scores, in float64. Raises ValueError with the row of a vector whose highest scores are all equal.
    """
    means, spreads = np.empty(len(vectors)), np.empty(len(vectors))
    columns = np.ascontiguousarray(cohort.T, dtype=np.float64)
    top = min(top, len(cohort))
    step = max(1, _BLOCK_VALUES // len(cohort))
    for first in range(0, len(vectors), step):
        block = slice(first, first + step)
        scores = vectors[block].astype(np.float64) @ columns
        scores.partition(len(cohort) - top, axis=1)
        highest = scores[:, -top:]
        means[block], spreads[block] = highest.mean(axis=1), highest.std(axis=1)
        flat = np.flatnonzero(spreads[block] <= _FLAT * np.abs(highest).max(axis=1))
        if len(flat):
            raise ValueError(first + int(flat[0]))
    return means, spreads


def plda_model_factors(plda: Plda, models: np.ndarray, num_examples: np.ndarray) -> np.ndarray:
    """Rows `(models, 2 dims + 1)` of transformed enrollment vectors `(models, dims)`, each the mean of num_examples
    `(models,)`, whose dot products with plda_test_factors are the log likelihood ratios."""
    weights, biases = plda.enrollment_terms(models.astype(np.float64), num_examples)
    return np.hstack([weights, biases[:, None]])


def plda_test_factors(plda: Plda, tests: np.ndarray) -> np.ndarray:
    """Rows `(tests, 2 dims + 1)` of transformed test vectors `(tests, dims)`, see plda_model_factors."""
    return np.hstack([plda.test_terms(tests.astype(np.float64)), np.ones((len(tests), 1))])


def normalise(
    scores: np.ndarray, enrollment: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """((s - mean_e) / sd_e + (s - mean_t) / sd_t) / 2 of scores `(trials,)`; `enrollment` and `test` are mean and
    standard deviation `(trials,)` of the cohort scores of each trial's model and test vector."""
    return ((scores - enrollment[0]) / enrollment[1] + (scores - test[0]) / test[1]) / 2
