"""SRE16's equalised costs and EER: 16 partitions worked by hand, loops over partitions, one partition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.metrics.detection_cost import error_rates, minimum_detection_cost
from vouch.metrics.eer import equal_error_rate
from vouch.metrics.equalised import (
    actual_primary_cost,
    equalised_eer,
    equalised_error_rates,
    minimum_primary_cost,
)

# Of 16 partitions, target scores and nontarget scores. The thresholds are ln 99 = 4.595 and ln 199 = 5.293.
PARTITIONS = [
    ([6, 6, 6, 6], []),  #   0: no miss                     (no nontargets here and below: they do not count in P_fa)
    ([5, 6, 6, 6], []),  #   1: no miss; at 5.293 1 of 4
    ([4, 6], []),  #         2: 1 of 2
    ([0], []),  #            3: 1 of 1
    ([6], [0, 0, 0, 0]),  #  4: no error
    ([6], [5, 0, 0, 0]),  #  5: P_fa 1/4 at 4.595, 0 at 5.293
    ([6, 0], [6, 0]),  #     6: P_miss 1/2, P_fa 1/2
    ([0, 0, 0, 6], [0]),  #  7: P_miss 3/4
    ([], [0, 0]),  #         8: (no targets here and below: they do not count in P_miss)
    ([], [0, 0, 0, 6]),  #   9: P_fa 1/4
    ([], [0]),  #           10
    ([], [5, 5, 0, 0]),  #  11: P_fa 1/2 at 4.595, 0 at 5.293
    ([], []),  #            12 to 15: no trials at all
    ([], []),
    ([], []),
    ([], []),
]


def trials_of(partitions):
    """(scores, is_target, partition) of lists as above."""
    rows = [(score, kind == 0, i) for i, both in enumerate(partitions) for kind in (0, 1) for score in both[kind]]
    scores, is_target, partition = (np.array(column) for column in zip(*rows, strict=True))
    return scores.astype(float), is_target, partition


def test_sixteen_partitions_worked_by_hand():
    scores, is_target, partition = trials_of(PARTITIONS)
    # Eight partitions have targets: at ln 99 their miss rates are 0, 0, 1/2, 1, 0, 0, 1/2, 3/4, at ln 199 the second
    # is 1/4. Eight have nontargets: 0, 1/4, 1/2, 0, 0, 1/4, 0, 1/2 at ln 99, and 0, 0, 1/2, 0, 0, 1/4, 0, 0 at ln 199.
    at_99 = 2.75 / 8 + 99 * 1.5 / 8
    at_199 = 3 / 8 + 199 * 0.75 / 8
    assert actual_primary_cost(scores, is_target, partition) == pytest.approx((at_99 + at_199) / 2, rel=1e-12)
    rates = equalised_error_rates(scores, is_target, partition)
    # thresholds: accept all; above 0 (P_miss (1 + 1/2 + 3/4)/8, P_fa 1.5/8), above 4, 5 and 6
    assert rates.thresholds.tolist() == [-math.inf, 0, 4, 5, 6]
    np.testing.assert_allclose(rates.p_miss, [0, 2.25 / 8, 2.75 / 8, 3 / 8, 1], rtol=1e-12)
    np.testing.assert_allclose(rates.p_fa, [1, 1.5 / 8, 1.5 / 8, 0.75 / 8, 0], rtol=1e-12, atol=1e-12)
    assert minimum_primary_cost(rates) == pytest.approx(1)  # rejecting all
    # between accepting all (0, 1) and above 0 (9/32, 6/32): t 9/32 = 1 - t 26/32 at t = 32/35
    assert equalised_eer(rates) == pytest.approx(9 / 35, rel=1e-12)


def test_a_good_system_worked_by_hand():
    # one partition of 2 targets and 200 nontargets, another of 1 and 1: thresholds at 1, 2, 3 reject nontargets only
    scores, is_target, partition = trials_of([([5, 2], [1] * 199 + [3]), ([4], [0])])
    # above 3: P_miss 1/4, P_fa 0: 1/4 for both betas; above 1: P_miss 0, P_fa 1/400: 99/400 and 199/400
    assert minimum_primary_cost(equalised_error_rates(scores, is_target, partition)) == pytest.approx(
        (99 / 400 + 1 / 4) / 2
    )


def slowly(scores, is_target, partition):
    """(actual C_primary, minimum C_primary, EER) by loops."""
    names = sorted(set(partition.tolist()))

    def rates(threshold):
        sides = [], []
        for name in names:
            for target in (True, False):
                own = [s for s, t, p in zip(scores, is_target, partition, strict=True) if p == name and t == target]
                if own:
                    errors = [s <= threshold if target else s > threshold for s in own]
                    sides[not target].append(sum(errors) / len(own))
        return [sum(side) / len(side) for side in sides]

    def cost(threshold, beta):
        p_miss, p_fa = rates(threshold)
        return p_miss + beta * p_fa

    thresholds = [-math.inf, *sorted(set(scores.tolist()))]
    actual = sum(cost(math.log(beta), beta) for beta in (99, 199)) / 2
    minimum = sum(min(cost(threshold, beta) for threshold in thresholds) for beta in (99, 199)) / 2
    points = [rates(threshold) for threshold in thresholds]
    for before, after in zip(points, points[1:], strict=False):
        if after[0] >= after[1]:
            low, high = 0.0, 1.0  # halve the segment between the two points
            for _ in range(60):
                middle = (low + high) / 2
                p_miss, p_fa = (b + middle * (a - b) for b, a in zip(before, after, strict=True))
                low, high = (middle, high) if p_miss < p_fa else (low, middle)
            return actual, minimum, p_miss
    raise AssertionError


@pytest.mark.parametrize("seed", range(8))
def test_loops_over_random_trials_with_ties(seed):
    generator = np.random.default_rng(seed)
    is_target = generator.random(300) < 0.3
    partition = generator.choice([-3, 7, 8, 20], p=[0.6, 0.3, 0.05, 0.05], size=300)
    if seed % 2:
        is_target[partition == 8] = True
        is_target[partition == 20] = False
    scores = np.round(generator.normal(size=300) * 2 + 3 * is_target + (partition == 7), 1)
    actual, minimum, eer = slowly(scores, is_target, partition)
    assert actual_primary_cost(scores, is_target, partition) == pytest.approx(actual, rel=1e-9)
    rates = equalised_error_rates(scores, is_target, partition)
    assert minimum_primary_cost(rates) == pytest.approx(minimum, rel=1e-9)
    assert equalised_eer(rates) == pytest.approx(eer, rel=1e-9)
    # partitions that are unlike and unequal: the equalised result is another than the plain one
    assert equalised_eer(rates) != pytest.approx(equalised_eer(error_rates(scores[is_target], scores[~is_target])))


@pytest.mark.parametrize("seed", range(4))
def test_one_partition_is_the_unequalised_result(seed):
    generator = np.random.default_rng(seed)
    is_target = np.arange(2000) % 7 == 0
    scores = generator.normal(size=2000) + 2 * is_target
    rates = equalised_error_rates(scores, is_target, np.full(2000, 5))
    plain = error_rates(scores[is_target], scores[~is_target])
    for got, wanted in zip(rates, plain, strict=True):
        np.testing.assert_array_equal(got, wanted)
    costs = [minimum_detection_cost(plain, p_target)[0] for p_target in (0.01, 0.005)]
    assert minimum_primary_cost(rates) == sum(costs) / 2
    kaldi = equal_error_rate(scores[is_target], scores[~is_target])[0]
    assert kaldi - 1 / is_target.sum() - 1e-12 < equalised_eer(rates) < kaldi + 1e-12


@pytest.mark.parametrize("targets, nontargets, eer", [
    ([3, 4], [1, 2], 0),
    ([1, 2], [3, 4], 1),
    ([1, 3], [0, 2], 0.5),
    ([0.5], [0, 1, 2, 3], 0.75),  # the diagonal is crossed while the only target is rejected
    ([1, 3, 4], [0, 1, 2], 1 / 3),  # above 1 the rates are equal
    ([2, 2], [2, 2], 0.5),  # one slanted step from accepting to rejecting all
])  # fmt: skip
def test_eer_worked_by_hand(targets, nontargets, eer):
    assert equalised_eer(error_rates(np.array(targets, float), np.array(nontargets, float))) == pytest.approx(eer)


def test_decisions_are_above_the_threshold():
    scores, is_target = np.array([np.log(99), 9, -9]), np.array([True, True, False])
    assert actual_primary_cost(scores, is_target, np.zeros(3)) == 0.5  # ln 99 is not above ln 99, nor above ln 199


def test_infinite_ratios_are_decisions_too():
    scores, is_target = np.array([np.inf, -np.inf, -np.inf]), np.array([True, True, False])
    assert actual_primary_cost(scores, is_target, np.zeros(3)) == 0.5
    rates = equalised_error_rates(scores, is_target, np.zeros(3))
    assert minimum_primary_cost(rates) == 0.5


def test_refusals():
    for function in (actual_primary_cost, equalised_error_rates):
        with pytest.raises(VouchError, match="no nontarget scores"):
            function(np.zeros(2), np.array([True, True]), np.zeros(2))
        with pytest.raises(VouchError, match="1 target scores are NaN"):
            function(np.array([np.nan, 0]), np.array([True, False]), np.zeros(2))
