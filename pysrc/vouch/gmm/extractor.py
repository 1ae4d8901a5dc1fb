"""The i-vector extractor: supervector means M_i x, where x has the prior N(prior_offset e_0, I).

Kaldi's model and formulas (ivector/ivector-extractor.cc, in the notation of subspace GMMs): the mean of Gaussian i is
M_i x, its inverse covariance SigmaInv_i; the first axis of x carries the offset of the means. The weights are the
UBM's, or the softmax of w x (`vouch.gmm.extractor_weights`). G Gaussians, D feature dimensions, R i-vector dimensions,
P = R (R + 1) / 2 values of a packed symmetric matrix (`vouch.gmm.packed`), B utterances.

Memory, in values of 8 bytes: the model G D (R + D), `Derived` another G (P + D R), the statistics G (P + D R + D D).
For 2,048 Gaussians, 60 dimensions and 600-dimensional i-vectors these are 0.65, 3.5 and 3.6 GB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from vouch.errors import VouchError
from vouch.gmm import extractor_weights, packed

PRIOR_OFFSET = 100.0  # at the start, as Kaldi's
_REMAKE = "make features and posteriors again, or train the extractor again"


class IvectorExtractor(NamedTuple):
    """The model, float64, in the order of Kaldi's file."""

    weight_projections: np.ndarray  # w, (G, R); (0, 0) where the weights do not depend on the i-vector
    weights: np.ndarray  # (G,), the UBM's; (0,) where they do
    projections: np.ndarray  # M, (G, D, R)
    inv_covars: np.ndarray  # SigmaInv, (G, D, D)
    prior_offset: float

    @property
    def num_gauss(self) -> int:
        return self.projections.shape[0]

    @property
    def dim(self) -> int:
        return self.projections.shape[1]

    @property
    def ivector_dim(self) -> int:
        return self.projections.shape[2]

    @property
    def has_weight_projections(self) -> bool:
        return bool(self.weight_projections.size)


@dataclass
class ExtractorStats:
    """Additive statistics, float64, in the order of Kaldi's file; iterating gives the ten values."""

    auxf: float
    occupancy: np.ndarray  # gamma, (G,): summed posteriors
    linear: np.ndarray  # Y, (G, D, R): sum of first-order statistics times mean i-vectors
    quadratic: np.ndarray  # R, (G, P): counts times second moments of the i-vectors, packed
    weight_quadratic: np.ndarray  # Q, (G, P), for the weight projections; (0, 0) without them
    weight_linear: np.ndarray  # G, (G, R); (0, 0)
    scatter: np.ndarray  # S, (G, D, D): second-order statistics of the features; (0, 0, 0) without variances
    num_ivectors: float
    ivector_sum: np.ndarray  # (R,)
    ivector_scatter: np.ndarray  # (R, R)

    @classmethod
    def zeros(cls, extractor: IvectorExtractor, update_variances: bool = True) -> ExtractorStats:
        """Nothing seen yet."""
        count, dim, rank = extractor.projections.shape
        size = rank * (rank + 1) // 2
        weighted = extractor.has_weight_projections
        return cls(
            auxf=0.0,
            occupancy=np.zeros(count),
            linear=np.zeros((count, dim, rank)),
            quadratic=np.zeros((count, size)),
            weight_quadratic=np.zeros((count, size) if weighted else (0, 0)),
            weight_linear=np.zeros((count, rank) if weighted else (0, 0)),
            scatter=np.zeros((count, dim, dim) if update_variances else (0, 0, 0)),
            num_ivectors=0.0,
            ivector_sum=np.zeros(rank),
            ivector_scatter=np.zeros((rank, rank)),
        )

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, field.name) for field in fields(self))


class Note(NamedTuple):
    """Something to say in the log of a training step; kind: "log", "warn", or "detail" (Kaldi's --verbose=1)."""

    kind: str
    text: str


