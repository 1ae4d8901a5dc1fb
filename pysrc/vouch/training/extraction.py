"""Embeddings of whole utterances: cut where too long, batched by length, computed by threads, in input order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

WASTE = 0.1  # largest share of padding in a batch
_BATCH_FRAMES = {"cpu": 4_000, "cuda": 100_000}
_WINDOW_FRAMES = {"cpu": 200_000, "cuda": 1_000_000}  # read before they are sorted by length


class Embedder(Protocol):
    """What makes embeddings: an objective, or its network alone."""

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features (batch, frames, dims), lengths (batch,) -> (batch, embedding_dim); padding has no effect."""


class _Window(NamedTuple):
    """Utterances that are embedded together: their ids, the pieces that each was cut into, and the batches of these:
    the numbers of the pieces, and their embeddings (pieces, embedding_dim) to come."""

    utterances: list[str]
    pieces: list[list[np.ndarray]]
    batches: list[tuple[list[int], Future[np.ndarray]]]


def embed_utterances(
    embedder: Embedder,
    utterances: Iterable[tuple[str, np.ndarray]],
    device: torch.device,
    max_frames: int,
    threads: int,
    batch_frames: int = 0,
) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance, embedding (embedding_dim,) float32) of every (utterance, features (frames, dims)), in their order.

    An utterance of more than max_frames frames is cut into equal pieces whose embeddings are averaged, weighted by
    their lengths. Pieces of like length (at most 10 % padding) make batches of at most batch_frames frames (0: 4,000 on
    a CPU, where short utterances gain and long ones do not; 100,000 on a GPU). `threads` batches are computed at a
    time; on a CPU let torch use one thread for each then (torch.set_num_threads), which is faster than several threads
    for one batch. Two windows of 200,000 frames (GPU: 1,000,000) are held, and a third while it is read.

    embedder: in evaluation mode, on the device; its `embed` is called by several threads at once.
    """
    batch_frames = batch_frames or _BATCH_FRAMES[device.type]
    pool = ThreadPoolExecutor(threads)
    try:
        running: deque[_Window] = deque()
        for window in _windows(utterances, max(_WINDOW_FRAMES[device.type], batch_frames)):
            running.append(_begin(pool, embedder, window, device, max_frames, batch_frames))
            if len(running) > 1:
                yield from _finish(running.popleft())
        for window in running:
            yield from _finish(window)
    finally:
        pool.shutdown(cancel_futures=True)


def batches_by_length(lengths: Sequence[int], batch_frames: int) -> list[list[int]]:
    """Numbers of the pieces of each batch, longest first: padded to its longest, a batch of more than one piece has at
    most batch_frames frames, and at most a share WASTE of them padding."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    filled = 0
    for i in order:
        if batches:
            padded = (len(batches[-1]) + 1) * lengths[batches[-1][0]]
            if padded <= batch_frames and filled + lengths[i] >= (1 - WASTE) * padded:
                batches[-1].append(i)
                filled += lengths[i]
                continue
        batches.append([i])
        filled = lengths[i]
    return batches


def _windows(utterances: Iterable[tuple[str, np.ndarray]], frames: int) -> Iterator[list[tuple[str, np.ndarray]]]:
    window: list[tuple[str, np.ndarray]] = []
    held = 0
    for utterance, features in utterances:
        window.append((utterance, features))
        held += len(features)
        if held >= frames:
            yield window
            window, held = [], 0
    if window:
        yield window


def _begin(
    pool: ThreadPoolExecutor,
    embedder: Embedder,
    window: list[tuple[str, np.ndarray]],
    device: torch.device,
    max_frames: int,
    batch_frames: int,
) -> _Window:
    pieces = [np.array_split(features, -(-len(features) // max_frames)) for _, features in window]
    every = [piece for parts in pieces for piece in parts]
    batches = [
        (batch, pool.submit(_embed, embedder, [every[i] for i in batch], device))
        for batch in batches_by_length([len(piece) for piece in every], batch_frames)
    ]
    return _Window([utterance for utterance, _ in window], pieces, batches)


def _embed(embedder: Embedder, pieces: list[np.ndarray], device: torch.device) -> np.ndarray:
    """(pieces, embedding_dim) float32."""
    lengths = torch.tensor([len(piece) for piece in pieces])
    features = torch.zeros(len(pieces), int(lengths.max()), pieces[0].shape[1], pin_memory=device.type == "cuda")
    for row, piece in zip(features, pieces, strict=True):
        row[: len(piece)] = torch.from_numpy(piece)
    with torch.inference_mode():
        embeddings = embedder.embed(features.to(device, non_blocking=True), lengths.to(device))
    return embeddings.float().cpu().numpy()


def _finish(window: _Window) -> Iterator[tuple[str, np.ndarray]]:
    embeddings: dict[int, np.ndarray] = {}
    for batch, computed in window.batches:
        embeddings.update(zip(batch, computed.result(), strict=True))
    first = 0
    for utterance, pieces in zip(window.utterances, window.pieces, strict=True):
        own = np.stack([embeddings[first + i] for i in range(len(pieces))]).astype(np.float64)
        first += len(pieces)
        yield utterance, np.average(own, axis=0, weights=[len(piece) for piece in pieces]).astype(np.float32)
