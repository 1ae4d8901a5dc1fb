"""EM training of PLDA on sufficient statistics, as Kaldi's ivector-compute-plda."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from vouch.backend.plda import Plda, diagonalise
from vouch.backend.statistics import SpeakerStatistics
from vouch.errors import VouchError

_BLOCK = 8192  # rows handled at once, to bound the memory


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
        self._within_scatter = statistics.within_scatter
        self._sizes, self._speakers = np.unique(statistics.counts, return_counts=True)
        self._offsets, self._counts = _condensed(means - means.mean(axis=0), statistics.counts)

    def step(self) -> None:
        """One EM iteration. Raises VouchError when the within-speaker covariance becomes singular."""
        within = self.transform @ self._within_scatter @ self.transform.T
        between = np.zeros_like(within)
        for counts, offsets in self._blocks():
            speaker = offsets * (counts * self.psi / (counts * self.psi + 1))  # posterior means of speaker variables
            rest = np.sqrt(counts) * (offsets - speaker)
            between += speaker.T @ speaker
            within += rest.T @ rest
        sizes, speakers = self._sizes[:, None], self._speakers[:, None]
        variance = self.psi / (sizes * self.psi + 1)  # posterior variances of speaker variables
        between += np.diag((speakers * variance).sum(axis=0))
        within += np.diag((speakers * sizes * variance).sum(axis=0))
        rotation, self.psi = diagonalise(between / self._speakers.sum(), within / self._utterances)
        self.transform = rotation @ self.transform

    def objective(self) -> float:
        """Log likelihood of the vectors per utterance, in nats, under the present model."""
        total = self._utterances * np.linalg.slogdet(self.transform)[1]
        total -= 0.5 * self._utterances * len(self.mean) * np.log(2 * np.pi)
        total -= 0.5 * np.einsum("ij,jk,ik->", self.transform, self._within_scatter, self.transform)
        for counts, offsets in self._blocks():
            total -= 0.5 * np.sum(offsets**2 / (self.psi + 1 / counts))
        log_variances = np.log(self._sizes[:, None] * self.psi + 1).sum(axis=1)
        return float((total - 0.5 * self._speakers @ log_variances) / self._utterances)

    @property
    def _utterances(self) -> float:
        return float(self._sizes @ self._speakers)

    def plda(self) -> Plda:
        """The present model."""
        return Plda(self.mean, self.transform, self.psi)

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(counts `(rows, 1)`, transformed offsets `(rows, dims)`) of a block of rows."""
        for start in range(0, len(self._counts), _BLOCK):
            block = slice(start, start + _BLOCK)
            yield self._counts[block, None], self._offsets[block] @ self.transform.T


def train_plda(vectors: np.ndarray, speakers: Sequence[Hashable], iterations: int = 10) -> Plda:
    """Train PLDA on `vectors` `(utterances, dims)` with one speaker label each (see PldaEstimator)."""
    estimator = PldaEstimator(SpeakerStatistics.of(vectors, speakers))
    for _ in range(iterations):
        estimator.step()
    return estimator.plda()


def _condensed(offsets: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fewer rows `(rows, dims)` that stand for the speakers' offsets `(speakers, dims)`, and their counts `(rows,)`.

    EM needs the offsets of the speakers of one count only in sums of outer products. Where these speakers are more than
    the dimensions, the triangular factor R of their offsets has the same sum, R'R, in `dims` rows.
    """
    order = np.argsort(counts, kind="stable")
    sizes, starts = np.unique(counts[order], return_index=True)
    groups = np.split(offsets[order], starts[1:])
    groups = [np.linalg.qr(group, mode="r") if len(group) > group.shape[1] else group for group in groups]
    return np.concatenate(groups), np.repeat(sizes, [len(group) for group in groups])
