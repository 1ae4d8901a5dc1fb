"""Sufficient statistics of embeddings, gathered block by block: memory does not grow with the utterances."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


class Moments:
    """Count, mean and scatter of vectors `(vectors, dims)`, added in blocks, in float64.

    Sums are taken about the first block's mean, so that a large common offset costs no digits.
    """

    def __init__(self) -> None:
        self.count = 0
        self.origin = np.zeros(0)

    def add(self, vectors: np.ndarray) -> np.ndarray:
        """Add a block `(vectors, dims)`; return it in float64, relative to `origin`."""
        if not self.count:
            self.origin = np.mean(vectors, axis=0, dtype=np.float64)
            self._sum = np.zeros_like(self.origin)
            self._scatter = np.zeros((len(self.origin), len(self.origin)))
        shifted = vectors - self.origin
        self.count += len(shifted)
        self._sum += shifted.sum(axis=0)
        self._scatter += shifted.T @ shifted
        return shifted

    @property
    def mean(self) -> np.ndarray:
        """Mean of all vectors `(dims,)`."""
        return self.origin + self._sum / self.count

    @property
    def scatter(self) -> np.ndarray:
        """Sum of the outer products of the vectors minus their mean `(dims, dims)`."""
        return self._scatter - np.outer(self._sum, self._sum) / self.count

    @property
    def covariance(self) -> np.ndarray:
        """Scatter divided by the count (the biased estimate) `(dims, dims)`."""
        return self.scatter / self.count


class SpeakerStatistics:
    """What LDA and PLDA need of labelled vectors: their moments, and count and mean of every speaker.

    Memory: `(speakers, dims)` and `(dims, dims)` float64, whatever the number of utterances.
    """

    def __init__(self) -> None:
        self.moments = Moments()
        self._rows: dict[Hashable, int] = {}
        self._counts = np.zeros(0)
        self._sums = np.zeros((0, 0))

    @classmethod
    def of(cls, vectors: np.ndarray, speakers: Sequence[Hashable]) -> SpeakerStatistics:
        """Statistics of `vectors` `(utterances, dims)` with one speaker label each."""
        statistics = cls()
        statistics.add(np.asarray(vectors), speakers)
        return statistics

    def add(self, vectors: np.ndarray, speakers: Sequence[Hashable]) -> None:
        """Add a block `(utterances, dims)` with its speaker labels, in any order."""
        shifted = self.moments.add(vectors)
        rows = np.array([self._rows.setdefault(speaker, len(self._rows)) for speaker in speakers])
        self._grow(len(self._rows), shifted.shape[1])
        order = np.argsort(rows, kind="stable")
        present, starts, counts = np.unique(rows[order], return_index=True, return_counts=True)
        self._sums[present] += np.add.reduceat(shifted[order], starts, axis=0)
        self._counts[present] += counts

    def _grow(self, speakers: int, dims: int) -> None:
        if speakers > len(self._counts):
            room = max(speakers, 2 * len(self._counts))
            sums, counts = np.zeros((room, dims)), np.zeros(room)
            counts[: len(self._counts)] = self._counts
            sums[: len(self._counts)] = self._sums.reshape(-1, dims)
            self._sums, self._counts = sums, counts

    @property
    def num_speakers(self) -> int:
        return len(self._rows)

    @property
    def num_utterances(self) -> int:
        return self.moments.count

    @property
    def dim(self) -> int:
        return len(self.moments.origin)

    @property
    def counts(self) -> np.ndarray:
        """Utterances of every speaker `(speakers,)`, in the order in which the speakers were first seen."""
        return self._counts[: self.num_speakers]

    @property
    def speaker_means(self) -> np.ndarray:
        """Mean vector of every speaker `(speakers, dims)`, relative to `moments.origin`."""
        return self._sums[: self.num_speakers] / self.counts[:, None]

    @property
    def within_scatter(self) -> np.ndarray:
        """Sum of the outer products of the vectors minus their speaker's mean `(dims, dims)`."""
        return self.moments.scatter - self.between_scatter

    @property
    def between_scatter(self) -> np.ndarray:
        """Sum over utterances of the outer product of speaker mean minus overall mean `(dims, dims)`."""
        offsets = self.speaker_means - (self.moments.mean - self.moments.origin)
        return offsets.T @ (offsets * self.counts[:, None])
