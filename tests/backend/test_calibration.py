"""Calibration: the actual cost comes to the minimum, the ratios are the true ones, the objective is at its minimum."""

import numpy as np
import pytest
from scipy.optimize import minimize

from vouch.backend.calibration import pair_qualities, train_calibration
from vouch.errors import VouchError
from vouch.metrics.equalised import actual_primary_cost, equalised_error_rates, minimum_primary_cost


def gaussian_ratios(generator, number, mean):
    """(log likelihood ratios, is_target): Gaussian, means +-m and variance 2m, so that they are their own ratios."""
    is_target = np.arange(number) % 10 == 0
    return generator.normal(np.where(is_target, mean, -mean), np.sqrt(2 * mean)), is_target


@pytest.mark.parametrize("seed, scale, shift, prior", [
    (0, 3.0, -40.0, 0.01), (1, 0.02, 0.5, 0.01), (2, 200.0, 1e4, 0.01), (3, 3.0, 7.0, 0.5), (4, 1.0, 0.0, 0.1),
])  # fmt: skip
def test_actual_cost_comes_to_the_minimum(seed, scale, shift, prior):
    generator = np.random.default_rng(seed)
    ratios, is_target = gaussian_ratios(generator, 200_000, 8.0)
    model = train_calibration(scale * ratios + shift, is_target, prior)
    assert model.slope * scale == pytest.approx(1, rel=0.03)
    assert model.offset + model.slope * shift == pytest.approx(0, abs=0.15)
    fresh, is_target = gaussian_ratios(generator, 600_000, 8.0)
    one = np.zeros(len(fresh))
    minimum = minimum_primary_cost(equalised_error_rates(fresh, is_target, one))
    actual = actual_primary_cost(model.apply(scale * fresh + shift), is_target, one)
    assert minimum <= actual < 1.02 * minimum


def test_the_objective_is_at_its_minimum():
    """Another optimiser on the objective as written; scores of which the prior matters."""
    generator = np.random.default_rng(0)
    is_target = np.arange(3000) % 4 == 0
    scores = np.where(is_target, generator.gumbel(3, 2, 3000), generator.normal(0, 1, 3000))
    slopes = []
    for prior in (0.01, 0.5):

        def objective(point, prior=prior):
            odds = point[0] * scores + point[1] + np.log(prior / (1 - prior))
            misses = np.logaddexp(0, -odds[is_target]).mean()
            return 1e3 * (prior * misses + (1 - prior) * np.logaddexp(0, odds[~is_target]).mean())

        wanted = minimize(objective, [1.0, 0.0], tol=1e-10).x
        model = train_calibration(scores, is_target, prior)
        assert (model.slope, model.offset) == pytest.approx(tuple(wanted), rel=2e-3)
        slopes.append(model.slope)
    assert slopes[0] != pytest.approx(slopes[1], rel=0.1)


def test_scores_that_point_the_wrong_way_have_a_negative_slope():
    ratios, is_target = gaussian_ratios(np.random.default_rng(0), 10_000, 4.0)
    assert train_calibration(-2 * ratios, is_target, 0.5).slope == pytest.approx(-0.5, rel=0.1)


@pytest.mark.parametrize("scores, is_target, prior, says", [
    ([1, 2, 3], [1, 1, 1], 0.1, "3 target and 0 nontarget trials"),
    ([1, 2, 3], [0, 0, 0], 0.1, "0 target and 3 nontarget trials"),
    ([2, 2, 2], [0, 1, 0], 0.1, "all scores are equal"),
    ([1, 2, 3], [0, 1, 0], 1.0, "a prior of 1"),
])  # fmt: skip
def test_refusals(scores, is_target, prior, says):
    with pytest.raises(VouchError, match=says):
        train_calibration(np.array(scores, float), np.array(is_target, bool), prior)


def test_qualities_of_both_sides_are_learnt():
    """Scores that lie too high by a function of both sides' qualities; the side does not matter."""
    generator = np.random.default_rng(0)
    ratios, is_target = gaussian_ratios(generator, 100_000, 8.0)
    enrollment, test = generator.normal(size=(2, 100_000, 2))
    lower, higher = np.minimum(enrollment, test), np.maximum(enrollment, test)
    scores = 0.2 * (ratios + 3 * lower[:, 0] - 2 * higher[:, 1]) + 1
    qualities = pair_qualities(enrollment, test)
    np.testing.assert_array_equal(qualities, pair_qualities(test, enrollment))
    model = train_calibration(scores, is_target, 0.1, qualities)
    assert model.slope == pytest.approx(5, rel=0.05)
    np.testing.assert_allclose(model.weights, [-3, 0, 0, 2], atol=0.2)
    np.testing.assert_allclose(model.apply(scores, qualities), ratios, atol=1.5)
    plain = train_calibration(scores, is_target, 0.1)
    assert np.std(plain.apply(scores) - ratios) > 1


def test_a_quality_that_does_not_vary_has_no_weight():
    ratios, is_target = gaussian_ratios(np.random.default_rng(0), 1000, 8.0)
    model = train_calibration(ratios, is_target, 0.1, np.ones((2, 1000)))
    assert list(model.weights) == [0, 0]
    assert model[:2] == pytest.approx(train_calibration(ratios, is_target, 0.1)[:2])
