"""wav-reverberate's arithmetic against Kaldi's outputs, against direct convolution, and against its definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vouch.errors import VouchError
from vouch.signal.reverberation import AdditiveSignal, reverberate

RATE = 8000


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0].astype(np.float32)


@pytest.mark.parametrize(
    "name, options, noises",
    [
        ("rev_rir_norm", {}, []),
        ("rev_rir_noshift", {"shift_output": False}, []),
        ("rev_rir_nonorm", {"normalize_output": False, "volume": 0.05}, []),
        ("rev_noise_snr10_start0.3", {"impulse_response": None}, [(10, 0.3)]),
        ("rev_rir_noise_dur3", {"duration": 3.0}, [(15, 0.1), (5, 0.5)]),
    ],
)
def test_kaldis_outputs(golden: Path, name: str, options: dict, noises: list[tuple[float, float]]) -> None:
    folder = golden / "reverb"
    noise = read(folder / "noise.wav")
    options = {"impulse_response": read(folder / "rir.wav")} | options
    signals = [AdditiveSignal(noise, *where) for where in noises]
    ours = np.trunc(reverberate(read(folder / "input.wav"), RATE, additive_signals=signals, **options))
    kaldi = read(folder / f"{name}.wav")
    assert ours.shape == kaldi.shape
    assert np.abs(np.clip(ours, -32768, 32767) - kaldi).max() <= 3


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_convolution_without_normalising(rng: np.random.Generator) -> None:
    signal, response = rng.standard_normal(501) * 1000, rng.standard_normal(60) * 8000
    response[17] = 32767
    ours = reverberate(signal, RATE, response, normalize_output=False)
    direct = np.convolve(signal, response / 32768)[17 : 17 + 501]
    np.testing.assert_allclose(ours, direct, rtol=0, atol=0.01)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 12.0])
@pytest.mark.parametrize("repeat", [False, True])
def test_the_noise_has_the_asked_ratio_to_the_early_signal(rng: np.random.Generator, snr: float, repeat: bool) -> None:
    signal, noise = rng.standard_normal(4000) * 1000, rng.standard_normal(900) * 50
    response = np.zeros(2000)
    response[40], response[41], response[40 + 800] = 32768, -16384, 30000  # the last comes 100 ms after the peak
    options = {"normalize_output": False}
    clean = reverberate(signal, RATE, response, **options)
    noisy = reverberate(signal, RATE, response, [AdditiveSignal(noise, snr, 0.01, repeat)], **options)
    added = (noisy - clean).astype(float)
    start = int(0.01 * RATE) - 40  # the output is shifted by the peak after the noise was added
    early = np.convolve(signal, response[32:440] / 32768)
    wanted_power = np.mean(early**2) * 10 ** (-snr / 10)
    part = added[start : start + 900]
    assert np.mean(part**2) == pytest.approx(wanted_power, rel=0.1 if repeat else 1e-3)
    assert not added[:start].any()
    assert bool(np.abs(added[start + 1000 :]).max() > 1) == repeat


def test_normalising_keeps_the_power_and_volume_replaces_it(rng: np.random.Generator) -> None:
    signal = rng.standard_normal(8000) * 1000
    noise = [AdditiveSignal(rng.standard_normal(8000), 0.0)]
    assert np.mean(reverberate(signal, RATE, None, noise) ** 2) == pytest.approx(np.mean(signal**2), rel=1e-4)
    np.testing.assert_allclose(reverberate(signal, RATE, volume=0.25), signal * 0.25, rtol=1e-5)


def test_duration_cuts_or_repeats() -> None:
    signal = np.arange(1, 8001, dtype=np.float32)
    assert np.array_equal(reverberate(signal, RATE, duration=0.5), signal[:4000])
    longer = reverberate(signal, RATE, duration=2.5)
    assert np.array_equal(longer, np.concatenate([signal, signal, signal[:4000]]))


def test_a_noise_beyond_the_end_changes_nothing_and_silence_stays_silent() -> None:
    signal = np.arange(800, dtype=np.float32)
    late = [AdditiveSignal(np.ones(100, np.float32), 0.0, 5.0)]
    assert np.array_equal(reverberate(signal, RATE, None, late), signal)
    silence = np.zeros(800, np.float32)
    assert np.array_equal(reverberate(silence, RATE, np.array([100.0, 50.0]), late), silence)


def test_the_input_is_not_changed(rng: np.random.Generator) -> None:
    signal = rng.standard_normal(100).astype(np.float32)
    before = signal.copy()
    reverberate(signal, RATE, None, [AdditiveSignal(np.ones(50, np.float32), 0.0)])
    assert np.array_equal(signal, before)


def test_empty_signals_are_refused() -> None:
    with pytest.raises(VouchError, match="empty"):
        reverberate(np.zeros(0), RATE)
    with pytest.raises(VouchError, match="empty"):
        reverberate(np.ones(5), RATE, np.zeros(0))
    with pytest.raises(VouchError, match="empty"):
        reverberate(np.ones(5), RATE, None, [AdditiveSignal(np.zeros(0), 0.0)])
