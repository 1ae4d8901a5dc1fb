"""What lies in the folder of VoxCeleb1 or VoxCeleb2: a file for each utterance, tables and trial lists."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from vouch.corpora.folders import walk
from vouch.corpora.report import Report
from vouch.errors import VouchError
from vox.meta import Meta, read_meta
from vox.names import ENDINGS, ID, place_of, speaker_of

VOXCELEB1, VOXCELEB2 = "VoxCeleb1", "VoxCeleb2"
PREFIX = {VOXCELEB1: "id1", VOXCELEB2: "id0"}  # of the ids of its speakers
META = {VOXCELEB1: "vox1_meta.csv", VOXCELEB2: "vox2_meta.csv"}
VOXCELEB1_TEST = {f"id{number}" for number in range(10270, 10310)}  # the 40 people whose names begin with E
ABOVE = 2  # folders above the given one in which tables and lists are looked for


class Release:
    """VoxCeleb1 or VoxCeleb2 in a folder, in any of its layouts.

    files: the path below the root of each utterance, two strings an utterance (VoxCeleb2 has 1.1 million). tables: by
    name the paths of the files that are asked for, those nearest to the root first, then those above it.
    """

    def __init__(self, corpus: str, root: Path, names: Collection[str], report: Report) -> None:
        self.corpus, self.root, self._report = corpus, root, report
        self.files: dict[str, str] = {}
        self._formats = 0  # utterances with a second file in another format
        self._others: Counter[str] = Counter()  # files of the other corpus, by ids
        if not root.is_dir():
            raise VouchError(f"{corpus}: {root} is not a folder; name the folder of the corpus")
        if "\n" in str(root):
            raise VouchError(f"{corpus}: {str(root)!r} has a line end in its name, which no wav.scp can hold")
        self.tables: dict[str, list[Path]] = {}
        self._walk({*names, META[corpus]})
        found = self.tables.get(META[corpus])
        self.meta = read_meta(found[0], corpus, report) if found else Meta()
        self._name_files()

    def path(self, utterance: str) -> str:
        return f"{self.root}/{self.files[utterance]}"

    def set_of(self, utterance: str) -> str:
        """dev or test: of VoxCeleb1 by the speaker, of VoxCeleb2 by the table, or else by the folder of the file."""
        speaker = speaker_of(utterance)
        if self.corpus == VOXCELEB1:
            return "test" if speaker in VOXCELEB1_TEST else "dev"
        told = self.meta.sets.get(speaker)
        return told or ("test" if "test" in self.files[utterance].lower().rpartition("/id")[0] else "dev")

    def _walk(self, names: set[str]) -> None:
        self._found: list[str] = []
        for base, files in walk(self.root, self.corpus, self._report):
            for name in files:
                if name.lower().endswith(ENDINGS):
                    self._found.append(base + name)
                elif name in names:
                    self.tables.setdefault(name, []).append(self.root / base / name)
        for paths in self.tables.values():
            paths.sort(key=lambda path: (len(path.parts), path))
        for folder in self.root.parents[:ABOVE]:
            for name in names:
                if (folder / name).is_file():
                    self.tables.setdefault(name, []).append(folder / name)

    def _name_files(self) -> None:
        """From paths to utterances; what is none, or of the other corpus, is told and passed over."""
        unnamed = ""
        for path in self._found:
            place = place_of(path)
            if place is None:
                message = f"{self.root}/{path} is not .../SPEAKER/VIDEO/NUMBER; it is skipped"
                self._report.warn(self.corpus, "files that are no utterances", message)
                continue
            speaker = place.person if ID.fullmatch(place.person) else self.meta.ids.get(place.person, "")
            if not speaker:
                unnamed = unnamed or place.person
                message = f"{self.root}/{path}: {place.person} is neither an id nor a name in {META[self.corpus]}"
                self._report.warn(self.corpus, "people without an id", f"{message}; the file is skipped")
            elif not speaker.startswith(PREFIX[self.corpus]):
                self._others[speaker] += 1
            else:
                self._take(place.utterance(speaker), path)
        del self._found
        if unnamed and not self.files and self.meta.path is None:
            raise VouchError(
                f"{self.corpus}: the folders of {self.root} are named by people ({unnamed}), as in the first release, "
                f"and {META[self.corpus]}, which has their ids, is not there nor above; download it and put it there"
            )
        if not self.files:
            other = (
                f" ({self._others.total()} files are of the other corpus: {min(self._others)})" if self._others else ""
            )
            endings = "wav, flac or m4a"
            raise VouchError(
                f"{self.corpus}: no utterance in {self.root}{other}; want SPEAKER/VIDEO/NUMBER.{endings} with ids "
                f"{PREFIX[self.corpus]}... in it or further down"
            )
        if self._others:
            told = f"{self._others.total()} files of {len(self._others)} speakers of the other corpus"
            self._report.note(self.corpus, f"{told} lie in {self.root}; they are passed over")
        if self._formats:
            self._report.note(
                self.corpus,
                f"{self._formats} more files are other formats of an utterance; of several wav is taken, or else flac",
            )

    def _take(self, utterance: str, path: str) -> None:
        known = self.files.setdefault(utterance, path)
        if known is path:
            return
        old, new = _rank(known), _rank(path)
        if old == new:
            message = (
                f"{utterance}: there are two files, {self.root}/{known} and {self.root}/{path}; the first is taken"
            )
            self._report.warn(self.corpus, "utterances with two files", message)
            return
        self._formats += 1
        if new < old:
            self.files[utterance] = path


def _rank(path: str) -> int:
    return ENDINGS.index(os.path.splitext(path)[1].lower())
