"""From trials and scores to the result table: check-trials, evaluate, make-results."""

from __future__ import annotations

from pathlib import Path

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.result_rows import (
    COLUMNS,
    add_row_options,
    check_row_options,
    eer_text,
    measure,
    read_rows,
    write_bytes,
    write_rows,
)
from vouch.cli.result_tables import MEASURES, block_table, read_reference, text_table
from vouch.cli.trial_list import Trials, is_target
from vouch.errors import VouchError


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
    add_row_options(options)
    opt, (trials_in, scores_in, row_out) = options.parse(argv)
    check_row_options(opt, row_out)
    trials = Trials(trials_in)
    scores = trials.align(scores_in)
    try:
        row, points = measure(opt, opt.trials_name, scores, trials.is_target, trials.models, trials.tests)
    except VouchError as error:
        raise VouchError(f"{trials_in}: {error}") from None
    write_rows(row_out, [row], [points])
    log(
        f"{opt.trials_name}, {opt.system}, {opt.backend}: EER {eer_text(row)}, "
        f"minDCF {row['minDCF01']} at 0.01, {row['minDCF001']} at 0.001"
    )


def make_results(argv: list[str]) -> None:
    """Gather evaluations in one table with DET plots."""
    options = ToolOptions(
        "make-results",
        "[options] <results-dir> <row-file.tsv>...",
        "Gather the rows that evaluate and evaluate-sre16 wrote: results.tsv, the text table EER (also printed) and "
        "det_TRIALS.png for every trial list, in <results-dir>. All are written anew, sorted by trial list, system and "
        "backend, and plots of other lists are removed: the same rows give the same bytes. Rows of --reference on the "
        "same lists stand among them, marked by their source, as 'published, Kaldi', in a last column.",
        (2, None),
    )
    options.add("reference", "", "file of published rows: a header of the table's columns and source, tab-separated")
    options.add(
        "blocks", "", "a list LIST with parts LIST_X: EER has a block a system, and columns for LIST and each X"
    )
    opt, (folder, *row_files) = options.parse(argv)

    from vouch.plots.det import DetCurve, det_png

    by_key: dict[tuple[str, str, str], tuple[dict[str, str], str]] = {}

    def add(row: dict[str, str], path: str) -> None:
        key = row["trials"], row["system"], row["backend"]
        if key in by_key:
            raise VouchError(f"{path} and {by_key[key][1]} are both of {' '.join(key)}: give one of them")
        by_key[key] = row, path

    curves: dict[str, list[DetCurve]] = {}
    for path in row_files:
        for row, points in zip(*read_rows(path), strict=True):
            add(row, path)
            curve = DetCurve(row["system"], row["backend"], *points, float(row["EER"]))
            curves.setdefault(row["trials"], []).append(curve)
    for row in read_reference(opt.reference) if opt.reference else []:
        if row["trials"] in curves:
            add(row, opt.reference)
    rows = [row for _, (row, _) in sorted(by_key.items())]
    extra = dict.fromkeys(column for row, _ in by_key.values() for column in row if column not in (*COLUMNS, "source"))
    extra = sorted(extra, key=[*MEASURES, *extra].index)
    header = [*COLUMNS, *extra, *(["source"] if opt.reference else [])]
    table = [[row.get(column, "-") for column in header] for row in rows]
    text = block_table(rows, opt.blocks) if opt.blocks else text_table(header, table)
    plots = {trials: det_png(group, trials) for trials, group in curves.items()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for old in Path(folder).glob("det_*.png"):
        if old.name.removeprefix("det_").removesuffix(".png") not in plots:
            old.unlink()
    for trials, png in plots.items():
        write_bytes(f"{folder}/det_{trials}.png", png)
    write_bytes(f"{folder}/results.tsv", "".join("\t".join(row) + "\n" for row in [header, *table]).encode())
    write_bytes(f"{folder}/EER", text.encode())
    print(text, end="")
