"""Linear probes: a planted property is found, noise and remembered speakers are not; folds, interval, drawing."""

from __future__ import annotations

import numpy as np
import pytest

from vouch.metrics.probe import (
    draw_evenly,
    families,
    group_folds,
    has_enough_groups,
    held_out_answers,
    probe,
    shuffle_labels,
    speaker_interval,
)


def test_a_planted_property_is_found_in_its_dimension_alone():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 8)
    labels = generator.integers(3, size=320)
    vectors = generator.normal(size=(320, 12))
    vectors[:, 5] += 4 * (labels == 1)
    vectors[:, 7] -= 4 * (labels == 2)
    found = probe(vectors, labels, groups, groups)
    assert found.value > 0.93 and found.low <= found.value <= found.high
    assert abs(found.shuffled - 1 / 3) < 0.08
    assert found.trivial == np.bincount(labels).max() / 320 and found.fitted == 256
    without = probe(np.delete(vectors, [5, 7], axis=1), labels, groups, groups)
    assert abs(without.value - 1 / 3) < 0.1


def test_a_planted_number_is_estimated():
    """R^2 against its formula: signal of variance 1, noise of variance 1/4 in the one dimension that has it."""
    generator = np.random.default_rng(7)
    groups, numbers = np.repeat(np.arange(100), 8), generator.normal(size=800)
    vectors = generator.normal(size=(800, 10))
    vectors[:, 3] = 5 * numbers + 2.5 * generator.normal(size=800) + 100
    found = probe(vectors, numbers, groups, groups)
    assert abs(found.value - 1 / 1.25) < 0.03 and found.low < found.value < found.high < found.low + 0.1
    assert abs(found.shuffled) < 0.05 and found.trivial == 0
    folds = groups % 5
    answers = held_out_answers(vectors, numbers, folds, groups, strengths=(0.01,), whitened=False)
    rest = folds != 2
    scaled = (vectors - vectors[rest].mean(0)) / vectors[rest].std(0)
    mean = numbers[rest].mean()
    weights = np.linalg.solve(scaled[rest].T @ scaled[rest] + 100 * np.eye(10), scaled[rest].T @ (numbers[rest] - mean))
    np.testing.assert_allclose(answers[~rest], scaled[~rest] @ weights + mean, rtol=1e-6)
    without = probe(np.delete(vectors, 3, axis=1), numbers, groups, groups)
    assert abs(without.value) < 0.05 and without.low < 0


def test_what_lies_in_directions_of_little_variance_is_found():
    """A code of the class, one hundredth of 16 other directions, rotated among them and a few vectors far out."""
    generator = np.random.default_rng(3)
    labels, groups = np.repeat(np.arange(10), 40), np.arange(400)
    whole = np.concatenate([generator.normal(size=(400, 16)), 0.01 * np.eye(10)[labels]], axis=1)
    whole += 0.001 * generator.normal(size=whole.shape)
    vectors = whole @ np.linalg.qr(generator.normal(size=(26, 26)))[0]
    folds = group_folds(labels, groups, 5, np.random.default_rng(0))
    assert np.mean(held_out_answers(vectors, labels, folds, groups, whitened=False) == labels) < 0.4
    assert np.mean(held_out_answers(vectors, labels, folds, groups) == labels) > 0.95
    shuffled = generator.permutation(labels)
    assert np.mean(held_out_answers(vectors, shuffled, folds, groups) == shuffled) < 0.2


def test_more_dims_than_utterances_are_probed():
    """Of a rank below their number, as embeddings of few utterances have."""
    generator = np.random.default_rng(5)
    labels, groups = np.repeat([0, 1], 40), np.arange(80)
    vectors = np.concatenate([generator.normal(size=(80, 150))] * 2, axis=1)
    vectors[:, :20] += 3 * labels[:, None]
    assert probe(vectors, labels, groups, groups, shuffles=1).value > 0.9


def test_the_interval_of_a_number_is_finite_where_few_speak():
    """Each of three voices has one value, so that a resample may have a single one."""
    generator = np.random.default_rng(2)
    speakers = np.repeat(np.arange(3), 20)
    numbers = np.array([0.1, 0.2, 0.3])[speakers]
    found = probe(np.stack([numbers + 0.05 * generator.normal(size=60)], 1), numbers, np.arange(60), speakers)
    assert -2 < found.low <= found.value <= found.high <= 1


def test_noise_is_at_chance():
    generator = np.random.default_rng(1)
    found = []
    for seed in range(6):
        groups, labels = np.repeat(np.arange(50), 6), np.tile([0, 1], 150)
        found.append(probe(generator.normal(size=(300, 10)), labels, groups, groups, shuffles=1, seed=seed))
    assert abs(np.mean([one.value for one in found]) - 0.5) < 0.04
    assert abs(np.mean([one.shuffled for one in found]) - 0.5) < 0.04


