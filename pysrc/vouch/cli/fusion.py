"""`vouch fuse-scores`."""

from __future__ import annotations

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError


def fuse_scores(argv: list[str]) -> None:
    """One score file from several of the same trials."""
    options = ToolOptions(
        "fuse-scores",
        "[options] <trials> <scores> <scores>... <fused-scores>",
        "Write the mean of several systems' scores, each normalised to mean 0 and variance 1 over the trials (their "
        "labels are not looked at). Every score file must have exactly the trials' pairs, in any order; the fused "
        "scores come in the order of <trials>.",
        (4, None),
    )
    options.add("weights", "", "one weight a score file, above 0, separated by commas; empty: the same for all")
    opt, (trials_in, *scores_in, fused_out) = options.parse(argv)

    import numpy as np

    from vouch.backend.fusion import fuse
    from vouch.cli.scoring import score_lines
    from vouch.cli.trial_list import Trials
    from vouch.io.tables import open_output

    weights = _weights(opt.weights, len(scores_in))
    trials = Trials(trials_in, labelled=False)
    scores = np.stack([trials.align(path) for path in scores_in])
    endless = np.argwhere(~np.isfinite(scores))
    if len(endless):
        raise VouchError(f"{scores_in[endless[0][0]]} has a score that is not finite; score these trials again")
    try:
        fused = fuse(scores, np.array(weights))
    except ValueError as error:
        raise VouchError(f"all scores of {scores_in[error.args[0]]} are equal: there is nothing to fuse") from None
    with open_output(fused_out) as stream:
        stream.write(score_lines(*trials.keys(), fused.tolist()).encode())
    log(f"fused {len(scores_in)} score files of {len(fused)} trials")


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
