"""Cutting a signal into frames, and the window functions, as Kaldi's feature-window does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vouch.errors import VouchError

WINDOW_TYPES = ("hamming", "hanning", "povey", "rectangular", "sine", "blackman")


@dataclass(frozen=True)
class FrameOptions:
    """Kaldi's FrameExtractionOptions with its defaults; lengths in milliseconds, frequency in Hz.

    Raises VouchError when the frame or the shift is empty, or the transform length is odd.
    """

    sample_frequency: float = 16000.0
    frame_length: float = 25.0
    frame_shift: float = 10.0
    dither: float = 1.0
    preemphasis_coefficient: float = 0.97
    remove_dc_offset: bool = True
    window_type: str = "povey"
    blackman_coeff: float = 0.42
    round_to_power_of_two: bool = True
    snip_edges: bool = True

    def __post_init__(self) -> None:
        if self.window_size < 2 or self.window_shift < 1:
            raise VouchError(
                f"a frame of {self.frame_length:g} ms every {self.frame_shift:g} ms at {self.sample_frequency:g} Hz is "
                f"{self.window_size} samples every {self.window_shift}; check --frame-length, --frame-shift"
            )
        if self.padded_size % 2:
            raise VouchError(
                f"the transform length {self.padded_size} is odd; change --frame-length or set --round-to-power-of-two"
            )
        if not 0 <= self.preemphasis_coefficient <= 1:
            raise VouchError(f"--preemphasis-coefficient must be in [0, 1], not {self.preemphasis_coefficient:g}")

    @property
    def window_size(self) -> int:
        """Samples in a frame."""
        return int(self.sample_frequency * 0.001 * self.frame_length)

    @property
    def window_shift(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_frequency * 0.001 * self.frame_shift)

    @property
    def padded_size(self) -> int:
        """Length of the Fourier transform."""
        size = self.window_size
        return 1 << (size - 1).bit_length() if self.round_to_power_of_two else size

    def num_frames(self, num_samples: int) -> int:
        """Frames of a signal: all that fit (snip-edges), else its length over the shift, rounded."""
        if self.snip_edges:
            return max(0, 1 + (num_samples - self.window_size) // self.window_shift)
        return (num_samples + self.window_shift // 2) // self.window_shift

    def first_sample(self, frame: int) -> int:
        """Index of the first sample of a frame; negative before the signal (snip-edges false)."""
        if self.snip_edges:
            return frame * self.window_shift
        return frame * self.window_shift + self.window_shift // 2 - self.window_size // 2


def samples_of_frames(samples: np.ndarray, first: int, count: int, options: FrameOptions) -> np.ndarray:
    """The stretch of `samples` (n,) under frames first … first+count−1; frame i starts at i · window_shift of it.

    Outside the signal it is reflected with the edge sample repeated (−1 → 0, n → n−1), again and again for a
    signal shorter than the frame.
    """
    start = options.first_sample(first)
    stop = options.first_sample(first + count - 1) + options.window_size
    size = len(samples)
    inside = samples[max(start, 0) : min(stop, size)]
    if start >= 0 and stop <= size:
        return inside
    before, after = np.arange(start, min(0, stop)), np.arange(max(size, start), stop)
    return np.concatenate([_reflected(samples, before), inside, _reflected(samples, after)])


def _reflected(samples: np.ndarray, index: np.ndarray) -> np.ndarray:
    index = index % (2 * len(samples))
    return samples[np.minimum(index, 2 * len(samples) - 1 - index)]


def window_function(options: FrameOptions) -> np.ndarray:
    """The window (window_size,) float64; N−1 in the denominator. Povey: (0.5 − 0.5 cos)^0.85."""
    size = options.window_size
    angle = 2 * np.pi * np.arange(size) / (size - 1)
    match options.window_type:
        case "hanning":
            return 0.5 - 0.5 * np.cos(angle)
        case "hamming":
            return 0.54 - 0.46 * np.cos(angle)
        case "povey":
            return (0.5 - 0.5 * np.cos(angle)) ** 0.85
        case "sine":
            return np.sin(0.5 * angle)
        case "blackman":
            a = options.blackman_coeff
            return a - 0.5 * np.cos(angle) + (0.5 - a) * np.cos(2 * angle)
        case "rectangular":
            return np.ones(size)
    raise VouchError(f"unknown --window-type={options.window_type}; one of {', '.join(WINDOW_TYPES)}")
