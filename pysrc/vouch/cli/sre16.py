"""`vouch evaluate-sre16`: a score file by the metric of NIST SRE 2016."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.result_rows import add_row_options, check_row_options, eer_text, measure, write_rows
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np


def evaluate_sre16(argv: list[str]) -> None:
    """Measure a score file by SRE16's metric, pooled and for every language."""
    options = ToolOptions(
        "evaluate-sre16",
        "[options] <trial-info.tsv> <scores> <row-file.tsv>",
        "Write a table with a row of all trials (named --trials-name) and one of each language (--trials-name_LANGUAGE)"
        ": the columns of evaluate, then eqEER, minCprimary and actCprimary, which are equalised over partitions "
        "(gender, language, enrollment segments, phone match; sides without trials left out), actCprimary_uneq, which "
        "is not, and Cllr and minCllr, which are not. Scores 'MODEL SEGMENT SCORE', in any order, are log likelihood "
        "ratios (see calibrate-scores); of others, --llr=false, actual costs and Cllr are left out. The trial info is "
        "tab-separated, with the header 'model segment target gender language enrollment_segments phone_match' and "
        "values target or nontarget; m, f or -; a code; a number; same, different or -.",
        (3, 3),
    )
    add_row_options(options)
    options.add("llr", True, "the scores are log likelihood ratios")
    opt, (info_in, scores_in, row_out) = options.parse(argv)

    import numpy as np

    from vouch.cli.trial_info import TrialInfo

    check_row_options(opt, row_out)
    trials = TrialInfo(info_in)
    scores = trials.align(scores_in)
    parts = {opt.trials_name: np.ones(len(scores), dtype=bool)}
    parts |= {f"{opt.trials_name}_{name}": trials.language == i for i, name in enumerate(trials.languages)}
    rows, curves = [], []
    for name, chosen in parts.items():
        kinds = trials.is_target[chosen]
        # numbered anew: the interval draws as many speakers as there are, and those of other languages are none here
        models, tests = (np.unique(side[chosen], return_inverse=True)[1] for side in (trials.models, trials.tests))
        try:
            row, points = measure(opt, name, scores[chosen], kinds, models, tests)
        except VouchError as error:
            raise VouchError(f"{info_in}, {name}: {error}") from None
        row |= _primary_cells(scores[chosen], kinds, trials.partitions[chosen], opt.llr)
        rows.append(row)
        curves.append(points)
        log(
            f"{name}, {opt.system}, {opt.backend}: EER {eer_text(row)}, equalised {float(row['eqEER']):.2f} %, "
            f"Cprimary minimum {row['minCprimary']}, actual {row.get('actCprimary', 'not of these scores')}"
        )
    write_rows(row_out, rows, curves)


def _primary_cells(scores: np.ndarray, is_target: np.ndarray, partitions: np.ndarray, llr: bool) -> dict[str, str]:
    import numpy as np

    from vouch.metrics.cllr import cllr, minimum_cllr
    from vouch.metrics.equalised import (
        actual_primary_cost,
        equalised_eer,
        equalised_error_rates,
        minimum_primary_cost,
    )

    rates = equalised_error_rates(scores, is_target, partitions)
    both = scores[is_target], scores[~is_target]
    values = {"minCprimary": minimum_primary_cost(rates)}
    if llr:
        values["actCprimary"] = actual_primary_cost(scores, is_target, partitions)
        values["actCprimary_uneq"] = actual_primary_cost(scores, is_target, np.zeros(len(scores), dtype=int))
        values["Cllr"] = cllr(*both)
    values["minCllr"] = minimum_cllr(*both)
    return {"eqEER": f"{100 * equalised_eer(rates):.4f}"} | {name: f"{value:.4f}" for name, value in values.items()}
