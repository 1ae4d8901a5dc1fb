"""Fused scores: the mean of normalised scores, by hand."""

import numpy as np
import pytest

from vouch.backend.fusion import fuse, learn_weights, normalise


def test_normalised_scores_have_mean_zero_and_variance_one():
    scores = np.random.default_rng(0).normal([[3.0], [-100.0]], [[2.0], [50.0]], (2, 400))
    normal = normalise(scores)
    np.testing.assert_allclose(normal.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose((normal**2).mean(1), 1, rtol=1e-12)
    np.testing.assert_array_equal(normal.argsort(1), scores.argsort(1))


def test_fusion_by_hand():
    scores = np.array([[0.0, 2.0, 4.0], [30.0, 10.0, 20.0]])
    unit = np.sqrt(1.5)  # 1 over the standard deviation of -1, 0, 1
    np.testing.assert_allclose(fuse(scores, np.array([1.0, 1.0])), [0, -unit / 2, unit / 2], atol=1e-12)
    np.testing.assert_allclose(fuse(scores, np.array([3.0, 1.0])), [-unit / 2, -unit / 4, unit * 3 / 4], atol=1e-12)


def test_the_scale_of_a_system_does_not_matter():
    scores = np.random.default_rng(1).normal(size=(2, 50))
    weights = np.array([1.0, 2.0])
    np.testing.assert_allclose(
        fuse(scores * [[7.0], [0.1]] + [[5.0], [-3.0]], weights), fuse(scores, weights), atol=1e-9
    )


def test_a_constant_system_is_named():
    with pytest.raises(ValueError, match="^1$"):
        normalise(np.array([[1.0, 2.0], [0.1 + 0.2, 0.3]]))


def test_learnt_weights_are_those_of_gaussian_scores():
    """Two systems with independent Gaussian scores of unit variance and means 0 and m: the log likelihood ratio is
    m1 s1 + m2 s2 - (m1^2 + m2^2) / 2."""
    generator = np.random.default_rng(0)
    is_target = np.arange(60_000) % 3 == 0
    means = np.array([2.0, 1.0])
    scores = generator.normal(size=(2, 60_000)) + means[:, None] * is_target
    scores[1] = 5 * scores[1] + 7  # in other units
    weights, offset = learn_weights(scores, is_target)
    np.testing.assert_allclose(weights, [2.0, 1.0 / 5], rtol=0.03)
    assert offset == pytest.approx(-2.5 - 7 / 5, abs=0.1)


def test_learnt_weights_of_separable_trials_are_finite():
    weights, offset = learn_weights(np.array([[0.0, 1, 2, 3]]), np.array([False, False, True, True]))
    assert np.isfinite(weights).all() and weights[0] > 0 and weights[0] * 1.5 + offset == pytest.approx(0, abs=1e-3)
