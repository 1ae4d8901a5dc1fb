"""Changes of rate and speed, on tones whose outcome is known."""

from __future__ import annotations

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.signal.resample import change_speed, resample_rational, resample_waveform


def tone(frequency: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def middle(samples: np.ndarray) -> np.ndarray:
    return samples[len(samples) // 10 : -len(samples) // 10]


@pytest.mark.parametrize("rate_in, rate_out", [(16000, 8000), (8000, 16000), (44100, 8000), (11025, 16000)])
def test_a_tone_keeps_its_frequency(rate_in: int, rate_out: int) -> None:
    signal = tone(440.0, rate_in)
    ours = resample_waveform(signal, rate_in, rate_out)
    assert len(ours) == -(-len(signal) * rate_out // rate_in)
    wanted = np.sin(2 * np.pi * 440.0 * np.arange(len(ours)) / rate_out)
    np.testing.assert_allclose(middle(ours), middle(wanted), atol=0.01)


@pytest.mark.parametrize("size", [0, 1, 5])
def test_very_short_signals(size: int) -> None:
    assert len(resample_waveform(np.ones(size, np.float32), 16000, 8000)) == -(-size // 2)


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.5])
def test_speed_moves_the_pitch_and_the_length(factor: float) -> None:
    signal = tone(500.0, 8000)
    ours = change_speed(signal, factor)
    assert len(ours) == int(np.ceil(len(signal) / factor))
    wanted = np.sin(2 * np.pi * 500.0 * factor * np.arange(len(ours)) / 8000)
    np.testing.assert_allclose(middle(ours), middle(wanted), atol=2e-4)


def test_speeding_up_lets_nothing_alias() -> None:
    """1.25 times 3600 Hz is beyond the Nyquist frequency of 4000 Hz: nothing may be left."""
    assert np.abs(middle(change_speed(tone(3600.0, 8000), 1.25))).max() < 1e-3


def test_channels_are_resampled_apart() -> None:
    pair = np.stack([tone(300.0, 8000), tone(700.0, 8000)])
    ours = resample_rational(pair, 2, 1)
    for channel in range(2):
        np.testing.assert_array_equal(ours[channel], resample_rational(pair[channel], 2, 1))


def test_impossible_factors_are_refused() -> None:
    for factor in (0.0, -1.0, 11.0):
        with pytest.raises(VouchError, match="factor"):
            change_speed(np.ones(10), factor)
