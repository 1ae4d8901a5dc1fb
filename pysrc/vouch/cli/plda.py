"""LDA and PLDA estimation: ivector-compute-lda, ivector-compute-plda, ivector-copy-plda, ivector-adapt-plda."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.cli.threads import default_to_one_thread
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.backend.plda import Plda
    from vouch.backend.statistics import Moments, SpeakerStatistics


def _show(values: np.ndarray) -> str:
    return "[ " + " ".join(f"{value:.6g}" for value in values) + " ]"


def _gather(rspecifier: str, speaker_of: dict[str, str]) -> tuple[SpeakerStatistics, set[str], int]:
    """Statistics of the vectors whose key has a speaker, these keys, and the number of the others."""
    from vouch.backend.statistics import SpeakerStatistics
    from vouch.cli.vector_blocks import read_vector_blocks

    statistics, used, others = SpeakerStatistics(), set(), 0
    for keys, vectors in read_vector_blocks(rspecifier):
        speakers = list(map(speaker_of.get, keys))
        if None in speakers:
            rows = [row for row, speaker in enumerate(speakers) if speaker is not None]
            others += len(keys) - len(rows)
            keys, speakers, vectors = [keys[row] for row in rows], [speakers[row] for row in rows], vectors[rows]
        if keys:
            statistics.add(vectors, speakers)
            used.update(keys)
    return statistics, used, others


def ivector_compute_lda(argv: list[str]) -> None:
    """Estimate an LDA transform from labelled vectors."""
    options = ToolOptions(
        "ivector-compute-lda",
        "[options] <ivector-rspecifier> <utt2spk-rspecifier> <lda-matrix-out>",
        "Estimate an LDA transform from the vectors of labelled utterances. It is affine: its last column brings "
        "the mean of these vectors to zero. Apply it with transform-vec.",
        (3, 3),
    )
    options.add("dim", 100, "dimension after LDA")
    options.add(
        "total-covariance-factor",
        0.0,
        "0 makes the within-speaker covariance the unit matrix, 1 the total covariance, between them a mixture",
        single=True,
    )
    options.add(
        "covariance-floor", 1e-6, "floor of that covariance's eigenvalues, relative to the largest", single=True
    )
    options.add("binary", True, "write the matrix in binary")
    opt, (vectors, utt2spk, lda_out) = options.parse(argv)
    default_to_one_thread()

    import numpy as np

    from vouch.backend.lda import estimate_lda
    from vouch.io.tables import read_table, write_matrix

    if opt.covariance_floor < 0:
        raise VouchError(f"--covariance-floor={opt.covariance_floor:g}: want 0 or more")
    speaker_of = {}
    for utterance, fields in read_table(utt2spk, "tokens"):
        if len(fields) != 1:
            raise VouchError(f"{utt2spk}: utterance {utterance} has {len(fields)} speakers, want one")
        speaker_of[utterance] = fields[0]
    statistics, _, others = _gather(vectors, speaker_of)
    if others:
        warn(f"{others} utterances of {vectors} have no speaker in {utt2spk} and were left out")
    log(f"Read {statistics.num_utterances} utterances, {others} with errors.")
    if not statistics.num_utterances:
        raise VouchError(f"no utterance of {vectors} is in {utt2spk}: check that both have the same utterance ids")
    log(f"Stats have {statistics.num_speakers} speakers, {statistics.num_utterances} utterances.")
    lda = estimate_lda(statistics, opt.dim, opt.total_covariance_factor, opt.covariance_floor)
    if lda.floored:
        warn(f"Floored {lda.floored} eigenvalues of the covariance: some directions hardly vary")
    if opt.dim >= statistics.num_speakers:
        warn(
            f"{statistics.num_speakers} speakers span {statistics.num_speakers - 1} dimensions: the last "
            f"{opt.dim - statistics.num_speakers + 1} of --dim={opt.dim} do not separate speakers"
        )
    log(f"2-norm of iVector mean is {np.linalg.norm(statistics.moments.mean):.6g}")
    log(f"Eigenvalues of the between-class covariance in the normalised space are: {_show(lda.eigenvalues)}")
    write_matrix(lda_out, lda.transform.astype(np.float32), binary=opt.binary)
    log(f"Wrote LDA transform to {lda_out}")


def ivector_compute_plda(argv: list[str]) -> None:
    """Train a PLDA model from vectors grouped by speaker."""
    options = ToolOptions(
        "ivector-compute-plda",
        "[options] <spk2utt-rspecifier> <ivector-rspecifier> <plda-out>",
        "Train a PLDA model by EM on the vectors of the utterances that spk2utt lists. Speakers with one utterance "
        "are used as far as they go: for the mean and the total covariance.",
        (3, 3),
    )
    options.add("num-em-iters", 10, "number of EM iterations")
    options.add("binary", True, "write the model in binary")
    opt, (spk2utt, vectors, plda_out) = options.parse(argv)
    default_to_one_thread()

    from vouch.backend.plda_training import PldaEstimator
    from vouch.cli.vector_blocks import MissingKeys

    if opt.num_em_iters < 1:
        raise VouchError(f"--num-em-iters={opt.num_em_iters}: want 1 or more")
    utterances_of, speaker_of = _read_spk2utt(spk2utt)
    statistics, used, _ = _gather(vectors, speaker_of)
    if not used:
        raise VouchError(f"no utterance of {spk2utt} is in {vectors}: check that both have the same utterance ids")
    missing = MissingKeys("No vector present in input for utterance {}")
    for utterance in speaker_of:
        if utterance not in used:
            missing.add(utterance)
    log(
        f"Accumulated stats from {statistics.num_speakers} speakers "
        f"({len(utterances_of) - statistics.num_speakers} with no utterances), consisting of {len(used)} utterances "
        f"({missing.times} absent from input)."
    )
    if statistics.num_speakers <= statistics.dim:
        warn(
            f"{statistics.num_speakers} speakers for {statistics.dim} dimensions: the between-speaker covariance is "
            "held up by its starting value; more speakers or LDA to fewer dimensions would be sound"
        )
    estimator = PldaEstimator(statistics)
    for iteration in range(opt.num_em_iters):
        log(f"Plda estimation iteration {iteration} of {opt.num_em_iters}")
        estimator.step()
        if opt.verbose >= 2:
            log(f"Objective function is {estimator.objective():.6g}")
    log(f"Diagonal of between-class variance in normalized space is {_show(estimator.psi)}")
    _write(plda_out, estimator.plda(), opt.binary)


def _read_spk2utt(rspecifier: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """(utterances of every speaker, speaker of every utterance)."""
    from vouch.io.tables import read_table

    utterances_of: dict[str, list[str]] = {}
    speaker_of: dict[str, str] = {}
    for speaker, utterances in read_table(rspecifier, "tokens"):
        if not utterances:
            raise VouchError(f"{rspecifier}: speaker {speaker} has no utterances: remove the line")
        if speaker in utterances_of:
            raise VouchError(f"{rspecifier}: speaker {speaker} comes twice: put all its utterances on one line")
        utterances_of[speaker] = utterances
        for utterance in utterances:
            other = speaker_of.setdefault(utterance, speaker)
            if other is not speaker:
                raise VouchError(f"{rspecifier}: utterance {utterance} is listed under {other} and {speaker}: keep one")
    if len(speaker_of) != sum(map(len, utterances_of.values())):
        twice = next(s for s, utterances in utterances_of.items() if len(set(utterances)) < len(utterances))
        raise VouchError(f"{rspecifier}: speaker {twice} lists an utterance twice: keep one")
    return utterances_of, speaker_of


def ivector_copy_plda(argv: list[str]) -> None:
    """Copy a PLDA model, smoothing its within-speaker covariance if asked to."""
    options = ToolOptions(
        "ivector-copy-plda",
        "[options] <plda-in> <plda-out>",
        "Copy a PLDA model, binary to text or back, and smooth it.",
        (2, 2),
    )
    options.add(
        "smoothing", 0.0, "add this factor (0 to 1) times the between- to the within-speaker covariance", single=True
    )
    options.add("binary", True, "write the model in binary")
    opt, (plda_in, plda_out) = options.parse(argv)
    default_to_one_thread()

    plda = read_model(plda_in)
    if opt.smoothing:
        log(f"Smoothing within-class covariance by {opt.smoothing:g}, Psi is initially: {_show(plda.psi)}")
        plda = plda.smooth(opt.smoothing)
        log(f"New value of Psi is {_show(plda.psi)}")
    _write(plda_out, plda, opt.binary)


def ivector_adapt_plda(argv: list[str]) -> None:
    """Adapt a PLDA model to unlabelled vectors of another domain."""
    options = ToolOptions(
        "ivector-adapt-plda",
        "[options] <plda-in> <ivectors-rspecifier> <plda-out>",
        "Adapt a PLDA model to unlabelled vectors of another domain: take their mean, and where their covariance "
        "exceeds the model's, give the excess in parts to the within- and the between-speaker covariance.",
        (3, 3),
    )
    options.add("binary", True, "write the model in binary")
    options.add("mean-diff-scale", 1.0, "how much the difference of the means counts as covariance", single=True)
    options.add("within-covar-scale", 0.3, "part of the excess that is within-speaker covariance", single=True)
    options.add("between-covar-scale", 0.7, "part of the excess that is between-speaker covariance", single=True)
    opt, (plda_in, vectors, plda_out) = options.parse(argv)
    default_to_one_thread()

    plda = read_model(plda_in)
    moments = _moments(vectors, plda.dim)
    adapted = plda.adapt(moments, opt.within_covar_scale, opt.between_covar_scale, opt.mean_diff_scale)
    log(f"Adapted to {moments.count} vectors")
    log(f"Old diagonal of between-class covar was: {_show(plda.psi)}, new diagonal is {_show(adapted.psi)}")
    _write(plda_out, adapted, opt.binary)


def adapt_plda_coral(argv: list[str]) -> None:
    """Adapt a PLDA model to unlabelled vectors by correlation alignment."""
    options = ToolOptions(
        "adapt-plda-coral",
        "[options] <plda-in> <ivectors-rspecifier> <plda-out>",
        "Adapt a PLDA model to unlabelled vectors of another domain: turn and stretch its covariances so that their "
        "sum is that of the vectors (CORAL); or take only what this enlarges, and --scale of it (CORAL+).",
        (3, 3),
    )
    options.add("binary", True, "write the model in binary")
    options.add("plus", False, "CORAL+ instead of CORAL")
    options.add("scale", 0.8, "0 to 1, of --plus, for both covariances", single=True)
    options.add(
        "shrinkage",
        -1.0,
        "share, 0 to 1, of the model's covariance in that of the vectors; below 0: dims / (dims + vectors)",
        single=True,
    )
    opt, (plda_in, vectors, plda_out) = options.parse(argv)
    if not 0 <= opt.scale <= 1 or not opt.shrinkage <= 1:
        raise VouchError("--scale wants 0 to 1, --shrinkage at most 1")
    default_to_one_thread()

    from vouch.backend.coral import coral, coral_plus

    plda = read_model(plda_in)
    moments = _moments(vectors, plda.dim)
    shrinkage = None if opt.shrinkage < 0 else opt.shrinkage
    adapted = coral_plus(plda, moments, opt.scale, shrinkage) if opt.plus else coral(plda, moments, shrinkage)
    log(f"Adapted to {moments.count} vectors")
    _write(plda_out, adapted, opt.binary)


def _moments(vectors: str, dim: int) -> Moments:
    from vouch.backend.statistics import Moments
    from vouch.cli.vector_blocks import read_vector_blocks, require_some

    moments = Moments()
    for _, block in read_vector_blocks(vectors, dim=dim):
        moments.add(block)
    require_some(moments.count, vectors)
    return moments


def read_model(rxfilename: str) -> Plda:
    """The PLDA model in a file."""
    from vouch.backend.plda import Plda
    from vouch.io.plda import read_plda

    return Plda(*read_plda(rxfilename))


def _write(wxfilename: str, plda: Plda, binary: bool) -> None:
    from vouch.io.plda import write_plda

    write_plda(wxfilename, plda.mean, plda.transform, plda.psi, binary=binary)
