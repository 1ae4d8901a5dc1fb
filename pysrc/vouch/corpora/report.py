"""Warnings of the preparation: the first of each kind on the screen, all of them in a file."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from vouch.io.streams import open_output

SHOWN = 3  # warnings of a kind and corpus that are printed
NAME = "prepare_data.py"


class Report:
    """What is said about the corpora while they are read.

    counts: warnings of each corpus.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.counts: Counter[str] = Counter()
        self._kinds: Counter[tuple[str, str]] = Counter()
        self._lines: list[str] = []

    def warn(self, corpus: str, kind: str, message: str) -> None:
        """A line, or what it names, is skipped or looks wrong. kind: the reason in words that fit a count of them."""
        self.counts[corpus] += 1
        self._kinds[corpus, kind] += 1
        self._lines.append(f"{corpus}: {message}\n")
        if self._kinds[corpus, kind] <= SHOWN:
            print(f"{NAME}: warning: {corpus}: {message}", file=sys.stderr)

    def note(self, corpus: str, message: str) -> None:
        """Say what is no defect."""
        print(f"{NAME}: {corpus}: {message}")

    def close(self) -> None:
        """Say how many there were of what was not printed, and write the file, unless it says the same already."""
        for (corpus, kind), count in self._kinds.items():
            if count > SHOWN:
                print(f"{NAME}: warning: {corpus}: {kind}: {count} in all, see {self.file}", file=sys.stderr)
        text = "".join(self._lines).encode("utf-8", "surrogateescape")
        if not (self.file.is_file() and self.file.read_bytes() == text):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with open_output(str(self.file)) as stream:
                stream.write(text)
