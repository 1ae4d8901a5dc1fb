"""sources.tsv: how much of VoxCeleb was found, and how much there is by the published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from vouch.corpora.report import Report
from vouch.corpora.writing import write_rows
from vox.names import speaker_of
from vox.release import PREFIX, VOXCELEB1, VOXCELEB1_TEST, VOXCELEB2, Release

PUBLISHED = {  # utterances and speakers
    "VoxCeleb1": (153516, 1251),
    "VoxCeleb1 dev": (148642, 1211),
    "VoxCeleb1 test": (4874, 40),
    "VoxCeleb2 dev": (1092009, 5994),
    "VoxCeleb2 test": (36237, 118),
}
HEADER = ("source", "utterances", "speakers", "published_utterances", "published_speakers")
HEADER += ("difference_utterances", "difference_speakers")


class Source(NamedTuple):
    """A row of sources.tsv: what was found of a set, and of the published numbers (None: there are none)."""

    name: str
    utterances: int
    speakers: int
    published: tuple[int, int] | None

    def fields(self) -> tuple[object, ...]:
        found = self.utterances, self.speakers
        if self.published is None:
            return self.name, *found, "-", "-", "-", "-"
        return self.name, *found, *self.published, *(n - p for n, p in zip(found, self.published, strict=True))


def source_rows(releases: Mapping[str, Release], train: list[str], test: set[str]) -> list[Source]:
    """A row for each set of a corpus that is given, and for what is written; damaged files do not count."""
    rows = []
    for corpus, release in releases.items():
        sets: dict[str, list[str]] = {"dev": [], "test": []}
        for utterance in release.files:
            sets[release.set_of(utterance)].append(utterance)
        if corpus == VOXCELEB1:
            rows.append(_source(corpus, release.files, PUBLISHED))
        rows += [_source(f"{corpus} {name}", own, PUBLISHED) for name, own in sets.items()]
    rows.append(_source("train", train, published_train(releases, train)))
    return [*rows, Source("test", len(test), len({speaker_of(utterance) for utterance in test}), None)]


def published_train(releases: Iterable[str], train: list[str]) -> dict[str, tuple[int, int]]:
    """What the training part has, by the published numbers: VoxCeleb2, and VoxCeleb1 dev where just that is taken; all
    together 1,276,888 utterances of 7,323 speakers, as in Kaldi's recipe. Empty where another part is taken."""
    sets = ["VoxCeleb2 dev", "VoxCeleb2 test"] if VOXCELEB2 in releases else []
    older = {speaker for speaker in map(speaker_of, train) if speaker.startswith(PREFIX[VOXCELEB1])}
    if older & VOXCELEB1_TEST:
        return {}
    if older:
        sets.append("VoxCeleb1 dev")
    utterances, speakers = zip(*(PUBLISHED[name] for name in sets), strict=True)
    return {"train": (sum(utterances), sum(speakers))}


def _source(name: str, utterances: Iterable[str], published: Mapping[str, tuple[int, int]]) -> Source:
    own = list(utterances)
    return Source(name, len(own), len({speaker_of(utterance) for utterance in own}), published.get(name))


def write_sources(path: Path, rows: list[Source], report: Report) -> None:
    """Write and print the table, and warn of every difference to the published numbers."""
    write_rows(path, [HEADER, *(row.fields() for row in rows)])
    print(
        f"{'source':16s} {'utterances':>10s} {'speakers':>8s} {'published':>10s} {'speakers':>8s} {'difference':>10s}"
    )
    for row in rows:
        name, utterances, speakers, published, of_speakers, difference, _ = row.fields()
        print(f"{name:16s} {utterances:10d} {speakers:8d} {published!s:>10s} {of_speakers!s:>8s} {difference!s:>10s}")
        if row.published is not None and row.published != (utterances, speakers):
            message = f"{utterances} utterances of {speakers} speakers; published are {published} of {of_speakers}"
            report.warn(row.name, "counts that differ", message)
