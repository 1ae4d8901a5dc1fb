"""Scores as log likelihood ratios: train-calibration, calibrate-scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import SimpleNamespace

    import numpy as np

    from vouch.cli.trial_list import Trials


def train_calibration(argv: list[str]) -> None:
    """Learn an affine function from scores to log likelihood ratios."""
    options = ToolOptions(
        "train-calibration",
        "[options] <development-trials> <development-scores> <calibration-out> [<scores> <calibration> ...]",
        "Train slope and offset of llr = slope * score + offset by logistic regression on labelled trials 'MODEL TEST "
        "target|nontarget' of other speakers and their scores, and write them as lines of text. The scores "
        "must have exactly the trials' pairs, in any order. `vouch calibrate-scores` applies them. Of several pairs of "
        "scores and calibration each is learnt alone; `vouch fuse-scores --development-trials` learns one for all. "
        "With qualities of both sides (`vouch measure-quality`) the lower and the higher of each measure of a trial "
        "have a weight, too.",
        (3, None),
    )
    _add_qualities(options)
    options.add("prior", 0.01, "weight of all targets together, 1 - prior that of nontargets; 0.01: SRE16's larger one")
    opt, (trials_in, *files) = options.parse(argv)

    from vouch.cli.trial_list import Trials

    if not 0 < opt.prior < 1:
        raise VouchError(f"--prior={opt.prior:g}: want a number between 0 and 1")
    if len(files) % 2:
        raise VouchError(f"'{files[-1]}' is the scores of no calibration: want a file to write behind it")
    trials = Trials(trials_in)
    tables = _Qualities.of(opt)
    qualities = tables and tables.pairs(*trials.keys(), trials_in)
    for scores_in, model_out in zip(files[::2], files[1::2], strict=True):
        _train(trials, trials_in, scores_in, model_out, opt.prior, qualities)


def _train(
    trials: Trials, trials_in: str, scores_in: str, model_out: str, prior: float, qualities: np.ndarray | None
) -> None:
    from vouch.backend.calibration import train_calibration
    from vouch.cli.fusion import aligned
    from vouch.io.calibration import write_calibration
    from vouch.metrics.cllr import cllr, minimum_cllr

    (scores,) = aligned(trials, [scores_in])
    try:
        model = train_calibration(scores, trials.is_target, prior, qualities)
    except VouchError as error:
        raise VouchError(f"{trials_in}, {scores_in}: {error}") from None
    targets, nontargets = scores[trials.is_target], scores[~trials.is_target]
    ratios = model.apply(scores, qualities)
    better = ratios[trials.is_target], ratios[~trials.is_target]
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
        f"{cllr(*better):.4f}, minimum {minimum_cllr(*better):.4f}"
        + (f", of the scores alone {minimum_cllr(targets, nontargets):.4f}" if qualities is not None else "")
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
    _add_qualities(options)
    opt, (model_in, scores_in, scores_out) = options.parse(argv)

    import numpy as np

    from vouch.backend.calibration import Calibration
    from vouch.cli.score_blocks import finite_score_blocks
    from vouch.cli.scoring import score_lines
    from vouch.io.calibration import read_calibration
    from vouch.io.tables import open_output

    *numbers, weights = read_calibration(model_in)
    model = Calibration(*numbers, np.array(weights))
    tables = _Qualities.of(opt)
    if bool(weights) != bool(tables):
        raise VouchError(
            f"{model_in} was learnt {'with' if weights else 'without'} qualities; "
            f"{'give' if weights else 'leave out'} --enrollment-qualities and --test-qualities"
        )
    if tables and 2 * tables.measures != len(weights):
        raise VouchError(f"{model_in} has {len(weights) // 2} measures of quality, the tables have {tables.measures}")
    done = 0
    with open_output(scores_out) as stream:
        for models, tests, scores in finite_score_blocks(scores_in):
            qualities = tables and tables.pairs(models, tests, f"{scores_in}, from line {done + 1} on")
            stream.write(score_lines(models, tests, model.apply(scores, qualities).tolist()).encode())
            done += len(scores)
    log(f"calibrated {done} scores")


def _add_qualities(options: ToolOptions) -> None:
    options.add("enrollment-qualities", "", "table of the models' qualities (vouch measure-quality); empty: none")
    options.add("test-qualities", "", "table of the test utterances' qualities")


class _Qualities:
    """The qualities of both sides of trials. measures: of each side."""

    def __init__(self, enrollment_in: str, test_in: str) -> None:
        from vouch.cli.scoring import load_vectors

        rows, vectors = load_vectors(enrollment_in, None)
        self.measures = vectors.shape[1]
        self._sides = (rows, vectors, enrollment_in), (*load_vectors(test_in, self.measures), test_in)

    @classmethod
    def of(cls, opt: SimpleNamespace) -> _Qualities | None:
        """Of the options; None where they are empty."""
        if bool(opt.enrollment_qualities) != bool(opt.test_qualities):
            raise VouchError("--enrollment-qualities and --test-qualities: give both, or none")
        return cls(opt.enrollment_qualities, opt.test_qualities) if opt.test_qualities else None

    def pairs(self, models: Sequence[str], tests: Sequence[str], trials: str) -> np.ndarray:
        """Of trials, `(2 measures, trials)`."""
        from vouch.backend.calibration import pair_qualities
        from vouch.cli.scoring import rows_of

        values = []
        for keys, (row_of, vectors, table) in zip((models, tests), self._sides, strict=True):
            rows = rows_of(row_of, list(keys))
            if (rows < 0).any():
                key = keys[int((rows < 0).argmax())]
                raise VouchError(f"{trials}: {key} has no qualities in {table}; measure them for all of its side")
            values.append(vectors[rows].astype(float))
        return pair_qualities(*values)
