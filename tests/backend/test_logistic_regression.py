"""Logistic regression: the objective by brute force, the optimum, mixtures, priors; and L-BFGS by itself."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from vouch.backend.lbfgs import Lbfgs
from vouch.backend.logistic import (
    LogisticOptions,
    LogisticRegression,
    objective,
    split_targets,
    train_logistic_regression,
)
from vouch.errors import VouchError

RNG = np.random.default_rng(11)
CLASSES, DIMS = 4, 3
CENTERS = 1.2 * RNG.normal(size=(CLASSES, DIMS))
LABELS = RNG.integers(0, CLASSES, 300)
VECTORS = (CENTERS[LABELS] + RNG.normal(size=(300, DIMS))).astype(np.float32)
MODEL = LogisticRegression(RNG.normal(size=(6, DIMS + 1)), np.array([0, 1, 2, 3, 1, 3], np.int32))


def slowly(model: LogisticRegression, normalizer: float) -> float:
    total = 0.0
    for vector, label in zip(VECTORS.astype(float), LABELS, strict=True):
        scores = [float(np.exp(row[:-1] @ vector + row[-1])) for row in model.weights]
        total += np.log(sum(s for s, c in zip(scores, model.classes, strict=True) if c == label) / sum(scores))
    return total / len(LABELS) - normalizer / 2 * float((model.weights**2).sum())


def test_objective_and_gradient(monkeypatch) -> None:
    value, gradient = objective(MODEL, VECTORS, LABELS, 0.1)
    assert value == pytest.approx(slowly(MODEL, 0.1), rel=1e-10)
    numeric = approx_fprime(
        MODEL.weights.ravel(), lambda w: slowly(MODEL._replace(weights=w.reshape(MODEL.weights.shape)), 0.1), 1e-6
    )
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-5)
    monkeypatch.setattr("vouch.backend.logistic.BLOCK_VALUES", 70)
    in_blocks = objective(MODEL, VECTORS, LABELS, 0.1)
    assert in_blocks[0] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(in_blocks[1], gradient, rtol=1e-9, atol=1e-12)


def test_the_optimum_is_found() -> None:
    model = train_logistic_regression(VECTORS, LABELS, LogisticOptions(max_steps=100), RNG)

    def negative(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(model._replace(weights=flat.reshape(model.weights.shape)), VECTORS, LABELS, 0.0025)
        return -value, -gradient.ravel()

    best = minimize(negative, np.zeros(model.weights.size), jac=True, options={"gtol": 1e-9, "maxiter": 1000})
    assert -negative(model.weights.ravel())[0] == pytest.approx(-best.fun, rel=1e-9)
    np.testing.assert_allclose(model.weights.ravel(), best.x, atol=1e-3)
    posteriors = np.exp(model.log_posteriors(VECTORS))
    np.testing.assert_allclose(posteriors.sum(axis=1), 1, rtol=1e-12)
    assert (posteriors.argmax(axis=1) == LABELS).mean() > 0.7


def test_log_posteriors_of_mixtures() -> None:
    found = MODEL.log_posteriors(VECTORS[:5])
    for row, vector in zip(found, VECTORS[:5].astype(float), strict=True):
        scores = np.exp(MODEL.weights[:, :-1] @ vector + MODEL.weights[:, -1])
        expected = [scores[MODEL.classes == label].sum() / scores.sum() for label in range(CLASSES)]
        np.testing.assert_allclose(np.exp(row), expected, rtol=1e-10)


def test_a_class_without_components_is_impossible() -> None:
    model = LogisticRegression(MODEL.weights[:2], np.array([0, 2], np.int32))
    found = model.log_posteriors(VECTORS[:3])
    assert (found[:, 1] == -np.inf).all() and np.isfinite(found[:, [0, 2]]).all()


def test_mixtures_part_a_class_that_lies_on_two_sides() -> None:
    line = np.linspace(-3, 5, 400)[:, None].astype(np.float32)
    labels = (np.abs(line[:, 0]) > 1.5).astype(int)
    said: list[str] = []
    options = LogisticOptions(max_steps=150, mix_up=3, normalizer=1e-4)
    model = train_logistic_regression(line, labels, options, np.random.default_rng(0), said.append)
    assert model.classes.tolist() == [0, 1, 1]
    assert (model.log_posteriors(line).argmax(axis=1) == labels).mean() > 0.95  # one straight cut is right for 81 %
    assert said[150] == "Finished training parameters without mixture components."
    assert said[151] == "Target number mixture components was 3. Training 3 mixture components."
    values = [float(text.split()[-1]) for text in said if text.startswith("Objective function is ")]
    assert len(values) == 300 and values[0] == pytest.approx(np.log(0.5), rel=1e-5)
    assert max(values[150:]) > max(values[:150]) + 0.1


def test_shares_of_components() -> None:
    counts = np.array([1000, 10, 3, 0])
    shares = split_targets(counts, 9, 0.15)
    assert shares.tolist() == greedy(counts, 9, 0.15)
    assert shares.sum() == 9 and shares[0] >= shares[1] >= shares[2] >= shares[3] == 1
    assert split_targets(np.array([2, 2, 1]), 50, 0.5).tolist() == [1, 1, 1]  # too few of each to split any
    assert split_targets(np.array([100, 100]), 2, 0.15).tolist() == [1, 1]


def greedy(counts: np.ndarray, target: int, power: float) -> list[int]:
    shares = [1] * len(counts)
    while sum(shares) < target:
        open_ = [c for c, count in enumerate(counts) if shares[c] + 1 < count]
        if not open_:
            break
        shares[max(open_, key=lambda c: float(counts[c]) ** power / shares[c])] += 1
    return shares


def test_scaled_priors_multiply_the_posteriors() -> None:
    scales = np.array([1.0, 2.0, 0.5, 3.0])
    found = np.exp(MODEL.scale_priors(scales).log_posteriors(VECTORS))
    expected = np.exp(MODEL.log_posteriors(VECTORS)) * scales
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)
    for wrong in ([1, 1, 1], [1, 1, 1, 0], [1, 1, 1, np.nan]):
        with pytest.raises(VouchError, match="4 numbers above 0"):
            MODEL.scale_priors(np.array(wrong, float))


@pytest.mark.parametrize("options", [LogisticOptions(max_steps=0), LogisticOptions(normalizer=-1.0)])
def test_impossible_options(options: LogisticOptions) -> None:
    with pytest.raises(VouchError, match="--max-steps"):
        train_logistic_regression(VECTORS, LABELS, options, RNG)


def test_labels_below_zero() -> None:
    with pytest.raises(VouchError, match="labels"):
        train_logistic_regression(VECTORS, LABELS - 1, LogisticOptions(), RNG)


# --- L-BFGS -----------------------------------------------------------------------------------------------------------


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    a, b = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * a - 2 * b
    gradient[1:] += 200 * a
    return float((100 * a**2 + b**2).sum()), gradient


def test_lbfgs_finds_the_valley() -> None:
    optimizer = Lbfgs(np.array([-1.2, 1.0, -0.5, 0.8]))
    values = []
    for _ in range(300):
        value, gradient = rosenbrock(optimizer.proposed)
        optimizer.update(value, gradient)
        values.append(value)
    np.testing.assert_allclose(optimizer.best, 1.0, atol=1e-5)
    assert optimizer.best_value == min(values) < 1e-10


def test_lbfgs_first_steps() -> None:
    """The first step is the negative gradient, doubled while it stays steep and halved when it goes too far."""
    gentle = Lbfgs(np.array([8.0]))
    found = []
    for _ in range(4):
        found.append(float(gentle.proposed[0]))
        gentle.update(0.01 * float(gentle.proposed[0]) ** 2 / 2, 0.01 * gentle.proposed)
    assert found == pytest.approx([8.0, 7.92, 7.84, 7.68])
    steep = Lbfgs(np.array([1.0]))
    found = []
    for _ in range(4):
        found.append(float(steep.proposed[0]))
        steep.update(8 * float(steep.proposed[0]) ** 2 / 2, 8 * steep.proposed)
    assert found == pytest.approx([1.0, -7.0, -3.0, -1.0])


def test_lbfgs_stays_at_the_optimum() -> None:
    optimizer = Lbfgs(np.zeros(3))
    for _ in range(5):
        optimizer.update(float(optimizer.proposed @ optimizer.proposed), 2 * optimizer.proposed)
    assert not optimizer.proposed.any() and not optimizer.best.any()
