"""The files below the folder of a corpus, whatever links lie in it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from vouch.corpora.report import Report
from vouch.errors import VouchError


def walk(root: Path, corpus: str, report: Report) -> Iterator[tuple[str, list[str]]]:
    """(folder below the root, empty or ending in a slash; names of its files, sorted) of each folder.

    Links are followed, after all folders that are none, and each folder is visited once: links in circles end, and a
    folder that a link gives a second name keeps its first. Hidden files (`._x.wav`, which some file systems keep beside
    x.wav) are passed over. Folders that cannot be read are warned of.
    """
    visited: set[tuple[int, int]] = set()

    def unreadable(error: OSError) -> None:
        report.warn(corpus, "folders that cannot be read", f"{error.filename}: {error.strerror}")

    tops = deque([str(root)])
    while tops:
        for folder, folders, files in os.walk(tops.popleft(), onerror=unreadable):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                folders.clear()
                continue
            visited.add((status.st_dev, status.st_ino))
            folders.sort()
            tops += [path for path in (f"{folder}/{name}" for name in folders) if os.path.islink(path)]
            relative = os.path.relpath(folder, root)
            yield "" if relative == "." else f"{relative}/", sorted(name for name in files if not name.startswith("."))


def refuse_inside(out: Path, found: Mapping[str, Path], what: str = "output folder") -> None:
    """Raise VouchError when `out` lies in a corpus: nothing is ever written there."""
    for number, path in found.items():
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise VouchError(f"the {what} '{out}' lies inside the corpus {number} ({path}); choose another")
