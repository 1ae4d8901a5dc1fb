"""What is held out, and what is measured on it."""

import numpy as np
import pytest
from engine_examples import Source, objective, trainer
from hypothesis import given, settings
from hypothesis import strategies as st

from vouch.errors import VouchError
from vouch.metrics.eer import equal_error_rate
from vouch.training.distributed import Processes
from vouch.training.domain_probe import domain_probe
from vouch.training.options import HeldOutOptions
from vouch.training.validation import hold_out, hold_out_target, pairwise_eer


def _corpus(recordings: list[int], copies: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups of speakers with so many recordings, each there `copies` times."""
    labels = np.repeat(np.arange(len(recordings)), recordings)
    return np.tile(labels, copies), np.tile(np.arange(len(labels)), copies)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=12, max_size=40), st.integers(1, 3), st.floats(0.1, 0.5), st.integers(0, 9)
)
def test_recordings_go_whole_and_every_speaker_stays(recordings, copies, share, seed):
    labels, groups = _corpus([*recordings, 20, 20, 20], copies)
    out = hold_out(labels, groups, HeldOutOptions(share=share), seed)
    assert set(labels[~out]) == set(labels)  # no speaker is lost
    assert not set(groups[out]) & set(groups[~out])  # no copy of a held-out recording is trained on
    counts = np.bincount(labels[out]) // copies
    assert not (counts == 1).any()  # one recording makes no target pair
    sizes = np.array([*recordings, 20, 20, 20])
    give = np.bincount(labels[out], minlength=len(sizes)) // copies
    enough = (share * sizes >= 2) & (sizes > 2)
    np.testing.assert_array_equal(give[enough], np.floor(share * sizes[enough] + 0.5))
    assert np.array_equal(out, hold_out(labels, groups, HeldOutOptions(share=share), seed))


def test_speed_copies_of_a_recording_go_with_it():
    labels, groups = _corpus([8, 8, 10, 12] * 5, 2)  # two copies of each recording,
    speeds = 3  # and all at three speeds, whose speakers are others
    labels = np.concatenate([labels + 20 * speed for speed in range(speeds)])
    groups = np.tile(groups, speeds)
    out = hold_out(labels, groups, HeldOutOptions(share=0.25), 3)
    assert not set(groups[out]) & set(groups[~out]) and set(labels[~out]) == set(range(20 * speeds))
    assert np.array_equal(np.bincount(labels[out]), 2 * np.tile(np.array([2, 2, 3, 3]), 5 * speeds))


def test_a_small_share_comes_from_some_speakers():
    labels, groups = _corpus([10] * 200, 1)
    out = hold_out(labels, groups, HeldOutOptions(share=0.05), 0)
    assert out.sum() == 100 and set(np.bincount(labels[out])) == {0, 2}
    out = hold_out(labels, groups, HeldOutOptions(share=0.5, most=100), 0)
    assert out.sum() == 100


def test_too_little_to_hold_out():
    labels, groups = _corpus([2, 2, 2], 1)
    with pytest.raises(VouchError, match=r"held_out.share 0.1 of 6 utterances gives fewer than two speakers"):
        hold_out(labels, groups, HeldOutOptions(share=0.1), 0)


def test_eer_over_pairs_of_different_recordings():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 4)
    groups = np.arange(24) // 2  # two copies of each recording
    embeddings = generator.normal(size=(24, 3)) + generator.normal(size=(6, 3))[labels] + 5
    targets, nontargets = [], []
    centred = embeddings - embeddings.mean(0)
    for i in range(24):
        for j in range(i):
            a, b = centred[i], centred[j]
            score = a @ b / np.sqrt(a @ a * (b @ b))
            if labels[i] != labels[j]:
                nontargets.append(score)
            elif groups[i] != groups[j]:
                targets.append(score)
    assert len(targets) == 24
    assert pairwise_eer(embeddings, labels, groups) == equal_error_rate(np.array(targets), np.array(nontargets))[0]
    assert np.isnan(pairwise_eer(np.full((24, 3), np.nan), labels, groups))


class _Recording(Processes):
    """One of two processes: keeps what it would give the other, and takes what the other gave."""

    def __init__(self, rank: int, world: int, others: list) -> None:
        super().__init__()
        self.rank, self.world, self.given, self._others = rank, world, [], others

    def gather(self, values):
        self.given = values
        return [*self._others, values]


def test_processes_share_the_held_out_speech(tmp_path, monkeypatch):
    monkeypatch.setattr("vouch.training.validation._BATCH_FRAMES", 200)
    run = trainer(tmp_path, Source(32, 4), objective(speakers=4), held_out=HeldOutOptions(share=0.25, max_frames=60))

    def evaluate(processes: Processes) -> dict[str, float]:
        return run.held_out.evaluate(run.objective, run.device, "float32", processes)

    alone = evaluate(Processes())
    assert 0 <= alone["eer"] <= 100 and 0 <= alone["accuracy"] <= 1 and alone["loss"] > 0
    assert run.objective.training  # as it was before
    first = _Recording(0, 2, [])
    monkeypatch.setattr("vouch.training.validation.pairwise_eer", lambda *_: 0.0)  # of one share there may be none
    evaluate(first)
    monkeypatch.undo()
    monkeypatch.setattr("vouch.training.validation._BATCH_FRAMES", 200)
    second = _Recording(1, 2, [first.given])
    assert evaluate(second) == alone
    assert len(first.given) == 2 and len(second.given) == 1  # of three batches


def test_all_copies_of_a_recording_of_the_target_are_held_out_together():
    groups = np.random.default_rng(1).integers(0, 40, 300)
    out = hold_out_target(groups, HeldOutOptions(share=0.25), 2)
    assert len(np.unique(groups[out])) == 10 and not np.intersect1d(groups[out], groups[~out]).size
    assert np.array_equal(out, hold_out_target(groups, HeldOutOptions(share=0.25), 2))
    assert not np.array_equal(out, hold_out_target(groups, HeldOutOptions(share=0.25), 3))
    few = hold_out_target(groups, HeldOutOptions(share=0.5, most=60), 2)
    assert len(np.unique(groups[few])) == 8  # 60 of 300 utterances
    assert len(np.unique(groups[hold_out_target(groups, HeldOutOptions(share=0.01), 2)])) == 2
    with pytest.raises(VouchError, match="0.5 of 2 target recordings is 2, which leaves none to train on"):
        hold_out_target(groups % 2, HeldOutOptions(share=0.5), 2)


def test_whole_speakers_are_held_out():
    labels = np.repeat(np.arange(20), 9)  # the second ten are the first at another speed
    groups = np.tile(np.arange(90), 2)
    for seed in range(5):
        out = hold_out(labels, groups, HeldOutOptions(share=0.3, unit="speakers"), seed)
        heard = {speaker % 10 for speaker in labels[~out]}
        assert len({speaker % 10 for speaker in labels[out]}) == 3 and len(heard) == 7 and out.sum() == 54
        assert not {speaker % 10 for speaker in labels[out]} & heard
    with pytest.raises(VouchError, match="leaves none to train on"):
        hold_out(labels % 2, groups, HeldOutOptions(share=0.5, unit="speakers"), 0)


@pytest.mark.parametrize("speakers", [(2, 9), (3, 3), (5, 40)])
def test_a_domain_probe_of_few_speakers(speakers):
    generator = np.random.default_rng(3)
    groups = [np.repeat(np.arange(count), 4) for count in speakers]
    shapes = [(len(own), 3) for own in groups]
    apart = [generator.normal(size=shapes[0]), generator.normal(size=shapes[1]) + 8]
    assert domain_probe(*apart, *groups) == 1.0
    assert np.isnan(domain_probe(apart[0] * np.nan, apart[1], *groups))
    with pytest.raises(ValueError, match="wants two recordings"):
        domain_probe(*apart, groups[0] * 0, groups[1])


def test_speakers_of_both_domains_are_held_out_of_both():
    """Embeddings that are their speaker's and of no domain: a probe that learns a speaker in one domain and is asked
    about it in the other would be far below chance."""
    generator = np.random.default_rng(5)
    found = []
    for _ in range(10):
        speakers = generator.normal(size=(20, 32)) * 3
        groups = np.repeat(np.arange(20), 10)
        source, target = (speakers[groups] + generator.normal(size=(200, 32)) for _ in range(2))
        found.append(domain_probe(source, target, groups, groups))
    assert abs(np.mean(found) - 0.5) < 0.05


def test_a_domain_probe_of_one_domain_is_near_chance():
    generator = np.random.default_rng(4)
    found = []
    for _ in range(20):
        same, groups = generator.normal(size=(2, 200, 6)), np.repeat(np.arange(40), 5)
        found.append(domain_probe(*same, groups, groups))
    assert abs(np.mean(found) - 0.5) < 0.03 and np.std(found) < 0.06
