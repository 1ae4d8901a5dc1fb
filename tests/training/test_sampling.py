"""The samplers: reproducible, fair, within the utterances."""

import numpy as np
import pytest

from vouch.training.permutation import permuted
from vouch.training.sampling import PairedSampler, RandomSampler, SpeakerBalancedSampler

LENGTHS = np.array([30, 500, 90, 200, 61, 333, 48])
LABELS = np.array([2, 0, 1, 0, 2, 0, 4])  # speaker 3 has no utterance here, speakers 1 and 4 have one


def _random(**changes) -> RandomSampler:
    options = {"batch_size": 4, "min_frames": 50, "max_frames": 80, "seed": 5, "samples_per_utterance": 3}
    return RandomSampler(LENGTHS, LABELS, **{**options, **changes})


def _balanced(**changes) -> SpeakerBalancedSampler:
    options = {"batch_size": 6, "min_frames": 50, "max_frames": 80, "seed": 5, "speakers": 3, "utterances": 2}
    return SpeakerBalancedSampler(LENGTHS, LABELS, **{**options, **changes})


def _paired(**changes) -> PairedSampler:
    return PairedSampler(_random(**changes), _random(batch_size=3, samples_per_utterance=1, seed=9))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 1000, 4097])
def test_permutations_have_every_number_once(size):
    places = permuted(np.arange(size), size, np.arange(3)[:, None])
    assert (np.sort(places) == np.arange(size)).all()
    np.testing.assert_array_equal(permuted(np.arange(size)[::-1], size, 1), places[1, ::-1])
    if size > 16:
        assert not np.array_equal(places[0], places[1])


@pytest.mark.parametrize("size", [6, 11])
def test_permutations_are_uniform(size):
    """Of many keys, each ordered pair of numbers stands at the first two places about as often as any other."""
    keys = 40_000
    places = permuted(np.arange(2), size, np.arange(keys)[:, None])
    pairs = np.bincount(places[:, 0] * size + places[:, 1], minlength=size**2).reshape(size, size)
    expected = keys / (size * (size - 1))
    assert (np.diag(pairs) == 0).all()
    assert (abs(pairs[~np.eye(size, dtype=bool)] / expected - 1) < 0.1 + 5 / expected**0.5).all()


