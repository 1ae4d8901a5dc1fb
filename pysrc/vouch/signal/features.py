"""MFCC and mel filter banks (Kaldi, compute-mfcc-feats, compute-fbank-feats): options, and signals to features."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from vouch.errors import VouchError
from vouch.signal.frames import FrameOptions, samples_of_frames
from vouch.signal.mel import dct_matrix, lifter, mel_banks

EPSILON = float(np.finfo(np.float32).eps)  # Kaldi floors energies by it whatever --energy-floor says
_WARPS = 100  # sets of filters kept, of as many VTLN warp factors


@dataclass(frozen=True)
class SpectrumOptions:
    """What MFCC and fbank share beside the frames, with Kaldi's names and defaults."""

    frame: FrameOptions = field(default_factory=FrameOptions)
    num_mel_bins: int = 23
    low_freq: float = 20.0
    high_freq: float = 0.0
    vtln_low: float = 100.0
    vtln_high: float = -500.0
    use_energy: bool = True
    energy_floor: float = 0.0
    raw_energy: bool = True
    htk_compat: bool = False


@dataclass(frozen=True)
class MfccOptions(SpectrumOptions):
    """Kaldi's MfccOptions: the first column is the log energy, or C0 without use_energy."""

    num_ceps: int = 13
    cepstral_lifter: float = 22.0


@dataclass(frozen=True)
class FbankOptions(SpectrumOptions):
    """Kaldi's FbankOptions: with use_energy the log energy is an additional first column."""

    use_energy: bool = False
    use_log_fbank: bool = True
    use_power: bool = True


class Recipe(NamedTuple):
    """What an engine does with the frames of a signal, and with their mel energies."""

    frame: FrameOptions
    energy: str  # "" for none, "raw": before pre-emphasis and window, "windowed": after them
    energy_floor: float  # 0 for none; EPSILON holds in any case
    energy_column: int  # where it goes: 0 or -1
    extra_column: bool  # it is a column of its own; else it takes the place of what is there
    use_power: bool  # filter power spectra, else magnitudes
    use_log: bool  # logarithms of the mel energies
    transform: np.ndarray | None  # (bins, ceps) that these are multiplied by


class Engine(Protocol):
    """Computes features of stretches of at most `block` frames; made from a Recipe for one device."""

    block: int

    def filters(self, mel: np.ndarray) -> Any:
        """Mel weights (spectrum, bins) in the form that `features` takes."""

    def generator(self, key: int) -> Any:
        """The source of dither of one signal."""

    def features(self, samples: np.ndarray, count: int, filters: Any, generator: Any) -> np.ndarray:
        """Features float32 (count, dim) of `samples`, of which frame i begins at i · window_shift."""


class FeatureExtractor(ABC):
    """Features of signals in ±32768 at the options' sample frequency; float32 (frames, dim).

    A signal is worked on in blocks of frames, so that a long one needs no more than itself and its features. Dither
    comes from a generator seeded by (seed, utterance): nothing depends on what was computed before.
    device: "cpu" for NumPy, else torch's name of a GPU ("torch-cpu": torch on the processor, for comparison).
    Raises VouchError on impossible options.
    """

    dim: int

    def __init__(self, options: SpectrumOptions, device: str = "cpu", seed: int = 0) -> None:
        self.options, self.seed = options, seed
        self.recipe = self._recipe()
        self._engine = _engine(self.recipe, device)
        self._filters: dict[float, Any] = {}
        self._filters_of(1.0)

    def __call__(self, samples: np.ndarray, utterance: str = "", vtln_warp: float = 1.0) -> np.ndarray:
        """Features of one signal (n,), of 16-bit integers or floats; (0, 0) when it is too short for a frame."""
        frame, block = self.options.frame, self._engine.block
        count = frame.num_frames(len(samples))
        features = np.empty((count, self.dim if count else 0), dtype=np.float32)
        filters = self._filters_of(vtln_warp)
        generator = self._engine.generator(zlib.crc32(f"{self.seed} {utterance}".encode())) if frame.dither else None
        for first in range(0, count, block):
            part = features[first : first + block]
            stretch = samples_of_frames(samples, first, len(part), frame)
            part[:] = self._engine.features(stretch, len(part), filters, generator)
        return features

    def mel_filters(self, vtln_warp: float = 1.0) -> np.ndarray:
        """Mel weights (padded_size/2 + 1, num_mel_bins)."""
        o = self.options
        return mel_banks(o.frame, o.num_mel_bins, o.low_freq, o.high_freq, o.vtln_low, o.vtln_high, vtln_warp)

    def _filters_of(self, warp: float) -> Any:
        if warp not in self._filters:
            if len(self._filters) == _WARPS:
                self._filters.clear()
            self._filters[warp] = self._engine.filters(self.mel_filters(warp))
        return self._filters[warp]

    @abstractmethod
    def _recipe(self) -> Recipe:
        """The recipe of the options."""

    def _energy(self) -> str:
        if not self.options.use_energy:
            return ""
        return "raw" if self.options.raw_energy else "windowed"


class Mfcc(FeatureExtractor):
    """Mel-frequency cepstral coefficients; raises VouchError when num_ceps exceeds num_mel_bins."""

    options: MfccOptions

    def _recipe(self) -> Recipe:
        options = self.options
        if not 1 <= options.num_ceps <= options.num_mel_bins:
            raise VouchError(f"--num-ceps={options.num_ceps} must be from 1 to --num-mel-bins={options.num_mel_bins}")
        self.dim = options.num_ceps
        transform = dct_matrix(options.num_ceps, options.num_mel_bins)
        transform *= lifter(options.num_ceps, options.cepstral_lifter)[:, None]
        if options.htk_compat:
            if not options.use_energy:
                transform[0] *= np.sqrt(2.0)
            transform = np.roll(transform, -1, axis=0)
        column = -1 if options.htk_compat else 0
        return Recipe(options.frame, self._energy(), options.energy_floor, column, False, True, True, transform.T)


class Fbank(FeatureExtractor):
    """Mel filter-bank energies, or their logarithms."""

    options: FbankOptions

    def _recipe(self) -> Recipe:
        options = self.options
        self.dim = options.num_mel_bins + int(options.use_energy)
        column = -1 if options.htk_compat else 0
        form = options.use_power, options.use_log_fbank, None
        return Recipe(options.frame, self._energy(), options.energy_floor, column, True, *form)


def _engine(recipe: Recipe, device: str) -> Engine:
    if device == "cpu":
        from vouch.signal.engine_numpy import NumpyEngine

        return NumpyEngine(recipe)
    from vouch.signal.engine_torch import TorchEngine

    return TorchEngine(recipe, device.removeprefix("torch-"))
