"""The interval of the EER: speakers from trials, weights, coverage, determinism."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from vouch.errors import VouchError
from vouch.metrics.eer import equal_error_rate
from vouch.metrics.intervals import eer_interval, speakers_of_trials


def crossed_trials(num_speakers: int, tests_each: int = 2):
    """(models, tests, is_target): every model of `num_speakers` against every test segment."""
    models, tests = np.divmod(np.arange(num_speakers * num_speakers * tests_each), num_speakers * tests_each)
    return models, tests, tests // tests_each == models


def test_speakers_are_the_components_of_the_target_trials():
    # models 0 and 1 share test 0 (one speaker); model 2 has test 1; test 2 has no target trial
    models, tests = np.array([0, 1, 2, 0, 0]), np.array([0, 0, 1, 1, 2])
    is_target = np.array([True, True, True, False, False])
    model_speaker, test_speaker, num_speakers = speakers_of_trials(models, tests, is_target)
    assert num_speakers == 3
    assert model_speaker[0] == model_speaker[1] == test_speaker[0]
    assert model_speaker[2] == test_speaker[2] == test_speaker[3] != model_speaker[0]
    assert test_speaker[4] not in (model_speaker[0], model_speaker[2])


def test_samples_are_the_eers_of_the_drawn_speakers():
    """Draw the same speakers by hand, repeat their trials, and take plain EERs."""
    models, tests, is_target = crossed_trials(6)
    scores = np.random.default_rng(0).normal(size=len(models)) + 1.5 * is_target
    # a second model of each speaker, which makes some nontarget trials lie within one speaker: they count once a draw
    more = np.arange(12)
    within = np.repeat([True, False], 6)
    models, tests = np.append(models, 6 + more % 6), np.append(tests, 2 * (more % 6) + (more >= 6))
    is_target, scores = np.append(is_target, within), np.append(scores, np.linspace(2, 3, 12))
    generator, samples = np.random.default_rng(9), []
    while len(samples) < 40:
        draws = np.bincount(generator.integers(6, size=6), minlength=6)
        speaker, other = models % 6, tests // 2
        times = np.where(speaker == other, draws[speaker], draws[speaker] * draws[other])
        repeated, labels = np.repeat(scores, times), np.repeat(is_target, times)
        if labels.any() and not labels.all():
            samples.append(equal_error_rate(repeated[labels], repeated[~labels])[0])
    wanted = np.quantile(samples, [0.05, 0.95])
    assert eer_interval(scores, is_target, models, tests, 40, seed=9, level=0.9) == pytest.approx(tuple(wanted))


def test_the_interval_covers_the_true_eer():
    """Speakers with an offset of their own: about 95 % of the 95 % intervals hold the true EER."""
    models, tests, is_target = crossed_trials(40)
    true_eer, covered = ndtr(-1.0), 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        offset = generator.normal(0, 0.5, 40)
        noise = generator.normal(0, np.sqrt(0.75), len(models))
        # variance 0.25 + 0.75 = 1 for targets; nontargets take half of each speaker's variance
        pair_offset = (offset[models] + offset[tests // 2]) / np.sqrt(2)
        scores = np.where(is_target, 2 + offset[models], pair_offset) + noise
        low, high = eer_interval(scores, is_target, models, tests, 100, seed)
        covered += low <= true_eer <= high
    assert 51 <= covered <= 60


def test_more_speakers_narrow_it_and_the_seed_fixes_it():
    widths = []
    for num_speakers in (10, 80):
        models, tests, is_target = crossed_trials(num_speakers)
        scores = np.random.default_rng(0).normal(size=len(models)) + 2 * is_target
        low, high = eer_interval(scores, is_target, models, tests, 200)
        assert low <= equal_error_rate(scores[is_target], scores[~is_target])[0] <= high
        assert (low, high) == eer_interval(scores, is_target, models, tests, 200)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_order_of_the_trials_does_not_matter():
    models, tests, is_target = crossed_trials(20)
    scores = np.random.default_rng(0).normal(size=len(models)) + 2 * is_target
    tied = np.round(scores, 1)
    shuffled = np.concatenate([np.arange(20) * 41, np.setdiff1d(np.arange(800), np.arange(20) * 41)[::-1]])
    wanted = eer_interval(tied, is_target, models, tests, 100)
    got = eer_interval(tied[shuffled], is_target[shuffled], models[shuffled], tests[shuffled], 100)
    assert got == wanted


def test_refusals():
    models, tests, is_target = crossed_trials(3)
    scores = np.zeros(len(models))
    with pytest.raises(VouchError, match="no nontarget scores"):
        eer_interval(scores[is_target], is_target[is_target], models[is_target], tests[is_target])
    with pytest.raises(VouchError, match="one speaker"):
        eer_interval(scores[:6], is_target[:6], models[:6], tests[:6])
    with pytest.raises(VouchError, match="num-samples"):
        eer_interval(scores, is_target, models, tests, 0)
