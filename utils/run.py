#!/usr/bin/env python3
"""Run a command, or N numbered copies of it, on this machine; `run.py --help` says how.

The calling form is that of Kaldi's run.pl, so every `$cmd JOB=1:N LOG COMMAND...` of a recipe works. A
request (jobs/request.py) knows no backend: another one, as a cluster's queue, is a class with the four public
names of LocalBackend (jobs/local.py): capacity, submit, wait, stop.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.local import Interrupted, LocalBackend
from jobs.request import HELP, Request, UsageError, parse

if TYPE_CHECKING:
    from tqdm import tqdm

TAIL = 10  # lines shown of a failed job's log


def run_jobs(request: Request, backend: LocalBackend) -> list[int]:
    """Run all jobs to their ends, with a progress bar on a terminal; returns the failed ones' numbers."""
    waiting = list(range(request.last, request.first - 1, -1))
    running = 0
    failed: list[int] = []
    bar = progress_bar(len(waiting), Path(request.log).name) if sys.stderr.isatty() else None
    while waiting or running:
        while waiting and running < backend.capacity:
            job = waiting.pop()
            backend.submit(job, Path(request.fill(request.log, job)), request.fill(request.command, job))
            running += 1
        ended = backend.wait(1.0)
        if ended:
            running -= 1
            failed += [ended[0]] if ended[1] else []
        if bar:
            state = f"{len(failed)} failed" if failed else ""
            bar.set_postfix_str(state if bar.total > 1 else last_line(request.fill(request.log, request.first)), False)
            bar.update(1 if ended else 0)
            bar.refresh()
    if bar:
        bar.close()
    return sorted(failed)


def progress_bar(total: int, name: str) -> tqdm:
    from tqdm import tqdm  # 0.1 s that a call without a terminal need not pay

    single = "{desc} [{elapsed}] {postfix}"  # of one job there is more to see in its log than in a bar
    form = single if total == 1 else None
    return tqdm(total=total, desc=name, unit="job", leave=False, dynamic_ncols=True, bar_format=form)


def last_line(log: str) -> str:
    """The last whole line of a log, or nothing where there is none yet."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - 1024))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return lines[-2][:100] if len(lines) > 1 else ""


def report(request: Request, failed: list[int]) -> None:
    """Say on stderr how many jobs failed, and show the end of the first one's log."""
    log = request.fill(request.log, failed[0])
    total = request.last - request.first + 1
    print(f"run.py: {len(failed)} of {total} jobs failed; first log: {log}", file=sys.stderr)
    with open(log, "rb") as file:
        file.seek(max(0, os.path.getsize(log) - 65536))
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in lines[-TAIL:]:
        print(f"  {line}", file=sys.stderr)


def main(argv: list[str]) -> int:
    if argv[:1] in (["--help"], ["-h"]):
        print(HELP)
        return 0
    backend = None
    try:
        request = parse(argv)
        backend = LocalBackend(request)
        failed = run_jobs(request, backend)
        if failed:
            report(request, failed)
        return 1 if failed else 0
    except UsageError as error:
        print(f"run.py: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a log that cannot be written, a full disk, no more processes
        where = f"{error.filename}: " if error.filename else ""
        print(f"run.py: error: {where}{error.strerror}; the running jobs are ended", file=sys.stderr)
        return 1
    except Interrupted as interrupt:
        number = signal.Signals(interrupt.args[0])
        print(f"run.py: {number.name}: ending the running jobs", file=sys.stderr)
        return 128 + number
    finally:
        if backend is not None:
            backend.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
