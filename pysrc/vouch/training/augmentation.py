"""Noise, music, babble or a room for a stretch of speech, chosen at random while the training runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vouch.signal.reverberation import AdditiveSignal, reverberate

# Signal-to-noise ratios in dB, and the numbers of talkers, of Kaldi's egs/sre16/v2 (steps/data/augment_data_dir.py).
SNRS = {"noise": (15, 10, 5, 0), "music": (15, 10, 8, 5), "babble": (20, 17, 15, 13)}
TALKERS = (3, 4, 5, 6, 7)


class Augmenter:
    """Adds to a share of the stretches one of what there is: noise, music, babble, or a room, each as likely.

    One recording of noise or music, from a random place on, runs below the whole stretch, repeated where it is
    shorter; babble is 3 to 7 other talkers. The ratios are to the power of the stretch. Source: Kaldi's egs/sre16/v2
    for kinds and ratios; one noise instead of several one after the other is ours, for stretches are short.

    Arguments: rate (Hz), share, recordings (of "noise", "music", "rirs": names), noise (a name, random numbers, count
    -> at most so many samples at the rate from a random place on), room (a name -> samples (n,) at the rate), talker
    (random numbers, a recording, count -> at most so many samples of somebody else; None: no babble).
    """

    def __init__(
        self,
        rate: int,
        share: float,
        recordings: dict[str, list[str]],
        noise: Callable[[str, np.random.Generator, int], np.ndarray],
        room: Callable[[str], np.ndarray],
        talker: Callable[[np.random.Generator, int, int], np.ndarray] | None = None,
    ) -> None:
        self._rate, self._share, self._recordings = rate, share, recordings
        self._noise, self._room, self._talker = noise, room, talker
        self.kinds = [kind for kind in ("noise", "music", "rirs") if recordings.get(kind)]
        if talker is not None:
            self.kinds.append("babble")

    @property
    def names(self) -> list[tuple[str, list[str]]]:
        """What there is to add: file names, wherever their folder is."""
        return [(kind, [name.rsplit("/", 1)[-1] for name in own]) for kind, own in sorted(self._recordings.items())]

    def __call__(self, samples: np.ndarray, rng: np.random.Generator, utterance: int) -> np.ndarray:
        """samples (n,) in ±32768, as they are or augmented."""
        if not self.kinds or rng.random() >= self._share:
            return samples
        kind = self.kinds[rng.integers(len(self.kinds))]
        if kind == "rirs":
            return reverberate(samples, self._rate, self._room(self._chosen(kind, rng)))
        snrs = SNRS[kind]
        if kind == "babble":
            noises = [self._talker(rng, utterance, len(samples)) for _ in range(rng.choice(TALKERS))]
        else:
            noises = [self._noise(self._chosen(kind, rng), rng, len(samples))]
        return reverberate(
            samples,
            self._rate,
            additive_signals=[AdditiveSignal(noise, float(rng.choice(snrs)), repeat=True) for noise in noises],
            normalize_output=False,
        )

    def _chosen(self, kind: str, rng: np.random.Generator) -> str:
        names = self._recordings[kind]
        return names[rng.integers(len(names))]
