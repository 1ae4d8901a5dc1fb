"""EM training of PLDA on sufficient statistics, as Kaldi's ivector-compute-plda."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from vouch.backend.plda import Plda, diagonalise
from vouch.backend.statistics import SpeakerStatistics
from vouch.errors import VouchError

_BLOCK = 8192  # speakers handled at once, to bound the memory


class PldaEstimator:
    """EM for the two-covariance model: x = mean + speaker + residual, speaker ~ N(0, B), residual ~ N(0, W).

    Update and starting point (W = B = unit matrix, mean = mean of the speaker means) are those of Kaldi's
    ivector/plda. The state is the transform that makes W the unit matrix and B = diag(psi): in that space all
    posteriors are diagonal, so that an iteration has no loop over speakers, nor over numbers of utterances.

    Raises VouchError where Kaldi stops: no more utterances than dimensions, or no speaker with two.
    """

    def __init__(self, statistics: SpeakerStatistics) -> None:
        utterances, speakers = statistics.num_utterances, statistics.num_speakers
        if utterances <= statistics.dim:
            raise VouchError(
                f"{utterances} utterances are too few for PLDA of dimension {statistics.dim}: give more than "
                f"{statistics.dim}, or reduce the dimension with LDA"
            )
        if utterances == speakers:
            raise VouchError(f"all {speakers} speakers have one utterance: PLDA needs speakers with two or more")
        means = statistics.speaker_means
        self.mean = statistics.moments.origin + means.mean(axis=0)
        self.transform = np.eye(statistics.dim)
        self.psi = np.ones(statistics.dim)
        self._offsets = means - means.mean(axis=0)
        self._counts = statistics.counts
        self._within_scatter = statistics.within_scatter

    def step(self) -> None:
        """One EM iteration. Raises VouchError when the within-speaker covariance becomes singular."""
        within = self.transform @ self._within_scatter @ self.transform.T
        between = np.zeros_like(within)
        for counts, offsets in self._blocks():
            precision = counts * self.psi + 1
            speaker = offsets * (counts * self.psi / precision)  # posterior mean of the speaker variable
            rest = np.sqrt(counts) * (offsets - speaker)
            variance = self.psi / precision  # its posterior variance
            between += speaker.T @ speaker + np.diag(variance.sum(axis=0))
            within += rest.T @ rest + np.diag((counts * variance).sum(axis=0))
        rotation, self.psi = diagonalise(between / len(self._counts), within / self._counts.sum())
        self.transform = rotation @ self.transform

    def objective(self) -> float:
        """Log likelihood of the vectors per utterance, in nats, under the present model."""
        dims, utterances = len(self.mean), self._counts.sum()
        log_det = np.linalg.slogdet(self.transform)[1]
        total = utterances * log_det - 0.5 * utterances * dims * np.log(2 * np.pi)
        total -= 0.5 * np.einsum("ij,jk,ik->", self.transform, self._within_scatter, self.transform)
        for counts, offsets in self._blocks():
            variance = self.psi + 1 / counts
            total -= 0.5 * np.sum(np.log(variance * counts) + offsets**2 / variance)
        return float(total / utterances)

    def plda(self) -> Plda:
        """The present model."""
        return Plda(self.mean, self.transform, self.psi)

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(counts `(speakers, 1)`, transformed speaker means `(speakers, dims)`) of a block of speakers."""
        for start in range(0, len(self._counts), _BLOCK):
            block = slice(start, start + _BLOCK)
            yield self._counts[block, None], self._offsets[block] @ self.transform.T


def train_plda(vectors: np.ndarray, speakers: Sequence[Hashable], iterations: int = 10) -> Plda:
    """Train PLDA on `vectors` `(utterances, dims)` with one speaker label each (see PldaEstimator)."""
    estimator = PldaEstimator(SpeakerStatistics.of(vectors, speakers))
    for _ in range(iterations):
        estimator.step()
    return estimator.plda()