class Derived(NamedTuple):
    """What every E-step needs of a model."""

    gconsts: np.ndarray  # (G,): -0.5 (log det Sigma_i + D log 2 pi)
    quadratic: np.ndarray  # U, (G, P): M_iᵀ SigmaInv_i M_i, packed
    linear: np.ndarray  # SigmaInv_i M_i, (G, D, R)


class Ivectors(NamedTuple):
    """Distributions of i-vectors, and the terms of the data in their logarithm: x·linear - 0.5 xᵀ quadratic x."""

    means: np.ndarray  # (B, R)
    covars: np.ndarray | None  # (B, P), packed
    log_dets: np.ndarray | None  # (B,), of the covariances
    linear: np.ndarray  # (B, R), of the Gaussian means only: without prior and weights
    quadratic: np.ndarray  # (B, P), likewise


def init(
    weights: np.ndarray,
    means_invcovars: np.ndarray,
    inv_covars: np.ndarray,
    ivector_dim: int,
    use_weights: bool,
    rng: np.random.Generator,
) -> IvectorExtractor:
    """A start from a full-covariance UBM (Kaldi, ivector-extractor-init).

    weights `(G,)`, precision times mean `(G, D)`, precisions `(G, D, D)`. Column 0 of M_i is the mean over the prior
    offset, the others are standard normal numbers. use_weights: regress the log weights on the i-vector, from zero.
    Raises VouchError where ivector_dim is not at least 1, and where a precision is singular.
    """
    if ivector_dim < 1:
        raise VouchError(f"--ivector-dim={ivector_dim}: want 1 or more")
    log_dets(inv_covars)
    means = np.linalg.solve(inv_covars, means_invcovars[:, :, None])[:, :, 0]
    projections = rng.standard_normal((*means.shape, ivector_dim))
    projections[:, :, 0] = means / PRIOR_OFFSET
    return IvectorExtractor(
        weight_projections=np.zeros((len(means), ivector_dim) if use_weights else (0, 0)),
        weights=np.zeros(0) if use_weights else np.array(weights, np.float64),
        projections=projections,
        inv_covars=np.array(inv_covars, np.float64),
        prior_offset=PRIOR_OFFSET,
    )


