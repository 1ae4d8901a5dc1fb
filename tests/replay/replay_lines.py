"""Run command lines as they stand in a file, with Vouch's tools in front of PATH, and compare what they write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from replay_bars import Bar, Check, compare


class Expected(NamedTuple):
    """What a file of the lines should hold: how to read it, the reference arrays, and the bar."""

    read: Callable[[str], dict[str, np.ndarray]]
    arrays: dict[str, np.ndarray]
    bar: Bar
    write: Callable[[str, dict[str, np.ndarray]], None] | None = None  # puts the reference into its place


class Replay:
    """A working folder in which lines run; every output that is expected is compared, then replaced by the reference,
    so that the next lines start from it."""

    def __init__(self, work: Path) -> None:
        self.work, self.checks = work, []
        self.tools = subprocess.run(
            [sys.executable, "-m", "vouch", "kaldi-path"], check=True, capture_output=True, text=True
        ).stdout.strip()
        self._environment = os.environ | {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """One line by bash; a line that fails stops the replay with its own last words."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=self.work, env=self._environment, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(f"exit {done.returncode}: {line}\n" + "\n".join(done.stderr.splitlines()[-3:]))
        return done

    def run_all(self, stage: str, lines: list[str], expected: dict[str, Expected]) -> None:
        """Lines in order. `expected` is by file name; each is compared after the last line that names it as output."""
        left = dict(expected)
        for line in lines:
            self.run(line)
            for name in [name for name in left if _writes(line, name)]:
                self.check(stage, name, left.pop(name))
        if left:
            raise AssertionError(f"{stage}: no line wrote {', '.join(left)}")

    def check(self, stage: str, name: str, expected: Expected) -> None:
        path = str(self.work / name)
        found = expected.read(path)
        self.checks += compare(stage, name, expected.bar, found, expected.arrays)
        if expected.write is not None:
            expected.write(path, found | expected.arrays)

    def failures(self) -> list[Check]:
        return [check for check in self.checks if check.share > 1]


def _writes(line: str, name: str) -> bool:
    """Is `name` the last argument of the line's last command, or a part of its last table specifier?"""
    last = line.split()[-1]
    return name in (last, last.partition(":")[2], last.partition(":")[2].partition(",")[0])
