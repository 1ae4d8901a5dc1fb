"""The voice source: pulses of glottal flow with jitter, shimmer and breath.

Sources: Rosenberg, "Effect of glottal pulse shape on the quality of natural vowels", JASA 49 (1971), pulse C
(two trigonometric pieces); Klatt and Klatt, "Analysis, synthesis, and perception of voice quality variations",
JASA 87 (1990), for aspiration noise that follows the open phase; Fant, "The LF-model revisited", STL-QPSR 36
(1995), for the return phase as a first-order low-pass (applied in `tract.voice_transfer`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

OPENING_SHARE = 2 / 3  # of the open phase: flow rises this long, then falls (Rosenberg's best-liked 40 : 16 is 0.71)
CLOSED_BREATH = 0.35  # amplitude of the breath noise in the closed phase, relative to the open phase


class Voice(NamedTuple):
    """Settings of the source within one utterance."""

    open_quotient: float  # open phase / period
    jitter: float  # standard deviation of a glottal closing instant, in periods
    shimmer: float  # standard deviation of the logarithm of a pulse's amplitude


def flow_derivative(phase: np.ndarray, open_quotient: float) -> np.ndarray:
    """Derivative of Rosenberg's pulse C at `phase` (any shape, in periods, 0 = opening), per period, peak flow 1.

    The derivative, not the flow, because the mouth radiates the derivative (Klatt 1980, section I.B).
    """
    opening = OPENING_SHARE * open_quotient
    closing = open_quotient - opening
    rise = 0.5 * np.pi / opening * np.sin(np.pi * phase / opening)
    fall = -0.5 * np.pi / closing * np.sin(0.5 * np.pi * (phase - opening) / closing)
    return np.where(phase < opening, rise, np.where(phase < open_quotient, fall, 0.0))


def glottal_source(
    pitch: np.ndarray, voice: Voice, rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (pulses, breath), each (samples,), for a pitch contour `pitch` (samples,) in Hz.

    pulses: the flow derivative, mean power 1 before shimmer. breath: white noise of standard deviation 1 in the
    open phase and CLOSED_BREATH in the closed phase. Jitter moves each opening instant, so that a shift is
    shared by the two periods it divides.
    """
    cycles = np.concatenate([[0.0], np.cumsum(pitch[:-1])]) / rate
    count = int(cycles[-1]) + 3
    moved = np.arange(count) + np.clip(voice.jitter * rng.standard_normal(count), -0.2, 0.2)
    moved[0] = min(moved[0], 0.0)
    moved[-1] = max(moved[-1], cycles[-1] + 1)
    position = np.interp(cycles, moved, np.arange(count))
    period = position.astype(np.int64)
    phase = position - period
    amplitude = np.exp(voice.shimmer * rng.standard_normal(count))
    grid = (np.arange(1024) + 0.5) / 1024
    power = np.mean(flow_derivative(grid, voice.open_quotient) ** 2)
    pulses = amplitude[period] * flow_derivative(phase, voice.open_quotient) / np.sqrt(power)
    breath = np.where(phase < voice.open_quotient, 1.0, CLOSED_BREATH) * rng.standard_normal(len(pitch))
    return pulses, breath
