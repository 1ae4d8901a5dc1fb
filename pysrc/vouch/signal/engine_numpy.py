"""Frames to features on the processor: NumPy and SciPy's Fourier transform in single precision, one thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.fft import rfft
from scipy.special import ndtri

from vouch.signal.features import EPSILON, Recipe
from vouch.signal.frames import window_function

BLOCK = 128  # frames worked on together: their spectra stay in the cache of a core
_GROUP = 40  # mel filters applied together, to the bins under them only


class _Group(NamedTuple):
    """Some neighbouring mel filters: the bins of the spectrum under them, their columns and weights."""

    bins: slice
    columns: slice
    weights: np.ndarray


class NumpyEngine:
    """Computes the features of a Recipe; an Engine (vouch.signal.features)."""

    block = BLOCK

    def __init__(self, recipe: Recipe) -> None:
        frame = recipe.frame
        self._recipe = recipe
        self._window = window_function(frame).astype(np.float32)
        self._transform = None if recipe.transform is None else recipe.transform.astype(np.float32)
        self._noise_values = (frame.dither * normal_quantiles()).astype(np.float32) if frame.dither else None
        self._ones = np.ones(frame.window_size, dtype=np.float32)
        self._frames = np.empty((BLOCK, frame.window_size), dtype=np.float32)
        self._spare = np.empty((BLOCK, frame.window_size), dtype=np.float32)
        self._padded = np.zeros((BLOCK, frame.padded_size), dtype=np.float32)
        self._power = np.empty((BLOCK, frame.padded_size // 2 + 1), dtype=np.float32)

    def filters(self, mel: np.ndarray) -> list[_Group]:
        return list(_groups(mel.astype(np.float32)))

    def generator(self, key: int) -> np.random.BitGenerator:
        return np.random.SFC64(key)

    def features(
        self, samples: np.ndarray, count: int, filters: list[_Group], generator: np.random.BitGenerator | None
    ) -> np.ndarray:
        recipe = self._recipe
        frames = self._cut(samples, count, generator)
        if recipe.frame.remove_dc_offset:
            frames -= (frames @ self._ones / np.float32(frames.shape[1]))[:, None]
        energy = self._log_energy(frames) if recipe.energy == "raw" else None
        windowed = self._windowed(frames)
        if recipe.energy == "windowed":
            energy = self._log_energy(windowed)
        return self._finish(self._mel(self._spectra(count), filters), energy)

    def _cut(self, samples: np.ndarray, count: int, generator: np.random.BitGenerator | None) -> np.ndarray:
        """The frames (count, window_size), each with its own dither."""
        frame, frames = self._recipe.frame, self._frames[:count]
        samples = np.ascontiguousarray(samples)
        strides = frame.window_shift * samples.itemsize, samples.itemsize
        view = np.ndarray(frames.shape, samples.dtype, samples, strides=strides)
        if generator is None:
            np.copyto(frames, view)
            return frames
        noise = self._spare[:count]
        bits = generator.random_raw(-(-noise.size // 4)).view(np.uint16)[: noise.size]
        self._noise_values.take(bits.reshape(noise.shape), out=noise, mode="wrap")
        return np.add(view, noise, out=frames)

    def _windowed(self, frames: np.ndarray) -> np.ndarray:
        """The frames after pre-emphasis (in place) and window, written where zeros follow them."""
        coefficient = np.float32(self._recipe.frame.preemphasis_coefficient)
        if coefficient:
            first = frames[:, 0] * (1 - coefficient)
            previous = np.multiply(frames, coefficient, out=self._spare[: len(frames)]).reshape(-1)[:-1]
            flat = frames.reshape(-1)[1:]  # in one piece; what crosses from frame to frame is put right next
            flat -= previous
            frames[:, 0] = first
        return np.multiply(frames, self._window, out=self._padded[: len(frames), : frames.shape[1]])

    def _spectra(self, count: int) -> np.ndarray:
        """Power or magnitude spectra (count, padded_size/2 + 1) of the padded frames."""
        parts = rfft(self._padded[:count]).view(np.float32)
        np.square(parts, out=parts)
        power = np.add(parts[:, 0::2], parts[:, 1::2], out=self._power[:count])
        return power if self._recipe.use_power else np.sqrt(power, out=power)

    def _mel(self, spectra: np.ndarray, filters: list[_Group]) -> np.ndarray:
        mel = np.empty((len(spectra), filters[-1].columns.stop), dtype=np.float32)
        for group in filters:
            np.matmul(spectra[:, group.bins], group.weights, out=mel[:, group.columns])
        if self._recipe.use_log:
            np.log(np.maximum(mel, EPSILON, out=mel), out=mel)
        return mel

    def _finish(self, mel: np.ndarray, energy: np.ndarray | None) -> np.ndarray:
        recipe = self._recipe
        features = mel if self._transform is None else mel @ self._transform
        if energy is None:
            return features
        if recipe.extra_column:
            columns = [energy[:, None], features]
            return np.hstack(columns if recipe.energy_column == 0 else columns[::-1])
        features[:, recipe.energy_column] = energy
        return features

    def _log_energy(self, frames: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(np.vecdot(frames, frames), max(EPSILON, self._recipe.energy_floor)))


def normal_quantiles() -> np.ndarray:
    """65,536 equally probable values (65536,) of a standard normal variable: 16 random bits choose one of them."""
    return ndtri((np.arange(65536) + 0.5) / 65536)


def _groups(mel: np.ndarray) -> Iterator[_Group]:
    """Filters (spectrum, bins) cut into groups: the low ones are narrow, and need not see the whole spectrum."""
    for start in range(0, mel.shape[1], _GROUP):
        weights = mel[:, start : start + _GROUP]
        used = np.flatnonzero(weights.any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        yield _Group(bins, slice(start, start + weights.shape[1]), np.ascontiguousarray(weights[bins]))