def derive(extractor: IvectorExtractor) -> Derived:
    """The derived values of a model; raises VouchError where a covariance is not positive definite."""
    shape = extractor.projections.shape
    quadratic, linear = np.empty((shape[0], shape[2] * (shape[2] + 1) // 2)), np.empty(shape)
    for i, (projection, inv_covar) in enumerate(zip(extractor.projections, extractor.inv_covars, strict=True)):
        linear[i] = inv_covar @ projection
        quadratic[i] = packed.pack(projection.T @ linear[i])
    gconsts = 0.5 * (log_dets(extractor.inv_covars) - shape[1] * np.log(2 * np.pi))
    return Derived(gconsts, quadratic, linear)


def log_dets(inv_covars: np.ndarray) -> np.ndarray:
    """log det of each SigmaInv_i `(G,)`; raises VouchError naming the first Gaussian that is not positive definite."""
    try:
        factors = np.linalg.cholesky(inv_covars)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(inv_covars)[:, 0] if np.isfinite(inv_covars).all() else np.full(1, np.nan)
        raise VouchError(
            f"the covariance of Gaussian {int(np.argmin(least))} of the i-vector extractor is singular or not finite; "
            "train it from a UBM with fewer Gaussians or on more data"
        ) from None
    return 2 * np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)


def infer(
    extractor: IvectorExtractor,
    derived: Derived,
    zeroth: np.ndarray,
    first: np.ndarray,
    with_covars: bool = True,
) -> Ivectors:
    """The distributions of the i-vectors of B utterances (Kaldi, GetIvectorDistribution).

    zeroth `(B, G)`: summed posteriors; first `(B, G, D)`: frames times posteriors. Prior included: its unit matrix
    keeps every precision above 1 while no posterior is negative. Raises VouchError where one is not positive definite.
    """
    rank = extractor.ivector_dim
    linear = first.reshape(len(first), -1) @ derived.linear.reshape(-1, rank)
    quadratic = zeroth @ derived.quadratic
    means = np.empty_like(linear)
    covars = np.empty_like(quadratic) if with_covars else None
    dets = np.empty(len(linear)) if with_covars else None
    for b in range(len(linear)):
        total = linear[b].copy()
        total[0] += extractor.prior_offset
        solution = solve(quadratic[b], total, with_covars)
        if extractor.has_weight_projections:
            solution = _with_weights(extractor.weight_projections, quadratic[b], total, zeroth[b], solution)
        means[b] = solution[0]
        if with_covars:
            covars[b], dets[b] = solution[1:]
    if not (np.abs(means) <= np.finfo(np.float32).max).all():
        raise VouchError(f"an i-vector is too large for single precision or not a number: {_REMAKE}")
    return Ivectors(means, covars, dets, linear, quadratic)


def solve(
    quadratic: np.ndarray, linear: np.ndarray, with_covar: bool = True
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """(mean `(R,)`, packed covariance `(P,)`, its log det) of exp(x·linear - 0.5 xᵀ (quadratic + I) x).

    quadratic: packed `(P,)`. Raises VouchError where the sum with the unit matrix is not positive definite.
    """
    rank = len(linear)
    rows, columns = packed.triangle(rank)
    precision = np.zeros((rank, rank))
    precision[rows, columns] = quadratic
    precision.flat[:: rank + 1] += 1.0
    factor, failed = dpotrf(precision.T, lower=0, clean=0, overwrite_a=1)  # a lower triangle by rows is LAPACK's upper
    if failed:
        raise VouchError(
            "the precision of an i-vector is not positive definite; a posterior is negative without bound, or a number "
            f"is damaged: {_REMAKE}"
        )
    mean = dpotrs(factor, linear, lower=0)[0]
    log_det = -2.0 * float(np.log(np.diagonal(factor)).sum())
    covar = dpotri(factor, lower=0, overwrite_c=1)[0].T[rows, columns] if with_covar else None
    return mean, covar, log_det


def _with_weights(
    projections: np.ndarray,
    quadratic: np.ndarray,
    linear: np.ndarray,
    zeroth: np.ndarray,
    solution: tuple[np.ndarray, np.ndarray | None, float],
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """The same with the terms of the weights, expanded around the mean, up to four times (Kaldi's loop)."""
    for _ in range(4):
        previous = solution[0]
        extra_linear, extra_quadratic = extractor_weights.terms(projections, zeroth, previous)
        solution = solve(quadratic + extra_quadratic, linear + extra_linear, solution[1] is not None)
        if np.linalg.norm(previous - solution[0]) < 0.1:
            break
    return solution


def auxf_changes(extractor: IvectorExtractor, zeroth: np.ndarray, ivectors: Ivectors) -> np.ndarray:
    """The auxiliary function of each i-vector's mean less that of the prior's mean `(B,)` (Kaldi, GetAuxf twice)."""
    default = np.zeros_like(ivectors.means)
    default[:, 0] = extractor.prior_offset
    return _point_auxf(extractor, zeroth, ivectors, ivectors.means) - _point_auxf(extractor, zeroth, ivectors, default)


def _point_auxf(extractor: IvectorExtractor, zeroth: np.ndarray, ivectors: Ivectors, points: np.ndarray) -> np.ndarray:
    """Auxiliary function at points `(B, R)`, without the terms that do not depend on the point."""
    data = np.einsum("br,br->b", points, ivectors.linear)
    data -= 0.5 * packed.trace_products(packed.outer_products(points), ivectors.quadratic)
    offset = points.copy()
    offset[:, 0] -= extractor.prior_offset
    auxf = data - 0.5 * np.einsum("br,br->b", offset, offset)
    if extractor.has_weight_projections:
        auxf += extractor_weights.log_likelihoods(extractor.weight_projections, zeroth, points)
    return auxf
