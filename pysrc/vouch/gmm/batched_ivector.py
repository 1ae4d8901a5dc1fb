"""E-step of an i-vector extractor, and i-vectors, of batches of utterances by torch, on the CPU or a GPU.

The statistics are those of `vouch.gmm.extractor` for an extractor whose weights do not depend on the i-vector, in
double precision; the M-step is shared with the tools. Source: Kaldi's ivector/ivector-extractor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vouch.errors import VouchError
from vouch.gmm.batched import FramePosteriors, by_gaussian
from vouch.gmm.extractor import ExtractorStats, IvectorExtractor

_ELEMENTS = {"cpu": 1 << 24, "cuda": 1 << 28}  # of the largest arrays of a batch of utterances


def batch_utterances(extractor_shape: tuple[int, int, int], device: torch.device) -> int:
    """How many utterances a batch may have; extractor_shape is (Gaussians, feature dims, i-vector dims)."""
    num_gauss, dim, ivector_dim = extractor_shape
    most = _ELEMENTS.get(device.type, _ELEMENTS["cpu"])
    return max(1, most // max(num_gauss * dim, 2 * ivector_dim * ivector_dim))


def utterance_statistics(
    features: np.ndarray, lengths: np.ndarray, posteriors: FramePosteriors, num_gauss: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Zeroth (utterances, Gaussians) and first-order (utterances, Gaussians, dims) statistics.

    features (frames, dims) are those of all utterances, one after the other; lengths (utterances,) their frames.
    """
    utterance = torch.repeat_interleave(torch.as_tensor(lengths))
    frame = torch.repeat_interleave(torch.as_tensor(posteriors.counts.astype(np.int64))).to(device)
    gaussian = torch.as_tensor(posteriors.indices, dtype=torch.int64).to(device)
    weight = torch.as_tensor(posteriors.weights).to(device)
    whole = torch.as_tensor(np.ascontiguousarray(features, np.float32)).to(device)
    cell = utterance.to(device)[frame] * num_gauss + gaussian
    zeroth = torch.zeros(len(lengths) * num_gauss, device=device).index_add_(0, cell, weight)
    first = torch.zeros(len(zeroth), features.shape[1], device=device)
    first.index_add_(0, cell, whole[frame] * weight[:, None])
    return zeroth.view(-1, num_gauss), first.view(len(lengths), num_gauss, -1)


def second_order(features: np.ndarray, posteriors: FramePosteriors, num_gauss: int, device: torch.device) -> np.ndarray:
    """The weighted outer products (Gaussians, dims, dims) of features (frames, dims), float64."""
    frame = torch.repeat_interleave(torch.as_tensor(posteriors.counts.astype(np.int64))).to(device)
    gaussian = torch.as_tensor(posteriors.indices, dtype=torch.int64).to(device)
    weight = torch.as_tensor(posteriors.weights).to(device)
    whole = torch.as_tensor(np.ascontiguousarray(features, np.float32)).to(device)
    sums = torch.zeros(num_gauss, whole.shape[1], whole.shape[1], device=device)
    for g, entries in by_gaussian(gaussian, num_gauss):
        rows = whole[frame[entries]]
        sums[g] = (rows * weight[entries, None]).T @ rows
    return sums.double().cpu().numpy()


