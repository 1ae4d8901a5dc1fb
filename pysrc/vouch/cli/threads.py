"""Threads of the matrix products (Kaldi's --num-threads), and the memory that a computation frees and takes again."""

from __future__ import annotations

import ctypes
import os

from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def add_threads(options: ToolOptions) -> None:
    """Offer --num-threads."""
    options.add("num-threads", 1, "threads of the matrix products (OpenBLAS, MKL)")


def use_threads(count: int) -> None:
    """Let matrix products use this many threads. To be called before NumPy is imported: BLAS asks once, when it starts.

    Raises VouchError where count is less than 1.
    """
    if count < 1:
        raise VouchError(f"--num-threads={count}: want 1 or more")
    for variable in _VARIABLES:
        os.environ[variable] = str(count)


def default_to_one_thread() -> None:
    """Keep matrix products to one thread, as Kaldi's tools do, unless the environment gives a number.

    A job is a process, and their number is the user's. To be called before NumPy is imported.
    """
    for variable in _VARIABLES:
        os.environ.setdefault(variable, os.environ.get("OMP_NUM_THREADS", "1"))


def keep_freed_memory() -> None:
    """Let glibc keep the memory that a training frees after every step, instead of giving it back to the system, which
    clears every page that is asked for again: a fifth of the time of a small x-vector. Elsewhere nothing is changed."""
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is not None:
        for parameter, value in ((-1, 2**31 - 1), (-3, 32 * 2**20)):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD (its largest)
            adjust(parameter, value)
