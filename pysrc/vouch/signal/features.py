"""MFCC and mel filter banks with torch, many utterances in a batch (Kaldi, compute-mfcc-feats, compute-fbank-feats)."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from vouch.errors import VouchError
from vouch.signal.frames import FrameOptions, samples_of_frames, window_function
from vouch.signal.mel import dct_matrix, lifter, mel_banks

EPSILON = float(np.finfo(np.float32).eps)  # Kaldi floors energies by it whatever --energy-floor says
BLOCK = 1000  # frames of one utterance handled together: 1.6 MB, the size of a core's cache
BATCH_FRAMES = {"cpu": BLOCK, "cuda": 50_000}


@dataclass(frozen=True)
class SpectrumOptions:
    """What MFCC and fbank share beside the frames, with Kaldi's names and defaults."""

    frame: FrameOptions = field(default_factory=FrameOptions)
    num_mel_bins: int = 23
    low_freq: float = 20.0
    high_freq: float = 0.0
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


class _Block(NamedTuple):
    """Some successive frames of one utterance: their samples and where their features go."""

    samples: np.ndarray
    features: np.ndarray
    generator: torch.Generator | None


class FeatureExtractor(ABC):
    """Features of signals in ±32768 at the options' sample frequency; float32 (frames, dim).

    Frames of several utterances are computed together in batches of bounded size, and an utterance's features
    depend neither on its batch nor on its neighbours: dither comes from a generator seeded by (seed, utterance).
    """

    dim: int

    def __init__(self, options: SpectrumOptions, device: str = "cpu", seed: int = 0) -> None:
        self.options, self.device, self.seed = options, torch.device(device), seed
        self._batch_frames = BATCH_FRAMES[self.device.type]
        frame = options.frame
        window = window_function(frame)
        self._window = self._constant(window)
        self._lag_window = self._constant(-frame.preemphasis_coefficient * window[1:])
        self._first_weight = float((1.0 - frame.preemphasis_coefficient) * window[0])
        self._mel = self._constant(mel_banks(frame, options.num_mel_bins, options.low_freq, options.high_freq))
        capacity = self._batch_frames + BLOCK
        self._frames = torch.empty(capacity, frame.window_size, device=self.device)
        self._noise = torch.empty(BLOCK, frame.window_size, device=self.device)
        self._padded = torch.zeros(capacity, frame.padded_size, device=self.device)

    def __call__(self, samples: np.ndarray, utterance: str = "") -> np.ndarray:
        """Features of one signal (n,); (0, 0) when it is too short for a frame."""
        return next(self.stream([(utterance, samples)]))[1]

    @torch.inference_mode()
    def stream(self, utterances: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        """Features of each (utterance, samples (n,)), in the same order.

        At most a batch of frames and the longest utterance are held. A signal too short for one frame gives an
        array of shape (0, 0), as in Kaldi.
        """
        waiting: list[tuple[str, np.ndarray]] = []
        blocks: list[_Block] = []
        waiting_frames = block_frames = 0
        for utterance, samples in utterances:
            frames = self.options.frame.num_frames(len(samples))
            features = np.empty((frames, self.dim if frames else 0), dtype=np.float32)
            waiting.append((utterance, features))
            waiting_frames += frames
            for block in self._blocks(utterance, samples, features):
                blocks.append(block)
                block_frames += len(block.features)
                if block_frames >= self._batch_frames:
                    self._fill(blocks)
                    blocks, block_frames = [], 0
            if waiting_frames >= self._batch_frames:
                self._fill(blocks)
                yield from waiting
                waiting, blocks, waiting_frames, block_frames = [], [], 0, 0
        self._fill(blocks)
        yield from waiting

    def _blocks(self, utterance: str, samples: np.ndarray, features: np.ndarray) -> Iterator[_Block]:
        frame = self.options.frame
        generator = self._generator(utterance) if frame.dither else None
        for first in range(0, len(features), BLOCK):
            part = features[first : first + BLOCK]
            stretch = samples_of_frames(samples, first, len(part), frame)
            yield _Block(np.ascontiguousarray(stretch, dtype=np.float32), part, generator)

    def _generator(self, utterance: str) -> torch.Generator:
        key = zlib.crc32(f"{self.seed} {utterance}".encode())
        return torch.Generator(device=self.device).manual_seed(key)

    def _fill(self, blocks: list[_Block]) -> None:
        """Compute the features of the blocks as one batch and put them where they belong."""
        if not blocks:
            return
        frame, row = self.options.frame, 0
        for block in blocks:
            count = len(block.features)
            samples = torch.from_numpy(block.samples).to(self.device)
            rows = self._frames[row : row + count]
            rows.copy_(samples.unfold(0, frame.window_size, frame.window_shift))
            if block.generator is not None:
                noise = self._noise[:count].normal_(generator=block.generator)
                rows.add_(noise, alpha=frame.dither)
            row += count
        features = self._features(row).cpu().numpy()
        row = 0
        for block in blocks:
            block.features[:] = features[row : row + len(block.features)]
            row += len(block.features)

    def _features(self, count: int) -> torch.Tensor:
        """Features (count, dim) of the frames now in the buffer."""
        options, frame = self.options, self.options.frame
        frames, padded = self._frames[:count], self._padded[:count]
        if frame.remove_dc_offset:
            frames.sub_(frames.mean(dim=1, keepdim=True))
        energy = _log_energy(frames) if options.use_energy and options.raw_energy else None
        size = frame.window_size
        torch.mul(frames, self._window, out=padded[:, :size])
        if frame.preemphasis_coefficient:
            padded[:, 0] = frames[:, 0] * self._first_weight
            padded[:, 1:size].addcmul_(frames[:, :-1], self._lag_window)
        if options.use_energy and not options.raw_energy:
            energy = _log_energy(padded)
        if energy is not None and options.energy_floor > 0:
            energy.clamp_(min=float(np.log(options.energy_floor)))
        spectrum = torch.fft.rfft(padded)
        power = spectrum.real.square().add_(spectrum.imag.square())
        return self._finish(power, energy)

    @abstractmethod
    def _finish(self, power: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        """Features (count, dim) of power spectra (count, padded_size/2 + 1) and log energies (count,)."""

    def _constant(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)


class Mfcc(FeatureExtractor):
    """Mel-frequency cepstral coefficients; raises VouchError when num_ceps exceeds num_mel_bins."""

    options: MfccOptions

    def __init__(self, options: MfccOptions, device: str = "cpu", seed: int = 0) -> None:
        if not 1 <= options.num_ceps <= options.num_mel_bins:
            raise VouchError(f"--num-ceps={options.num_ceps} must be from 1 to --num-mel-bins={options.num_mel_bins}")
        super().__init__(options, device, seed)
        self.dim = options.num_ceps
        transform = dct_matrix(options.num_ceps, options.num_mel_bins)
        transform *= lifter(options.num_ceps, options.cepstral_lifter)[:, None]
        if options.htk_compat:
            transform[0] *= np.sqrt(2.0)
            transform = np.roll(transform, -1, axis=0)
        self._transform = self._constant(transform.T)

    def _finish(self, power: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        features = (power @ self._mel).clamp_(min=EPSILON).log_() @ self._transform
        if energy is not None:
            features[:, -1 if self.options.htk_compat else 0] = energy
        return features


class Fbank(FeatureExtractor):
    """Mel filter-bank energies, or their logarithms."""

    options: FbankOptions

    def __init__(self, options: FbankOptions, device: str = "cpu", seed: int = 0) -> None:
        super().__init__(options, device, seed)
        self.dim = options.num_mel_bins + int(options.use_energy)

    def _finish(self, power: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        options = self.options
        features = (power if options.use_power else power.sqrt_()) @ self._mel
        if options.use_log_fbank:
            features.clamp_(min=EPSILON).log_()
        if energy is None:
            return features
        columns = [features, energy[:, None]] if options.htk_compat else [energy[:, None], features]
        return torch.cat(columns, dim=1)


def _log_energy(frames: torch.Tensor) -> torch.Tensor:
    """Log of the sum of squares (count,) of each row, floored at EPSILON."""
    return torch.linalg.vector_norm(frames, dim=1).square_().clamp_(min=EPSILON).log_()