class IvectorPosterior:
    """The Gaussian posterior of the i-vector of each utterance of a batch."""

    def __init__(self, extractor: IvectorExtractor, device: torch.device) -> None:
        if extractor.has_weight_projections:
            raise VouchError(
                "this extractor has weights that depend on the i-vector (--use-weights=true); vouch ivector-extract "
                "takes it, this does not"
            )
        self.device = device
        self.num_gauss, self.dim, self.ivector_dim = extractor.projections.shape
        self.prior_offset = float(extractor.prior_offset)
        projections = torch.tensor(extractor.projections, dtype=torch.float64, device=device)
        weighted = torch.tensor(extractor.inv_covars, dtype=torch.float64, device=device) @ projections
        self._linear = weighted.view(-1, self.ivector_dim)
        low = torch.tril_indices(self.ivector_dim, self.ivector_dim, device=device)
        self.rows, self.columns = low
        self._unpack = torch.empty(self.ivector_dim, self.ivector_dim, dtype=torch.int64, device=device)
        self._unpack[low[0], low[1]] = self._unpack[low[1], low[0]] = torch.arange(low.shape[1], device=device)
        self._quadratic = torch.empty(self.num_gauss, low.shape[1], dtype=torch.float64, device=device)
        step = max(1, (1 << 24) // self.ivector_dim**2)
        for at in range(0, self.num_gauss, step):
            part = projections[at : at + step].transpose(1, 2) @ weighted[at : at + step]
            self._quadratic[at : at + step] = part[:, self.rows, self.columns]

    def terms(self, zeroth: Tensor, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the log likelihood: linear (utterances, ivector_dim), quadratic packed (utterances, R (R + 1) / 2); and
        the Cholesky factors (utterances, R, R) of the posterior's inverse covariances."""
        linear = first.double().flatten(1) @ self._linear
        packed = zeroth.double() @ self._quadratic
        precision = packed[:, self._unpack]
        precision.diagonal(dim1=1, dim2=2).add_(1.0)
        return linear, packed, torch.linalg.cholesky(precision)

    def means(self, zeroth: Tensor, first: Tensor) -> Tensor:
        """The i-vectors (utterances, ivector_dim), with the prior's offset in element 0."""
        linear, _, factors = self.terms(zeroth, first)
        return self.solve(linear, factors)

    def solve(self, linear: Tensor, factors: Tensor) -> Tensor:
        """The posterior means of the linear terms (without the prior's)."""
        linear = linear.clone()
        linear[:, 0] += self.prior_offset
        return torch.cholesky_solve(linear[:, :, None], factors)[:, :, 0]


class Expectation(NamedTuple):
    """What the i-vectors of a batch of utterances, and their covariances, add to the statistics, float64."""

    gamma: Tensor  # (utterances, Gaussians)
    first: Tensor  # (utterances, Gaussians * dims)
    means: Tensor  # (utterances, ivector_dim)
    scatter_packed: Tensor  # (utterances, R (R + 1) / 2): second moments of the i-vectors
    scatter: Tensor  # (R, R): their sum
    objective: float


class ExtractorEStep:
    """Statistics of an extractor over utterances (Kaldi's ivector-extractor-acc-stats with --use-weights=false)."""

    def __init__(self, extractor: IvectorExtractor, device: torch.device) -> None:
        self._posterior = IvectorPosterior(extractor, device)
        num_gauss, dim, ivector_dim = extractor.projections.shape
        log_det = np.linalg.slogdet(extractor.inv_covars)[1]
        constants = 0.5 * (log_det - dim * np.log(2 * np.pi)) + np.log(np.maximum(extractor.weights, 1e-300))
        self._constants = torch.tensor(constants, dtype=torch.float64, device=device)
        shapes = {
            "occupancy": (num_gauss,),
            "linear": (num_gauss * dim, ivector_dim),
            "quadratic": (num_gauss, ivector_dim * (ivector_dim + 1) // 2),
            "ivector_sum": (ivector_dim,),
            "ivector_scatter": (ivector_dim, ivector_dim),
        }
        self._sums = {n: torch.zeros(s, dtype=torch.float64, device=device) for n, s in shapes.items()}
        self._objective, self._utterances = 0.0, 0

    def expect(self, zeroth: Tensor, first: Tensor) -> Expectation:
        """Of utterances with the statistics zeroth (utterances, Gaussians) and first (utterances, Gaussians, dims).

        Several threads may ask at once.
        """
        model = self._posterior
        linear, packed, factors = model.terms(zeroth, first)
        means = model.solve(linear, factors)
        unit = torch.eye(model.ivector_dim, dtype=torch.float64, device=model.device)
        inverse = torch.linalg.solve_triangular(factors, unit, upper=False)
        covariances = inverse.transpose(1, 2) @ inverse
        scatter = covariances + means[:, :, None] * means[:, None, :]
        scatter_packed = scatter[:, model.rows, model.columns]
        twice = torch.where(model.rows == model.columns, 1.0, 2.0).double()
        offset = means.clone()
        offset[:, 0] -= model.prior_offset
        log_det = -2.0 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
        prior = -0.5 * (covariances.diagonal(dim1=1, dim2=2).sum(1) + offset.square().sum(1) - log_det)
        gamma = zeroth.double()
        acoustic = gamma @ self._constants + (means * linear).sum(1) - 0.5 * (packed * scatter_packed) @ twice
        objective = float((acoustic + prior).sum()) + 0.5 * model.ivector_dim * len(means)
        return Expectation(gamma, first.double().flatten(1), means, scatter_packed, scatter.sum(0), objective)

    def add(self, found: Expectation) -> None:
        """Take in what `expect` found: one thread at a time."""
        sums = self._sums
        sums["occupancy"] += found.gamma.sum(0)
        sums["linear"].addmm_(found.first.T, found.means)
        sums["quadratic"].addmm_(found.gamma.T, found.scatter_packed)
        sums["ivector_sum"] += found.means.sum(0)
        sums["ivector_scatter"] += found.scatter
        self._objective += found.objective
        self._utterances += len(found.means)

    def stats(self) -> ExtractorStats:
        """The statistics so far, without those of second order (`second_order`), which no iteration changes."""
        sums = {name: value.cpu().numpy() for name, value in self._sums.items()}
        none = np.zeros((0, 0))
        return ExtractorStats(
            auxf=self._objective,
            occupancy=sums["occupancy"],
            linear=sums["linear"].reshape(self._posterior.num_gauss, -1, self._posterior.ivector_dim),
            quadratic=sums["quadratic"],
            weight_quadratic=none,
            weight_linear=none,
            scatter=np.zeros((0, 0, 0)),
            num_ivectors=float(self._utterances),
            ivector_sum=sums["ivector_sum"],
            ivector_scatter=sums["ivector_scatter"],
        )


def with_second_order(extractor: IvectorExtractor, stats: ExtractorStats, scatter: np.ndarray) -> ExtractorStats:
    """The statistics with scatter (Gaussians, dims, dims) of all frames, and its part of the objective."""
    return replace(stats, scatter=scatter, auxf=stats.auxf - 0.5 * float(np.sum(scatter * extractor.inv_covars)))


def utterance_batches(
    features: np.ndarray, lengths: np.ndarray, posteriors: FramePosteriors, most: int
) -> Iterator[tuple[np.ndarray, np.ndarray, FramePosteriors]]:
    """(features, lengths, posteriors) of `most` utterances at a time."""
    frames = np.concatenate([[0], np.cumsum(lengths)])
    entries = np.concatenate([[0], np.cumsum(posteriors.counts, dtype=np.int64)])
    for at in range(0, len(lengths), most):
        until = min(at + most, len(lengths))
        first, last = frames[at], frames[until]
        chosen = slice(entries[first], entries[last])
        part = FramePosteriors(
            posteriors.counts[first:last], posteriors.indices[chosen], posteriors.weights[chosen], 0.0
        )
        yield features[first:last], lengths[at:until], part
