"""`vouch normalise-scores`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.threads import default_to_one_thread
from vouch.errors import VouchError

if TYPE_CHECKING:
    from types import SimpleNamespace

    import numpy as np

    Side = tuple[dict[str, int], np.ndarray, np.ndarray]  # row of a key, cohort mean and standard deviation of each


def normalise_scores(argv: list[str]) -> None:
    """Adaptive symmetric normalisation of a score file."""
    options = ToolOptions(
        "normalise-scores",
        "[options] <enrollment-rspecifier> <test-rspecifier> <cohort-rspecifier> <scores-in> <scores-out>",
        "Adaptive s-norm: from each score its model's mean of the --top highest scores with the cohort is taken, and "
        "divided by their standard deviation; the same with the test vector's; the mean of both is written. All three "
        "tables must come as for the scoring tool that made <scores-in> 'MODEL TEST SCORE': as for "
        "ivector-compute-dot-products (centred and of length 1 for the cosine) or, with --plda, as for "
        "ivector-plda-scoring, with its options. The cohort must be of other speakers than the trials; whether it is "
        "cannot be seen here. The enrollment vectors are the first and the test vectors the second of a PLDA trial, "
        "cohort vectors count as one utterance each.",
        (5, 5),
    )
    options.add("top", 300, "cohort scores that count, the highest of each vector")
    options.add("plda", "", "PLDA model that made the scores; empty: they are dot products")
    plda_options = ("normalize-length", "simple-length-normalization", "num-utts")
    options.add(plda_options[0], True, "with --plda: normalise the length of the vectors in the PLDA space")
    options.add(plda_options[1], False, "with --plda: normalise to sqrt(dim) instead of the expected length")
    options.add(plda_options[2], "", "with --plda: table of the number of utterances of each model; else 1 each")
    opt, (enrollment_in, test_in, cohort_in, scores_in, scores_out) = options.parse(argv)
    default_to_one_thread()

    from vouch.backend.score_norm import normalise
    from vouch.cli.score_blocks import finite_score_blocks
    from vouch.cli.scoring import score_lines
    from vouch.io.tables import open_output

    if opt.top < 2:
        raise VouchError(f"--top={opt.top}: want 2 or more cohort scores for a standard deviation")
    for name in plda_options:
        if options.given(name) and not opt.plda:
            raise VouchError(f"--{name} is for scores of PLDA: give the model as --plda, or leave it out")
    sides = (_plda_sides if opt.plda else _dot_product_sides)(opt, enrollment_in, test_in, cohort_in)
    done = 0
    with open_output(scores_out) as stream:
        for models, tests, scores in finite_score_blocks(scores_in):
            statistics = [
                _statistics_of(side, keys, name, scores_in, done)
                for side, keys, name in zip(sides, (models, tests), (enrollment_in, test_in), strict=True)
            ]
            stream.write(score_lines(models, tests, normalise(scores, *statistics).tolist()).encode())
            done += len(scores)
    log(f"normalised {done} scores")


def _dot_product_sides(opt: SimpleNamespace, enrollment_in: str, test_in: str, cohort_in: str) -> tuple[Side, Side]:
    from vouch.cli.scoring import load_vectors

    _, cohort = load_vectors(cohort_in, None)
    dim = cohort.shape[1]
    return tuple(_side(*load_vectors(name, dim), cohort, opt.top, name, cohort_in) for name in (enrollment_in, test_in))


def _plda_sides(opt: SimpleNamespace, enrollment_in: str, test_in: str, cohort_in: str) -> tuple[Side, Side]:
    from vouch.backend.score_norm import plda_model_factors, plda_test_factors
    from vouch.cli.plda import read_model
    from vouch.cli.scoring import load_transformed
    from vouch.io.tables import read_table

    plda = read_model(opt.plda)
    lengths = opt.normalize_length, opt.simple_length_normalization
    counts = dict(read_table(opt.num_utts, "int32")) if opt.num_utts else None
    _, cohort, ones = load_transformed(plda, cohort_in, "cohort", lengths, None)
    models, enrollment, examples = load_transformed(plda, enrollment_in, "training", lengths, counts)
    tests, test, _ = load_transformed(plda, test_in, "test", lengths, None)
    # either side in turn: enrollment vectors with the cohort as tests, test vectors with the cohort as models
    first = plda_model_factors(plda, enrollment, examples), plda_test_factors(plda, cohort)
    second = plda_test_factors(plda, test), plda_model_factors(plda, cohort, ones)
    return (
        _side(models, *first, opt.top, enrollment_in, cohort_in),
        _side(tests, *second, opt.top, test_in, cohort_in),
    )


def _side(
    row_of: dict[str, int], vectors: np.ndarray, cohort: np.ndarray, top: int, table: str, cohort_table: str
) -> Side:
    from vouch.backend.score_norm import cohort_statistics

    if len(cohort) < top:
        log(f"{cohort_table} has {len(cohort)} vectors, fewer than --top={top}: all count for {table}")
    try:
        return row_of, *cohort_statistics(vectors, cohort, top)
    except ValueError as error:
        key = list(row_of)[error.args[0]]
        raise VouchError(
            f"{table}: the highest scores of {key} with the cohort {cohort_table} are all equal: give a cohort of "
            f"different vectors, made like those of {table}"
        ) from None


def _statistics_of(
    side: Side, keys: tuple[str, ...], table: str, scores_in: str, before: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `(trials,)` of the vectors of these keys, which come after so many lines."""
    from vouch.cli.scoring import rows_of

    row_of, means, spreads = side
    rows = rows_of(row_of, keys)
    if (rows < 0).any():
        place = int((rows < 0).argmax())
        raise VouchError(
            f"{scores_in}:{before + place + 1}: {keys[place]} has no vector in {table}: give the tables of the scoring"
        )
    return means[rows], spreads[rows]
