"""Sessions of numbered speakers for made corpora: who says how much, in the source or the target domain."""

from __future__ import annotations

import numpy as np

from vouch.synthesis.channel import record
from vouch.synthesis.corpus import gender
from vouch.synthesis.phones import LANGUAGE_A, LANGUAGE_B
from vouch.synthesis.speaker import Spread, draw_manner, draw_speaker
from vouch.synthesis.tract import RATE
from vouch.synthesis.utterance import speak

SOURCE, TARGET = 0, 1  # the first and the second language and channel
USUAL = (0.8, 1.25)  # least and most of a session, of the seconds asked for


class Studio:
    """Speech of numbered speakers; the samples depend on (seed, domain, speaker, how many came before).

    seconds: usual length of a session; not spoken: noise in the place of speech, for tests that do not listen.
    """

    def __init__(self, seed: int, seconds: float, spoken: bool) -> None:
        self.seed, self.seconds, self.spoken, self.spread = seed, seconds, spoken, Spread()
        self._takes: dict[tuple[int, int], int] = {}

    def speech(self, domain: int, speaker: int, share: tuple[float, float]) -> tuple[np.ndarray, np.random.Generator]:
        """(samples without a channel, the generator for what follows), `share` of the usual length."""
        take = self._takes[domain, speaker] = self._takes.get((domain, speaker), 0) + 1
        rng = np.random.default_rng([self.seed, domain, speaker, take])
        seconds = self.seconds * rng.uniform(*share)
        if not self.spoken:
            return np.convolve(rng.standard_normal(int(seconds * RATE)), np.hanning(15), "same"), rng
        voice = draw_speaker(gender(speaker), self.spread, np.random.default_rng([self.seed, domain, speaker]))
        language = LANGUAGE_B if domain == TARGET else LANGUAGE_A
        return speak(voice, draw_manner(self.spread, rng), language, seconds, self.spread, rng), rng

    def say(self, domain: int, speaker: int, share: tuple[float, float] = USUAL) -> np.ndarray:
        """One session, int16 (samples,)."""
        speech, rng = self.speech(domain, speaker, share)
        return self.record(speech, domain, rng)

    def record(self, speech: np.ndarray, domain: int, rng: np.random.Generator) -> np.ndarray:
        """Speech as a session of this domain records it, int16 (samples,)."""
        if not self.spoken:
            return (1000 * speech).clip(-32000, 32000).astype(np.int16)
        return record(speech, domain == TARGET, self.spread, rng)
