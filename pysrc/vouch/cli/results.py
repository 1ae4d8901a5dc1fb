"""From trials and scores to the result table: check-trials, evaluate, make-results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.trial_list import Trials, is_target
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

COLUMNS = ("system", "backend", "trials", "targets", "nontargets", "EER", "EER_low", "EER_high")
COLUMNS += ("minDCF01", "minDCF001")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:=-]*")


def check_trials(argv: list[str]) -> None:
    """List every trial key without an embedding; an error when there is one."""
    options = ToolOptions(
        "check-trials",
        "[options] <trials> <enrollment-rspecifier> <test-rspecifier>",
        "Check, before scoring, that every trial has both its embeddings. Prints 'enrollment KEY' and 'test KEY' once "
        "for every key of <trials> that its table lacks, and exits 1 when there is one. Of a script file (scp:) only "
        "the keys are read.",
        (3, 3),
    )
    options.add("num-listed", 0, "list at most this many keys of each table; 0 lists all")
    opt, (trials, enrollment, test) = options.parse(argv)

    from vouch.io.tables import open_table, read_token_lines

    models: dict[str, int] = {}
    tests: dict[str, int] = {}
    number = 0
    for number, fields in enumerate(read_token_lines(trials, (2, 3)), 1):
        if len(fields) == 3:
            is_target(fields[2], f"{trials}:{number}")
        models.setdefault(fields[0], number)
        tests.setdefault(fields[1], number)
    if not number:
        raise VouchError(f"{trials} has no trials: check the data preparation")
    complaints = []
    for role, first_line, rspecifier in (("enrollment", models, enrollment), ("test", tests, test)):
        with open_table(rspecifier, "vector") as table:
            missing = sorted(key for key in first_line if key not in table)
        for key in missing[: opt.num_listed or None]:
            print(role, key)
        if opt.num_listed and len(missing) > opt.num_listed:
            print(f"# and {len(missing) - opt.num_listed} more {role} keys")
        if missing:
            where = f"{missing[0]} in {trials}:{first_line[missing[0]]}"
            complaints.append(f"{len(missing)} of {len(first_line)} {role} keys ({where}) are not in {rspecifier}")
    if complaints:
        raise VouchError("; ".join(complaints) + ": extract their embeddings, or take these trials out")
    log(f"All {len(models)} enrollment and {len(tests)} test keys of {number} trials have embeddings")


def evaluate(argv: list[str]) -> None:
    """Measure a score file against its trials."""
    options = ToolOptions(
        "evaluate",
        "[options] <trials> <scores> <row-file.tsv>",
        "Write a one-row table of error rates, with a header, and beside it the points of the DET curve in "
        "<row-file>.det.npz. Scores find their trials by the pair of keys, whatever the order; a trial without a "
        "score, a score without a trial, or a pair that comes twice is an error. EER (in %) as compute-eer, with its "
        "95 % interval from resampling speakers; minDCF01 and minDCF001 are normalised minimum detection costs at "
        "P_target 0.01 and 0.001, costs 1.",
        (3, 3),
    )
    options.add("system", "-", "name of the system, for the table")
    options.add("backend", "-", "name of the backend, for the table")
    options.add("trials-name", "trials", "name of the trial list, for the table and the plot's file name")
    options.add("num-samples", 1000, "bootstrap samples of the interval")
    options.add("seed", 0, "seed of the bootstrap")
    opt, (trials_in, scores_in, row_out) = options.parse(argv)

    import numpy as np

    from vouch.metrics.detection_cost import det_points, error_rates, minimum_detection_cost
    from vouch.metrics.eer import equal_error_rate
    from vouch.metrics.intervals import eer_interval

    for name, value in (("system", opt.system), ("backend", opt.backend), ("trials-name", opt.trials_name)):
        if value != "-" and not _NAME.fullmatch(value):
            raise VouchError(f"--{name}='{value}': a name is made of letters, digits and . _ + : = -")
    if not row_out.endswith(".tsv"):
        raise VouchError(f"the row file is {row_out}: give it a name that ends in .tsv")
    trials = Trials(trials_in)
    scores = trials.align(scores_in)
    targets, nontargets = scores[trials.is_target], scores[~trials.is_target]
    if not len(targets) or not len(nontargets):
        raise VouchError(f"{trials_in} has {len(targets)} target and {len(nontargets)} nontarget trials: want both")
    eer, _ = equal_error_rate(targets, nontargets)
    low, high = eer_interval(scores, trials.is_target, trials.models, trials.tests, opt.num_samples, opt.seed)
    rates = error_rates(targets, nontargets)
    costs = [minimum_detection_cost(rates, p_target)[0] for p_target in (0.01, 0.001)]
    row = [opt.system, opt.backend, opt.trials_name, str(len(targets)), str(len(nontargets))]
    row += [f"{100 * rate:.4f}" for rate in (eer, low, high)] + [f"{cost:.4f}" for cost in costs]
    _write_arrays(_det_file(row_out), **dict(zip(("p_fa", "p_miss"), det_points(rates), strict=True)))
    _write_text(row_out, "\t".join(COLUMNS) + "\n" + "\t".join(row) + "\n")
    log(
        f"{opt.trials_name}, {opt.system}, {opt.backend}: EER {100 * eer:.2f} % ({100 * low:.2f} to {100 * high:.2f}), "
        f"minDCF {np.round(costs[0], 4):.4f} at 0.01, {np.round(costs[1], 4):.4f} at 0.001"
    )


def make_results(argv: list[str]) -> None:
    """Gather evaluations in one table with DET plots."""
    options = ToolOptions(
        "make-results",
        "<results-dir> <row-file.tsv>...",
        "Gather the rows that evaluate wrote: results.tsv, the text table EER (also printed) and det_TRIALS.png for "
        "every trial list, in <results-dir>. All are written anew, sorted by trial list, system and backend, and plots "
        "of other lists are removed: the same rows give the same bytes.",
        (2, None),
    )
    _, (folder, *row_files) = options.parse(argv)

    from vouch.plots.det import DetCurve, det_png

    rows = [_read_row(path) for path in row_files]
    extra = list(dict.fromkeys(column for row in rows for column in row if column not in COLUMNS))
    by_key: dict[tuple[str, str, str], tuple[dict[str, str], str]] = {}
    for row, path in zip(rows, row_files, strict=True):
        key = row["trials"], row["system"], row["backend"]
        if key in by_key:
            raise VouchError(f"{path} and {by_key[key][1]} are both of {' '.join(key)}: give one of them")
        by_key[key] = row, path
    header = [*COLUMNS, *extra]
    curves: dict[str, list[DetCurve]] = {}
    table = []
    for (trials, system, backend), (row, path) in sorted(by_key.items()):
        points = _read_arrays(_det_file(path))
        curve = DetCurve(system, backend, points["p_fa"], points["p_miss"], float(row["EER"]))
        curves.setdefault(trials, []).append(curve)
        table.append([row.get(column, "-") for column in header])
    plots = {trials: det_png(group, trials) for trials, group in curves.items()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for old in Path(folder).glob("det_*.png"):
        if old.stem.removeprefix("det_") not in plots:
            old.unlink()
    for trials, png in plots.items():
        _write_bytes(f"{folder}/det_{trials}.png", png)
    _write_text(f"{folder}/results.tsv", "".join("\t".join(row) + "\n" for row in [header, *table]))
    text = _text_table(header, table)
    _write_text(f"{folder}/EER", text)
    print(text, end="")


def _text_table(header: list[str], rows: list[list[str]]) -> str:
    """Aligned by spaces; rates with two decimals, costs with three."""
    decimals = {"EER": 2, "EER_low": 2, "EER_high": 2, "minDCF01": 3, "minDCF001": 3}
    lines = [[f"# {header[0]}", *header[1:]]]
    for row in rows:
        named = zip(header, row, strict=True)
        lines.append([f"{float(cell):.{decimals[name]}f}" if name in decimals else cell for name, cell in named])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = {"system", "backend", "trials"}
    out = []
    for line in lines:
        cells = [
            cell.ljust(width) if name in texts else cell.rjust(width)
            for cell, width, name in zip(line, widths, header, strict=True)
        ]
        out.append(" ".join(cells).rstrip() + "\n")
    return "".join(out)


def _read_row(path: str) -> dict[str, str]:
    from vouch.io.tables import open_input

    with open_input(path) as stream:
        lines = stream.read().decode("utf-8", "replace").splitlines()
    cells = [line.split("\t") for line in lines]
    if len(cells) != 2 or tuple(cells[0][: len(COLUMNS)]) != COLUMNS or len(cells[0]) != len(cells[1]):
        raise VouchError(f"{path} is not a row that `vouch evaluate` wrote: run evaluate again")
    return dict(zip(*cells, strict=True))


def _det_file(row_file: str) -> str:
    return row_file.removesuffix(".tsv") + ".det.npz"


def _write_text(path: str, text: str) -> None:
    _write_bytes(path, text.encode())


def _write_bytes(path: str, data: bytes) -> None:
    from vouch.io.tables import open_output

    with open_output(path) as stream:
        stream.write(data)


def _write_arrays(path: str, **arrays: np.ndarray) -> None:
    import io

    import numpy as np

    stream = io.BytesIO()
    np.savez(stream, **arrays)
    _write_bytes(path, stream.getvalue())


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    import io
    import zipfile

    import numpy as np

    from vouch.io.tables import open_input

    with open_input(path) as stream:
        data = stream.read()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("p_fa", "p_miss")}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):
        raise VouchError(f"{path} does not hold DET points: run `vouch evaluate` again") from None
