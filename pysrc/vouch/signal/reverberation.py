"""Reverberation and additive noise at given signal-to-noise ratios (Kaldi, wav-reverberate)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft

from vouch.errors import VouchError

BEFORE_PEAK, AFTER_PEAK = 0.001, 0.05  # seconds: the part of an impulse response that counts as early
EPSILON = float(np.finfo(np.float32).eps)


class AdditiveSignal(NamedTuple):
    """A noise (n,), its signal-to-noise ratio in dB, where it starts in the signal (seconds), and whether it is
    first repeated, or cut, to the signal's length."""

    samples: np.ndarray
    snr: float
    start: float = 0.0
    repeat: bool = False


def reverberate(
    samples: np.ndarray,
    rate: int,
    impulse_response: np.ndarray | None = None,
    additive_signals: Sequence[AdditiveSignal] = (),
    *,
    shift_output: bool = True,
    normalize_output: bool = True,
    volume: float = 0.0,
    duration: float = 0.0,
) -> np.ndarray:
    """`samples` (n,) at `rate` Hz in a room, with noises: float32, values in ±32768, not yet rounded.

    impulse_response (m,) is on the scale of samples too (1.0 is 32768). A noise is scaled against the power of the
    *early* reverberant signal (1 ms before to 50 ms after the response's peak) and cut where the signal ends.
    shift_output removes the delay of the peak, and the output then has n samples, else n + m − 1, of which Kaldi fills
    those beyond n by repeating the beginning, as done here. duration (seconds) cuts the output, or repeats it to that
    length. normalize_output keeps the power of the input; a volume above 0 is a gain instead.

    A silent output is left silent. Raises VouchError on an empty signal, noise or response.
    """
    if not len(samples):
        raise VouchError("the signal to reverberate is empty")
    signal = np.asarray(samples, dtype=np.float32)
    length, power, peak = len(signal), _power(signal), 0
    early_power = power
    output_length = length
    if impulse_response is not None:
        if not len(impulse_response):
            raise VouchError("the impulse response is empty")
        response = np.asarray(impulse_response, dtype=np.float32) / 32768
        early_power, signal = _convolve(signal, response, rate)
        peak = int(np.argmax(response)) if shift_output else 0
        output_length = length if shift_output else len(signal)
    elif additive_signals:
        signal = signal.copy()
    for noise in additive_signals:
        _add_noise(signal, noise, length, rate, early_power)
    gain = volume if volume > 0 else _gain(power, _power(signal)) if normalize_output else 1.0
    if duration > 0:
        output_length = int(np.float32(rate) * np.float32(duration))
    signal = signal[peak : peak + length] * np.float32(gain)
    return signal[:output_length] if output_length <= length else np.resize(signal, output_length)


def _power(signal: np.ndarray) -> float:
    return float(np.dot(signal, signal)) / len(signal)


def _gain(before: float, after: float) -> float:
    return float(np.sqrt(before / after)) if after > 0 else 1.0


def _convolve(signal: np.ndarray, response: np.ndarray, rate: int) -> tuple[float, np.ndarray]:
    """Power of signal * early part of the response, and signal * response (n + m − 1,)."""
    peak = int(np.argmax(response))
    first = max(0, int(np.float32(peak) - np.float32(BEFORE_PEAK) * np.float32(rate)))
    last = min(len(response), int(np.float32(peak) + np.float32(AFTER_PEAK) * np.float32(rate)))
    length = len(signal) + len(response) - 1
    size = fft.next_fast_len(length, real=True)
    spectrum = fft.rfft(signal, size)
    early = _irfft_energy(spectrum * fft.rfft(response[first:last], size), size)
    convolved = fft.irfft(spectrum * fft.rfft(response, size), size)[:length]
    return early / (len(signal) + last - first - 1), convolved


def _irfft_energy(spectrum: np.ndarray, size: int) -> float:
    """Sum of squares of irfft(spectrum, size), by Parseval's theorem, without transforming."""
    squares = np.square(spectrum.real, dtype=np.float64) + np.square(spectrum.imag, dtype=np.float64)
    middle = squares[1 : (size + 1) // 2].sum()
    nyquist = squares[-1] if size % 2 == 0 else 0.0
    return float(squares[0] + 2 * middle + nyquist) / size


def _add_noise(signal: np.ndarray, noise: AdditiveSignal, length: int, rate: int, signal_power: float) -> None:
    if not len(noise.samples):
        raise VouchError("an additive signal is empty")
    samples = np.asarray(noise.samples, dtype=np.float32)
    if noise.repeat:
        samples = np.resize(samples, length)
    scale = np.sqrt(10.0 ** (-noise.snr / 10) * signal_power / (_power(samples) + EPSILON))
    start = int(np.float32(noise.start) * np.float32(rate))
    stop = min(len(signal), start + len(samples))
    if start < stop:
        signal[start:stop] += np.float32(scale) * samples[: stop - start]
