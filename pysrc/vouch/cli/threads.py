"""Kaldi's --num-threads for tools whose work is NumPy's matrix products."""

from __future__ import annotations

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
