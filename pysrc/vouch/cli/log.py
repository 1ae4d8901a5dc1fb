"""Messages of the tools: one line each on stderr, in the manner of Kaldi's LOG and WARNING lines."""

from __future__ import annotations

import sys


def log(message: str) -> None:
    """Say what happened."""
    print(f"LOG {message}", file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Say what was skipped or looks wrong, while the work goes on."""
    print(f"WARNING {message}", file=sys.stderr, flush=True)
