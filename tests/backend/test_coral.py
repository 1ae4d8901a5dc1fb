"""CORAL and CORAL+ of PLDA models, by the formulas of the papers with other tools."""

import numpy as np
import pytest
import scipy.linalg

from vouch.backend.coral import coral, coral_plus
from vouch.backend.plda import Plda, diagonalise
from vouch.backend.statistics import Moments
from vouch.errors import VouchError

DIMS = 5


def _covariance(seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(DIMS, 2 * DIMS))
    return root @ root.T


WITHIN, BETWEEN = _covariance(0), 2 * _covariance(1)


def _plda() -> Plda:
    return Plda(np.arange(DIMS) / 3, *diagonalise(BETWEEN, WITHIN))


def _covariances(plda: Plda) -> tuple[np.ndarray, np.ndarray]:
    back = np.linalg.inv(plda.transform)
    return back @ back.T, back @ np.diag(plda.psi) @ back.T


def _moments(covariance: np.ndarray, count: int = 400, seed: int = 2) -> Moments:
    moments = Moments()
    moments.add(np.random.default_rng(seed).multivariate_normal(np.ones(DIMS), covariance, count))
    return moments


def _aligned(moments: Moments, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    own = (1 - shrinkage) * moments.covariance + shrinkage * (WITHIN + BETWEEN)
    align = scipy.linalg.sqrtm(own) @ np.linalg.inv(scipy.linalg.sqrtm(WITHIN + BETWEEN))
    return align @ WITHIN @ align.T, align @ BETWEEN @ align.T


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_coral_gives_the_model_the_covariance_of_the_domain(shrinkage):
    moments = _moments(3 * _covariance(7))
    adapted = coral(_plda(), moments, shrinkage)
    np.testing.assert_allclose(_covariances(adapted), _aligned(moments, shrinkage), rtol=1e-8, atol=1e-8)
    expected = (1 - shrinkage) * moments.covariance + shrinkage * (WITHIN + BETWEEN)
    np.testing.assert_allclose(sum(_covariances(adapted)), expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(adapted.mean, moments.mean)


def test_fewer_vectors_than_dimensions_are_drawn_to_the_model():
    moments = _moments(WITHIN, count=3)
    share = DIMS / (DIMS + 3)
    np.testing.assert_allclose(_covariances(coral(_plda(), moments)), _aligned(moments, share), rtol=1e-7, atol=1e-7)
    with pytest.raises(VouchError, match="a covariance is singular: give CORAL more vectors"):
        coral(_plda(), moments, 0.0)


@pytest.mark.parametrize("scale", [0.8, 0.25])
def test_coral_plus_adds_where_coral_enlarges(scale):
    moments = _moments(WITHIN + BETWEEN + np.diag([40.0, 0, 0, 30, 0]) - 0.3 * WITHIN)
    expected = []
    for own, aligned in zip((WITHIN, BETWEEN), _aligned(moments, 0.0), strict=True):
        ratios, v = scipy.linalg.eigh(aligned, own)  # v^T own v = 1, v^T aligned v = diag(ratios)
        assert ratios.min() < 1 < ratios.max()
        back = np.linalg.inv(v)
        expected.append(own + scale * back.T @ np.diag(np.maximum(0, ratios - 1)) @ back)
    found = _covariances(coral_plus(_plda(), moments, scale, 0.0))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_coral_plus_of_a_narrower_domain_changes_the_mean_alone():
    moments = _moments(0.05 * (WITHIN + BETWEEN))
    found = coral_plus(_plda(), moments, shrinkage=0.0)
    np.testing.assert_allclose(_covariances(found), (WITHIN, BETWEEN), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(found.mean, moments.mean)


def test_a_between_speaker_covariance_of_low_rank():
    few = Plda(np.zeros(DIMS), *diagonalise(np.diag([3.0, 2, 0, 0, 0]), WITHIN))
    found = _covariances(coral_plus(few, _moments(2 * WITHIN), shrinkage=0.0))
    assert np.isfinite(found).all() and np.linalg.eigvalsh(found[1])[0] > -1e-6


def test_refusals():
    with pytest.raises(VouchError, match="no vectors to adapt"):
        coral(_plda(), Moments())
    with pytest.raises(VouchError, match="shrinkage of 1.5: it must be from 0 to 1"):
        coral(_plda(), _moments(WITHIN), 1.5)
    with pytest.raises(VouchError, match="scale of -1"):
        coral_plus(_plda(), _moments(WITHIN), -1.0)
    other = Moments()
    other.add(np.ones((4, 2)))
    with pytest.raises(VouchError, match="vectors of dimension 2 for a PLDA model of 5"):
        coral_plus(_plda(), other)
