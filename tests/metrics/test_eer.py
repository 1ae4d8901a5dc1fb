"""Equal error rate: Kaldi's numbers, its rule, a closed form, and the weighted list."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from vouch.errors import VouchError
from vouch.metrics.eer import equal_error_rate, weighted_equal_error_rate


def kaldi_rule(targets, nontargets):
    """compute-eer's rule as a loop over positions."""
    targets, nontargets = sorted(targets), sorted(nontargets)
    position = 0
    while position + 1 < len(targets):
        opposite = len(nontargets) - 1 - int(len(nontargets) * position / len(targets))
        if nontargets[max(opposite, 0)] < targets[position]:
            break
        position += 1
    return position / len(targets)


@pytest.mark.parametrize("targets, nontargets, eer, threshold", [
    ([3, 4, 5], [0, 1, 2], 0, 3),
    ([0, 1, 2], [3, 4, 5], 2 / 3, 2),  # never 100 %: the last target score is the threshold
    ([0.5], [0, 1, 2, 3], 0, 0.5),  # one target: always 0
    ([1, 3], [0, 2], 0.5, 3),
    ([0, 1, 2, 3], [1.5], 0.5, 2),
    ([1, 1], [1, 1], 0.5, 1),  # ties are not below
])  # fmt: skip
def test_worked_by_hand(targets, nontargets, eer, threshold):
    assert equal_error_rate(np.array(targets, float), np.array(nontargets, float)) == (eer, threshold)


def test_shifted_gaussians_have_the_closed_form():
    generator = np.random.default_rng(0)
    targets, nontargets = generator.normal(2, 1, 200_000), generator.normal(0, 1, 300_000)
    assert equal_error_rate(targets, nontargets)[0] == pytest.approx(ndtr(-1), abs=0.002)


weighted = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 4)), min_size=1, max_size=12).filter(
    lambda pairs: any(weight for _, weight in pairs)
)


@settings(deadline=None, max_examples=200)
@given(weighted, weighted)
def test_whole_number_weights_equal_the_repeated_list(targets, nontargets):
    (target_scores, target_weights), (nontarget_scores, nontarget_weights) = (
        np.array(sorted(pairs), dtype=float).T for pairs in (targets, nontargets)
    )
    repeated_targets = np.repeat(target_scores, target_weights.astype(int))
    repeated_nontargets = np.repeat(nontarget_scores, nontarget_weights.astype(int))
    got = weighted_equal_error_rate(target_scores, target_weights, nontarget_scores, nontarget_weights)
    assert got == equal_error_rate(repeated_targets, repeated_nontargets)[0]
    assert got == kaldi_rule(repeated_targets, repeated_nontargets)


def test_refusals():
    with pytest.raises(VouchError, match="no target scores"):
        equal_error_rate(np.zeros(0), np.ones(2))
    with pytest.raises(VouchError, match="no nontarget scores"):
        equal_error_rate(np.ones(2), np.zeros(0))
    with pytest.raises(VouchError, match="1 target scores are NaN"):
        equal_error_rate(np.array([1, np.nan]), np.ones(2))


def test_kaldi_score_sets(golden):
    labels = [line.split()[2] == "target" for line in (golden / "backend" / "trials").read_text().splitlines()]
    is_target = np.array(labels)
    wanted = json.loads((golden / "metrics" / "score_sets.json").read_text())
    with np.load(golden / "backend" / "scores.npz") as sets:
        assert set(sets) == set(wanted)
        for name, scores in sets.items():
            scores = scores.astype(np.float32)
            eer, threshold = equal_error_rate(scores[is_target], scores[~is_target])
            assert f"{100 * eer:.4g}" == f"{wanted[name]['eer_percent']:.4g}", name
            assert f"{threshold:.6g}" == f"{wanted[name]['eer_threshold']:.6g}", name


def test_kaldi_edge_cases(golden):
    for name, case in json.loads((golden / "metrics" / "edge_cases.json").read_text()).items():
        targets, nontargets = (np.array(case[kind], dtype=np.float32) for kind in ("target", "nontarget"))
        eer, threshold = equal_error_rate(targets, nontargets)
        assert f"{100 * eer:.4g}" == f"{case['eer_percent']:.4g}", name
        assert f"{threshold:.6g}" == f"{case['eer_threshold']:.6g}", name