def test_a_property_that_speakers_have_by_chance_is_not_learnt():
    """Embeddings that are their speaker's alone: with speakers held out a coin of each speaker is not to be told; with
    utterances held out it would be."""
    generator = np.random.default_rng(2)
    speakers = np.repeat(np.arange(40), 8)
    remembered, told = [], []
    for seed in range(4):
        vectors = 3 * generator.normal(size=(40, 60))[speakers] + generator.normal(size=(320, 60))
        coins = generator.permutation(40)[speakers] % 2
        told.append(probe(vectors, coins, speakers, speakers, shuffles=1, seed=seed))
        remembered.append(probe(vectors, coins, np.arange(320), speakers, shuffles=1, seed=seed).value)
    assert np.mean(remembered) > 0.95
    assert abs(np.mean([one.value for one in told]) - 0.5) < 0.12
    assert abs(np.mean([one.shuffled for one in told]) - 0.5) < 0.12


def test_folds_hold_whole_groups_and_as_many_of_each_class():
    generator = np.random.default_rng(3)
    groups = np.repeat(generator.permutation(60), 4)
    labels = groups % 3
    folds = group_folds(labels, groups, 5, np.random.default_rng(0))
    for group in range(60):
        assert len(set(folds[groups == group].tolist())) == 1
    for label in range(3):
        np.testing.assert_array_equal(np.bincount(folds[labels == label]), [16] * 5)


def test_every_part_has_a_rare_class_among_groups_of_a_frequent_one():
    groups = np.repeat(np.arange(30), 2)
    labels = np.where((groups < 3) & (np.arange(60) % 2 == 0), 1, 0)
    for seed in range(20):
        folds = group_folds(labels, groups, 5, np.random.default_rng(seed))
        assert len(set(folds[labels == 1].tolist())) == 3
    probe(np.random.default_rng(0).normal(size=(60, 2)), labels, groups, groups, shuffles=1)


def test_balanced_accuracy_is_the_mean_of_the_classes():
    generator = np.random.default_rng(8)
    groups = np.repeat(np.arange(60), 5)
    labels = np.where(groups < 50, 0, 1)
    vectors = generator.normal(size=(300, 4))
    vectors[:, 0] += labels
    found = probe(vectors, labels, groups, groups, shuffles=1, seed=3, balanced=True)
    parts = group_folds(labels, groups, 5, np.random.default_rng(3))
    answers = held_out_answers(vectors, labels, parts, groups, balanced=True)
    assert abs(found.value - np.mean([np.mean(answers[labels == label] == label) for label in (0, 1)])) < 1e-12
    assert found.trivial == 0.5 and 0.55 < found.low < found.value < found.high
    voices = np.where(labels == 0, groups, 50)  # one voice has all of class 1, and is not in every resample
    each = [np.mean(answers[labels == label] == label) for label in (0, 1)]
    found = probe(vectors, labels, groups, voices, shuffles=1, seed=3, balanced=True)
    assert found.value == pytest.approx(np.mean(each)) and found.high < max(1, each[0] + 0.1)
    assert probe(vectors, labels, groups, groups, shuffles=1).trivial == 50 / 60


def test_each_answer_is_of_the_formula_fitted_to_the_other_folds():
    """Two classes: the minimum of sum log(1 + exp(-z)) + |w|^2 / 2C, found here by plain gradient descent."""
    generator = np.random.default_rng(4)
    labels, folds = np.tile([0, 1], 30), np.repeat([0, 1, 2], 20)
    vectors = generator.normal(size=(60, 3)) * [1, 10, 0.1] + 0.7 * labels[:, None] * [1, 0, 0]
    answers = held_out_answers(vectors, labels, folds, folds, strengths=(0.1,), whitened=False)
    expected = np.empty(60, dtype=int)
    for fold in range(3):
        rest = folds != fold
        scaled = (vectors - vectors[rest].mean(0)) / vectors[rest].std(0)
        signs, weights, offset = 2 * labels[rest] - 1, np.zeros(3), 0.0
        for _ in range(4000):
            slope = -signs / (1 + np.exp(signs * (scaled[rest] @ weights + offset)))
            weights -= 0.02 * (slope @ scaled[rest] + weights / 0.1)
            offset -= 0.02 * slope.sum()
        expected[~rest] = (scaled[~rest] @ weights + offset) > 0
    np.testing.assert_array_equal(answers, expected)
    assert 0.55 < np.mean(answers == labels) < 1


def test_the_regularisation_is_chosen_without_the_part_that_is_asked():
    """Labels of a fold do not change its own answers."""
    generator = np.random.default_rng(5)
    labels, groups = np.tile([0, 1], 60), np.repeat(np.arange(60), 2)
    vectors = generator.normal(size=(120, 20)) + labels[:, None] * 0.5
    folds = groups % 4
    before = held_out_answers(vectors, labels, folds, groups)
    changed = np.where(folds == 2, 1 - labels, labels)
    after = held_out_answers(vectors, changed, folds, groups)
    np.testing.assert_array_equal(before[folds == 2], after[folds == 2])
    assert (before != after).any()


