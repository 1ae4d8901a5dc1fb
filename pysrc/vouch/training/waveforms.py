"""Chunks of features made from recordings while the training runs: no features on disk, and new noises in every epoch.

A worker reads a stretch of a recording, augments it, and says which of its frames make the chunk; the features are
computed on the training's device (`WaveformSource.to_features`, called by vouch.training.loading.prepare).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from vouch.errors import VouchError
from vouch.signal.cmvn import windows
from vouch.signal.engine_torch import TorchEngine
from vouch.signal.features import FeatureExtractor
from vouch.signal.resample import change_speed
from vouch.signal.vad import compute_vad
from vouch.training.augmentation import Augmenter

_SPAN = 4  # frames of a recording that the frames of a chunk may come from, in chunks: bounds what is read
_SPEED_MARGIN = 100  # samples on each side that the filter of change_speed needs

# (number of the recording, first sample, samples) -> at most so many samples in ±32768 of its first channel
ReadStretch = Callable[[int, int, int], np.ndarray]


class Speeds(Sequence[str]):
    """The utterances at their own speed, then all again at each of the others, with the prefix spFACTOR-."""

    def __init__(self, keys: Sequence[str], speeds: Sequence[float]) -> None:
        self._keys, self.speeds = keys, [1.0, *speeds]

    def __len__(self) -> int:
        return len(self._keys) * len(self.speeds)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        copy, utterance = divmod(index, len(self._keys))
        return f"sp{self.speeds[copy]:g}-{self._keys[utterance]}" if copy else self._keys[utterance]


class Cmn(NamedTuple):
    """Sliding mean normalisation, as vouch.signal.cmvn.sliding_cmvn."""

    window: int = 300
    min_window: int = 100
    center: bool = True


class WaveformSource:
    """A ChunkSource over recordings; the same features as those of steps/prepare_feats_for_training.sh where nothing is
    added.

    A chunk is `length` voiced frames one after the other, as it is in features without silence: from the first voiced
    frame at or after the start on, or the last ones where too few follow; an utterance with fewer repeats them. What
    is voiced say the decisions of the whole recording (vad); where a long silence would spread a chunk over more than
    _SPAN times its length, it ends there and begins earlier. Without decisions the energy VAD judges the `length`
    frames from the start on, and those voiced are repeated to fill the chunk (all are taken where none is). The mean
    over the sliding window is that of the augmented stretch, which is read as wide as its windows need. Dither is noise
    added to the samples, not frame by frame. Random choices come from (seed, epoch and position of the batch,
    utterance, start, length); without a place nothing is added but the dither.

    Arguments: keys and num_frames (utterances,) of the recordings; read (a stretch of a recording); extractor (its
    recipe is computed in torch); cmn; augmenter; speeds (copies of all); vad (a recording's number -> decisions
    (frames,)), or None with vad_options (of compute_vad); seed.
    """

    def __init__(
        self,
        keys: Sequence[str],
        num_frames: np.ndarray,
        read: ReadStretch,
        extractor: FeatureExtractor,
        cmn: Cmn = Cmn(),  # noqa: B008
        augmenter: Augmenter | None = None,
        speeds: Sequence[float] = (),
        vad: Callable[[int], np.ndarray] | None = None,
        vad_options: dict | None = None,
        seed: int = 0,
    ) -> None:
        self.keys = Speeds(keys, speeds)
        self._recordings, self._read, self._extractor = keys, read, extractor
        self._frame = extractor.options.frame
        self.num_frames = np.concatenate([(num_frames / speed).astype(np.int64) for speed in self.keys.speeds])
        self.augmenter, self._cmn, self._seed = augmenter, cmn, seed
        self._vad, self._vad_options = vad, vad_options or {}
        self._engines: dict[torch.device, tuple[TorchEngine, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def shape(self, index: int) -> tuple[int, int]:
        """(frames, dims) of utterance number `index`, silence included."""
        return int(self.num_frames[index]), self._extractor.dim

    def fingerprint(self, num_frames: np.ndarray) -> str:
        """A hash of all keys and lengths, of the options of the features, of the names of what is added, and of the VAD
        (of some recordings)."""
        digest = hashlib.sha256("\n".join(self.keys).encode())
        digest.update(np.ascontiguousarray(num_frames, np.int64))
        digest.update(repr((self._extractor.options, self._cmn, sorted(self._vad_options.items()))).encode())
        if self.augmenter is not None:
            digest.update(repr(self.augmenter.names).encode())
        if self._vad is not None:
            for recording in np.linspace(0, len(self._recordings) - 1, min(100, len(self._recordings))).astype(int):
                digest.update(np.ascontiguousarray(self._vad(int(recording)), np.float32))
        return digest.hexdigest()

    def read_chunks(
        self, indices: np.ndarray, starts: np.ndarray, length: int, place: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, ...]:
        """samples (chunks, n) float32, padded with zeros; and for each frame of the chunks, int64 (chunks, length): its
        number in the stretch, the first frame and one past the last frame of its window."""
        made = [self._chunk(i, s, length, place) for i, s in zip(indices.tolist(), starts.tolist(), strict=True)]
        samples = np.zeros((len(made), max(len(chunk[0]) for chunk in made)), np.float32)
        for row, chunk in zip(samples, made, strict=True):
            row[: len(chunk[0])] = chunk[0]
        return samples, *(np.stack([chunk[part] for chunk in made]) for part in (1, 2, 3))

    def to_features(self, samples: Tensor, frames: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """What read_chunks gave, on a device, to features (chunks, length, dims)."""
        if samples.device not in self._engines:
            engine = TorchEngine(self._extractor.recipe, str(samples.device))
            self._engines[samples.device] = engine, engine.filters(self._extractor.mel_filters())
        engine, filters = self._engines[samples.device]
        features = engine.batch(samples, filters)
        sums = torch.nn.functional.pad(features.double().cumsum(1), (0, 0, 1, 0))
        wide = (-1, -1, features.shape[2])
        windowed = sums.gather(1, last[:, :, None].expand(wide)) - sums.gather(1, first[:, :, None].expand(wide))
        chosen = features.gather(1, frames[:, :, None].expand(wide))
        return (chosen - windowed / (last - first)[:, :, None]).float()

    def stretch_of(self, recording: int, rng: np.random.Generator, count: int) -> np.ndarray:
        """So many samples of a recording from a random place on, fewer where it is shorter: babble for another."""
        spare = int(self.num_frames[recording]) * self._frame.window_shift - count
        return self._read(recording, int(rng.integers(0, max(spare, 0) + 1)), count)

    def _chunk(
        self, index: int, start: int, length: int, place: tuple[int, int] | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        copy, recording = divmod(index, len(self._recordings))
        speed, total = self.keys.speeds[copy], int(self.num_frames[index])
        try:
            chosen = self._voiced_of_recording(recording, speed, total, start, length)
            first, last = windows(total, self._cmn.window, self._cmn.min_window, self._cmn.center)
            low, high = int(first[chosen[0]]), int(last[chosen[-1]])
            low, high = min(low, int(chosen[0])), max(high, int(chosen[-1]) + 1)
            samples = self._stretch(recording, speed, low, high)
        except VouchError as error:
            raise VouchError(f"utterance '{self.keys[index]}': {error}") from None
        if self._vad is None:
            chosen = chosen[self._voiced(samples, chosen - low)]
        rng = np.random.default_rng((self._seed, *(place or ()), index, start, length))
        if self.augmenter is not None and place is not None:
            samples = self.augmenter(samples, rng, recording)
        if self._frame.dither:
            samples = samples + np.float32(self._frame.dither) * rng.standard_normal(len(samples), np.float32)
        chosen = np.resize(chosen, length)
        return samples, chosen - low, first[chosen] - low, last[chosen] - low

    def _voiced_of_recording(self, recording: int, speed: float, total: int, start: int, length: int) -> np.ndarray:
        """Numbers of the frames of a chunk, fewer than `length` where the utterance has not more."""
        if self._vad is None:
            return np.arange(start, min(start + length, total))
        decisions = self._vad(recording)
        at = np.minimum((np.arange(total) * speed).round().astype(np.int64), len(decisions) - 1)
        voiced = np.flatnonzero(decisions[at])
        if not len(voiced):
            raise VouchError("its VAD has no voiced frame; leave it out of the training data")
        place = min(int(np.searchsorted(voiced, start)), max(len(voiced) - length, 0))
        chosen = voiced[place : place + length]
        near = chosen[chosen < chosen[0] + _SPAN * length]
        if len(near) < len(chosen):  # a long silence is in between: what lies before it
            near = voiced[(voiced <= near[-1]) & (voiced > near[-1] - _SPAN * length)][-length:]
        return near

    def _voiced(self, samples: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Which of these frames of the stretch the energy VAD calls voiced; all where none is."""
        cut = np.lib.stride_tricks.sliding_window_view(samples, self._frame.window_size)
        cut = cut[:: self._frame.window_shift][frames]
        energy = np.square(cut - cut.mean(1, keepdims=True)).sum(1)
        voiced = compute_vad(np.log(np.maximum(energy, np.finfo(np.float32).eps)), **self._vad_options) > 0
        return voiced if voiced.any() else np.ones(len(frames), bool)

    def _stretch(self, recording: int, speed: float, low: int, high: int) -> np.ndarray:
        """The samples under frames low to high, reflected beyond the ends of the recording."""
        start = self._frame.first_sample(low)
        stop = self._frame.first_sample(high - 1) + self._frame.window_size
        samples = self._at_speed(recording, speed, max(start, 0), stop)
        missing = stop - max(start, 0) - len(samples)
        if missing > self._frame.window_size + 2 * self._frame.window_shift or missing >= len(samples):
            raise VouchError("the recording is shorter than its number of frames or duration says; make these anew")
        return np.pad(samples, (max(-start, 0), missing), "symmetric")

    def _at_speed(self, recording: int, speed: float, start: int, stop: int) -> np.ndarray:
        """Samples start to stop of a recording that is played at this speed, fewer where it ends."""
        if speed == 1:
            return self._read(recording, start, stop - start)
        ratio = Fraction(speed).limit_denominator(1000)
        begin = max(0, start - _SPEED_MARGIN) // ratio.denominator * ratio.denominator
        origin = begin * ratio.numerator // ratio.denominator
        samples = self._read(recording, origin, ceil((stop + _SPEED_MARGIN) * ratio) - origin)
        return change_speed(samples, speed)[start - begin : stop - begin]
