"""Multi-class logistic regression, with mixtures of linear functions for a class (Kaldi, logistic-regression-train)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vouch.backend.lbfgs import Lbfgs
from vouch.errors import VouchError

BLOCK_VALUES = 1 << 22  # scores (vectors × components) worked on at a time
LEAST_PROBABILITY = 1e-20
MIXING_NOISE = 1e-5


class LogisticOptions(NamedTuple):
    """Kaldi's LogisticRegressionConfig: evaluations of L-BFGS, number of components wanted, weight of the squared
    parameters, and the power of the class counts by which components are shared out."""

    max_steps: int = 20
    mix_up: int = 0
    normalizer: float = 0.0025
    power: float = 0.15


class LogisticRegression(NamedTuple):
    """weights `(components, dims + 1)` float64, the last column being the offset; classes `(components,)` int32: the
    class that each component belongs to."""

    weights: np.ndarray
    classes: np.ndarray

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self.weights.shape[1] - 1

    @property
    def num_classes(self) -> int:
        """Number of classes, the largest label plus 1."""
        return int(self.classes.max()) + 1

    def log_posteriors(self, vectors: np.ndarray) -> np.ndarray:
        """Log P(class | vector) `(vectors, classes)` of vectors `(vectors, dims)`; −inf for an empty class."""
        scores = vectors.astype(np.float64) @ self.weights[:, :-1].T + self.weights[:, -1]
        by_class = np.full((len(scores), self.num_classes), -np.inf)
        for label in np.unique(self.classes):
            by_class[:, label] = _log_sum_exp(scores[:, self.classes == label])[:, 0]
        return by_class - _log_sum_exp(by_class)

    def scale_priors(self, scales: np.ndarray) -> LogisticRegression:
        """The model after multiplying the prior of each class by scales `(classes,)`.

        Raises VouchError unless there is a scale above 0 for each class.
        """
        if len(scales) != self.num_classes or not (np.isfinite(scales) & (scales > 0)).all():
            raise VouchError(f"the prior scales must be {self.num_classes} numbers above 0, one for each class")
        weights = self.weights.copy()
        weights[:, -1] += np.log(scales)[self.classes]
        return self._replace(weights=weights)


def train_logistic_regression(
    vectors: np.ndarray,
    labels: np.ndarray,
    options: LogisticOptions,
    rng: np.random.Generator,
    log: Callable[[str], None] = lambda message: None,
) -> LogisticRegression:
    """Train on vectors `(vectors, dims)` with classes `(vectors,)` from 0 on.

    Maximises the mean log posterior less normalizer / 2 · Σ weights², from zero weights, by `max_steps` evaluations of
    L-BFGS; then, when mix_up exceeds the number of classes, splits classes into components that differ by noise of
    `rng`, and goes on. `log` is told of every evaluation. Raises VouchError on wrong options or labels.
    """
    if options.max_steps < 1 or options.normalizer < 0:
        raise VouchError(
            f"--max-steps={options.max_steps} must be 1 or more, --normalizer={options.normalizer:g} 0 or more"
        )
    if not len(labels) or labels.min() < 0:
        raise VouchError("the class labels must be whole numbers from 0 on, one for each vector")
    num_classes = int(labels.max()) + 1
    model = LogisticRegression(np.zeros((num_classes, vectors.shape[1] + 1)), np.arange(num_classes, dtype=np.int32))
    model = _optimise(model, vectors, labels, options, log)
    log("Finished training parameters without mixture components.")
    if options.mix_up > num_classes:
        model = _mix_up(model, labels, options, rng)
        log(f"Target number mixture components was {options.mix_up}. Training {len(model.weights)} mixture components.")
        model = _optimise(model, vectors, labels, options, log)
        log("Finished training mixture components.")
    return model


def _optimise(
    model: LogisticRegression,
    vectors: np.ndarray,
    labels: np.ndarray,
    options: LogisticOptions,
    log: Callable[[str], None],
) -> LogisticRegression:
    optimizer = Lbfgs(model.weights.ravel())
    for _ in range(options.max_steps):
        weights = optimizer.proposed.reshape(model.weights.shape)
        value, gradient = objective(model._replace(weights=weights), vectors, labels, options.normalizer)
        optimizer.update(-value, -gradient.ravel())
        log(f"Objective function is {value:.6g}")
    return model._replace(weights=optimizer.best.reshape(model.weights.shape))


def objective(
    model: LogisticRegression, vectors: np.ndarray, labels: np.ndarray, normalizer: float
) -> tuple[float, np.ndarray]:
    """(mean log posterior of the labels less normalizer / 2 · Σ weights², its gradient as the weights).

    vectors are `(vectors, dims)`, labels `(vectors,)`. With P the softmax over components and Q the same within those
    of the right class, and a 1 behind each vector, the gradient is (Q − P)ᵀ vectors / number − normalizer · weights.
    """
    total, gradient = 0.0, np.zeros_like(model.weights)
    rows = max(1, BLOCK_VALUES // len(model.weights))
    for first in range(0, len(vectors), rows):
        part = vectors[first : first + rows]
        block = np.concatenate([part, np.ones((len(part), 1))], axis=1, dtype=np.float64)
        scores = block @ model.weights.T
        probabilities = np.exp(scores - _log_sum_exp(scores))
        right = np.where(model.classes == labels[first : first + rows, None], probabilities, 0.0)
        of_class = np.maximum(right.sum(axis=1, keepdims=True), LEAST_PROBABILITY)
        total += float(np.log(of_class).sum())
        gradient += (right / of_class - probabilities).T @ block
    value = total / len(vectors) - 0.5 * normalizer * float(np.vdot(model.weights, model.weights))
    return value, gradient / len(vectors) - normalizer * model.weights


def _log_sum_exp(rows: np.ndarray) -> np.ndarray:
    """log Σ exp of each row, `(rows, 1)`; not all of a row may be −inf."""
    top = rows.max(axis=1, keepdims=True)
    return top + np.log(np.exp(rows - top).sum(axis=1, keepdims=True))


def _mix_up(
    model: LogisticRegression, labels: np.ndarray, options: LogisticOptions, rng: np.random.Generator
) -> LogisticRegression:
    """The components of each class once more for each that it gets, moved by noise."""
    shares = split_targets(np.bincount(labels), options.mix_up, options.power)
    added = np.repeat(np.arange(len(shares)), shares - 1)
    noise = MIXING_NOISE * rng.standard_normal((len(added), model.weights.shape[1]))
    return LogisticRegression(
        np.concatenate([model.weights, model.weights[added] + noise]),
        np.concatenate([model.classes, added]).astype(np.int32),
    )


def split_targets(counts: np.ndarray, target: int, power: float, min_count: float = 1.0) -> np.ndarray:
    """Number of components `(classes,)` for classes with these counts: one each, then each further one to the class
    with most count^power for a component, as long as it has more than min_count for each (Kaldi, GetSplitTargets)."""
    shares = np.ones(len(counts), dtype=np.int64)
    queue = [(-(float(count) ** power), label) for label, count in enumerate(counts) if count]
    heapq.heapify(queue)
    left = target - len(counts)
    while left > 0 and queue:
        _, label = heapq.heappop(queue)
        if (shares[label] + 1) * min_count >= counts[label]:
            continue
        shares[label] += 1
        left -= 1
        heapq.heappush(queue, (-(float(counts[label]) ** power) / shares[label], label))
    return shares
