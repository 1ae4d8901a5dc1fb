"""Recordings with their speakers, as the readers find them, and what contradicts itself among them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from corpora.tree import Tree
from vouch.corpora.report import Report

CHANNELS = {"a": 1, "b": 2}
_UNUSABLE = re.compile(r"[\s\x00-\x1f\x7f/:]|[\ud800-\udfff]")  # in names of utterances and speakers


class Recording(NamedTuple):
    """One utterance: its name and speaker, m or f (empty: not told), and the channel (from 1) and stretch of a file."""

    utterance: str
    speaker: str
    gender: str
    path: Path
    channel: int
    corpus: str
    where: str  # file:line that names it
    both_sides: bool = False  # the call has a speaker on each of two channels
    start: float = 0.0  # seconds
    end: float | None = None  # None: that of the file


def is_name(text: str) -> bool:
    """Can this name an utterance or a speaker: some text without white space, control characters, / and :?"""
    return bool(text) and not _UNUSABLE.search(text)


def gender_of(text: str) -> str:
    """m or f; empty for what is neither."""
    return {"m": "m", "male": "m", "f": "f", "female": "f"}.get(text.strip().lower(), "")


class Collection:
    """The recordings of all corpora. The first of two that contradict each other stays."""

    def __init__(self, report: Report) -> None:
        self.recordings: list[Recording] = []
        self.missing: dict[str, int] = {}  # of releases that are not given, by the corpus whose tables name them
        self._report = report
        self._by_name: dict[str, Recording] = {}
        self._by_place: dict[tuple[Path, int, float], Recording] = {}
        self._genders: dict[str, tuple[str, str]] = {}  # of a speaker: gender, where it is told
        self._refused: set[tuple[str, str]] = set()
        self._told: set[str] = set()

    def add(self, recording: Recording, gender_where: str = "", again_is_usual: bool = False) -> None:
        """Take a recording, or warn why not.

        gender_where: file:line of the gender, when it is another; again_is_usual: tables name it more than once.
        """
        corpus, where, warn = recording.corpus, recording.where, self._report.warn
        for name in (recording.speaker, recording.utterance):
            if not is_name(name):
                warn(corpus, "names that cannot be used", f"{where}: {name!r} is no name of a speaker; it is skipped")
                return
        known = self._by_name.get(recording.utterance)
        if known is not None:
            if not again_is_usual:
                message = f"{where}: {recording.utterance} stands already at {known.where}; this one is skipped"
                warn(corpus, "recordings named twice", message)
            return
        place = recording.path, recording.channel, recording.start
        known = self._by_place.get(place)
        if known is not None:
            message = (
                f"{where}: the same recording is of speaker {known.speaker} at {known.where}, and of "
                f"{recording.speaker} here; this one is skipped"
            )
            warn(corpus, "recordings with two speakers", message)
            return
        if self._gender_fits(recording, gender_where or where):
            self._by_name[recording.utterance] = self._by_place[place] = recording
            self.recordings.append(recording)

    def _gender_fits(self, recording: Recording, where: str) -> bool:
        gender, known_at = self._genders.setdefault(recording.speaker, (recording.gender, where))
        if gender == recording.gender:
            return True
        if (recording.speaker, where) not in self._refused:
            self._refused.add((recording.speaker, where))
            message = (
                f"{where}: speaker {recording.speaker} is {recording.gender} here, and {gender} at {known_at}; "
                "the recordings of this row are skipped"
            )
            self._report.warn(recording.corpus, "speakers with two genders", message)
        return False

    def find_audio(self, trees: list[Tree], stem: str, where: str, all_given: bool = True) -> tuple[Tree, Path] | None:
        """The file of this stem in one of the releases; None, and a warning, where there is none.

        all_given: no release that could have it is lacking; else it is only counted.
        """
        found = [(tree, path) for tree in trees if stem and (path := tree.audio(stem)) is not None]
        if len(found) > 1 and stem not in self._told:
            self._told.add(stem)
            (first, path), (second, other) = found[:2]
            if path.exists() and other.exists() and path.stat().st_size != other.stat().st_size:
                message = f"{stem} is in {second.corpus} too, and differs: {path} and {other}; the first is taken"
                self._report.warn(first.corpus, "recordings with several files", message)
        if found:
            return found[0]
        corpus = trees[0].corpus
        if all_given:
            self._report.warn(
                corpus, "keys without a file", f"{where}: there is no audio file {stem or repr(stem)}; it is skipped"
            )
        else:
            self.missing[corpus] = self.missing.get(corpus, 0) + 1
        return None

    def channel(self, text: str, corpus: str, where: str) -> int:
        """1 for a or A, 2 for b or B; else 0, and a warning."""
        channel = CHANNELS.get(text.strip().lower(), 0)
        if not channel:
            self._report.warn(corpus, "unknown channels", f"{where}: {text!r} is not channel A or B; it is skipped")
        return channel

    def gender(self, text: str, corpus: str, where: str, whose: str) -> str:
        """m or f; else empty, and a warning."""
        gender = gender_of(text)
        if not gender and (whose, where) not in self._refused:
            self._refused.add((whose, where))
            message = f"{where}: the gender of {whose} is '{text}', not M or F; the recordings of this row are skipped"
            self._report.warn(corpus, "unknown genders", message)
        return gender
