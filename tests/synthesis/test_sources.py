"""Glottal source and vocal tract against formulas computed independently."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.signal import find_peaks

from vouch.synthesis.glottis import Voice, flow_derivative, glottal_source
from vouch.synthesis.tract import (
    FREQUENCIES,
    HOP,
    RATE,
    SOURCE_RATE,
    apply_transfers,
    frame_count,
    pole_pair,
    voice_transfer,
)


@pytest.mark.parametrize("open_quotient", [0.4, 0.6, 0.85])
def test_flow_returns_to_zero(open_quotient):
    flow, _ = quad(lambda x: float(flow_derivative(np.array(x), open_quotient)), 0, open_quotient * 2 / 3)
    fall, _ = quad(lambda x: float(flow_derivative(np.array(x), open_quotient)), open_quotient * 2 / 3, open_quotient)
    assert flow == pytest.approx(1, abs=1e-6)  # peak flow
    assert fall == pytest.approx(-1, abs=1e-6)
    assert not flow_derivative(np.linspace(open_quotient, 0.999, 20), open_quotient).any()


def test_pulses_have_the_pitch_asked_for():
    pitch = np.full(SOURCE_RATE, 125.0)
    pulses, _ = glottal_source(pitch, Voice(0.6, 0.0, 0.0), SOURCE_RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(pulses))
    peaks, _ = find_peaks(spectrum[:1000], height=0.05 * spectrum.max())
    np.testing.assert_array_equal(peaks[:5], 125 * np.arange(1, 6))
    assert np.mean(pulses**2) == pytest.approx(1, rel=0.05)


def test_jitter_and_shimmer_spread_the_harmonics():
    pitch = np.full(SOURCE_RATE, 125.0)
    share = []
    for voice in (Voice(0.6, 0.0, 0.0), Voice(0.6, 0.02, 0.0), Voice(0.6, 0.0, 0.2)):
        pulses, _ = glottal_source(pitch, voice, SOURCE_RATE, np.random.default_rng(0))
        power = np.abs(np.fft.rfft(pulses)) ** 2
        share.append(power[::125].sum() / power.sum())
    assert share[0] > 0.999 > share[1] and share[0] > 0.999 > share[2]


def test_breath_follows_the_open_phase():
    pitch = np.full(4 * SOURCE_RATE, 100.0)
    _, breath = glottal_source(pitch, Voice(0.5, 0.0, 0.0), SOURCE_RATE, np.random.default_rng(0))
    phase = np.arange(len(pitch)) * 100 / SOURCE_RATE % 1
    assert breath[phase < 0.45].std() == pytest.approx(1, rel=0.03)
    assert breath[(phase > 0.55) & (phase < 0.95)].std() == pytest.approx(0.35, rel=0.03)


def test_pole_pair_is_fants_formula():
    frequency, bandwidth = 700.0, 90.0
    s = 2j * np.pi * FREQUENCIES
    pole = -np.pi * bandwidth + 2j * np.pi * frequency
    wanted = (s - pole) * (s - pole.conjugate()) / abs(pole) ** 2
    np.testing.assert_allclose(pole_pair(np.array([frequency]), np.array([bandwidth]))[0], wanted, rtol=1e-9)


def test_formants_are_the_peaks_of_the_transfer_function():
    formants = np.array([[500.0, 1500.0, 2500.0, 3500.0]])
    transfer = np.abs(voice_transfer(formants, np.full((1, 4), 80.0), np.array([270.0]), 270.0, 1e9))[0]
    peaks, _ = find_peaks(transfer)
    np.testing.assert_allclose(FREQUENCIES[peaks], formants[0], atol=20)


def test_nasal_zero_removes_energy_at_its_frequency():
    formants, widths = np.array([[500.0, 1500.0]]), np.full((1, 2), 80.0)
    oral = np.abs(voice_transfer(formants, widths, np.array([270.0]), 270.0, 3000.0))[0]
    nasal = np.abs(voice_transfer(formants, widths, np.array([1000.0]), 270.0, 3000.0))[0]
    ratio = nasal / oral
    assert FREQUENCIES[np.argmin(ratio[(FREQUENCIES < 3000)])] == pytest.approx(1000, abs=20)
    assert FREQUENCIES[np.argmax(ratio)] == pytest.approx(270, abs=20)


def test_overlap_add_is_exact_for_a_constant_filter():
    """A tone through a fixed formant has the formant's gain and phase at that frequency."""
    tone = 625.0  # a multiple of the bin width
    samples = 64 * HOP
    x = np.cos(2 * np.pi * tone * np.arange(samples) / SOURCE_RATE)
    frames = frame_count(samples)
    transfer = 1 / pole_pair(np.full(frames, 700.0), np.full(frames, 100.0))
    y = apply_transfers([(x, transfer)])
    gain = transfer[0, round(tone / FREQUENCIES[1])]
    wanted = np.real(gain * np.exp(2j * np.pi * tone * np.arange(len(y)) / RATE))
    middle = slice(1000, 1900)
    assert len(y) == samples // 2
    np.testing.assert_allclose(y[middle], wanted[middle], atol=0.01 * abs(gain))


def test_nothing_folds_down_from_above_half_the_rate():
    samples = 64 * HOP
    x = np.cos(2 * np.pi * 5000 * np.arange(samples) / SOURCE_RATE)
    y = apply_transfers([(x, np.ones((frame_count(samples), len(FREQUENCIES))))])
    assert np.abs(y[500:-500]).max() < 0.01