def test_the_interval_covers():
    """Speakers whose utterances share a probability of a right answer: 0.7 in the mean."""
    generator = np.random.default_rng(6)
    speakers, covered, widths = np.repeat(np.arange(60), 5), 0, []
    for _ in range(200):
        right = generator.random(300) < generator.beta(1.4, 0.6, size=60)[speakers]
        statistics = np.stack([right, np.ones(300)], axis=1)
        low, high = speaker_interval(statistics, lambda sums: sums[..., 0] / sums[..., 1], speakers, num_samples=300)
        covered += low <= 0.7 <= high
        widths.append(high - low)
    assert 0.89 <= covered / 200 <= 0.99
    # clustered by speakers: wider than of independent answers
    assert np.mean(widths) > 1.3 * 2 * 1.96 * np.sqrt(0.7 * 0.3 / 300)


def test_shuffling_keeps_what_a_group_has_in_common():
    groups = np.repeat(np.arange(30), 3)
    shuffled = shuffle_labels(groups % 2, groups, np.random.default_rng(0))
    assert (shuffled.reshape(30, 3) == shuffled[::3, None]).all() and shuffled.sum() == 45
    assert (shuffled != groups % 2).any()
    mixed = np.arange(90) % 3
    assert np.array_equal(np.bincount(shuffle_labels(mixed, groups, np.random.default_rng(0))), [30] * 3)


def test_speakers_who_share_recordings_are_one_voice():
    # speakers 0 and 1 share recording 4; 2 shares with nobody; 3 shares recording 9 with 1
    voices = families(np.array([0, 0, 1, 1, 2, 3]), np.array([4, 5, 4, 9, 2, 9]))
    assert voices[0] == voices[1] == voices[2] == voices[3] == voices[5] != voices[4]
    assert sorted(set(voices.tolist())) == [0, 1]


def test_drawing_is_even():
    speakers = np.repeat([3, 7, 9], [50, 5, 20])
    rows = draw_evenly(speakers, 30, np.random.default_rng(0))
    assert np.array_equal(rows, np.unique(rows))
    counts = np.unique(speakers[rows], return_counts=True)[1]
    assert counts.sum() == 30 and counts[1] == 5 and abs(counts[0] - counts[2]) <= 1
    assert not np.array_equal(rows, draw_evenly(speakers, 30, np.random.default_rng(1)))
    np.testing.assert_array_equal(draw_evenly(speakers, 80, np.random.default_rng(0)), np.arange(75))


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_two_classes_leave_each_class_in_every_part(seed):
    """Voices 0 to 2 have class 0, 2 to 4 class 1: each lies in three folds, whatever voice 2 is counted for."""
    groups = np.repeat([0, 1, 2, 2, 3, 4], 4)
    labels = np.repeat([0, 0, 0, 1, 1, 1], 4)
    folds = group_folds(labels, groups, 5, np.random.default_rng(seed))
    for label in (0, 1):
        assert len(np.unique(folds[labels == label])) == 3
    assert all(len(np.unique(folds[groups == group])) == 1 for group in range(5))
    vectors = np.random.default_rng(seed).normal(size=(24, 3))
    assert 0 <= probe(vectors, labels, groups, groups, seed=seed).value <= 1


def test_a_shuffled_rare_class_lies_in_enough_groups():
    """Three of 60 utterances, of groups that have both classes: drawn anew until three groups have one."""
    groups, labels = np.repeat(np.arange(6), 10), np.zeros(60, dtype=int)
    labels[[0, 10, 20]] = 1
    for seed in range(20):
        shuffled = shuffle_labels(labels, groups, np.random.default_rng(seed))
        assert len(np.unique(groups[shuffled == 1])) == 3
    with pytest.raises(ValueError, match="a class lies in fewer than 3 groups"):
        shuffle_labels(np.array([0, 1] * 4), np.repeat([0, 1], 4), np.random.default_rng(0))


def test_what_is_no_probe():
    labels, groups = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2]), np.array([0, 0, 1, 2, 3, 4, 5, 6, 6])
    np.testing.assert_array_equal(has_enough_groups(labels, groups), labels < 2)
    vectors = np.zeros((9, 2))
    for keep in (labels < 3, labels < 1):
        with pytest.raises(ValueError, match="wants two classes or more, each of 3 groups or more"):
            probe(vectors[keep], labels[keep], groups[keep], groups[keep])
    with pytest.raises(ValueError, match="2 folds leave no part"):
        probe(vectors, labels, groups, groups, folds=2)
