"""Cllr by hand and by numerical integration; its minimum by brute force over monotone functions, ties and ends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from vouch.errors import VouchError
from vouch.metrics.cllr import cllr, minimum_cllr


def test_worked_by_hand():
    assert cllr(np.zeros(3), np.zeros(5)) == pytest.approx(1)
    # odds of 3 for one target (log2 4/3), of 1 for the other (1); of 1/7 for the nontarget (log2 8/7)
    got = cllr(np.log([3.0, 1.0]), np.log([1 / 7]))
    assert got == pytest.approx(((np.log2(4 / 3) + 1) / 2 + np.log2(8 / 7)) / 2)


def test_huge_and_infinite_ratios():
    assert cllr(np.array([np.inf, 2000]), np.array([-np.inf, -2000])) == 0
    assert cllr(np.array([-1000.0]), np.array([-np.inf])) == pytest.approx(500 / np.log(2))
    assert cllr(np.array([-np.inf, 5]), np.array([-5.0])) == np.inf


@pytest.mark.parametrize("mean", [0.5, 2.0, 6.0])
def test_gaussian_ratios_have_the_integral(mean):
    """Log likelihood ratios of Gaussians are Gaussian: means +-m, variance 2m."""
    spread = np.sqrt(2 * mean)
    wanted, _ = quad(
        lambda x: norm.pdf(x, mean, spread) * np.logaddexp(0, -x) / np.log(2), -30, 60, limit=200, epsabs=1e-10
    )  # the nontargets' half is the mirror image of the targets'
    generator = np.random.default_rng(0)
    targets, nontargets = generator.normal(mean, spread, 200_000), generator.normal(-mean, spread, 300_000)
    assert cllr(targets, nontargets) == pytest.approx(wanted, rel=0.01)
    minimum = minimum_cllr(targets, nontargets)
    assert 0.99 * wanted < minimum < cllr(targets, nontargets)
    assert minimum_cllr(np.exp(targets / 9) + 4, np.exp(nontargets / 9) + 4) == pytest.approx(minimum, rel=1e-9)


def best_of_all_groupings(targets, nontargets):
    """The smallest Cllr over all ways to cut the sorted distinct scores into groups of one ratio each, in which the
    ratios rise."""
    values = sorted({*targets, *nontargets})
    best = np.inf
    for cuts in itertools.product([False, True], repeat=len(values) - 1):
        group_of = dict(zip(values, np.cumsum([0, *cuts]).tolist(), strict=True))
        ratios = []
        for group in range(1 + sum(cuts)):
            share, other = (sum(group_of[s] == group for s in kind) / len(kind) for kind in (targets, nontargets))
            ratios.append(np.log(share) - np.log(other) if share and other else np.inf if share else -np.inf)
        if ratios == sorted(ratios):
            mapped = (np.array([ratios[group_of[score]] for score in kind]) for kind in (targets, nontargets))
            best = min(best, cllr(*mapped))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_minimum_is_that_of_all_groupings(seed):
    generator = np.random.default_rng(seed)
    targets = generator.integers(1, 9, size=9).astype(float)
    nontargets = generator.integers(0, 7, size=14).astype(float)
    assert minimum_cllr(targets, nontargets) == pytest.approx(best_of_all_groupings(targets, nontargets), abs=1e-12)


@pytest.mark.parametrize("targets, nontargets, minimum", [
    ([3, 4], [1, 2], 0),  # separable: infinite ratios, all right
    ([1, 2], [3, 4], 1),  # no rising function is better than a constant
    ([2, 2], [2, 2], 1),  # nor can a function part what is equal
    ([1, 3], [1, 0], 0.5),  # all of one kind at both ends; at 1 a half of either kind says 0
    ([1, np.inf], [1, -np.inf], 0.5),
])  # fmt: skip
def test_minimum_worked_by_hand(targets, nontargets, minimum):
    assert minimum_cllr(np.array(targets, float), np.array(nontargets, float)) == pytest.approx(minimum, abs=1e-12)


def test_refusals():
    for function in (cllr, minimum_cllr):
        with pytest.raises(VouchError, match="no target scores"):
            function(np.zeros(0), np.ones(2))
        with pytest.raises(VouchError, match="1 nontarget scores are NaN"):
            function(np.ones(2), np.array([np.nan]))
