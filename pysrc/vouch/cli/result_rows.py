"""The rows of the result table: what every evaluation measures, and the files between evaluations and make-results.

A row file is tab-separated: a header, then a row of each list that was evaluated. Beside FILE.tsv lies FILE.det.npz
with the points of the rows' DET curves: p_fa and p_miss of the first row, p_fa_1 and p_miss_1 of the second, and so on.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    Points = tuple[np.ndarray, np.ndarray]

COLUMNS = ("system", "backend", "trials", "targets", "nontargets", "EER", "EER_low", "EER_high")
COLUMNS += ("minDCF01", "minDCF001")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:=-]*")


def add_row_options(options: ToolOptions) -> None:
    """The options of every evaluation."""
    options.add("system", "-", "name of the system, for the table")
    options.add("backend", "-", "name of the backend, for the table")
    options.add("trials-name", "trials", "name of the trial list, for the table and the plot's file name")
    options.add("p-targets", "", "further target priors, separated by commas; 0.05 is the column minDCF05")
    options.add("num-samples", 1000, "bootstrap samples of the interval")
    options.add("seed", 0, "seed of the bootstrap")


def is_name(text: str) -> bool:
    """Can this stand in a cell of the table and in a file name?"""
    return _NAME.fullmatch(text) is not None


def check_row_options(opt: SimpleNamespace, row_file: str) -> None:
    """Raises VouchError for names and row files that make-results could not use."""
    for name, value in (("system", opt.system), ("backend", opt.backend), ("trials-name", opt.trials_name)):
        if value != "-" and not is_name(value):
            raise VouchError(f"--{name}='{value}': a name is made of letters, digits and . _ + : = -")
    _further_priors(opt.p_targets)
    if not row_file.endswith(".tsv"):
        raise VouchError(f"the row file is {row_file}: give it a name that ends in .tsv")


def measure(
    opt: SimpleNamespace,
    name: str,
    scores: np.ndarray,
    is_target: np.ndarray,
    models: np.ndarray,
    tests: np.ndarray,
) -> tuple[dict[str, str], Points]:
    """(cells of COLUMNS, DET points) of a trial list of this name; arrays `(trials,)`, as for eer_interval.

    Raises VouchError when all trials are of one kind or the targets are of one speaker.
    """
    from vouch.metrics.detection_cost import det_points, error_rates, minimum_detection_cost
    from vouch.metrics.eer import equal_error_rate
    from vouch.metrics.intervals import eer_interval

    targets, nontargets = scores[is_target], scores[~is_target]
    if not len(targets) or not len(nontargets):
        raise VouchError(f"{len(targets)} target and {len(nontargets)} nontarget trials: want both")
    eer, _ = equal_error_rate(targets, nontargets)
    low, high = eer_interval(scores, is_target, models, tests, opt.num_samples, opt.seed)
    rates = error_rates(targets, nontargets)
    further = _further_priors(opt.p_targets)
    costs = [minimum_detection_cost(rates, p_target)[0] for p_target in (0.01, 0.001, *further.values())]
    cells = [opt.system, opt.backend, name, str(len(targets)), str(len(nontargets))]
    cells += [f"{100 * rate:.4f}" for rate in (eer, low, high)] + [f"{cost:.4f}" for cost in costs]
    return dict(zip((*COLUMNS, *further), cells, strict=True)), det_points(rates)


def _further_priors(text: str) -> dict[str, float]:
    """Priors by the names of their columns. Raises VouchError on what is no prior, or one of COLUMNS."""
    priors = {}
    for word in filter(None, text.split(",")):
        name = f"minDCF{word.removeprefix('0').removeprefix('.')}"
        if not re.fullmatch(r"0?\.\d*[1-9]\d*", word) or name in COLUMNS or name in priors:
            raise VouchError(
                f"--p-targets={text}: want numbers between 0 and 1, as 0.05, each once, not 0.01 and 0.001"
            )
        priors[name] = float(word)
    return priors


def eer_text(row: dict[str, str]) -> str:
    """The EER of a row with its interval, for a log."""
    eer, low, high = (float(row[name]) for name in ("EER", "EER_low", "EER_high"))
    return f"{eer:.2f} % ({low:.2f} to {high:.2f})"


def write_rows(path: str, rows: Sequence[dict[str, str]], curves: Sequence[Points]) -> None:
    """Write a row file, and the DET points beside it."""
    import numpy as np

    stream = io.BytesIO()
    np.savez(stream, **{name: a for i, both in enumerate(curves) for name, a in zip(_names(i), both, strict=True)})
    write_bytes(_det_file(path), stream.getvalue())
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    write_bytes(path, "".join("\t".join(cells) + "\n" for cells in lines).encode())


def read_rows(path: str) -> tuple[list[dict[str, str]], list[Points]]:
    """The rows of a row file, and the DET points of each. Raises VouchError on any other file."""
    header, *lines = read_cells(path)
    if not lines or tuple(header[: len(COLUMNS)]) != COLUMNS or any(len(cells) != len(header) for cells in lines):
        raise VouchError(f"{path} is not a row that `vouch evaluate` wrote: run evaluate again")
    return [dict(zip(header, cells, strict=True)) for cells in lines], _read_points(_det_file(path), len(lines))


def read_cells(path: str) -> list[list[str]]:
    """The cells of every line of a tab-separated file; an empty file has one line without any."""
    from vouch.io.tables import open_input

    with open_input(path) as stream:
        text = stream.read().decode("utf-8", "replace")
    return [line.split("\t") for line in text.splitlines()] or [[]]


def write_bytes(path: str, data: bytes) -> None:
    """Write a file whole, or not at all."""
    from vouch.io.tables import open_output

    with open_output(path) as stream:
        stream.write(data)


def _names(row: int) -> tuple[str, str]:
    suffix = f"_{row}" if row else ""
    return f"p_fa{suffix}", f"p_miss{suffix}"


def _det_file(row_file: str) -> str:
    return row_file.removesuffix(".tsv") + ".det.npz"


def _read_points(path: str, number: int) -> list[Points]:
    import numpy as np

    from vouch.io.tables import open_input

    with open_input(path) as stream:
        data = stream.read()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return [tuple(arrays[name] for name in _names(row)) for row in range(number)]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):
        raise VouchError(f"{path} does not hold DET points: run `vouch evaluate` again") from None
