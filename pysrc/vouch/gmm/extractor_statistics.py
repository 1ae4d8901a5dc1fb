"""Training statistics of an i-vector extractor: from features and posteriors to the sums that the M-step needs.

Kaldi's ivector-extractor-acc-stats as matrix products over many utterances. Beside what `vouch.gmm.extractor` names, a
batch of B utterances takes B (2 G D + 4 P) values of memory: 0.8 GB for 100 utterances, 2,048 Gaussians, 60 dimensions
and 600-dimensional i-vectors.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

import numpy as np
from scipy.sparse import csr_array
from scipy.special import xlogy

from vouch.errors import VouchError
from vouch.gmm import extractor_weights, packed
from vouch.gmm.extractor import Derived, ExtractorStats, IvectorExtractor, Ivectors, infer
from vouch.gmm.models import LARGEST
from vouch.gmm.ragged import by_gaussian

_FRAMES = 30_000  # of so many frames a block of statistics is made at once


class Batch(NamedTuple):
    """Statistics of B utterances."""

    keys: list[str]
    zeroth: np.ndarray  # (B, G)
    first: np.ndarray  # (B, G, D)


class Collector:
    """Turns features and posteriors into zeroth and first-order statistics of each utterance, by sparse products.

    scatter `(G, D, D)`, where given, gets the second-order statistics of all utterances added.
    """

    def __init__(self, num_gauss: int, dim: int, scatter: np.ndarray | None = None) -> None:
        self._num_gauss, self._dim, self._scatter = num_gauss, dim, scatter
        self._keys: list[str] = []
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self._frames = 0
        self._zeroth: list[np.ndarray] = []
        self._first: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(
        self, key: str, features: np.ndarray, offsets: np.ndarray, indices: np.ndarray, weights: np.ndarray
    ) -> None:
        """Add an utterance: features `(T, D)`; frame t has indices[offsets[t]:offsets[t + 1]] and their weights.

        Raises VouchError naming the key where they do not fit the model or are not finite.
        """
        if len(features) and features.shape[1] != self._dim:
            raise VouchError(
                f"utterance '{key}' has features of {features.shape[1]} dimensions, the i-vector extractor wants "
                f"{self._dim}; use the features that the UBM was trained on"
            )
        if len(indices) and not 0 <= indices.min() <= indices.max() < self._num_gauss:
            raise VouchError(
                f"utterance '{key}' has posteriors of Gaussians {indices.min()} to {indices.max()}, the i-vector "
                f"extractor has 0 to {self._num_gauss - 1}; make them with the UBM that it was started from"
            )
        if features.size and not -LARGEST <= features.min() <= features.max() <= LARGEST:  # True with NaN
            raise VouchError(
                f"utterance '{key}' has NaN, infinity or a number beyond {LARGEST:g} in its features; make them again"
            )
        if not np.isfinite(weights).all():
            raise VouchError(f"utterance '{key}' has posteriors that are not numbers; make them again")
        self._keys.append(key)
        self._waiting.append((features.reshape(-1, self._dim), np.diff(offsets), indices, weights))
        self._frames += len(features)
        if self._frames >= _FRAMES:
            self._reduce()

    def take(self) -> Batch:
        """The statistics of what was added since the last call."""
        self._reduce()
        empty = np.zeros((0, self._num_gauss)), np.zeros((0, self._num_gauss, self._dim))
        batch = Batch(self._keys, np.concatenate([empty[0], *self._zeroth]), np.concatenate([empty[1], *self._first]))
        self._keys, self._zeroth, self._first = [], [], []
        return batch

    def _reduce(self) -> None:
        if not self._waiting:
            return
        features, counts, indices, weights = zip(*self._waiting, strict=True)
        self._waiting, self._frames = [], 0
        utterances = len(features)
        rows = np.repeat(np.arange(utterances), [len(part) for part in indices]) * self._num_gauss
        indices, weights = np.concatenate(indices), np.concatenate(weights).astype(np.float64)
        rows += indices
        frames = np.concatenate(features).astype(np.float64)
        places = np.repeat(np.arange(len(frames)), np.concatenate(counts))
        size = utterances * self._num_gauss
        matrix = csr_array((weights, (rows, places)), shape=(size, len(frames)))
        self._zeroth.append(np.bincount(rows, weights, size).reshape(utterances, -1))
        self._first.append((matrix @ frames).reshape(utterances, self._num_gauss, self._dim))
        if self._scatter is not None:
            _add_scatter(self._scatter, frames, places, indices, weights)


def _add_scatter(
    scatter: np.ndarray, frames: np.ndarray, places: np.ndarray, indices: np.ndarray, weights: np.ndarray
) -> None:
    """scatter `(G, D, D)` += sum of weight x xᵀ; pair n is of frame places[n] of `(T, D)` and Gaussian indices[n]."""
    for gaussian, chosen in by_gaussian(indices, len(scatter)):
        rows = frames[places[chosen]]
        scatter[gaussian] += (rows.T * weights[chosen]) @ rows


class Accumulator:
    """The E-step over utterances, batch by batch: `add` each one, then `finish`.

    Options as Kaldi's IvectorExtractorStatsOptions; cache_size is the number of utterances in a batch. The samples for
    the weight projections come from a generator made of the seed and the utterance's key, whatever the order.
    """

    def __init__(
        self,
        extractor: IvectorExtractor,
        derived: Derived,
        update_variances: bool = True,
        compute_auxf: bool = True,
        num_samples: int = 10,
        cache_size: int = 100,
        seed: int = 0,
    ) -> None:
        self._extractor, self._derived = extractor, derived
        self._stats = ExtractorStats.zeros(extractor, update_variances)
        self._compute_auxf, self._num_samples = compute_auxf, num_samples
        self._cache_size, self._seed = cache_size, seed
        scatter = self._stats.scatter if update_variances else None
        self._collector = Collector(extractor.num_gauss, extractor.dim, scatter)

    def add(
        self, key: str, features: np.ndarray, offsets: np.ndarray, indices: np.ndarray, weights: np.ndarray
    ) -> None:
        """Add an utterance; arguments and errors as of `Collector.add`."""
        self._collector.add(key, features, offsets, indices, weights)
        if len(self._collector) >= self._cache_size:
            self._expect(self._collector.take())

    def finish(self) -> ExtractorStats:
        """The statistics of all that was added."""
        self._expect(self._collector.take())
        if self._compute_auxf and self._stats.scatter.size:
            self._stats.auxf -= 0.5 * float(np.vdot(self._stats.scatter, self._extractor.inv_covars))
        return self._stats

    def _expect(self, batch: Batch) -> None:
        if not batch.keys:
            return
        stats, extractor = self._stats, self._extractor
        ivectors = infer(extractor, self._derived, batch.zeroth, batch.first)
        if extractor.has_weight_projections:
            self._add_weights(batch, ivectors)
        if self._compute_auxf:
            stats.auxf += batch_auxf(extractor, self._derived, batch.zeroth, batch.first, ivectors)
            if not stats.scatter.size:
                stats.auxf += _model_variance_auxf(extractor, batch.zeroth, batch.first)
        moments = ivectors.covars
        moments += packed.outer_products(ivectors.means)
        rank = extractor.ivector_dim
        stats.occupancy += batch.zeroth.sum(axis=0)
        packed.add_product(stats.linear.reshape(-1, rank), batch.first.reshape(len(moments), -1), ivectors.means)
        packed.add_product(stats.quadratic, batch.zeroth, moments)
        stats.num_ivectors += len(moments)
        stats.ivector_sum += ivectors.means.sum(axis=0)
        stats.ivector_scatter += packed.unpack(moments.sum(axis=0))

    def _add_weights(self, batch: Batch, ivectors: Ivectors) -> None:
        """Statistics for the weight projections, from samples of the i-vectors (Kaldi, CommitStatsForW)."""
        projections, step = self._extractor.weight_projections, max(1, self._cache_size // self._num_samples)
        for begin in range(0, len(batch.keys), step):
            points, linear, quadratic = [], [], []
            for b in range(begin, min(begin + step, len(batch.keys))):
                rng = np.random.default_rng([self._seed, crc32(batch.keys[b].encode())])
                points.append(extractor_weights.sample(ivectors.means[b], ivectors.covars[b], self._num_samples, rng))
                parts = extractor_weights.coefficients(projections, batch.zeroth[b], points[-1])
                linear.append(parts[0] / self._num_samples)
                quadratic.append(parts[1] / self._num_samples)
            samples = np.concatenate(points)
            packed.add_product(self._stats.weight_linear, np.concatenate(linear), samples)
            moments = packed.outer_products(samples)
            packed.add_product(self._stats.weight_quadratic, np.concatenate(quadratic), moments)


def batch_auxf(
    extractor: IvectorExtractor, derived: Derived, zeroth: np.ndarray, first: np.ndarray, ivectors: Ivectors
) -> float:
    """The auxiliary function of a batch (Kaldi, GetAuxf), without -0.5 sum_i tr(S_i SigmaInv_i) of its frames.

    That term is what Kaldi's parts for data means and data variances leave of each other when second-order statistics
    S_i are kept; it is linear in them and is added once, at the end.
    """
    if extractor.has_weight_projections:
        weights = extractor_weights.expected_log_likelihoods(
            extractor.weight_projections, zeroth, ivectors.means, ivectors.covars
        ).sum()
    else:
        weights = xlogy(zeroth, extractor.weights).sum()
    gconsts = (zeroth @ derived.gconsts).sum()
    moments = packed.outer_products(ivectors.means)
    moments += ivectors.covars
    data = np.vdot(ivectors.means, ivectors.linear) - 0.5 * packed.trace_products(moments, ivectors.quadratic).sum()
    offset = ivectors.means.copy()
    offset[:, 0] -= extractor.prior_offset
    traces = packed.diagonal(ivectors.covars).sum()
    prior = -0.5 * (np.vdot(offset, offset) + traces - offset.size - ivectors.log_dets.sum())
    return float(weights + gconsts + data + prior)


def _model_variance_auxf(extractor: IvectorExtractor, zeroth: np.ndarray, first: np.ndarray) -> float:
    """The terms of the data's means and variances without second-order statistics: the model's variances are taken."""
    total = 0.0
    for i, inv_covar in enumerate(extractor.inv_covars):
        seen = zeroth[:, i] != 0
        x = first[seen, i]
        total += float((np.einsum("bd,bd->b", x @ inv_covar, x) / zeroth[seen, i]).sum())
    return -0.5 * (total + float(zeroth.sum()) * extractor.dim)
