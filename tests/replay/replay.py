"""Replay reference sets and print a table: python tests/replay/replay.py TOOLS_SET|TRAINING_SET ..."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import replay_bars as bars
from replay_tools_set import replay_tools
from replay_training_set import replay_training


def main(folders: list[str]) -> int:
    failed = []
    for name in folders:
        folder = Path(name).resolve()
        with tempfile.TemporaryDirectory() as work:
            if (folder / "commands.json").exists():
                replay = replay_tools(folder, Path(work))
            else:
                recordings = folder.parent.parent / "corpora" / "mandarin-words"
                replay = replay_training(folder, Path(work), recordings if recordings.is_dir() else None)
        print(f"{folder.name}\n{bars.table(replay.checks)}\n")
        failed += replay.failures()
    for check in failed:
        print(f"over the bar: {check.stage} {check.name}: {check.worst} ({check.bar})")
    return 1 if failed else 0


if __name__ == "__main__":
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (["--help"], ["-h"]) else 1)
    sys.exit(main(sys.argv[1:]))
