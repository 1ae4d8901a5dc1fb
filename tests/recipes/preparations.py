"""What the tests of data preparations in egs share: calling one, as users do or in this process; files."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "pysrc"), "VOUCH_PYTHON": sys.executable, "LC_ALL": "C", **more}


def outside(script: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    """A script as a user calls it."""
    command = ["bash", str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(**variables))


def inside(main: Callable[[], None], *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    """The main function of a script's Python part, called in this process."""
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    argv = ["prepare_data.py", *map(str, arguments)]
    with (
        patch.object(sys, "argv", argv),
        patch.dict(os.environ, variables),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as end:
            stderr.write(f"{end.code}\n")
            code = 1
    return subprocess.CompletedProcess(argv, code, stdout.getvalue(), stderr.getvalue())


def table(path: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in path.read_text().splitlines())


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new, 1))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
