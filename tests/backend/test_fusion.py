"""Fused scores: the mean of normalised scores, by hand."""

import numpy as np
import pytest

from vouch.backend.fusion import fuse, normalise


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
