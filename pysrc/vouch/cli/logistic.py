"""Logistic regression on vectors: logistic-regression-train, logistic-regression-eval, logistic-regression-copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.backend.logistic import LogisticRegression
    from vouch.cli.vector_blocks import MissingKeys

_BLOCK = 4096  # vectors in memory at once, where a tool only evaluates


def train(argv: list[str]) -> None:
    """Train a logistic regression (Kaldi, logistic-regression-train)."""
    options = ToolOptions(
        "logistic-regression-train",
        "[options] VECTOR_RSPECIFIER CLASSES_RSPECIFIER MODEL_OUT",
        "Trains a logistic regression by L-BFGS on the vectors of the keys that have a class; classes are the whole "
        "numbers from 0 on. The vectors are held in memory.",
        (3, 3),
    )
    options.add("max-steps", 20, "evaluations of the objective function")
    options.add("normalizer", 0.0025, "weight of the squared parameters", single=True)
    options.add("mix-up", 0, "number of mixture components in all; none when not above the number of classes")
    options.add("power", 0.15, "power of a class's count by which it gets components", single=True)
    options.add("binary", True, "write the model in binary")
    opt, (vectors_in, classes_in, model_out) = options.parse(argv)
    import numpy as np

    from vouch.backend.logistic import LogisticOptions, train_logistic_regression
    from vouch.cli.vector_blocks import MissingKeys
    from vouch.io.logistic import write_logistic_regression

    missing = MissingKeys("No vector for utterance {}")
    blocks = [(labels, vectors) for _, labels, vectors in _labelled(classes_in, vectors_in, missing)]
    if not blocks:
        raise VouchError(f"no key of {classes_in} has a vector in {vectors_in}: check that both have the same keys")
    labels, vectors = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    blocks.clear()
    if labels.min() < 0:
        raise VouchError(f"{classes_in} has the class {labels.min()}: classes are the whole numbers from 0 on")
    log(f"Retrieved {len(labels)} vectors with {missing.times} missing. There were {labels.max() + 1} class labels.")
    absent = np.flatnonzero(np.bincount(labels) == 0)
    if len(absent):
        warn(f"{len(absent)} classes below the largest label have no vectors, the first is {absent[0]}")
    settings = LogisticOptions(opt.max_steps, opt.mix_up, opt.normalizer, opt.power)
    model = train_logistic_regression(vectors, labels, settings, np.random.default_rng(0), log)
    write_logistic_regression(model_out, model.weights, model.classes, binary=opt.binary)


def evaluate(argv: list[str]) -> int:
    """Log posteriors or scores by a logistic regression (Kaldi, logistic-regression-eval)."""
    options = ToolOptions(
        "logistic-regression-eval",
        "[options] (MODEL VECTOR_RSPECIFIER POSTERIORS_WSPECIFIER | MODEL TRIALS_RSPECIFIER VECTOR_RSPECIFIER "
        "SCORES_OUT)",
        "With 3 arguments, writes a vector of the log posteriors of all classes for each vector. With 4, a line 'KEY "
        "CLASS LOG_POSTERIOR' for each entry 'KEY CLASS' of the trials.",
        (3, 4),
    )
    options.add("apply-log", True, "write logarithms, else the posteriors themselves")
    opt, args = options.parse(argv)
    if len(args) == 4:
        return _write_scores(*args, apply_log=opt.apply_log)
    return _write_posteriors(*args, apply_log=opt.apply_log)


def copy(argv: list[str]) -> None:
    """Copy a logistic regression and scale its priors (Kaldi, logistic-regression-copy)."""
    options = ToolOptions(
        "logistic-regression-copy",
        "[options] MODEL_IN MODEL_OUT",
        "Copies a logistic regression, binary to text or back, and can scale the priors of the classes.",
        (2, 2),
    )
    options.add("binary", True, "write the model in binary")
    options.add("scale-priors", "", "file of a vector of factors for the priors of the classes")
    opt, (source, target) = options.parse(argv)
    from vouch.io.logistic import write_logistic_regression
    from vouch.io.tables import read_vector

    model = _read(source)
    if opt.scale_priors:
        try:
            model = model.scale_priors(read_vector(opt.scale_priors).astype("float64"))
        except VouchError as error:
            raise VouchError(f"--scale-priors={opt.scale_priors}: {error}") from None
    write_logistic_regression(target, model.weights, model.classes, binary=opt.binary)
    log(f"Wrote model to {target}")


def _read(rxfilename: str) -> LogisticRegression:
    from vouch.backend.logistic import LogisticRegression
    from vouch.io.logistic import read_logistic_regression

    return LogisticRegression(*read_logistic_regression(rxfilename))


def _labelled(classes: str, vectors: str, missing: MissingKeys) -> Iterator[tuple[list[str], np.ndarray, np.ndarray]]:
    """(keys, class labels `(keys,)`, vectors `(keys, dims)` float32) of the keys with both, in blocks of 4096."""
    import numpy as np

    from vouch.io.tables import open_table, read_table

    keys: list[str] = []
    labels: list[int] = []
    rows: list[np.ndarray] = []
    dim = -1
    with open_table(vectors, "vector") as table:
        for key, label in read_table(classes, "int32"):
            if key not in table:
                missing.add(key)
                continue
            row = table[key].astype(np.float32)
            dim = len(row) if dim < 0 else dim
            if len(row) != dim:
                raise VouchError(f"{vectors}: the vector of {key} has {len(row)} values, those before it {dim}")
            if not np.isfinite(row).all():
                raise VouchError(f"{vectors}: the vector of {key} has NaN or infinite values: extract it again")
            keys.append(key)
            labels.append(label)
            rows.append(row)
            if len(keys) == _BLOCK:
                yield keys, np.array(labels), np.stack(rows)
                keys, labels, rows = [], [], []
    if keys:
        yield keys, np.array(labels), np.stack(rows)


def _posteriors(model: LogisticRegression, vectors: np.ndarray, apply_log: bool) -> np.ndarray:
    import numpy as np

    logs = model.log_posteriors(vectors)
    return (logs if apply_log else np.exp(logs)).astype(np.float32)


def _write_posteriors(model_in: str, vectors_in: str, target: str, apply_log: bool) -> int:
    from vouch.cli.vector_blocks import read_vector_blocks
    from vouch.io.tables import TableWriter

    model = _read(model_in)
    done = 0
    with TableWriter(target, "vector") as writer:
        for keys, vectors in read_vector_blocks(vectors_in, unique=False, dim=model.dim):
            for key, posteriors in zip(keys, _posteriors(model, vectors, apply_log), strict=True):
                writer.write(key, posteriors)
            done += len(keys)
    log(f"Calculated log posteriors for {done} vectors.")
    return 0 if done else 1


def _write_scores(model_in: str, trials: str, vectors_in: str, scores_out: str, apply_log: bool) -> int:
    from vouch.cli.vector_blocks import MissingKeys
    from vouch.io.tables import open_output

    model = _read(model_in)
    missing = MissingKeys("No vector for utterance {}")
    done = 0
    with open_output(scores_out) as stream:
        for keys, labels, vectors in _labelled(trials, vectors_in, missing):
            if vectors.shape[1] != model.dim:
                raise VouchError(
                    f"{vectors_in} has vectors of {vectors.shape[1]} values, the model {model_in} wants {model.dim}"
                )
            if labels.min() < 0 or labels.max() >= model.num_classes:
                raise VouchError(f"{trials}: the classes must be from 0 to {model.num_classes - 1}, as in {model_in}")
            posteriors = _posteriors(model, vectors, apply_log)
            for key, label, row in zip(keys, labels.tolist(), posteriors, strict=True):
                stream.write(f"{key} {label} {row[label]:.7g}\n".encode())
            done += len(keys)
        if not done:
            raise VouchError(f"no key of {trials} has a vector in {vectors_in}: check that both have the same keys")
    log(f"Calculated scores for {done} vectors with {missing.times} missing.")
    return 0
