"""Scores of trials and their equal error rate: ivector-plda-scoring, ivector-compute-dot-products, compute-eer."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from itertools import compress, repeat
from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.threads import default_to_one_thread
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.backend.plda import Plda
    from vouch.cli.vector_blocks import MissingKeys


def ivector_plda_scoring(argv: list[str]) -> None:
    """Score trials with PLDA."""
    options = ToolOptions(
        "ivector-plda-scoring",
        "[options] <plda> <enrollment-ivector-rspecifier> <test-ivector-rspecifier> <trials> <scores-out>",
        "Write the PLDA log likelihood ratio of every trial: 'MODEL TEST' in, 'MODEL TEST SCORE' out. A model's "
        "vector is the mean of its utterances'. Trials with a key that has no vector are warned of, counted and "
        "left out; it is an error when all are.",
        (5, 5),
    )
    options.add("normalize-length", True, "normalise the length of the vectors in the PLDA space")
    options.add("simple-length-normalization", False, "normalise to sqrt(dim) instead of the expected length")
    options.add("num-utts", "", "table of the number of utterances of each model, e.g. ark:num_utts.ark; else 1 each")
    opt, (plda_in, enrollment_in, test_in, trials, scores_out) = options.parse(argv)
    default_to_one_thread()

    import numpy as np

    from vouch.backend.pairs import distinct, dot_products_of_pairs
    from vouch.cli.plda import read_model
    from vouch.io.tables import read_table

    plda = read_model(plda_in)
    lengths = opt.normalize_length, opt.simple_length_normalization
    counts = dict(read_table(opt.num_utts, "int32")) if opt.num_utts else None
    models, enrollment, examples = load_transformed(plda, enrollment_in, "training", lengths, counts)
    tests, test, _ = load_transformed(plda, test_in, "test", lengths, None)

    def score(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        model_rows, rows = distinct(rows, len(enrollment))
        test_rows, cols = distinct(cols, len(test))
        weights, biases = plda.enrollment_terms(enrollment[model_rows].astype(np.float64), examples[model_rows])
        terms = plda.test_terms(test[test_rows].astype(np.float64))
        return dot_products_of_pairs(weights, terms, rows, cols) + biases[rows]

    _write_scores(trials, scores_out, (models, enrollment_in), (tests, test_in), score)


def load_transformed(
    plda: Plda, rspecifier: str, role: str, lengths: tuple[bool, bool], counts: dict[str, int] | None
) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """(row of every key, transformed vectors `(keys, dims)` in float32, number of utterances `(keys,)`)."""
    import numpy as np

    from vouch.cli.vector_blocks import MissingKeys, read_vector_blocks

    normalize, simple = lengths
    rows: dict[str, int] = {}
    blocks, examples = [], []
    uncounted = MissingKeys("Number of utterances not given for speaker {}")
    scales = 0.0
    for keys, vectors in read_vector_blocks(rspecifier, dim=plda.dim):
        if counts is not None:
            known = [row for row, key in enumerate(keys) if _has_count(key, counts, uncounted)]
            keys, vectors = [keys[row] for row in known], vectors[known]
        number = np.array([1 if counts is None else counts[key] for key in keys], dtype=np.float64)
        projected = plda.project(vectors)
        scale = plda.length_scale(projected, number, simple)
        if normalize:
            if not np.isfinite(scale).all():
                key = keys[int(np.argmin(np.isfinite(scale)))]
                raise VouchError(f"{rspecifier}: the vector of {key} equals the PLDA mean: it has no length; remove it")
            projected *= scale[:, None]
        scales += float(scale.sum())
        rows.update(zip(keys, range(len(rows), len(rows) + len(keys)), strict=True))
        blocks.append(projected.astype(np.float32))
        examples.append(number)
    log(f"Read {len(rows)} {role} iVectors, errors on {uncounted.times}")
    if not rows:
        raise VouchError(f"{rspecifier}: no {role} vectors: check the table, and --num-utts where it is given")
    log(f"Average renormalization scale on {role} iVectors was {scales / len(rows):.6g}")
    return rows, np.concatenate(blocks), np.concatenate(examples)


def _has_count(key: str, counts: dict[str, int], uncounted: MissingKeys) -> bool:
    if key not in counts:
        uncounted.add(key)
        return False
    if counts[key] < 1:
        raise VouchError(f"--num-utts gives {counts[key]} utterances for {key}: want 1 or more")
    return True


def ivector_compute_dot_products(argv: list[str]) -> None:
    """Score trials by the dot product of two vectors (the cosine, when both have length 1)."""
    options = ToolOptions(
        "ivector-compute-dot-products",
        "[options] <trials> <ivector1-rspecifier> <ivector2-rspecifier> <scores-out>",
        "Write the dot product of every trial: 'KEY1 KEY2' in, 'KEY1 KEY2 SCORE' out. Trials with a key that has no "
        "vector are warned of, counted and left out; it is an error when all are.",
        (4, 4),
    )
    _, (trials, first_in, second_in, scores_out) = options.parse(argv)
    default_to_one_thread()

    import numpy as np

    from vouch.backend.pairs import distinct, dot_products_of_pairs

    row_of, first = load_vectors(first_in, None)
    col_of, second = load_vectors(second_in, first.shape[1])

    def score(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        # In double precision a score does not depend on the trials around it.
        first_rows, rows = distinct(rows, len(first))
        second_rows, cols = distinct(cols, len(second))
        vectors = first[first_rows].astype(np.float64), second[second_rows].astype(np.float64)
        return dot_products_of_pairs(*vectors, rows, cols)

    _write_scores(trials, scores_out, (row_of, first_in), (col_of, second_in), score)


def load_vectors(rspecifier: str, dim: int | None) -> tuple[dict[str, int], np.ndarray]:
    """(row of every key, vectors `(keys, dims)`); VouchError when there are none."""
    import numpy as np

    from vouch.cli.vector_blocks import read_vector_blocks

    rows: dict[str, int] = {}
    blocks = []
    for keys, vectors in read_vector_blocks(rspecifier, dim=dim):
        rows.update(zip(keys, range(len(rows), len(rows) + len(keys)), strict=True))
        blocks.append(vectors)
    if not rows:
        raise VouchError(f"{rspecifier} has no vectors: check the table")
    return rows, np.concatenate(blocks)


def _write_scores(
    trials: str,
    scores_out: str,
    first: tuple[dict[str, int], str],
    second: tuple[dict[str, int], str],
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Stream trials 'KEY1 KEY2' in and 'KEY1 KEY2 SCORE' out, 7 digits, in blocks.

    `first`, `second`: row of each key, and the table's name. `score`: rows of both `(trials,)` -> scores.
    """
    import numpy as np

    from vouch.cli.vector_blocks import MissingKeys
    from vouch.io.tables import open_output
    from vouch.io.trials import read_trial_blocks

    (row_of, first_name), (col_of, second_name) = first, second
    no_first, no_second = (
        MissingKeys(f"Key {{}} not present in {first_name}"),
        MissingKeys(f"Key {{}} not present in {second_name}"),
    )
    done, total, square = 0, 0.0, 0.0
    with open_output(scores_out) as stream:
        for keys1, keys2 in read_trial_blocks(trials):
            rows, cols = rows_of(row_of, keys1), rows_of(col_of, keys2)
            known = (rows >= 0) & (cols >= 0)
            if not known.all():
                for trial in np.flatnonzero(~known):
                    if rows[trial] < 0:
                        no_first.add(keys1[trial])
                    else:
                        no_second.add(keys2[trial])
                keys1, keys2 = list(compress(keys1, known)), list(compress(keys2, known))
                rows, cols = rows[known], cols[known]
            scores = score(rows, cols).astype(np.float32).astype(np.float64)
            stream.write(score_lines(keys1, keys2, scores.tolist()).encode())
            done, total, square = done + len(scores), total + scores.sum(), square + np.dot(scores, scores)
        errors = no_first.times + no_second.times
        if not done:
            raise VouchError(
                f"none of the {errors} trials of {trials} has both its vectors: check that {first_name} holds the "
                f"first and {second_name} the second keys"
            )
    mean = total / done
    log(f"Mean score was {mean:.6g}, standard deviation was {math.sqrt(max(square / done - mean**2, 0.0)):.6g}")
    log(f"Processed {done} trials, {errors} had errors.")


