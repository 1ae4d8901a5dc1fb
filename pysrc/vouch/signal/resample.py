"""Changing the sample rate: Kaldi's windowed-sinc resampler, and playing faster or slower."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor, gcd

import numpy as np

from vouch.errors import VouchError


def resample_waveform(samples: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """`samples` (n,) at rate_in Hz as float32 at rate_out Hz (Kaldi, ResampleWaveform).

    A sinc of 6 zeros a side-to-side half under a Hann window, cut off at 0.99 of the lower Nyquist frequency;
    zeros outside the signal. The length is ceil(n · rate_out / rate_in).
    """
    if rate_in == rate_out:
        return np.asarray(samples, dtype=np.float32)
    unit = gcd(rate_in, rate_out)
    units_in, units_out = rate_in // unit, rate_out // unit
    cutoff = 0.99 * 0.5 * min(rate_in, rate_out)
    reach = 6 / (2.0 * cutoff)  # seconds from the centre of the filter to its end
    length = -(-len(samples) * units_out // units_in)
    margin = ceil(reach * rate_in) + 1
    padded = np.concatenate([np.zeros(margin), samples, np.zeros(margin + units_in)]).astype(np.float32)
    output = np.empty(length, dtype=np.float32)
    for phase in range(min(units_out, length)):
        time = phase / rate_out
        first, last = ceil((time - reach) * rate_in), floor((time + reach) * rate_in)
        offset = np.arange(first, last + 1) / rate_in - time
        weights = (_windowed_sinc(offset, cutoff, reach) / rate_in).astype(np.float32)
        count = len(range(phase, length, units_out))
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights))[first + margin :: units_in]
        output[phase::units_out] = windows[:count] @ weights
    return output


def _windowed_sinc(time: np.ndarray, cutoff: float, reach: float) -> np.ndarray:
    window = np.where(np.abs(time) < reach, 0.5 * (1 + np.cos(np.pi * time / reach)), 0.0)
    return 2 * cutoff * np.sinc(2 * cutoff * time) * window


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """`samples` (…, n) played `factor` times as fast: length ceil(n / factor), pitch times factor (sox, speed).

    Polyphase filtering by the nearest ratio of integers up to 1000; a Kaiser-windowed sinc (beta 8) with 32 zeros
    a side, cut off at 0.95 of the lower Nyquist frequency. Raises VouchError unless 0.1 <= factor <= 10.
    """
    if not 0.1 <= factor <= 10:
        raise VouchError(f"a speed factor of {factor:g} is not between 0.1 and 10")
    ratio = Fraction(factor).limit_denominator(1000)
    return resample_rational(samples, ratio.denominator, ratio.numerator)


def resample_rational(samples: np.ndarray, up: int, down: int) -> np.ndarray:
    """`samples` (…, n) as float32 at up/down times the rate, with the filter that change_speed describes."""
    divisor = gcd(up, down)
    up, down = up // divisor, down // divisor
    if up == down:
        return np.asarray(samples, dtype=np.float32)
    from scipy import signal  # takes a second, which most calls of wav-reverberate can do without

    return signal.resample_poly(np.asarray(samples, dtype=np.float32), up, down, axis=-1, window=_taps(max(up, down)))


@lru_cache(64)  # a training changes the speed of every chunk
def _taps(widest: int) -> np.ndarray:
    from scipy import signal

    return signal.firwin(2 * 32 * widest + 1, 0.95 / widest, window=("kaiser", 8.0)).astype(np.float32)
