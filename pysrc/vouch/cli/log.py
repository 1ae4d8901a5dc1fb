"""Messages of the tools: one line each on stderr, in the manner of Kaldi's LOG and WARNING lines."""

from __future__ import annotations

import sys


def log(message: str) -> None:
    """Say what happened."""
    _write(f"LOG {message}\n")


def warn(message: str) -> None:
    """Say what was skipped or looks wrong, while the work goes on."""
    _write(f"WARNING {message}\n")


def _write(line: str) -> None:
    """In one piece, so that the lines of tools in one pipeline stay apart."""
    sys.stderr.write(line)
    sys.stderr.flush()
