"""Detection costs and DET points: cases worked by hand, Kaldi's script, thinning."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.metrics.detection_cost import det_points, error_rates, minimum_detection_cost


def rates_of(targets, nontargets):
    return error_rates(np.array(targets, float), np.array(nontargets, float))


def test_operating_points_worked_by_hand():
    rates = rates_of([1, 2, 2], [0, 2])
    assert rates.thresholds.tolist() == [-np.inf, 0, 1, 2]
    np.testing.assert_allclose(rates.p_miss, [0, 0, 1 / 3, 1])
    np.testing.assert_allclose(rates.p_fa, [1, 0.5, 0.5, 0])  # the tie at 2 is one step


@pytest.mark.parametrize("targets, nontargets, p_target, cost, threshold", [
    ([3, 4], [1, 2], 0.01, 0, 2),
    ([1, 2], [3, 4], 0.01, 1, 4),  # useless scores: reject all
    ([1, 2], [3, 4], 0.99, 1, -np.inf),  # and accept all, when targets are frequent
    ([0.5], [0, 1, 2, 3], 0.5, 0.75, 0),  # P_miss 0, P_fa 3/4
    ([1, 3], [0, 2], 0.5, 0.5, 0),  # accept above 0: P_fa 1/2; above 2: P_miss 1/2
    ([1, 2, 3, 4], [1.5], 0.1, 0.25, 1.5),  # P_miss 1/4
    ([2, 2], [2, 2], 0.3, 1, 2),  # a tie of all scores cannot be parted
])  # fmt: skip
def test_minimum_cost_worked_by_hand(targets, nontargets, p_target, cost, threshold):
    got = minimum_detection_cost(rates_of(targets, nontargets), p_target)
    assert got == (pytest.approx(cost), threshold)


def test_costs_weigh_the_errors():
    rates = rates_of([1, 3], [0, 2])  # above 0: P_fa 1/2, above 2: P_miss 1/2
    # the first costs 0.5 x 1/2 = 0.25, the second 10 x 0.5 x 1/2 = 2.5; rejecting all costs 5, accepting all 0.5
    assert minimum_detection_cost(rates, 0.5, c_miss=10) == (pytest.approx(0.5), 0)
    assert minimum_detection_cost(rates, 0.5, c_fa=10)[1] == 2


def test_monotone_in_the_scores_and_at_most_one():
    generator = np.random.default_rng(0)
    targets, nontargets = generator.normal(1, 1, 500), generator.normal(0, 1, 3000)
    rates, bent = error_rates(targets, nontargets), error_rates(np.exp(targets), np.exp(nontargets))
    for p_target in (0.001, 0.01, 0.5, 0.999):
        cost = minimum_detection_cost(rates, p_target)[0]
        assert 0 < cost <= 1
        assert cost == pytest.approx(minimum_detection_cost(bent, p_target)[0])


def test_det_points_are_thinned_evenly():
    generator = np.random.default_rng(1)
    rates = error_rates(generator.normal(2, 1, 20_000), generator.normal(0, 1, 50_000))
    p_fa, p_miss = det_points(rates, 500)
    assert 300 < len(p_fa) <= 501
    assert (np.diff(p_fa) <= 0).all() and (np.diff(p_miss) >= 0).all()
    assert np.interp(0.2, p_fa[::-1], p_miss[::-1]) == pytest.approx(
        np.interp(0.2, rates.p_fa[::-1], rates.p_miss[::-1]), abs=2e-3
    )
    whole = det_points(rates_of([1, 2], [0, 3]), 500)
    assert len(whole[0]) == 5


@pytest.mark.parametrize("p_target, c_miss", [(0, 1), (1, 1), (0.1, 0)])
def test_refuses_impossible_costs(p_target, c_miss):
    with pytest.raises(VouchError, match="want 0 < P < 1"):
        minimum_detection_cost(rates_of([1], [0]), p_target, c_miss)


def test_kaldi_score_sets(golden):
    """Without ties the script's figure is ours: accepting all never wins at these P_target."""
    labels = [line.split()[2] == "target" for line in (golden / "backend" / "trials").read_text().splitlines()]
    is_target = np.array(labels)
    wanted = json.loads((golden / "metrics" / "score_sets.json").read_text())
    with np.load(golden / "backend" / "scores.npz") as sets:
        for name, scores in sets.items():
            rates = error_rates(scores[is_target], scores[~is_target])
            for p_target in ("0.01", "0.005", "0.001"):
                cost, _ = minimum_detection_cost(rates, float(p_target))
                assert f"{cost:.4f}" == f"{wanted[name][f'mindcf_{p_target}']:.4f}", (name, p_target)