def test_neighbours_of_a_large_permutation_have_nothing_in_common():
    places = permuted(np.arange(100_000), 12_000_000, 3, 1)
    assert len(np.unique(places)) == len(places)
    assert abs(np.corrcoef(places[:-1], places[1:])[0, 1]) < 0.015
    assert abs(np.corrcoef(np.arange(len(places)), places)[0, 1]) < 0.015
    assert abs(np.bincount(places // 1_000_000) / 1e5 * 12 - 1).max() < 0.05


def test_a_position_outside_the_permutation():
    with pytest.raises(ValueError, match="not all within"):
        permuted(np.array([0, 7]), 7, 1)


@pytest.mark.parametrize("samples", [1, 3])
def test_every_utterance_gives_its_chunks_once_an_epoch(samples):
    sampler = _random(samples_per_utterance=samples)
    for epoch in (0, 1):
        seen = np.concatenate([sampler.batch(epoch, p).utterances for p in range(sampler.batches_per_epoch)])
        assert np.bincount(seen).tolist() == [samples] * len(LENGTHS)


@pytest.mark.parametrize("make", [_random, _balanced, _paired])
def test_a_batch_depends_on_seed_epoch_and_position_only(make):
    one, other = make(), make()
    for _ in range(3):
        other.batch(0, 0)  # whatever was asked before
    for place in [(1, one.batches_per_epoch - 1), (0, 0), (3, 0)]:
        assert repr(one.batch(*place)) == repr(other.batch(*place))
    batches = [repr(one.batch(0, 0)), repr(one.batch(1, 0)), repr(one.batch(2, 0)), repr(make(seed=6).batch(0, 0))]
    assert len(set(batches)) == len(batches)


@pytest.mark.parametrize("make", [_random, _balanced])
def test_chunks_lie_within_their_utterances(make):
    sampler = make()
    for place in ((e, p) for e in range(40) for p in range(sampler.batches_per_epoch)):
        utterances, starts, length = sampler.batch(*place)
        assert 50 <= length <= 80
        assert ((starts >= 0) & (starts <= np.maximum(LENGTHS[utterances] - length, 0))).all()
    with pytest.raises(ValueError, match="of an epoch of"):
        sampler.batch(0, sampler.batches_per_epoch)


def test_lengths_and_starts_cover_their_ranges():
    sampler = _random(samples_per_utterance=200, batch_size=10)
    batches = [sampler.batch(0, p) for p in range(sampler.batches_per_epoch)]
    assert {length for _, _, length in batches} == set(range(50, 81))
    starts = np.concatenate([s[u == 1] for u, s, _ in batches])
    assert starts.min() < 10 and starts.max() > 410


def test_balanced_batches_have_p_speakers_and_k_utterances_of_each():
    sampler = _balanced()
    assert sampler.batches_per_epoch == 1 and sampler.group == 2
    for epoch in range(100):
        utterances = sampler.batch(epoch, 0).utterances.reshape(3, 2)
        speakers = LABELS[utterances]
        assert (speakers[:, 0] == speakers[:, 1]).all() and len(set(speakers[:, 0])) == 3
        enough = np.isin(speakers[:, 0], [0, 2])  # who has two utterances or more gives different ones
        assert ((utterances[:, 0] != utterances[:, 1]) == enough).all()


def test_balanced_speakers_take_turns_and_all_utterances_come():
    labels = np.repeat(np.arange(10), [3, 20, 5, 5, 5, 5, 5, 5, 5, 12])
    sampler = SpeakerBalancedSampler(np.full(70, 100), labels, 4, 50, 60, 1, speakers=4, utterances=1)
    assert sampler.batches_per_epoch == 18  # 6 rounds of 3 batches
    counts = np.zeros(70, int)
    for epoch in range(30):
        batches = [labels[sampler.batch(epoch, p).utterances] for p in range(18)]
        for first in range(0, 18, 3):
            turns = np.bincount(np.concatenate(batches[first : first + 3]), minlength=10)
            assert sorted(turns) == [1] * 8 + [2] * 2  # 12 places for 10 speakers
        for p in range(18):
            counts += np.bincount(sampler.batch(epoch, p).utterances, minlength=70)
    assert counts.min() > 0
    per_speaker = np.bincount(labels, weights=counts) / (30 * 6 * 1.2)
    assert abs(per_speaker - 1).max() < 0.1


def test_balanced_batches_that_cannot_be():
    with pytest.raises(ValueError, match="speakers 5 a batch, but there are 4; lower it"):
        _balanced(batch_size=5, speakers=5, utterances=1)
    with pytest.raises(ValueError, match="batch_size 6 is not speakers x utterances = 2 x 2"):
        _balanced(speakers=2)


def test_paired_batches_have_one_size_and_length_and_the_target_goes_at_its_own_pace():
    sampler = _paired()
    assert sampler.batches_per_epoch == 5
    seen = []
    for place in ((e, p) for e in range(2) for p in range(5)):
        source, target = sampler.batch(*place)
        assert source.length == target.length and len(source.utterances) == len(target.utterances)
        assert (target.starts <= np.maximum(LENGTHS[target.utterances] - target.length, 0)).all()
        np.testing.assert_array_equal(source.utterances, _random().batch(*place).utterances)
        own = sampler.target.batch(*divmod(5 * place[0] + place[1], sampler.target.batches_per_epoch)).utterances
        np.testing.assert_array_equal(target.utterances, [own[i % len(own)] for i in range(len(source.utterances))])
        seen.append(target.utterances)
    assert set(np.concatenate(seen)) == set(range(7)) and len({len(batch) for batch in seen}) > 1
