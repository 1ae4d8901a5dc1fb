"""Two-covariance PLDA: the model, its scores, smoothing and adaptation, as Kaldi's ivector/plda."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vouch.backend.statistics import Moments
from vouch.errors import VouchError


def diagonalise(between: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (transform `(dims, dims)`, psi `(dims,)`, largest first): transform makes `within` the unit matrix and
    `between` diag(psi). Negative psi, which only rounding gives, become 0.

    Raises VouchError when `within` is singular.
    """
    try:
        root = np.linalg.inv(np.linalg.cholesky((within + within.T) / 2))
        whitened = root @ between @ root.T
        psi, axes = np.linalg.eigh((whitened + whitened.T) / 2)
    except np.linalg.LinAlgError as error:
        raise VouchError(
            "the within-speaker covariance is singular: give PLDA more speakers with several utterances, or "
            f"reduce the dimension with LDA first ({error})"
        ) from None
    return axes.T[::-1] @ root, np.maximum(psi[::-1], 0.0)


@dataclass(frozen=True)
class Plda:
    """A PLDA model (Ioffe, Probabilistic Linear Discriminant Analysis, ECCV 2006).

    mean `(dims,)`; transform `(dims, dims)`: makes the within-speaker covariance of x - mean the unit matrix and the
    between-speaker covariance diag(psi); psi `(dims,)`.
    Raises VouchError when the shapes do not fit or a value is not finite.
    """

    mean: np.ndarray
    transform: np.ndarray
    psi: np.ndarray

    def __post_init__(self) -> None:
        dims = len(self.mean)
        if self.transform.shape != (dims, dims) or self.psi.shape != (dims,):
            raise VouchError(
                f"a PLDA model of mean {self.mean.shape}, transform {self.transform.shape} and psi "
                f"{self.psi.shape} does not fit together: train it again"
            )
        if not all(np.isfinite(part).all() for part in (self.mean, self.transform, self.psi)):
            raise VouchError("a PLDA model with NaN or infinite values: train it again on clean vectors")

    @property
    def dim(self) -> int:
        return len(self.mean)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Centre and transform `(vectors, dims)`, without length normalisation.

        Raises VouchError when the dimension is not the model's.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise VouchError(
                f"vectors of shape {vectors.shape} for a PLDA model of dimension {self.dim}: apply the same "
                "LDA and centring to these vectors as to the PLDA's training vectors"
            )
        return (vectors - self.mean) @ self.transform.T

    def length_scale(
        self, projected: np.ndarray, num_examples: int | np.ndarray = 1, simple: bool = False
    ) -> np.ndarray:
        """Factors `(vectors,)` that normalise the length of `projected` `(vectors, dims)`.

        sqrt(D / sum y^2 / (psi + 1/n)), n being the number of utterances averaged in the vector (`num_examples`, one
        number or `(vectors,)`); with `simple`, sqrt(D) / |y|. A zero vector has the factor infinity.
        """
        if simple:
            power = np.sum(projected**2, axis=1)
        else:
            counts = np.broadcast_to(np.asarray(num_examples, dtype=np.float64), len(projected))
            power = np.sum(projected**2 / (self.psi + 1 / counts[:, None]), axis=1)
        with np.errstate(divide="ignore"):
            return np.sqrt(self.dim / power)

    def transform_vectors(
        self,
        vectors: np.ndarray,
        num_examples: int | np.ndarray = 1,
        normalize_length: bool = True,
        simple: bool = False,
    ) -> np.ndarray:
        """Project `(vectors, dims)` and, unless told otherwise, normalise their length.

        Raises VouchError on another dimension, or when a vector that equals the mean is to be normalised.
        """
        projected = self.project(vectors)
        if not normalize_length:
            return projected
        scale = self.length_scale(projected, num_examples, simple)
        if not np.isfinite(scale).all():
            row = int(np.argmin(np.isfinite(scale)))
            raise VouchError(f"vector {row} equals the PLDA mean and has no length to normalise: remove it")
        return projected * scale[:, None]

    def enrollment_terms(
        self, enrollment: np.ndarray, num_examples: int | np.ndarray = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (weights `(models, 2 dims)`, biases `(models,)`) of transformed enrollment vectors.

        The log likelihood ratio of a model and a test is weights . test_terms + bias: the quadratic form of
        log_likelihood_ratio multiplied out, so that many trials are one matrix product.
        """
        counts = np.broadcast_to(np.asarray(num_examples, dtype=np.float64), len(enrollment))[:, None]
        gain = counts * self.psi / (counts * self.psi + 1)
        variance = 1 + self.psi / (counts * self.psi + 1)
        total = 1 + self.psi
        mean = gain * enrollment
        weights = np.hstack([mean / variance, 0.5 * (1 / total - 1 / variance)])
        biases = -0.5 * np.sum(np.log(variance / total) + mean**2 / variance, axis=1)
        return weights, biases

    @staticmethod
    def test_terms(test: np.ndarray) -> np.ndarray:
        """The `(tests, 2 dims)` counterpart of enrollment_terms: [y, y^2]."""
        return np.hstack([test, test**2])

    def log_likelihood_ratio(
        self, enrollment: np.ndarray, num_examples: int | np.ndarray, test: np.ndarray
    ) -> np.ndarray:
        """Scores `(models, tests)` of transformed enrollment `(models, dims)` and test `(tests, dims)` vectors.

        log N(y; n psi/(n psi + 1) x, 1 + psi/(n psi + 1)) - log N(y; 0, 1 + psi), x being the mean of the n
        transformed enrollment vectors (Ioffe 2006, between equations 4 and 5).
        """
        weights, biases = self.enrollment_terms(enrollment, num_examples)
        return weights @ self.test_terms(test).T + biases[:, None]

    def smooth(self, factor: float) -> Plda:
        """Add `factor` times the between-speaker to the within-speaker covariance (ivector-copy-plda --smoothing).

        Raises VouchError when `factor` is not in [0, 1].
        """
        if not 0 <= factor <= 1:
            raise VouchError(f"a smoothing factor of {factor:g}: it must be from 0 to 1")
        within = 1 + factor * self.psi
        return Plda(self.mean, self.transform / np.sqrt(within)[:, None], self.psi / within)

    def adapt(
        self,
        moments: Moments,
        within_covar_scale: float = 0.3,
        between_covar_scale: float = 0.7,
        mean_diff_scale: float = 1.0,
    ) -> Plda:
        """Adapt to the moments of unlabelled vectors of another domain (Kaldi ivector-adapt-plda).

        The mean becomes theirs. In the directions in which their covariance (plus mean_diff_scale times the outer
        product of the difference of the means) exceeds the model's total covariance, the excess is added, the given
        parts of it to the within- and the between-speaker covariance.
        Raises VouchError without vectors, or on another dimension or a negative scale.
        """
        if not moments.count:
            raise VouchError("no vectors to adapt PLDA to: check the adaptation table")
        if len(moments.origin) != self.dim:
            raise VouchError(
                f"adaptation vectors of dimension {len(moments.origin)} for a PLDA model of {self.dim}: "
                "apply the LDA of the PLDA's training vectors to them"
            )
        if min(within_covar_scale, between_covar_scale, mean_diff_scale) < 0:
            raise VouchError("a negative scale for PLDA adaptation: all three scales must be 0 or more")
        difference = moments.mean - self.mean
        covariance = moments.covariance + mean_diff_scale * np.outer(difference, difference)
        to_unit_total = self.transform / np.sqrt(1 + self.psi)[:, None]
        variances, axes = np.linalg.eigh(to_unit_total @ covariance @ to_unit_total.T)
        excess = np.diag(np.maximum(variances - 1, 0.0))
        within = axes.T @ (axes / (1 + self.psi)[:, None]) + within_covar_scale * excess
        between = axes.T @ (axes * (self.psi / (1 + self.psi))[:, None]) + between_covar_scale * excess
        rotation, psi = diagonalise(between, within)
        return Plda(moments.mean, rotation @ axes.T @ to_unit_total, psi)
