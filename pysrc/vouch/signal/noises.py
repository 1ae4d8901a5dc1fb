"""Made noises and music, for users without recorded ones. Every function returns float64 (samples,) of peak 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import signal

SCALE = (0, 2, 4, 5, 7, 9, 11)  # semitones of a major scale
CHORDS = ((0, 2, 4), (3, 5, 7), (4, 6, 8), (5, 7, 9), (1, 3, 5))  # degrees of the scale


def coloured(size: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Steady noise with a spectrum falling by 0 to 2 powers of frequency, under a slow swell."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / rate), 20.0)
    noise = np.fft.irfft(spectrum * frequency ** (-rng.uniform(0.0, 2.0) / 2), size)
    return _peak_one(noise * _swell(size, rate, rng))


def hum(size: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum: 50 or 60 Hz with harmonics, and a little hiss."""
    fundamental = rng.choice([50.0, 60.0]) * rng.uniform(0.995, 1.005)
    tone = _harmonics(np.full(size, fundamental), rate, 12, rng.uniform(0.5, 1.5), rng)
    return _peak_one(tone + 0.02 * rng.standard_normal(size))


def clicks(size: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Random clicks, each ringing at its own resonance."""
    impulses = np.zeros(size)
    count = 1 + rng.poisson(size / rate * rng.uniform(1.0, 12.0))
    impulses[rng.integers(0, size, count)] = rng.laplace(size=count)
    ringing = np.zeros(size)
    for frequency in rng.uniform(300.0, 0.45 * rate, 3):
        ringing += _resonance(impulses, frequency, rng.uniform(60.0, 400.0), rate)
    return _peak_one(ringing)


def bursts(size: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Bursts of band-passed noise: knocks, rustling, closing doors."""
    noise = np.zeros(size)
    for _ in range(1 + rng.poisson(size / rate * rng.uniform(0.5, 3.0))):
        length = min(size, int(rng.uniform(0.05, 0.8) * rate))
        start = int(rng.integers(0, size - length + 1))
        decay = np.exp(-np.arange(length) / (rng.uniform(0.1, 0.5) * length))
        sound = _resonance(rng.standard_normal(length), rng.uniform(150.0, 0.4 * rate), 800.0, rate)
        noise[start : start + length] += rng.uniform(0.2, 1.0) * _peak_one(sound * decay)
    return _peak_one(noise)


def machine(size: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """An engine: harmonics of a wandering rotation frequency over noise modulated at that frequency."""
    wander = 1 + 0.05 * (_swell(size, rate, rng) - 1)
    rotation = rng.uniform(15.0, 120.0) * wander
    tone = _harmonics(rotation, rate, 25, rng.uniform(0.8, 1.6), rng)
    beat = 1 + 0.8 * np.sin(2 * np.pi * np.cumsum(rotation) / rate)
    noise = _resonance(rng.standard_normal(size), rng.uniform(200.0, 0.4 * rate), 1500.0, rate)
    return _peak_one(_peak_one(tone) + rng.uniform(0.2, 1.0) * _peak_one(noise * beat))


NOISES: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "coloured": coloured,
    "hum": hum,
    "clicks": clicks,
    "bursts": bursts,
    "machine": machine,
}


def music(size: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A chord progression with a bass and a melody of decaying harmonic notes on a regular beat."""
    beat = 60.0 / rng.uniform(70.0, 150.0)
    root = 110.0 * 2 ** (rng.integers(0, 12) / 12)
    richness = rng.uniform(0.6, 1.6)
    song = np.zeros(size)
    for number in range(int(np.ceil(size / rate / beat))):
        if number % 4 == 0:
            chord = CHORDS[rng.integers(len(CHORDS))]
            _play(song, rate, number * beat, 4 * beat, root / 2, chord[0], 0.8, richness, rng)
            for degree in chord:
                _play(song, rate, number * beat, 4 * beat, root, degree, 0.4, richness, rng)
        for part in range(int(rng.integers(0, 3))):
            degree = int(rng.choice(chord)) + 7
            _play(song, rate, (number + part / 2) * beat, beat, root, degree, 0.5, richness, rng)
    return _peak_one(song)


def _play(
    song: np.ndarray,
    rate: int,
    start: float,
    duration: float,
    root: float,
    degree: int,
    loudness: float,
    richness: float,
    rng: np.random.Generator,
) -> None:
    """Add one note, so many degrees of the scale above `root` Hz, to `song`."""
    octave, step = divmod(degree, len(SCALE))
    frequency = root * 2 ** (octave + SCALE[step] / 12)
    first = int(start * rate)
    size = min(len(song) - first, int(duration * rate))
    if size <= 0:
        return
    time = np.arange(size) / rate
    envelope = np.minimum(time / 0.01, 1.0) * np.exp(-3.0 * time / duration)
    note = _harmonics(np.full(size, frequency), rate, 8, richness, rng)
    song[first : first + size] += loudness * envelope * note


def _harmonics(fundamental: np.ndarray, rate: int, most: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Sum of harmonics k of `fundamental` (samples,) Hz below the Nyquist frequency, with amplitudes k^−slope."""
    phase = 2 * np.pi * np.cumsum(fundamental) / rate
    tone = np.zeros(len(fundamental))
    for harmonic in range(1, most + 1):
        if harmonic * fundamental.max() < 0.48 * rate:
            tone += harmonic**-slope * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    return tone


def _resonance(samples: np.ndarray, frequency: float, bandwidth: float, rate: int) -> np.ndarray:
    """`samples` through a two-pole resonator."""
    radius = np.exp(-np.pi * bandwidth / rate)
    return signal.lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * frequency / rate), radius**2], samples)


def _swell(size: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A slow random curve (samples,) around 1, at least 0.2."""
    knots = rng.normal(1.0, 0.3, int(size / rate) + 3)
    return np.maximum(np.interp(np.arange(size) / rate, np.arange(len(knots)), knots), 0.2)


def _peak_one(samples: np.ndarray) -> np.ndarray:
    return samples / max(np.max(np.abs(samples)), np.finfo(np.float64).tiny)
