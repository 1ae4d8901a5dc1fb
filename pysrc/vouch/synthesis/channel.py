"""Sessions: what lies between mouth and file. A room's or a telephone's noise, frequency response, level, coder."""

from __future__ import annotations

import numpy as np

from vouch.synthesis.speaker import Spread
from vouch.synthesis.tract import RATE

MU = 255.0  # ITU-T G.711
PASSBAND = (300.0, 3400.0)  # Hz, of a telephone line (ITU-T G.712)
SOURCE_NOISES = ("coloured", "fan")
TARGET_NOISES = ("hiss", "hum", "crackle", "street")


def spectrally(signal: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Multiply the spectrum of `signal` (samples,) by `gain` (samples // 2 + 1,), zero phase."""
    return np.fft.irfft(np.fft.rfft(signal) * gain, len(signal))


def _frequencies(samples: int) -> np.ndarray:
    return np.fft.rfftfreq(samples, 1 / RATE)


def random_response(samples: int, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random frequency response, gains (samples // 2 + 1,): six cosines over the logarithm of frequency.

    deviation: dB, standard deviation over responses at any one frequency, about.
    """
    place = np.log1p(_frequencies(samples) / 300.0) / np.log1p(RATE / 2 / 300.0)
    order = np.arange(1, 7)
    weights = rng.standard_normal(6) / order
    weights *= deviation / np.sqrt(np.sum(0.5 / order**2))
    return 10 ** ((np.cos(np.pi * np.outer(place, order)) @ weights) / 20)


def coloured_noise(samples: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls as 1 / f**slope above 50 Hz: 0 white, 1 pink, 2 brown."""
    shape = np.maximum(_frequencies(samples), 50.0) ** (-slope / 2)
    return spectrally(rng.standard_normal(samples), shape)


def make_noise(kind: str, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of a kind in SOURCE_NOISES or TARGET_NOISES, (samples,), mean power 1."""
    time = np.arange(samples) / RATE
    if kind == "coloured":
        noise = coloured_noise(samples, rng.uniform(0.6, 2.0), rng)
    elif kind == "fan":
        blades = rng.uniform(60, 180) * np.arange(1, 9)
        tones = np.sin(2 * np.pi * (np.outer(time, blades) + rng.random(8))) @ (rng.random(8) / np.arange(1, 9))
        noise = coloured_noise(samples, rng.uniform(1.0, 2.0), rng)
        noise = noise / noise.std() + tones
    elif kind == "hiss":
        noise = coloured_noise(samples, rng.uniform(0.0, 0.8), rng)
    elif kind == "hum":
        harmonics = np.arange(1, 40)
        tones = np.sin(2 * np.pi * (50 * np.outer(time, harmonics) + rng.random(39))) @ rng.random(39)
        noise = tones / tones.std() + 0.5 * rng.standard_normal(samples)
    elif kind == "crackle":
        clicks = rng.standard_normal(samples) * (rng.random(samples) < rng.uniform(5, 40) / RATE)
        shape = 1 / (1 + ((_frequencies(samples) - rng.uniform(500, 2500)) / 500) ** 2)
        clicks = spectrally(clicks, shape)
        noise = clicks / max(clicks.std(), 1e-9) + 0.7 * rng.standard_normal(samples)
    elif kind == "street":
        beat = np.interp(time, np.arange(0, time[-1] + 0.3, 0.15), rng.random(len(np.arange(0, time[-1] + 0.3, 0.15))))
        noise = coloured_noise(samples, rng.uniform(0.8, 1.5), rng) * (0.3 + beat)
    else:
        raise ValueError(f"no noise of kind '{kind}'")
    return noise / np.sqrt(np.mean(noise**2))


def speech_level(speech: np.ndarray) -> float:
    """Root mean square of the active part: the 32 ms blocks within 30 dB of the loudest."""
    blocks = speech[: len(speech) // 256 * 256].reshape(-1, 256)
    power = np.mean(blocks**2, axis=1)
    return float(np.sqrt(np.mean(power[power > power.max() * 1e-3])))


def mu_law(signal: np.ndarray) -> np.ndarray:
    """`signal` (any shape, +-1) through 8-bit mu-law coding and back (the continuous law of ITU-T G.711)."""
    clipped = np.clip(signal, -1.0, 1.0)
    coded = np.round(np.sign(clipped) * np.log1p(MU * np.abs(clipped)) / np.log1p(MU) * 127) / 127
    return np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(MU)) / MU


def telephone_band(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Gains (samples // 2 + 1,) of a Butterworth-shaped band-pass with corners near PASSBAND."""
    low, high = PASSBAND[0] * rng.uniform(0.85, 1.15), PASSBAND[1] * rng.uniform(0.9, 1.05)
    frequency = np.maximum(_frequencies(samples), 1.0)
    return 1 / np.sqrt((1 + (low / frequency) ** 6) * (1 + (frequency / high) ** 12))


def record(speech: np.ndarray, telephone: bool, spread: Spread, rng: np.random.Generator) -> np.ndarray:
    """Speech (samples,) as one session records it: int16 (samples,)."""
    samples = len(speech)
    kinds = TARGET_NOISES if telephone else SOURCE_NOISES
    snr = rng.uniform(*(spread.target_snr if telephone else spread.source_snr))
    noise = make_noise(kinds[int(rng.integers(len(kinds)))], samples, rng)
    response = random_response(samples, spread.target_equaliser if telephone else spread.source_equaliser, rng)
    if telephone:
        response = response * telephone_band(samples, rng)
    heard = spectrally(speech, response)
    loud = speech_level(heard)
    noise = spectrally(noise, telephone_band(samples, rng)) if telephone else noise
    noise *= loud * 10 ** (-snr / 20) / np.sqrt(np.mean(noise**2))
    mixed = (heard + noise) * (10 ** (rng.uniform(*spread.level) / 20) / loud)
    mixed *= min(1.0, 0.98 / np.abs(mixed).max())
    if telephone:
        mixed = mu_law(mixed)
    return np.round(mixed * 32767).astype(np.int16)
