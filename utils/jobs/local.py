"""Jobs on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from jobs.request import Request, UsageError, bash_script

GRACE = 3.0  # seconds between SIGTERM and SIGKILL


class LocalBackend:
    """Runs jobs on this machine, each in a process group of its own.

    `capacity` is how many may run at once. A guard process ends the jobs should this process be killed.
    Raises UsageError when the machine has too few GPUs for one job.
    """

    def __init__(self, request: Request) -> None:
        self._guard = Guard()
        self._wake = _signal_pipe()
        self._running: dict[int, tuple[subprocess.Popen[bytes], Path, float, list[str]]] = {}
        self._threads, self._gpus_each = request.num_threads, request.gpu
        self._gpus = visible_gpus() if request.gpu else []
        self.capacity = self._fit(request)

    def _fit(self, request: Request) -> int:
        """How many jobs run at once."""
        limits = [request.max_jobs_run] if request.max_jobs_run else []
        if request.gpu:
            if len(self._gpus) < request.gpu:
                raise UsageError(
                    f"--gpu {request.gpu}, but this machine has {len(self._gpus)} usable NVIDIA GPU(s) "
                    "(nvidia-smi -L, CUDA_VISIBLE_DEVICES); drop --gpu (cmd.sh) or use another machine"
                )
            limits.append(len(self._gpus) // request.gpu)
        elif not request.max_jobs_run:
            limits.append(len(os.sched_getaffinity(0)) // request.num_threads)
        if request.mem:
            fitting = machine_memory() // request.mem
            if not fitting:
                gib = machine_memory() / 1024**3
                print(
                    f"run.py: warning: a job asks for more than this machine's {gib:.1f}G of memory",
                    file=sys.stderr,
                )
            limits.append(fitting)
        return max(1, min(limits))

    def submit(self, job: int, log: Path, command: str) -> None:
        """Start a job, its output in log. There must be room: fewer than `capacity` running."""
        log.parent.mkdir(parents=True, exist_ok=True)
        gpus = [self._gpus.pop(0) for _ in range(self._gpus_each)]
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        environment = os.environ | dict.fromkeys(threads, str(self._threads))
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        shown = command.replace("\n", "\n# ")
        with open(log, "w", encoding="utf-8", errors="surrogateescape") as header:
            header.write(f"# {shown}\n# Running on {socket.gethostname()}\n# Started at {time.ctime()}\n#\n")
        with open(log, "ab") as output, tempfile.TemporaryFile() as script:
            script.write(os.fsencode(bash_script(command)))
            script.seek(0)
            process = subprocess.Popen(
                ["bash", "-e", "-o", "pipefail"],
                stdin=script,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,
            )
        self._guard.add(process.pid)
        self._running[job] = (process, log, time.time(), gpus)

    def wait(self, seconds: float) -> tuple[int, int] | None:
        """(job, exit code) of a job that ended; None when none did in that time. Raises Interrupted."""
        for patience in (0, seconds):
            if select.select([self._wake], [], [], patience)[0]:
                for number in os.read(self._wake, 4096):
                    if number != signal.SIGCHLD:
                        raise Interrupted(number)
            for job, (process, *_) in self._running.items():
                if process.poll() is not None:
                    return job, self._finish(job)
        return None

    def _finish(self, job: int) -> int:
        """Write the end of an ended job's log; returns its exit code, 128 + n for signal n.

        A log that cannot be completed makes the job a failed one: its output may be cut off.
        """
        process, log, started, gpus = self._running.pop(job)
        self._guard.remove(process.pid)
        self._gpus += gpus
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        elapsed = round(time.time() - started)
        try:
            with open(log, "a", encoding="utf-8") as end:
                end.write(f"# Accounting: time={elapsed} threads={self._threads}\n")
                end.write(f"# Ended (code {code}) at {time.ctime()}, elapsed time {elapsed} seconds\n")
        except OSError as error:
            print(f"run.py: error: cannot write the log {log}: {error.strerror}", file=sys.stderr)
            return code or 1
        return code

    def stop(self) -> None:
        """End the process groups of all running jobs."""
        end_groups({process.pid for process, *_ in self._running.values()}, self._reap)
        for job in list(self._running):
            self._running[job][0].wait()
            self._finish(job)

    def _reap(self) -> None:
        for process, *_ in self._running.values():
            process.poll()


class Interrupted(Exception):
    """SIGINT, SIGTERM or SIGHUP came; the argument is its number."""


def _signal_pipe() -> int:
    """A descriptor to read the numbers of signals from: a child ended, or we are told to stop."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, lambda *_: None)
    return read_end


class Guard:
    """A process that outlives us for a moment and ends the jobs' process groups if we did not."""

    def __init__(self) -> None:
        read_end, self._pipe = os.pipe()
        if os.fork() == 0:
            os.close(self._pipe)
            _guard(read_end)
        os.close(read_end)

    def add(self, group: int) -> None:
        os.write(self._pipe, f"{group}\n".encode())

    def remove(self, group: int) -> None:
        os.write(self._pipe, f"-{group}\n".encode())


def _guard(read_end: int) -> NoReturn:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    groups: set[int] = set()
    with open(read_end, encoding="ascii") as lines:
        for line in lines:
            group = int(line)
            (groups.add if group > 0 else groups.discard)(abs(group))
    end_groups(groups, lambda: None)
    os._exit(0)


def end_groups(groups: set[int], reap: Callable[[], None]) -> None:
    """SIGTERM to process groups, after GRACE seconds SIGKILL to those left; reap collects ended children."""
    deadline = time.monotonic() + GRACE
    left = {group for group in groups if _signal_group(group, signal.SIGTERM)}
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        reap()
        left = {group for group in left if _signal_group(group, 0)}
    for group in left:
        _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def machine_memory() -> int:
    """Bytes of memory, or of this process's control group if that is less."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # absent, or "max"
            sizes.append(int(Path(path).read_text()))
    return min(sizes)


def visible_gpus() -> list[str]:
    """The entries of CUDA_VISIBLE_DEVICES where it is set, else the GPUs that nvidia-smi lists."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [gpu.strip() for gpu in allowed.split(",") if gpu.strip() not in ("", "-1", "NoDevFiles")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        return []
    return re.findall(r"^GPU \d+:.*\(UUID: ([^)]+)\)", listed, re.MULTILINE)
