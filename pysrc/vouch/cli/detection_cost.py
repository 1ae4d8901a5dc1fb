"""compute-min-dcf: the minimum detection cost as Kaldi's sid/compute_min_dcf.py computes and prints it."""

from __future__ import annotations

import sys
from array import array

from vouch.cli.options import ToolOptions
from vouch.cli.scoring import parse_score
from vouch.errors import VouchError


def compute_min_dcf(argv: list[str]) -> None:
    """Print the minimum detection cost of a score file."""
    options = ToolOptions(
        "compute-min-dcf",
        "[options] SCORES_FILE TRIALS_FILE",
        "Prints the minimum normalised detection cost, 4 digits, of the scores 'MODEL TEST SCORE' with the labels "
        "'MODEL TEST target|nontarget'; the threshold goes to the log. The rule is that of Kaldi's script: accepting "
        "all trials is not considered, and of equal scores the first are rejected first. `vouch evaluate` has neither "
        "of these.",
        (2, 2),
    )
    options.add("p-target", 0.01, "prior probability of a target")
    options.add("c-miss", 1.0, "cost of a miss")
    options.add("c-fa", 1.0, "cost of a false alarm")
    opt, (scores_in, trials_in) = options.parse(argv)
    import numpy as np

    from vouch.io.tables import read_token_lines
    from vouch.metrics.detection_cost import minimum_detection_cost_in_order

    labels = _read_labels(trials_in)
    scores, targets = array("d"), array("b")
    for number, (model, test, text) in enumerate(read_token_lines(scores_in, (3, 3)), 1):
        label = labels.get(model, {}).get(test)
        if label is None:
            raise VouchError(
                f"{scores_in}:{number}: the trial '{model} {test}' is not in {trials_in}; score its trials"
            )
        scores.append(parse_score(text, f"{scores_in}:{number}"))
        targets.append(label)
    try:
        cost, threshold = minimum_detection_cost_in_order(
            np.array(scores), np.array(targets, dtype=bool), opt.p_target, opt.c_miss, opt.c_fa
        )
    except VouchError as error:
        raise VouchError(f"{scores_in}: {error}") from None
    print(f"{cost:.4f}")
    c_miss, c_fa = (getattr(opt, name) if options.given(name.replace("_", "-")) else 1 for name in ("c_miss", "c_fa"))
    print(
        f"minDCF is {cost:.4f} at threshold {threshold:.4f} (p-target={opt.p_target}, c-miss={c_miss},c-fa={c_fa})",
        file=sys.stderr,
    )


def _read_labels(trials_in: str) -> dict[str, dict[str, bool]]:
    """Is a trial a target trial, by its first and its second key; the last line on a trial counts."""
    from vouch.io.tables import read_token_lines

    labels: dict[str, dict[str, bool]] = {}
    for model, test, label in read_token_lines(trials_in, (3, 3)):
        labels.setdefault(model, {})[sys.intern(test)] = label == "target"
    return labels
