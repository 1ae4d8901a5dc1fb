"""Batches from chunks: read here or ahead, whole or the share of one process of several."""

import numpy as np
import pytest
import torch

from vouch.errors import VouchError
from vouch.training.loading import epoch_batches, prepare, share
from vouch.training.sampling import PairedSampler, RandomSampler

LENGTHS = [30, 500, 90, 200, 61, 333, 48]
LABELS = np.arange(len(LENGTHS))
CPU = torch.device("cpu")


class _Source:
    """Utterance u, frame t holds 1000 u + t in both dimensions."""

    def __init__(self, lengths: list[int] = LENGTHS) -> None:
        self.lengths, self.keys = np.array(lengths), [f"utt{i}" for i in range(len(lengths))]

    def read_chunks(self, indices: np.ndarray, starts: np.ndarray, length: int, place=None) -> np.ndarray:
        times = starts[:, None] + np.arange(length)
        times %= np.maximum(self.lengths[indices], length * (self.lengths[indices] >= length))[:, None]
        return np.repeat((1000 * indices[:, None] + times).astype(np.float32)[:, :, None], 2, 2)


class _LateSource(_Source):
    """Leaves the doubling of the dimensions to the device."""

    def read_chunks(self, indices: np.ndarray, starts: np.ndarray, length: int, place=None) -> tuple[np.ndarray, ...]:
        return super().read_chunks(indices, starts, length)[:, :, 0], starts

    def to_features(self, values: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        assert len(starts) == len(values)
        return torch.stack([values, values], 2)


class _Broken(_Source):
    def read_chunks(self, indices: np.ndarray, starts: np.ndarray, length: int, place=None) -> np.ndarray:
        raise VouchError("utterance utt3 in x.ark is truncated")


def _sampler(batch_size: int = 4, **options) -> RandomSampler:
    return RandomSampler(np.array(LENGTHS), LABELS, batch_size, 50, 80, 5, **{"samples_per_utterance": 3, **options})


def _same(one, other) -> bool:
    return (
        one.features.equal(other.features)
        and one.labels.equal(other.labels)
        and one.utterances == other.utterances
        and one.progress == other.progress
    )


def test_batches_hold_what_the_sampler_chose():
    sampler = _sampler()
    batches = list(epoch_batches(_Source(), LABELS, sampler, 1, 0, 4, workers=0))
    assert len(batches) == sampler.batches_per_epoch == 5
    assert [b.progress for b in batches] == pytest.approx([0.25 + p / 20 for p in range(5)])
    for position, batch in enumerate(batches):
        utterances, starts, length = sampler.batch(1, position)
        assert batch.features.shape == (len(utterances), length, 2) and batch.features.dtype == torch.float32
        assert batch.labels.tolist() == utterances.tolist()
        assert batch.utterances == [f"utt{u}" for u in utterances]
        assert batch.features[:, 0, 0].tolist() == (1000 * utterances + starts).tolist()
        assert batch.target is None


def test_read_ahead_gives_the_same_batches_and_an_epoch_can_begin_in_its_middle():
    here = list(epoch_batches(_Source(), LABELS, _sampler(), 1, 0, 2, workers=0))
    ahead = list(epoch_batches(_Source(), LABELS, _sampler(), 1, 2, 2, workers=2))
    assert len(ahead) == 3
    assert all(_same(*pair) for pair in zip(here[2:], ahead, strict=True))


def test_the_shares_of_all_processes_are_the_batch():
    whole = list(epoch_batches(_Source(), LABELS, _sampler(7), 0, 0, 2, workers=0))
    shares = [list(epoch_batches(_Source(), LABELS, _sampler(7), 0, 0, 2, 0, rank, 3)) for rank in range(3)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert [len(part.labels) for part in parts] == [2, 2, 3]
        assert torch.cat([part.features for part in parts]).equal(batch.features)
        assert [u for part in parts for u in part.utterances] == batch.utterances


@pytest.mark.parametrize(("count", "group", "world"), [(64, 1, 2), (10, 1, 4), (12, 4, 2), (11, 2, 3), (5, 1, 5)])
def test_shares_are_whole_groups_as_equal_as_possible(count, group, world):
    parts = [range(count)[share(count, group, rank, world)] for rank in range(world)]
    assert [i for part in parts for i in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= group + count % group and all(part[0] % group == 0 for part in parts)


def test_more_processes_than_chunks():
    with pytest.raises(VouchError, match="a batch of 4 chunks in groups of 2 is too small for 3 processes"):
        share(4, 2, 0, 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_chunk_is_one_line_from_a_worker_too(workers):
    with pytest.raises(VouchError) as caught:
        list(epoch_batches(_Broken(), LABELS, _sampler(), 0, 0, 1, workers))
    assert str(caught.value) == "utterance utt3 in x.ark is truncated"


def test_paired_batches_and_their_shares():
    sampler = PairedSampler(_sampler(), _sampler(6, samples_per_utterance=2))
    arguments = LABELS, sampler, 0, 0, 1, 0
    other = _Source([n + 1 for n in LENGTHS])
    [whole, *_] = epoch_batches(_Source(), *arguments, target=other)
    halves = [next(epoch_batches(_Source(), *arguments, rank, 2, other)) for rank in range(2)]
    chunks = sampler.batch(0, 0).target
    assert whole.target[:, 0, 0].tolist() == (1000 * chunks.utterances + chunks.starts).tolist()
    assert whole.target.shape[1] == whole.features.shape[1]
    assert torch.cat([half.target for half in halves]).equal(whole.target)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_may_leave_work_to_the_device(workers):
    source, sampler = _LateSource(), _sampler()
    late = epoch_batches(source, LABELS, sampler, 0, 0, 1, workers)
    plain = epoch_batches(_Source(), LABELS, sampler, 0, 0, 1, 0)
    for one, other in zip(late, plain, strict=True):
        assert _same(prepare(one, source, CPU), prepare(other, _Source(), CPU))
    paired = PairedSampler(sampler, sampler)
    batch = next(epoch_batches(_Source(), LABELS, paired, 0, 0, 1, 0, target=source))
    ready = prepare(batch, _Source(), CPU, source)
    assert ready.target.shape == ready.features.shape
