"""Scores as log likelihood ratios: train-calibration, calibrate-scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from vouch.cli.trial_list import Trials


def train_calibration(argv: list[str]) -> None:
    """Learn an affine function from scores to log likelihood ratios."""
    options = ToolOptions(
        "train-calibration",
        "[options] <development-trials> <development-scores> <calibration-out> [<scores> <calibration> ...]",
        "Train slope and offset of llr = slope * score + offset by logistic regression on labelled trials 'MODEL TEST "
        "target|nontarget' of other speakers and their scores, and write them as three lines of text. The scores "
        "must have exactly the trials' pairs, in any order. `vouch calibrate-scores` applies them. Of several pairs of "
        "scores and calibration each is learnt alone; `vouch fuse-scores --development-trials` learns one for all.",
        (3, None),
    )
    options.add("prior", 0.01, "weight of all targets together, 1 - prior that of nontargets; 0.01: SRE16's larger one")
    opt, (trials_in, *files) = options.parse(argv)

    from vouch.cli.trial_list import Trials

    if not 0 < opt.prior < 1:
        raise VouchError(f"--prior={opt.prior:g}: want a number between 0 and 1")
    if len(files) % 2:
        raise VouchError(f"'{files[-1]}' is the scores of no calibration: want a file to write behind it")
    trials = Trials(trials_in)
    for scores_in, model_out in zip(files[::2], files[1::2], strict=True):
        _train(trials, trials_in, scores_in, model_out, opt.prior)


def _train(trials: Trials, trials_in: str, scores_in: str, model_out: str, prior: float) -> None:
    from vouch.backend.calibration import train_calibration
    from vouch.cli.fusion import aligned
    from vouch.io.calibration import write_calibration
    from vouch.metrics.cllr import cllr, minimum_cllr

    (scores,) = aligned(trials, [scores_in])
    try:
        model = train_calibration(scores, trials.is_target, prior)
    except VouchError as error:
        raise VouchError(f"{trials_in}, {scores_in}: {error}") from None
    targets, nontargets = scores[trials.is_target], scores[~trials.is_target]
    if model.slope <= 0:
        warn(
            f"the slope is {model.slope:.4g}: the scores of {scores_in} are lower for targets than for nontargets; "
            f"check the labels and the sign of the scores"
        )
    if targets.min() > nontargets.max():
        warn(f"all targets of {scores_in} are above all nontargets: the slope is arbitrary; take more trials")
    write_calibration(model_out, *model)
    log(
        f"{scores_in}: slope {model.slope:.6g}, offset {model.offset:.6g}; Cllr of these {len(scores)} trials "
        f"{cllr(model.apply(targets), model.apply(nontargets)):.4f}, minimum {minimum_cllr(targets, nontargets):.4f}"
    )


def calibrate_scores(argv: list[str]) -> None:
    """Apply a calibration to a score file."""
    options = ToolOptions(
        "calibrate-scores",
        "[options] <calibration> <scores-in> <scores-out>",
        "Turn the scores 'MODEL TEST SCORE' into log likelihood ratios by a calibration of `vouch train-calibration`; "
        "the lines keep their order.",
        (3, 3),
    )
    _, (model_in, scores_in, scores_out) = options.parse(argv)

    from vouch.backend.calibration import Calibration
    from vouch.cli.score_blocks import finite_score_blocks
    from vouch.cli.scoring import score_lines
    from vouch.io.calibration import read_calibration
    from vouch.io.tables import open_output

    model = Calibration(*read_calibration(model_in))
    done = 0
    with open_output(scores_out) as stream:
        for models, tests, scores in finite_score_blocks(scores_in):
            stream.write(score_lines(models, tests, model.apply(scores).tolist()).encode())
            done += len(scores)
    log(f"calibrated {done} scores")
