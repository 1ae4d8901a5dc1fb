"""Which chunk of which utterance comes in which batch: a function of (seed, epoch, position) and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vouch.objectives.base import Batch


class ChunkSource(Protocol):
    """What the sampler reads from: vouch.io.feature_archive.FeatureArchive, or anything alike."""

    keys: list[str]

    def read(self, index: int, start: int, frames: int) -> np.ndarray:
        """(frames, dims) float32."""


class ChunkSampler:
    """Random chunks: every utterance gives `samples_per_utterance` of them an epoch, in a random order.

    All chunks of a batch have one length, drawn uniformly from min_frames to max_frames; their starts are uniform
    over the utterance. The last batches of an epoch are made equal rather than dropped. Source: Snyder et al. 2018
    (200 to 400 frames); papers of Bhattacharya et al. (10 chunks a recording and epoch).

    Arguments: num_frames (utterances,), the frames of each utterance; the others as named in a system's YAML.
    """

    def __init__(
        self,
        num_frames: np.ndarray,
        samples_per_utterance: int,
        batch_size: int,
        min_frames: int,
        max_frames: int,
        seed: int,
    ) -> None:
        self.num_frames, self.samples, self.seed = num_frames, samples_per_utterance, seed
        self.min_frames, self.max_frames = min_frames, max_frames
        self.chunks_per_epoch = len(num_frames) * samples_per_utterance
        self.batches_per_epoch = max(1, round(self.chunks_per_epoch / batch_size))
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batch(self, epoch: int, position: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Utterance numbers (chunks,), starts (chunks,) in frames, and the length of the batch's chunks.

        Where an utterance is shorter than the chunk, its start is 0 and the reader repeats it.
        """
        if self._order[0] != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.chunks_per_epoch) // self.samples
            self._order = (epoch, order)
        first, last = (len(self._order[1]) * p // self.batches_per_epoch for p in (position, position + 1))
        utterances = self._order[1][first:last]
        generator = np.random.default_rng((self.seed, epoch, position))
        length = int(generator.integers(self.min_frames, self.max_frames + 1))
        room = np.maximum(self.num_frames[utterances] - length, 0)
        return utterances, generator.integers(0, room + 1), length


class _Batches(Dataset):
    """(epoch, position) -> (features, labels, utterances), read from the archive."""

    def __init__(self, source: ChunkSource, labels: np.ndarray, sampler: ChunkSampler) -> None:
        self.source, self.labels, self.sampler = source, labels, sampler

    def __getitem__(self, place: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        utterances, starts, length = self.sampler.batch(*place)
        chunks = []
        for utterance, start in zip(utterances, starts, strict=True):
            chunk = self.source.read(int(utterance), int(start), min(length, int(self.sampler.num_frames[utterance])))
            if len(chunk) < length:
                chunk = np.tile(chunk, (-(-length // len(chunk)), 1))[:length]
            chunks.append(chunk)
        keys = [self.source.keys[u] for u in utterances]
        return torch.from_numpy(np.stack(chunks)), torch.from_numpy(self.labels[utterances]), keys


def epoch_batches(
    source: ChunkSource,
    labels: np.ndarray,
    sampler: ChunkSampler,
    epoch: int,
    first: int,
    epochs: int,
    workers: int,
) -> Iterator[Batch]:
    """The batches of an epoch from position `first` on, read ahead by `workers` processes (0: read here)."""
    places = [(epoch, position) for position in range(first, sampler.batches_per_epoch)]
    loader = DataLoader(_Batches(source, labels, sampler), batch_size=None, sampler=places, num_workers=workers)
    total = epochs * sampler.batches_per_epoch
    for position, (features, targets, keys) in enumerate(loader, first):
        yield Batch(features, targets, keys, (epoch * sampler.batches_per_epoch + position) / total)
