"""From a speaker and a language to the samples of an utterance: words, tracks, sound.

Targets are piecewise constant and smoothed by a window of the length of a formant transition, so that a short
vowel does not reach its targets between its consonants: coarticulation and reduction as in Lindblom,
"Spectrographic study of vowel reduction", JASA 35 (1963). Pitch is a declining phrase line plus the smoothed
melodies of the syllables, the two components of Fujisaki and Hirose, J. Acoust. Soc. Jpn. (E) 5 (1984).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vouch.synthesis.glottis import Voice, glottal_source
from vouch.synthesis.phones import FORMANTS, Language, Segment, Syllable, segments
from vouch.synthesis.speaker import SEMITONE, Manner, Speaker, Spread
from vouch.synthesis.tract import FRAME_SECONDS, HOP, RATE, SOURCE_RATE, apply_transfers, noise_transfer, voice_transfer

TRANSITION = 0.06  # seconds over which formants move
ATTACK = 0.016  # seconds over which amplitudes move
MELODY_TRANSITION = 0.08  # seconds over which pitch moves
PHRASE_WORDS = (3, 6)  # words between pauses
PAUSE = (0.1, 0.4)  # seconds, also before the first word
EDGE = 0.08  # seconds of silence at the end, at least
DECLINATION = 2.0  # semitones that pitch falls by over a phrase
STRETCH = {True: 1.15, False: 0.8}  # duration of a stressed and an unstressed syllable
BANDWIDTHS = np.array([60.0, 90.0, 130.0, 200.0])  # Hz, Klatt (1980), table II, rounded; higher ones share UPPER
UPPER_BANDWIDTH = 300.0
CONSONANT_WIDENING = 1.6  # of bandwidths while the glottis is open or the mouth nearly closed


@dataclass
class _Piece:
    """A stretch of an utterance: a segment of a syllable, or silence where syllable is negative."""

    segment: Segment
    syllable: int
    frames: int


@dataclass
class Tracks:
    """An utterance at one value a frame of FRAME_SECONDS: amplitudes relative to a vowel, frequencies in Hz."""

    formants: np.ndarray  # (frames, FORMANTS)
    pitch: np.ndarray  # (frames,)
    voice: np.ndarray
    breath: np.ndarray
    noise: np.ndarray
    noise_centre: np.ndarray
    noise_width: np.ndarray
    nasal: np.ndarray


def smooth(track: np.ndarray, seconds: float) -> np.ndarray:
    """Moving average of `track` (frames,) or (frames, dims) under a Hann window of `seconds`, edges held."""
    half = max(1, round(seconds / FRAME_SECONDS / 2))
    window = np.hanning(2 * half + 3)[1:-1]
    window /= window.sum()
    columns = track.reshape(len(track), -1)
    padded = np.pad(columns, ((half, half), (0, 0)), mode="edge")
    averaged = np.stack([np.convolve(column, window, mode="valid") for column in padded.T], axis=1)
    return averaged.reshape(track.shape)


def compose(
    language: Language, seconds: float, pace: float, duration_spread: float, rng: np.random.Generator
) -> tuple[list[_Piece], list[Syllable]]:
    """Draw words and pauses until `seconds` are full; pace divides the durations of the phone tables.

    The speaker is cut off before the first syllable that does not fit, as in a recording cut into utterances;
    silence fills the rest.
    """
    left = round((seconds - EDGE) / FRAME_SECONDS)
    pieces: list[_Piece] = []
    syllables: list[Syllable] = []
    for spoken, silence in _syllables(language, rng):
        drawn = [] if silence is None else [silence]
        scale = STRETCH[spoken.stressed] / pace
        for segment in (part for phone in spoken.phones for part in segments(phone)):
            length = segment.seconds * scale * np.exp(duration_spread * rng.standard_normal())
            drawn.append(_Piece(segment, len(syllables), max(2, round(length / FRAME_SECONDS))))
        left -= sum(piece.frames for piece in drawn)
        if left < 0:
            break
        pieces += drawn
        syllables.append(spoken)
    rest = round(seconds / FRAME_SECONDS) - sum(piece.frames for piece in pieces)
    return [*pieces, _silence(rest * FRAME_SECONDS)], syllables


def _syllables(language: Language, rng: np.random.Generator) -> Iterator[tuple[Syllable, _Piece | None]]:
    """Syllables without end, each with the silence before it, if any: at the start and between phrases."""
    while True:
        silence = _silence(rng.uniform(*PAUSE))
        for _ in range(int(rng.integers(PHRASE_WORDS[0], PHRASE_WORDS[1] + 1))):
            for syllable in language.word(rng):
                yield syllable, silence
                silence = None


def _silence(seconds: float) -> _Piece:
    return _Piece(Segment(seconds, np.full(FORMANTS, np.nan)), -1, round(seconds / FRAME_SECONDS))


def _formant_targets(
    pieces: list[_Piece], speaker: Speaker, manner: Manner, spread: Spread, rng: np.random.Generator
) -> np.ndarray:
    """Targets of each piece, (pieces, FORMANTS) Hz; a piece without its own takes the next one's, or the last."""
    targets = np.stack([p.segment.formants * speaker.formant_scale[p.segment.region] for p in pieces])
    targets *= manner.formant_scale * np.exp(spread.within_token * rng.standard_normal(targets.shape))
    for order in (range(len(pieces) - 2, -1, -1), range(1, len(pieces))):
        step = 1 if order.step < 0 else -1
        for i in order:
            if np.isnan(targets[i, 0]):
                targets[i] = targets[i + step]
    return np.maximum.accumulate(targets, axis=1)  # formants keep their order


