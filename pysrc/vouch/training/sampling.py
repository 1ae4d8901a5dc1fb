"""Which chunk of which utterance comes in which batch: a function of (seed, epoch, position) and nothing else.

All chunks of a batch have one length, drawn uniformly from min_frames to max_frames (Snyder et al. 2018: 200 to 400),
and starts uniform over the utterance. An utterance shorter than the chunk is taken from frame 0; its reader repeats it.

The samplers of a YAML (SAMPLERS) take num_frames (utterances,), the frames of each utterance; labels (utterances,), the
numbers of their speakers; batch_size (chunks), min_frames, max_frames and seed; then the keys of their YAML entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from vouch.training.permutation import permuted

_SPEAKERS, _UTTERANCES, _STARTS = range(3)  # what the random numbers are for


class Chunks(NamedTuple):
    """The chunks of a batch: utterance numbers int64 (chunks,), first frames int64 (chunks,), length in frames."""

    utterances: np.ndarray
    starts: np.ndarray
    length: int


class PairedChunks(NamedTuple):
    """The chunks of a batch with speaker labels and those of the other domain, of one length."""

    source: Chunks
    target: Chunks


class Sampler(Protocol):
    """What the engine trains on; `group` chunks, one after the other, belong together and go to one process."""

    batches_per_epoch: int
    group: int

    def batch(self, epoch: int, position: int, length: int | None = None) -> Chunks:
        """The chunks of batch `position` of an epoch; of the given length instead of the batch's own."""


class RandomSampler:
    """Every utterance gives `samples_per_utterance` chunks an epoch, in a random order.

    An epoch has samples_per_utterance x utterances chunks in about that many / batch_size batches, made equal rather
    than the last one dropped. The order costs no memory (vouch.training.permutation). Source: papers of Bhattacharya et
    al. (10 chunks a recording and epoch).
    """

    group = 1

    def __init__(
        self,
        num_frames: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        min_frames: int,
        max_frames: int,
        seed: int,
        samples_per_utterance: int = 2,
    ) -> None:
        if samples_per_utterance < 1:
            raise ValueError(f"samples_per_utterance {samples_per_utterance}, want 1 or more")
        self._samples, self._seed = samples_per_utterance, seed
        self._chunks = _ChunkPlaces(num_frames, min_frames, max_frames, seed)
        self.chunks_per_epoch = len(num_frames) * samples_per_utterance
        self.batches_per_epoch = max(1, round(self.chunks_per_epoch / batch_size))

    def batch(self, epoch: int, position: int, length: int | None = None) -> Chunks:
        _check(position, self.batches_per_epoch)
        first, last = (self.chunks_per_epoch * p // self.batches_per_epoch for p in (position, position + 1))
        order = permuted(np.arange(first, last), self.chunks_per_epoch, self._seed, epoch)
        return self._chunks.of(order // self._samples, epoch, position, length)


class SpeakerBalancedSampler:
    """Batches of P speakers, K utterances each, for metric losses: the chunks of a speaker stand one after the other.

    The speakers of a batch differ. They take turns in rounds: a round is ceil(speakers / P) batches over a new random
    order of all, in which each comes once, and the first of the order a second time where P does not divide their
    number. The K utterances of a speaker are drawn without repetition at every turn; a speaker with fewer gives several
    chunks of some. An epoch has utterances / (P K) batches, rounded: one chunk an utterance on average, more for those
    of speakers with few. (Sources leave all this open: ours.)

    Keys: speakers (P), utterances (K), of which batch_size is the product.
    """

    def __init__(
        self,
        num_frames: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        min_frames: int,
        max_frames: int,
        seed: int,
        speakers: int,
        utterances: int,
    ) -> None:
        if speakers < 1 or utterances < 1 or batch_size != speakers * utterances:
            raise ValueError(
                f"batch_size {batch_size} is not speakers x utterances = {speakers} x {utterances}; make them agree"
            )
        counts = np.bincount(labels)
        self._speakers = np.flatnonzero(counts)
        if speakers > len(self._speakers):
            raise ValueError(f"speakers {speakers} a batch, but there are {len(self._speakers)}; lower it")
        self._counts = counts[self._speakers]
        self._first = np.cumsum(counts)[self._speakers] - self._counts
        self._by_speaker = np.argsort(labels, kind="stable").astype(np.int32)
        self._in_batch, self.group, self._seed = speakers, utterances, seed
        self._chunks = _ChunkPlaces(num_frames, min_frames, max_frames, seed)
        self.batches_per_epoch = max(1, round(len(labels) / batch_size))

    def batch(self, epoch: int, position: int, length: int | None = None) -> Chunks:
        _check(position, self.batches_per_epoch)
        count = len(self._speakers)
        a_round, turn = divmod(position, -(-count // self._in_batch))
        turns = (turn * self._in_batch + np.arange(self._in_batch)) % count
        speakers = permuted(turns, count, self._seed, _SPEAKERS, epoch, a_round)
        sizes = self._counts[speakers][:, None]
        drawn = permuted(
            np.arange(self.group) % sizes, sizes, self._seed, _UTTERANCES, epoch, position, speakers[:, None]
        )
        utterances = self._by_speaker[self._first[speakers][:, None] + drawn].astype(np.int64)
        return self._chunks.of(utterances.ravel(), epoch, position, length)


class PairedSampler:
    """Batches of a labelled sampler, each with as many chunks of the other domain, of the same length.

    An epoch is the source's; the target goes through its own epochs at its own pace. Of a target batch that is larger
    the last chunks are left out, of a smaller one the first come again, so that the parts that processes take of a
    batch are the same share of both domains.
    """

    def __init__(self, source: Sampler, target: Sampler) -> None:
        self.source, self.target = source, target
        self.batches_per_epoch, self.group = source.batches_per_epoch, source.group

    def batch(self, epoch: int, position: int) -> PairedChunks:
        source = self.source.batch(epoch, position)
        place = divmod(epoch * self.batches_per_epoch + position, self.target.batches_per_epoch)
        target = self.target.batch(*place, length=source.length)
        count = len(source.utterances)
        return PairedChunks(
            source, Chunks(np.resize(target.utterances, count), np.resize(target.starts, count), source.length)
        )


SAMPLERS: dict[str, Callable[..., Sampler]] = {"random": RandomSampler, "speaker_balanced": SpeakerBalancedSampler}


class _ChunkPlaces:
    """Lengths and starts of the chunks of a batch."""

    def __init__(self, num_frames: np.ndarray, min_frames: int, max_frames: int, seed: int) -> None:
        self._num_frames, self._lengths, self._seed = num_frames, (min_frames, max_frames + 1), seed

    def of(self, utterances: np.ndarray, epoch: int, position: int, length: int | None) -> Chunks:
        generator = np.random.default_rng((self._seed, _STARTS, epoch, position))
        own = int(generator.integers(*self._lengths))
        length = own if length is None else length
        room = np.maximum(self._num_frames[utterances] - length, 0)
        return Chunks(utterances, generator.integers(0, room + 1), length)


def _check(position: int, batches: int) -> None:
    if not 0 <= position < batches:
        raise ValueError(f"batch {position} of an epoch of {batches}")
