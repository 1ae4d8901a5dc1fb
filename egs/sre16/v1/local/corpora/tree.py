"""The files of a corpus, from one walk: audio by the stem of its name, tables by their path."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from vouch.corpora.folders import walk
from vouch.corpora.report import Report
from vouch.errors import VouchError

AUDIO = (".sph", ".wav", ".flac")
DEPTH = 3  # folders that may lie between the given one and that which the tables are described from


def stem_of(name: str) -> str:
    """A file's name up to its first dot, as Kaldi's scripts match audio to tables."""
    return name.rpartition("/")[2].partition(".")[0]


class Tree:
    """An index of the files below a folder; links are followed, each folder is visited once, case does not matter.

    corpus: the number that warnings are counted under.
    """

    def __init__(self, root: Path, corpus: str, report: Report) -> None:
        self.root, self.corpus, self._report = root, corpus, report
        self._audio: dict[str, list[str]] = {}  # stem in lower case: paths below the root
        self._others: dict[str, list[str]] = {}  # name in lower case: paths
        self._folders: list[str] = []
        self._told: set[str] = set()
        if not root.is_dir():
            raise VouchError(f"{corpus}: {root} is not a folder; name the folder of the release")
        self._walk()

    def _walk(self) -> None:
        for base, files in walk(self.root, self.corpus, self._report):
            self._folders.append(base)
            for name in files:
                if name.lower().endswith(AUDIO):
                    self._audio.setdefault(stem_of(name).lower(), []).append(base + name)
                else:
                    self._others.setdefault(name.lower(), []).append(base + name)

    def table(self, *names: str, base: str | None = None) -> Path | None:
        """The file at one of these paths below the root, or below a folder at most DEPTH folders down from it.

        base: exactly below this folder (see `base`).
        """
        for wanted in names:
            found = self._others.get(PurePosixPath(wanted).name.lower(), [])
            if base is None:
                found = [path for path in found if _ends(path, wanted)]
            else:
                found = [path for path in found if path.lower() == (base + wanted).lower()]
            if found:
                found.sort(key=lambda path: (path.count("/"), path))
                self._warn_of_two_tables(found)
                return self.root / found[0]
        return None

    def _warn_of_two_tables(self, found: list[str]) -> None:
        beside = [self.root / path for path in found if path.count("/") == found[0].count("/")][:2]
        if len(beside) > 1 and found[0] not in self._told and beside[0].read_bytes() != beside[1].read_bytes():
            self._told.add(found[0])
            message = f"{beside[0]} and {beside[1]} differ; the first is taken"
            self._report.warn(self.corpus, "tables that are there twice", message)

    def need(self, *names: str, base: str | None = None) -> Path:
        """As `table`; raises VouchError where there is none."""
        found = self.table(*names, base=base)
        if found is not None:
            return found
        where = f"{self.root}, nor {DEPTH} folders further down" if base is None else self.root / base
        raise VouchError(
            f"{self.corpus}: no {' or '.join(names)} in {where}; is this the folder of the release, and complete?"
        )

    def folder(self, wanted: str) -> str | None:
        """The folder at this path, as `table` finds it, for `audio` and `stems`."""
        found = [path for path in self._folders if _ends(path.rstrip("/"), wanted)]
        return min(found, key=lambda path: (path.count("/"), path), default=None)

    def base(self, table: Path, name: str) -> str:
        """The folder (below the root, ending in a slash) from which `table` was found as `name`."""
        return os.path.relpath(table, self.root)[: -len(name)]

    def audio(self, stem: str, below: str = "") -> Path | None:
        """The audio file of this stem (in this folder or further down). Of several the first in sorted order."""
        found = self._audio.get(stem.lower(), [])
        if below:
            found = [path for path in found if path.lower().startswith(below.lower())]
        found = [path for path in found if stem_of(path) == stem] or found
        if not found:
            return None
        if len(found) > 1 and stem.lower() + below not in self._told:
            self._told.add(stem.lower() + below)
            self._warn_of_several(stem, sorted(found))
        return self.root / min(found)

    def _warn_of_several(self, stem: str, found: list[str]) -> None:
        sizes = [path.stat().st_size if path.exists() else 0 for path in (self.root / name for name in found[:2])]
        differ = f", and they differ ({sizes[0]} and {sizes[1]} bytes)" if sizes[0] != sizes[1] else ""
        message = (
            f"{stem}: there are {len(found)} files: {self.root / found[0]} and {self.root / found[1]}{differ}; "
            "the first is taken"
        )
        self._report.warn(self.corpus, "recordings with several files", message)

    def stems(self, below: str = "") -> list[str]:
        """Stems of the audio files (in a folder or further down), as they are written, sorted."""
        return sorted(
            {
                stem_of(path)
                for paths in self._audio.values()
                for path in paths
                if path.lower().startswith(below.lower())
            }
        )


def _ends(path: str, wanted: str) -> bool:
    path, wanted = path.lower(), wanted.lower()
    above = path.count("/") - wanted.count("/")
    return path == wanted or (path.endswith("/" + wanted) and above <= DEPTH)