def rows_of(row_of: dict[str, int], keys: list[str]) -> np.ndarray:
    """The row of each key `(keys,)`, -1 for one that has none."""
    import numpy as np

    return np.fromiter(map(row_of.get, keys, repeat(-1)), dtype=np.intp, count=len(keys))


def score_lines(keys1: list[str], keys2: list[str], scores: list[float]) -> str:
    """'KEY1 KEY2 SCORE' lines, 7 digits; made by one formatting of all."""
    values: list[str | float] = [0.0] * (3 * len(scores))
    values[0::3], values[1::3], values[2::3] = keys1, keys2, scores
    return "%s %s %.7g\n" * len(scores) % tuple(values)


def parse_score(text: str, where: str) -> float:
    """The number in `text`; VouchError naming `where` when it is none, or NaN."""
    try:
        score = float(text)
    except ValueError:
        raise VouchError(f"{where}: the score '{text}' is not a number; score these trials again") from None
    if math.isnan(score):
        raise VouchError(f"{where}: the score is NaN: check the embeddings of this trial, then score again")
    return score


def compute_eer(argv: list[str]) -> None:
    """Print the equal error rate of a list of scores."""
    options = ToolOptions(
        "compute-eer",
        "<scores-in>",
        "Print the equal error rate in %, 4 digits, of lines 'SCORE target|nontarget'; the log has the threshold. The "
        "rule is Kaldi's: the EER is a miss rate that occurs, nothing is interpolated, one target gives 0.",
        (1, 1),
    )
    _, (scores_in,) = options.parse(argv)

    import numpy as np

    from vouch.io.tables import read_token_lines
    from vouch.metrics.eer import equal_error_rate

    scores = {"target": array("d"), "nontarget": array("d")}
    for number, (text, label) in enumerate(read_token_lines(scores_in, (2, 2)), 1):
        if label not in scores:
            raise VouchError(f"{scores_in}:{number}: the label is '{label}': want target or nontarget")
        scores[label].append(parse_score(text, f"{scores_in}:{number}"))
    targets, nontargets = (np.array(scores[label], dtype=np.float32) for label in ("target", "nontarget"))
    eer, threshold = equal_error_rate(targets, nontargets)
    percent = 100 * float(np.float32(eer))
    log(f"Equal error rate is {percent:.6g}%, at threshold {threshold:.6g}")
    print(f"{percent:.4g}", end="")
