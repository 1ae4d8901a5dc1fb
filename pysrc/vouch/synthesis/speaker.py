"""What makes a speaker, what changes from utterance to utterance, and how much: all the sliders of the corpus."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from vouch.synthesis.phones import FORMANTS, REGIONS

SEMITONE = np.log(2) / 12
GENDERS = ("m", "f")


@dataclass(frozen=True)
class Spread:
    """How far speakers lie apart and how far one speaker wanders: the difficulty of the corpus, in one place.

    Unless another unit is named a value is the standard deviation of a natural logarithm, so 0.04 is about 4 %.
    Larger `between` values make speakers easier to tell apart, larger `within` and worse sessions harder.
    The useful range of each is given in brackets.
    """

    # Between speakers, around the mean of their gender
    between_tract: float = 0.07  # vocal-tract length, moves all formants together [0, 0.1]
    between_formant: float = 0.08  # each formant by itself [0, 0.1]
    between_region: float = 0.015  # each formant in each vowel region [0, 0.06]
    between_bandwidth: float = 0.35  # all bandwidths together [0, 0.4]
    between_pitch: float = 3.0  # mean pitch, semitones [0, 4]
    between_range: float = 0.3  # pitch range [0, 0.5]
    between_tilt: float = 0.6  # corner of the source's low-pass [0, 0.8]
    between_open: float = 0.10  # open quotient [0, 0.2]
    between_roughness: float = 0.4  # jitter, and shimmer [0, 0.8]
    between_breath: float = 0.8  # amplitude of the breath noise [0, 1]
    between_rate: float = 0.10  # speaking rate [0, 0.2]
    between_noise: float = 0.06  # centre of frication [0, 0.15]
    between_nasal: float = 0.10  # nasal pole and zero, each [0, 0.2]

    # Within a speaker, from utterance to utterance
    within_formant: float = 0.006  # each formant, over the whole utterance [0, 0.05]
    within_pitch: float = 0.6  # level of the pitch, semitones [0, 3]
    within_range: float = 0.25  # pitch range [0, 0.5]
    within_effort: float = 0.12  # vocal effort: corner of the low-pass up, breath and open quotient down [0, 0.8]
    within_rate: float = 0.12  # speaking rate [0, 0.3]
    within_bandwidth: float = 0.08  # all bandwidths together [0, 0.3]
    # and from phone to phone
    within_token: float = 0.02  # each formant target [0, 0.1]
    within_duration: float = 0.2  # duration of a segment [0, 0.4]

    # Sessions: least and most of a uniform draw, or a standard deviation
    source_snr: tuple[float, float] = (25.0, 40.0)  # dB
    target_snr: tuple[float, float] = (20.0, 35.0)  # dB, before the telephone's coder
    source_equaliser: float = 1.2  # random frequency response, dB standard deviation [0, 8]
    target_equaliser: float = 2.5
    level: tuple[float, float] = (-34.0, -20.0)  # root mean square of the speech, dB of full scale

    def values(self) -> dict[str, float | tuple[float, float]]:
        """All sliders by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Speaker:
    """The lasting settings of one speaker; scales multiply the values of an adult man."""

    gender: str
    formant_scale: np.ndarray  # (regions, FORMANTS)
    upper_formants: np.ndarray  # (count,) Hz: those without targets
    bandwidth_scale: float
    pitch: float  # Hz
    pitch_range: float  # semitones of a full accent
    tilt: float  # Hz
    open_quotient: float
    jitter: float
    shimmer: float
    breath: float  # amplitude of breath noise relative to the pulses
    rate: float  # 1 = the durations of the phone tables
    noise_scale: float
    nasal_pole: float  # Hz
    nasal_zero: float  # Hz


@dataclass(frozen=True)
class Manner:
    """How a speaker speaks in one utterance; factors on the speaker's settings."""

    formant_scale: np.ndarray  # (FORMANTS,)
    bandwidth_scale: float
    pitch_scale: float
    range_scale: float
    effort: float  # factor on the low-pass corner; breath and open quotient fall as it rises
    rate: float


# Formants of women are about 16 % higher on average (Peterson and Barney 1952), pitch about ten semitones.
_TRACT = {"m": 1.0, "f": 1.16}
_PITCH = {"m": 118.0, "f": 205.0}
_TILT = {"m": 6000.0, "f": 4000.0}  # women's voices are breathier (Klatt and Klatt 1990)
_OPEN = {"m": 0.55, "f": 0.65}
_BREATH = {"m": 0.03, "f": 0.05}
_UPPER = np.array([4300.0, 5200.0, 6100.0])  # Hz, of a man


def draw_speaker(gender: str, spread: Spread, rng: np.random.Generator) -> Speaker:
    """Draw a speaker of gender "m" or "f"."""

    def about(mean: float, deviation: float) -> float:
        return float(mean * np.exp(deviation * rng.standard_normal()))

    tract = about(_TRACT[gender], spread.between_tract)
    each = np.exp(spread.between_formant * rng.standard_normal(FORMANTS))
    regional = np.exp(spread.between_region * rng.standard_normal((len(REGIONS), FORMANTS)))
    upper = _UPPER * tract * np.exp(spread.between_formant * rng.standard_normal(len(_UPPER)))
    return Speaker(
        gender=gender,
        formant_scale=tract * each * regional,
        upper_formants=upper,
        bandwidth_scale=about(1.0, spread.between_bandwidth),
        pitch=about(_PITCH[gender], spread.between_pitch * SEMITONE),
        pitch_range=about(3.5, spread.between_range),
        tilt=about(_TILT[gender], spread.between_tilt),
        open_quotient=min(about(_OPEN[gender], spread.between_open), 0.85),
        jitter=about(0.006, spread.between_roughness),
        shimmer=about(0.05, spread.between_roughness),
        breath=about(_BREATH[gender], spread.between_breath),
        rate=about(1.0, spread.between_rate),
        noise_scale=about(_TRACT[gender] ** 0.5, spread.between_noise),
        nasal_pole=about(270.0, spread.between_nasal),
        nasal_zero=about(450.0 * _TRACT[gender], spread.between_nasal),
    )


def draw_manner(spread: Spread, rng: np.random.Generator) -> Manner:
    """Draw how one utterance is spoken."""

    def factor(deviation: float) -> float:
        return float(np.exp(deviation * rng.standard_normal()))

    return Manner(
        formant_scale=np.exp(spread.within_formant * rng.standard_normal(FORMANTS)),
        bandwidth_scale=factor(spread.within_bandwidth),
        pitch_scale=factor(spread.within_pitch * SEMITONE),
        range_scale=factor(spread.within_range),
        effort=factor(spread.within_effort),
        rate=factor(spread.within_rate),
    )
