"""A miniature of all corpora for the tests of egs/sre16/v1, and what runs the preparation on a copy of it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[3]
LOCAL = ROOT / "egs/sre16/v1/local"
DIRECTORIES = ("sre", "swbd", "sre16_major", "sre16_minor", "sre16_eval_enroll", "sre16_eval_test")
DIRECTORIES += ("sre16_dev_enroll", "sre16_dev_test")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "pysrc"), "VOUCH_PYTHON": sys.executable, "LC_ALL": "C", **more}


def prepare(corpora: Path, out: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """prepare_data.sh as a user calls it."""
    command = ["bash", str(LOCAL / "prepare_data.sh"), "--corpora", str(corpora), *options, str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(**variables))


def read(corpora: Path, out: Path, **variables: str) -> subprocess.CompletedProcess:
    """prepare_data.py alone, inside this process; it leaves its directories in OUT/.tmp."""
    if str(LOCAL) not in sys.path:
        sys.path.insert(0, str(LOCAL))
    import prepare_data

    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    argv = ["prepare_data.py", str(corpora), str(out)]
    with (
        patch.object(sys, "argv", argv),
        patch.dict(os.environ, variables),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            prepare_data.main()
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
