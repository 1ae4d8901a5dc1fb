"""Adaptive s-norm: a loop over trials, PLDA's cohort scores, invariance, equal cohort scores."""

import numpy as np
import pytest

from vouch.backend import score_norm
from vouch.backend.plda import Plda
from vouch.backend.score_norm import cohort_statistics, normalise, plda_model_factors, plda_test_factors


def test_worked_by_hand():
    vectors = np.array([[1.0, 0.0], [0.0, 2.0]])
    cohort = np.array([[1.0, 4.0], [3.0, 1.0], [-5.0, 0.0], [2.0, 3.0]])
    # the first has the scores 1, 3, -5, 2, the second 8, 2, 0, 6
    means, spreads = cohort_statistics(vectors, cohort, 2)
    np.testing.assert_allclose(means, [2.5, 7])
    np.testing.assert_allclose(spreads, [0.5, 1])
    means, spreads = cohort_statistics(vectors, cohort, 300)  # all four
    np.testing.assert_allclose(means, [0.25, 4])
    np.testing.assert_allclose(spreads, [np.sqrt(38.75 / 4), np.sqrt(10)])
    got = normalise(np.array([3.0]), (np.array([2.5]), np.array([0.5])), (np.array([7.0]), np.array([1.0])))
    np.testing.assert_allclose(got, [(1 - 4) / 2])


@pytest.mark.parametrize("top", [2, 10, 57])
def test_blocks_equal_a_loop(monkeypatch, top):
    monkeypatch.setattr(score_norm, "_BLOCK_VALUES", 300)  # blocks of five vectors
    generator = np.random.default_rng(0)
    vectors, cohort = generator.normal(size=(23, 6)).astype(np.float32), generator.normal(size=(57, 6))
    means, spreads = cohort_statistics(vectors, cohort, top)
    for vector, mean, spread in zip(vectors, means, spreads, strict=True):
        highest = sorted(float(vector @ other) for other in cohort)[-top:]
        assert mean == pytest.approx(np.mean(highest), abs=1e-5)
        assert spread == pytest.approx(np.std(highest), abs=1e-5)


def test_factors_give_the_log_likelihood_ratio():
    generator = np.random.default_rng(1)
    plda = Plda(generator.normal(size=5), generator.normal(size=(5, 5)), np.array([4.0, 2, 1, 0.5, 0.1]))
    models, tests, counts = generator.normal(size=(4, 5)), generator.normal(size=(3, 5)), np.array([1, 3, 1, 2])
    got = plda_model_factors(plda, models, counts) @ plda_test_factors(plda, tests).T
    np.testing.assert_allclose(got, plda.log_likelihood_ratio(models, counts, tests), rtol=1e-10, atol=1e-10)


def test_an_offset_and_a_scale_of_a_vector_do_not_matter():
    """What s-norm is for: a model whose scores are all shifted and stretched gets the same normalised scores."""
    generator = np.random.default_rng(2)
    cohort = np.hstack([generator.normal(size=(40, 4)), np.ones((40, 1))])
    vectors = np.hstack([generator.normal(size=(6, 4)), np.zeros((6, 1))])
    bent = 3 * vectors + [0, 0, 0, 0, 7]  # scores s become 3 s + 7
    mean, spread = cohort_statistics(vectors, cohort, 9)
    bent_mean, bent_spread = cohort_statistics(bent, cohort, 9)
    np.testing.assert_allclose((3 * 1.5 + 7 - bent_mean) / bent_spread, (1.5 - mean) / spread)


@pytest.mark.parametrize("cohort", [np.ones((5, 2)), np.ones((1, 2)), np.array([[0, 1.0], [3, 1], [-2, 1]])])
def test_equal_cohort_scores_name_the_row(cohort):
    vectors = np.array([[1.0, 2.0], [0.1, 0.7]]) if len(cohort) == 1 else np.array([[0.3, 1.0], [0.0, 0.1]])
    row = 1 if cohort[0, 0] == 0 else 0
    with pytest.raises(ValueError, match=f"^{row}$"):
        cohort_statistics(vectors, cohort, 3)
