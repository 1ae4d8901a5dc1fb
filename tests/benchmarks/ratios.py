"""Running contestants in turn, and medians of what they took: shared by the benchmarks of this folder."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Process
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Usage(NamedTuple):
    """What a process took: seconds of the processor (user and system), and peak memory in MB; and what it printed."""

    cpu: float
    memory: float
    output: str


def vouch(*arguments: str) -> list[str]:
    """The command line of a tool of this checkout."""
    return [sys.executable, "-m", "vouch", *arguments]


def environment() -> dict[str, str]:
    """That of a contestant: one thread, and this checkout."""
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT / "pysrc")}


def measure(command: Sequence[str]) -> Usage:
    """Run a command; its whole process counts. SystemExit with its messages when it fails.

    Keep the caller small: a process begins with the memory of the one that started it.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment())
        assert process.stdout is not None
        output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command[:6])} failed:\n{errors.read().decode()[-2000:]}")
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def alternate(contestants: Mapping[str, Sequence[str]], runs: int) -> dict[str, Usage]:
    """The medians of `runs` runs of each command, taken in turn, so that a slow minute of the machine meets all."""
    taken: dict[str, list[Usage]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, command in contestants.items():
            taken[name].append(measure(command))
    return {name: median(usages) for name, usages in taken.items()}


def median(usages: Sequence[Usage]) -> Usage:
    """Of time and memory; the output is that of the last."""
    return Usage(
        statistics.median(usage.cpu for usage in usages),
        statistics.median(usage.memory for usage in usages),
        usages[-1].output,
    )


def apart(function: Callable[..., None], *arguments: object) -> None:
    """Call a function in a process of its own, so that its memory is not the caller's."""
    process = Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{function.__name__} failed")


def can_import(python: str, *modules: str) -> bool:
    """Has this interpreter these modules?"""
    code = "import importlib.util, sys; sys.exit(any(importlib.util.find_spec(m) is None for m in sys.argv[1:]))"
    return subprocess.run([python, "-c", code, *modules], check=False).returncode == 0
