"""The plan of the embedded corpus: who says how many utterances of which language in which part.

Every utterance is made from (seed, part, speaker number, utterance number) alone, so that any of them can be made
anywhere, in any order, with the same samples.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vouch.synthesis.channel import record
from vouch.synthesis.phones import LANGUAGE_A, LANGUAGE_B, Language
from vouch.synthesis.speaker import GENDERS, Speaker, Spread, draw_manner, draw_speaker
from vouch.synthesis.utterance import speak

VERSION = 1  # raise it when the same plan and spread would give other samples
SECONDS = (2.0, 6.0)  # least and most of an utterance


@dataclass(frozen=True)
class Part:
    """One list of the corpus. Utterances of an unlabelled part are named without their speaker."""

    name: str
    language: Language
    telephone: bool
    first: int  # number of the first speaker
    speakers: int
    utterances: int  # a speaker
    prefix: str
    labelled: bool = True
    least: tuple[int, int] = (4, 4)  # speakers and utterances a speaker that scaling leaves


PARTS = (
    Part("train", LANGUAGE_A, False, 1, 60, 8, "a"),
    Part("eval", LANGUAGE_A, False, 61, 20, 8, "a"),
    Part("adapt", LANGUAGE_B, True, 1, 30, 4, "x", labelled=False, least=(4, 2)),
    Part("adapt_eval", LANGUAGE_B, True, 31, 20, 8, "b"),
)


class Item(NamedTuple):
    """One utterance to make. `speaker_id` is its own id where the speaker is not told."""

    part: int  # index into PARTS
    speaker: int
    number: int
    utterance_id: str
    speaker_id: str


def gender(speaker: int) -> str:
    """Speakers alternate, so that every part is balanced."""
    return GENDERS[speaker % 2]


def plan(seed: int, scale: float = 1.0) -> list[Item]:
    """All utterances, sorted by part and id.

    scale: share of the full size in (0, 1]; speakers and utterances a speaker both shrink by its square root,
    down to Part.least, so that a small corpus keeps enough speakers for a backend and utterances for enrollment.
    Raises ValueError where scale is outside (0, 1].
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale {scale} is not in (0, 1]")
    return [item for index in range(len(PARTS)) for item in _plan_part(index, seed, scale)]


def _plan_part(index: int, seed: int, scale: float) -> list[Item]:
    part = PARTS[index]
    speakers = max(part.least[0], 2 * round(part.speakers * scale**0.5 / 2))
    utterances = max(part.least[1], round(part.utterances * scale**0.5))
    pairs = [(part.first + s, u + 1) for s in range(speakers) for u in range(utterances)]
    if part.labelled:
        names = [(f"{part.prefix}{s:03d}-u{u:02d}", f"{part.prefix}{s:03d}") for s, u in pairs]
    else:
        hidden = np.random.default_rng([seed, index]).permutation(len(pairs)) + 1
        names = [(f"{part.prefix}{k:04d}",) * 2 for k in hidden]
    items = [Item(index, *pair, *name) for pair, name in zip(pairs, names, strict=True)]
    return sorted(items, key=lambda item: item.utterance_id)


def speaker_of(item: Item, seed: int, spread: Spread) -> Speaker:
    """The speaker of an utterance. Parts of one language and domain share one numbering."""
    domain = int(PARTS[item.part].telephone)
    rng = np.random.default_rng([seed, 100 + domain, item.speaker])
    return draw_speaker(gender(item.speaker), spread, rng)


def synthesise(item: Item, seed: int, spread: Spread) -> np.ndarray:
    """The samples of an utterance: int16 (samples,) at tract.RATE."""
    part = PARTS[item.part]
    rng = np.random.default_rng([seed, 200 + int(part.telephone), item.speaker, item.number])
    manner = draw_manner(spread, rng)
    seconds = rng.uniform(*SECONDS)
    speech = speak(speaker_of(item, seed, spread), manner, part.language, seconds, spread, rng)
    return record(speech, part.telephone, spread, rng)


def fingerprint(seed: int, scale: float, spread: Spread) -> dict[str, int | float | str]:
    """What decides the samples, to recognise a corpus on disk: the version, seed, scale and a digest of the spread."""
    text = json.dumps(spread.values(), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {"version": VERSION, "seed": seed, "scale": scale, "spread": digest}