def _melody(
    pieces: list[_Piece], syllables: list[Syllable], speaker: Speaker, manner: Manner, rng: np.random.Generator
) -> np.ndarray:
    """Pitch in Hz, (frames,)."""
    frames = np.array([piece.frames for piece in pieces])
    owner = np.repeat([piece.syllable for piece in pieces], frames)
    line = np.zeros(len(owner))
    scale = speaker.pitch_range * manner.range_scale
    for index in np.unique(owner[owner >= 0]):
        where = np.flatnonzero(owner == index)
        points = np.array(syllables[index].melody) * scale * rng.uniform(0.7, 1.2)
        line[where] = np.interp(np.linspace(0, 1, len(where)), np.linspace(0, 1, len(points)), points)
    for start, stop in _phrases(owner):
        line[start:stop] += np.linspace(0.5, -0.5, stop - start) * DECLINATION
    flutter = smooth(rng.standard_normal(len(line)), 0.15) * 0.8
    return speaker.pitch * manner.pitch_scale * np.exp(SEMITONE * (smooth(line, MELODY_TRANSITION) + flutter))


def _phrases(owner: np.ndarray) -> list[tuple[int, int]]:
    """Stretches between silences: (first frame, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], owner >= 0, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def make_tracks(
    pieces: list[_Piece],
    syllables: list[Syllable],
    speaker: Speaker,
    manner: Manner,
    spread: Spread,
    rng: np.random.Generator,
) -> Tracks:
    """The smoothed control tracks of an utterance composed by `compose`."""
    frames = np.array([piece.frames for piece in pieces])

    def held(name: str) -> np.ndarray:
        return np.repeat([getattr(piece.segment, name) for piece in pieces], frames)

    targets = np.repeat(_formant_targets(pieces, speaker, manner, spread, rng), frames, axis=0)
    return Tracks(
        formants=np.exp(smooth(np.log(targets), TRANSITION)),
        pitch=_melody(pieces, syllables, speaker, manner, rng),
        voice=smooth(held("voice"), ATTACK),
        breath=smooth(held("breath"), ATTACK),
        noise=smooth(held("noise"), ATTACK),
        noise_centre=held("noise_centre") * speaker.noise_scale,
        noise_width=held("noise_width") * speaker.noise_scale,
        nasal=smooth(held("nasal"), ATTACK),
    )


def render(tracks: Tracks, speaker: Speaker, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """Samples at RATE, (frames * HOP / 2,), of the tracks spoken with the speaker's source and tract."""
    frames = len(tracks.pitch)
    samples = frames * HOP
    time, at = np.arange(samples), np.arange(frames) * HOP

    def sampled(track: np.ndarray) -> np.ndarray:
        return np.interp(time, at, track)

    voice = Voice(min(speaker.open_quotient / manner.effort**0.25, 0.9), speaker.jitter, speaker.shimmer)
    pulses, breath = glottal_source(sampled(tracks.pitch), voice, SOURCE_RATE, rng)
    whisper = speaker.breath / manner.effort
    excitation = sampled(tracks.voice) * (pulses + whisper * breath)
    hiss = rng.standard_normal(samples)
    excitation += sampled(tracks.breath) * hiss
    frication = sampled(tracks.noise) * hiss

    def per_frame(track: np.ndarray) -> np.ndarray:  # apply_transfers has one frame more, at the end
        return np.concatenate([track, track[-1:]])

    formants = per_frame(tracks.formants)
    upper = np.broadcast_to(speaker.upper_formants, (len(formants), len(speaker.upper_formants)))
    widening = 1 + (CONSONANT_WIDENING - 1) * np.clip(1 - per_frame(tracks.voice), 0, 1)
    widths = np.concatenate([BANDWIDTHS, np.full(upper.shape[1], UPPER_BANDWIDTH)])
    zero = speaker.nasal_pole + per_frame(tracks.nasal) * (speaker.nasal_zero - speaker.nasal_pole)
    spoken = voice_transfer(
        np.concatenate([formants, upper], axis=1),
        widening[:, None] * widths * speaker.bandwidth_scale * manner.bandwidth_scale,
        zero,
        speaker.nasal_pole,
        speaker.tilt * manner.effort,
    )
    hissed = noise_transfer(per_frame(tracks.noise_centre), per_frame(tracks.noise_width))
    return apply_transfers([(excitation, spoken), (frication, hissed)])


def speak(
    speaker: Speaker, manner: Manner, language: Language, seconds: float, spread: Spread, rng: np.random.Generator
) -> np.ndarray:
    """An utterance of `seconds` (rounded to whole frames of 4 ms) at RATE, (samples,), without noise or channel."""
    pieces, syllables = compose(language, seconds, speaker.rate * manner.rate, spread.within_duration, rng)
    tracks = make_tracks(pieces, syllables, speaker, manner, spread, rng)
    return render(tracks, speaker, manner, rng)[: round(seconds / FRAME_SECONDS) * HOP * RATE // SOURCE_RATE]
