"""`vouch fuse-scores`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.cli.trial_list import Trials


def fuse_scores(argv: list[str]) -> None:
    """One score file from several of the same trials."""
    options = ToolOptions(
        "fuse-scores",
        "[options] <trials> <scores> <scores>... <fused-scores>",
        "Write the mean of several systems' scores, each normalised to mean 0 and variance 1 over the trials (their "
        "labels are not looked at). Every score file must have exactly the trials' pairs, in any order; the fused "
        "scores come in the order of <trials>. With --development-trials the weights are those of a logistic "
        "regression on the scores of these trials, and the fused scores log likelihood ratios.",
        (4, None),
    )
    options.add("weights", "", "one weight a score file, above 0, separated by commas; empty: the same for all")
    options.add("development-trials", "", "labelled trials of other speakers, to learn the weights from")
    options.add("development-scores", "", "the systems' scores of these, in the same order, separated by commas")
    opt, (trials_in, *scores_in, fused_out) = options.parse(argv)

    import numpy as np

    from vouch.backend.fusion import fuse, learn_weights
    from vouch.cli.scoring import score_lines
    from vouch.cli.trial_list import Trials
    from vouch.io.tables import open_output

    weights = _weights(opt.weights, len(scores_in))
    developed = opt.development_scores.split(",") if opt.development_scores else []
    if bool(opt.development_trials) != bool(developed) or len(developed) not in (0, len(scores_in)):
        raise VouchError(
            f"--development-trials wants --development-scores of {len(scores_in)} systems, separated by commas"
        )
    if developed and opt.weights:
        raise VouchError("--weights and --development-trials: give one of them")
    trials = Trials(trials_in, labelled=False)
    scores = aligned(trials, scores_in)
    files = developed or scores_in
    try:
        if developed:
            known = Trials(opt.development_trials)
            if known.is_target.all() or not known.is_target.any():
                raise VouchError(f"{opt.development_trials} wants target and nontarget trials")
            own, offset = learn_weights(aligned(known, developed), known.is_target)
            log(f"learnt weights {' '.join(f'{weight:.4g}' for weight in own)} and offset {offset:.4g}")
            fused = own @ scores + offset
        else:
            fused = fuse(scores, np.array(weights))
    except ValueError as error:
        raise VouchError(f"all scores of {files[error.args[0]]} are equal: there is nothing to fuse") from None
    with open_output(fused_out) as stream:
        stream.write(score_lines(*trials.keys(), fused.tolist()).encode())
    log(f"fused {len(scores_in)} score files of {len(fused)} trials")


def aligned(trials: Trials, files: list[str]) -> np.ndarray:
    """Scores (files, trials) in the order of the trials; VouchError when one is not finite."""
    import numpy as np

    scores = np.stack([trials.align(path) for path in files])
    endless = np.argwhere(~np.isfinite(scores))
    if len(endless):
        raise VouchError(f"{files[endless[0][0]]} has a score that is not finite; score these trials again")
    return scores


def _weights(text: str, number: int) -> list[float]:
    if not text:
        return [1.0] * number
    try:
        weights = [float(word) for word in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != number or not all(0 < weight < float("inf") for weight in weights):
        raise VouchError(f"--weights={text}: want {number} numbers above 0, one a score file, separated by commas")
    return weights
