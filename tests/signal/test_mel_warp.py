"""Warped mel filters (VTLN): Kaldi's piecewise linear rule, written out, and its ends."""

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.signal.frames import FrameOptions
from vouch.signal.mel import inverse_mel_scale, mel_banks, mel_scale, warp_frequencies

FRAME = FrameOptions(sample_frequency=8000.0)
NYQUIST = 4000.0


def warped(frequency: float, warp: float, low: float, high: float, vtln_low: float, vtln_high: float) -> float:
    """The three lines, one frequency at a time."""
    left, right = vtln_low * max(1, warp), vtln_high * min(1, warp)
    if frequency < left:
        return low + (left / warp - low) / (left - low) * (frequency - low)
    if frequency < right:
        return frequency / warp
    return high + (high - right / warp) / (high - right) * (frequency - high)


@pytest.mark.parametrize("warp", [0.8, 0.9, 1.0, 1.1, 1.25])
def test_the_three_lines(warp: float) -> None:
    knots = 20.0, 3700.0, 100.0, 3400.0
    frequencies = np.linspace(20.0, 3700.0, 501)
    found = warp_frequencies(frequencies, warp, *knots)
    np.testing.assert_allclose(found, [warped(f, warp, *knots) for f in frequencies], rtol=1e-12)
    assert (np.diff(found) > 0).all() and found[0] == 20 and found[-1] == pytest.approx(3700)


def slowly(warp: float, low: float, high: float, vtln_low: float, vtln_high: float, bins: int) -> np.ndarray:
    """Filter by filter and bin by bin."""
    size = FRAME.padded_size
    step = (mel_scale(high) - mel_scale(low)) / (bins + 1)
    weights = np.zeros((size // 2 + 1, bins))
    for number in range(bins):
        corners = [float(inverse_mel_scale(mel_scale(low) + (number + j) * step)) for j in range(3)]
        left, center, right = (float(mel_scale(warped(f, warp, low, high, vtln_low, vtln_high))) for f in corners)
        for k in range(size // 2):
            mel = float(mel_scale(k * 8000.0 / size))
            if left < mel < right:
                weights[k, number] = (
                    (mel - left) / (center - left) if mel <= center else (right - mel) / (right - center)
                )
    return weights


@pytest.mark.parametrize("warp", [0.9, 1.1])
def test_the_filters(warp: float) -> None:
    found = mel_banks(FRAME, 23, 20.0, -300.0, 100.0, -500.0, warp)
    np.testing.assert_allclose(found, slowly(warp, 20.0, 3700.0, 100.0, 3500.0, 23), atol=1e-9)


def test_no_warp_ignores_the_knots() -> None:
    expected = mel_banks(FRAME, 23, 20.0, 0.0)
    np.testing.assert_array_equal(mel_banks(FRAME, 23, 20.0, 0.0, vtln_low=5.0, vtln_high=9000.0), expected)
    assert np.abs(mel_banks(FRAME, 23, 20.0, 0.0, vtln_warp=1.01) - expected).max() > 0.01


@pytest.mark.parametrize(
    "changes",
    [{"vtln_low": 10.0}, {"vtln_high": 3900.0}, {"vtln_high": 50.0}, {"vtln_warp": 0.0}, {"vtln_warp": -1.0}],
)
def test_knots_that_do_not_fit(changes: dict[str, float]) -> None:
    options = {"vtln_low": 100.0, "vtln_high": -500.0, "vtln_warp": 1.1} | changes
    with pytest.raises(VouchError, match="--vtln-low"):
        mel_banks(FRAME, 23, 20.0, 3700.0, **options)
