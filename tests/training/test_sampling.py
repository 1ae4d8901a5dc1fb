"""The chunk sampler: reproducible, fair, within the utterances."""

import numpy as np
import pytest

from vouch.training.sampling import ChunkSampler, epoch_batches
from vouch.training.schedules import learning_rate_factor


class _Source:
    """Utterance u, frame t, dimension d holds 1000 u + t."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths, self.keys = lengths, [f"utt{i}" for i in range(len(lengths))]

    def read(self, index: int, start: int, frames: int) -> np.ndarray:
        assert start >= 0 and start + frames <= self.lengths[index]
        times = 1000 * index + np.arange(start, start + frames, dtype=np.float32)
        return np.repeat(times[:, None], 2, 1)


LENGTHS = [30, 500, 90, 200, 61, 333, 48]


def _sampler(**changes) -> ChunkSampler:
    options = {"samples_per_utterance": 3, "batch_size": 4, "min_frames": 50, "max_frames": 80, "seed": 5}
    return ChunkSampler(np.array(LENGTHS), **{**options, **changes})


def test_every_utterance_gives_its_chunks_once_an_epoch():
    sampler = _sampler()
    for epoch in (0, 1):
        seen = np.concatenate([sampler.batch(epoch, p)[0] for p in range(sampler.batches_per_epoch)])
        assert np.bincount(seen).tolist() == [3] * len(LENGTHS)


def test_a_batch_depends_on_seed_epoch_and_position_only():
    one, other = _sampler(), _sampler()
    for _ in range(3):
        other.batch(0, 1)  # whatever was asked before
    for place in [(1, 2), (0, 0), (1, 1)]:
        for a, b in zip(one.batch(*place), other.batch(*place), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.batch(0, 0)[0], one.batch(1, 0)[0])
    assert not np.array_equal(one.batch(0, 0)[0], _sampler(seed=6).batch(0, 0)[0])


def test_lengths_and_starts_cover_their_ranges():
    sampler = _sampler(samples_per_utterance=200, batch_size=10)
    batches = [sampler.batch(0, p) for p in range(sampler.batches_per_epoch)]
    assert {length for _, _, length in batches} == set(range(50, 81))
    starts = np.concatenate([s[u == 1] for u, s, _ in batches])
    assert starts.min() < 10 and starts.max() > 410


def test_short_utterances_are_repeated_not_dropped():
    sampler = _sampler()
    batches = list(epoch_batches(_Source(LENGTHS), np.arange(len(LENGTHS)), sampler, 0, 0, 2, workers=0))
    assert len(batches) == sampler.batches_per_epoch
    chunk = next(f for b in batches for f, label in zip(b.features, b.labels, strict=True) if label == 0)
    assert chunk[:, 0].tolist() == [t % 30 for t in range(len(chunk))]
    for batch in batches:
        for features, label, key in zip(batch.features, batch.labels, batch.utterances, strict=True):
            assert key == f"utt{label}" and (features[:, 0] // 1000 == label).all()


def test_read_ahead_gives_the_same_batches_and_an_epoch_can_begin_in_its_middle():
    sampler, source, labels = _sampler(), _Source(LENGTHS), np.arange(len(LENGTHS))
    here = list(epoch_batches(source, labels, sampler, 1, 0, 2, workers=0))
    ahead = list(epoch_batches(source, labels, sampler, 1, 2, 2, workers=1))
    assert [b.progress for b in here] == pytest.approx([0.5 + p / 10 for p in range(5)])
    for a, b in zip(here[2:], ahead, strict=True):
        assert a.features.equal(b.features) and a.utterances == b.utterances and a.progress == b.progress


def test_learning_rate_factor():
    assert learning_rate_factor(0.05, 0.1, 0.01) == pytest.approx(0.5)
    assert learning_rate_factor(0.1, 0.1, 0.01) == pytest.approx(1.0)
    assert learning_rate_factor(0.55, 0.1, 0.01) == pytest.approx((1 + 0.01) / 2)
    assert learning_rate_factor(1.0, 0.1, 0.01) == pytest.approx(0.01)
    assert learning_rate_factor(0.0, 0.1, 0.01) > 0
