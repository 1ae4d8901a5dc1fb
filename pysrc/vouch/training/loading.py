"""Chunks read from disk and put into batches, ahead of the training where asked, and moved to its device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vouch.errors import VouchError
from vouch.objectives.base import Batch
from vouch.training.sampling import Chunks, PairedChunks, PairedSampler, Sampler


class ChunkSource(Protocol):
    """What chunks are read from: vouch.io.feature_archive.FeatureArchive, or anything alike.

    A source may leave work to the training device: its read_chunks then gives a tuple of arrays, and it has a method
    `to_features(*tensors) -> (chunks, length, dims)`, which `prepare` calls with them on the device.
    """

    keys: Sequence[str]

    def read_chunks(
        self, indices: np.ndarray, starts: np.ndarray, length: int, place: tuple[int, int] | None = None
    ) -> np.ndarray | tuple[np.ndarray, ...]:
        """(chunks, length, dims) float32 of utterances (chunks,) from frames (chunks,) on; short ones repeated.

        place is the (epoch, position) of the batch for a source that makes random choices; None: it makes none."""


def epoch_batches(
    source: ChunkSource,
    labels: np.ndarray,
    sampler: Sampler | PairedSampler,
    epoch: int,
    first: int,
    epochs: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
    target: ChunkSource | None = None,
    pinned: bool = False,
) -> Iterator[Batch]:
    """The batches of an epoch from position `first` on, read ahead by `workers` processes (0: read here).

    Of every batch only the share of process `rank` of `world` is read. With a PairedSampler, `target` is what its
    second side reads from; pinned: in memory that a GPU can fetch from. The batches are as the source gave them;
    `prepare` makes them ready. Raises VouchError as the source does, and where a process would have no chunk.
    """
    places = [(epoch, position) for position in range(first, sampler.batches_per_epoch)]
    loader = DataLoader(
        _Shares(source, labels, sampler, rank, world, target),
        batch_size=None,
        sampler=places,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=pinned,
    )
    total = epochs * sampler.batches_per_epoch
    for position, read in enumerate(loader, first):
        if isinstance(read, str):
            raise VouchError(read)
        progress = (epoch * sampler.batches_per_epoch + position) / total
        yield Batch(read.features, read.labels, read.utterances, progress, read.target)


def prepare(batch: Batch, source: ChunkSource, device: torch.device, target: ChunkSource | None = None) -> Batch:
    """The batch on the device, with what its sources left to do there done: features (chunks, length, dims)."""
    return batch._replace(
        features=_on_device(batch.features, source, device),
        labels=batch.labels.to(device, non_blocking=True),
        target=None if target is None else _on_device(batch.target, target, device),
    )


def _on_device(content: Any, source: ChunkSource, device: torch.device) -> torch.Tensor:
    if isinstance(content, torch.Tensor):
        return content.to(device, non_blocking=True)
    return source.to_features(*(part.to(device, non_blocking=True) for part in content))


def share(count: int, group: int, rank: int, world: int) -> slice:
    """The part of `count` chunks that process `rank` takes: a stretch of whole groups, as equal as possible.

    Raises VouchError where there are fewer groups than processes.
    """
    groups = count // group
    if groups < world:
        raise VouchError(
            f"a batch of {count} chunks in groups of {group} is too small for {world} processes; raise batch_size, or "
            f"train with fewer processes"
        )
    bounds = [groups * r // world * group for r in (rank, rank + 1)]
    return slice(bounds[0], count if rank == world - 1 else bounds[1])


class _Read(NamedTuple):
    features: Any
    labels: torch.Tensor
    utterances: list[str]
    target: Any


class _Shares(Dataset):
    """(epoch, position) -> this process's share of the batch; or the text of a VouchError, which a worker process could
    not raise here without its traceback."""

    def __init__(
        self,
        source: ChunkSource,
        labels: np.ndarray,
        sampler: Sampler | PairedSampler,
        rank: int,
        world: int,
        target: ChunkSource | None,
    ) -> None:
        self.source, self.labels, self.sampler, self.target = source, labels, sampler, target
        self.rank, self.world = rank, world

    def __getitem__(self, place: tuple[int, int]) -> _Read | str:
        try:
            return self._read(self.sampler.batch(*place), place)
        except VouchError as error:
            return str(error)

    def _read(self, chunks: Chunks | PairedChunks, place: tuple[int, int]) -> _Read:
        target = None
        if isinstance(chunks, PairedChunks):
            other = self._share(chunks.target, self.sampler.group)
            target = _tensors(self.target.read_chunks(*other, place))
            chunks = chunks.source
        own = self._share(chunks, self.sampler.group)
        features = _tensors(self.source.read_chunks(*own, place))
        keys = [self.source.keys[u] for u in own.utterances.tolist()]
        return _Read(features, torch.from_numpy(self.labels[own.utterances]), keys, target)

    def _share(self, chunks: Chunks, group: int) -> Chunks:
        part = share(len(chunks.utterances), group, self.rank, self.world)
        return Chunks(chunks.utterances[part], chunks.starts[part], chunks.length)


def _tensors(content: np.ndarray | tuple[np.ndarray, ...]) -> Any:
    if isinstance(content, tuple):
        return tuple(torch.from_numpy(part) for part in content)
    return torch.from_numpy(content)
