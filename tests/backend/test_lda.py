"""LDA: Kaldi's matrices, the generalised eigenproblem, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh

from vouch.backend.lda import estimate_lda
from vouch.backend.statistics import SpeakerStatistics
from vouch.errors import VouchError


def labelled(num_speakers: int = 12, each: int = 5, dims: int = 6, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(num_speakers), each)
    mixing = generator.normal(size=(dims, dims))
    vectors = 2 * generator.normal(size=(num_speakers, dims))[speakers] + generator.normal(size=(len(speakers), dims))
    return vectors @ mixing + 5, speakers


def up_to_sign(rows: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference relative to the largest element, with each row's sign chosen to fit."""
    signs = np.sign(np.sum(rows * wanted, axis=1))[:, None]
    return float(np.abs(rows * signs - wanted).max() / np.abs(wanted).max())


def test_matches_the_generalised_eigenproblem():
    vectors, speakers = labelled()
    means = np.stack([vectors[speakers == s].mean(axis=0) for s in np.unique(speakers)])
    within = sum(np.cov(vectors[speakers == s].T, bias=True) for s in np.unique(speakers)) / len(means)
    between = np.cov(means.T, bias=True)
    eigenvalues, axes = eigh(between, within)
    lda = estimate_lda(SpeakerStatistics.of(vectors, speakers), 3)
    np.testing.assert_allclose(lda.eigenvalues, eigenvalues[::-1], rtol=1e-9)
    assert up_to_sign(lda.transform[:, :-1], axes[:, ::-1][:, :3].T) < 1e-9
    assert lda.floored == 0


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_normalises_the_mixed_covariance_and_centres(factor):
    vectors, speakers = labelled()
    transform = estimate_lda(SpeakerStatistics.of(vectors, speakers), 6, factor).transform
    projected = vectors @ transform[:, :-1].T + transform[:, -1]
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-9)
    within = np.mean([np.cov(projected[speakers == s].T, bias=True) for s in np.unique(speakers)], axis=0)
    total = np.cov(projected.T, bias=True)
    np.testing.assert_allclose(factor * total + (1 - factor) * within, np.eye(6), atol=1e-9)


def test_blocks_in_any_order_give_the_same_statistics():
    vectors, speakers = labelled()
    shuffled = np.random.default_rng(0).permutation(len(vectors))
    parts = SpeakerStatistics()
    for part in np.array_split(shuffled, 7):
        parts.add(vectors[part], speakers[part].tolist())
    whole = SpeakerStatistics.of(vectors, speakers)
    np.testing.assert_allclose(parts.within_scatter, whole.within_scatter, rtol=1e-9)
    np.testing.assert_allclose(parts.between_scatter, whole.between_scatter, rtol=1e-9)
    np.testing.assert_allclose(parts.moments.mean, vectors.mean(axis=0))
    assert sorted(parts.counts) == [5] * 12


def test_a_large_common_offset_costs_no_digits():
    vectors, speakers = labelled()
    near, far = (estimate_lda(SpeakerStatistics.of(vectors + shift, speakers), 3).transform for shift in (0, 1e6))
    assert up_to_sign(far[:, :-1], near[:, :-1]) < 1e-8


def test_a_constant_dimension_is_floored():
    vectors, speakers = labelled()
    vectors[:, 0] = 1
    lda = estimate_lda(SpeakerStatistics.of(vectors, speakers), 3)
    assert lda.floored == 1
    assert np.isfinite(lda.transform).all()


@pytest.mark.parametrize("name, factor, dim, spk2utt", [
    ("tool_default", 0.0, 10, "spk2utt"),
    ("tcf0.1", 0.1, 10, "spk2utt"),
    ("tcf1.0", 1.0, 10, "spk2utt"),
    ("tcf0.0_unbalanced", 0.0, 10, "spk2utt_unbalanced"),
    ("tcf0.0_dim30", 0.0, 30, "spk2utt"),
])  # fmt: skip
def test_kaldi_lda(golden, name, factor, dim, spk2utt):
    lines = [line.split() for line in (golden / "backend" / spk2utt).read_text().splitlines()]
    speaker_of = {utterance: line[0] for line in lines for utterance in line[1:]}
    inputs = np.load(golden / "backend" / "inputs.npz")
    chosen = [row for row, key in enumerate(inputs["train_keys"]) if key in speaker_of]
    speakers = [speaker_of[inputs["train_keys"][row]] for row in chosen]
    lda = estimate_lda(SpeakerStatistics.of(inputs["train"][chosen], speakers), dim, factor)
    assert up_to_sign(lda.transform, np.load(golden / "backend" / "lda.npz")[name]) < 1e-6


@pytest.mark.parametrize("dim", [0, 7])
def test_refuses_a_dimension_out_of_range(dim):
    with pytest.raises(VouchError, match="--dim must be from 1 to 6"):
        estimate_lda(SpeakerStatistics.of(*labelled()), dim)


def test_refuses_too_little_data():
    vectors, speakers = labelled()
    with pytest.raises(VouchError, match="4 utterances are too few"):
        estimate_lda(SpeakerStatistics.of(vectors[:4], speakers[:4]), 2)
    with pytest.raises(VouchError, match="all 60 speakers have one utterance"):
        estimate_lda(SpeakerStatistics.of(vectors, np.arange(60)), 2)
    with pytest.raises(VouchError, match="singular"):
        estimate_lda(SpeakerStatistics.of(np.ones_like(vectors), speakers), 2)
