"""The E-steps by torch against those of the tools, in NumPy, on made data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vouch.gmm import batched, batched_ivector, diagonal, extractor_statistics, full
from vouch.gmm.diagonal_update import make as make_diagonal
from vouch.gmm.extractor import IvectorExtractor, derive, infer, init
from vouch.gmm.full_update import make as make_full
from vouch.gmm.models import DiagGmm, FullGmm
from vouch.io.gmm import read_diag_gmm, read_full_gmm
from vouch.io.ivector_extractor import read_ivector_extractor
from vouch.io.tables import read_table

CPU = torch.device("cpu")
GAUSSIANS, DIM = 24, 7
LENGTHS = np.array([150, 3, 90, 260])


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, DIM)) * 3
    return (centres[rng.integers(8, size=LENGTHS.sum())] + rng.normal(size=(LENGTHS.sum(), DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def models(features: np.ndarray) -> tuple[DiagGmm, FullGmm]:
    """A diagonal and a full model with Gaussians around random frames."""
    rng = np.random.default_rng(1)
    means = features[rng.choice(len(features), GAUSSIANS, replace=False)].astype(np.float64)
    weights = rng.dirichlet(np.full(GAUSSIANS, 5.0))
    inv_vars = rng.uniform(0.3, 1.5, (GAUSSIANS, DIM))
    factors = rng.normal(size=(GAUSSIANS, DIM, DIM)) * 0.2 + np.eye(DIM)
    precisions = factors @ factors.swapaxes(1, 2)
    mean_terms = np.einsum("gij,gj->gi", precisions, means)
    return make_diagonal(weights, means * inv_vars, inv_vars), make_full(weights, mean_terms, precisions)


def near(found: np.ndarray, wanted: np.ndarray, relative: float = 1e-4) -> None:
    assert np.linalg.norm(found - wanted) <= relative * np.linalg.norm(wanted)


def pair_lists(found: batched.FramePosteriors) -> np.ndarray:
    """As a dense array (frames, Gaussians)."""
    dense = np.zeros((len(found.counts), GAUSSIANS))
    dense[np.repeat(np.arange(len(found.counts)), found.counts), found.indices] = found.weights
    return dense


def test_diagonal_statistics_are_those_of_the_tools(features, models, monkeypatch):
    monkeypatch.setitem(batched._IN_CACHE, "cpu", 40 * GAUSSIANS)  # many parts
    found, wanted = batched.DiagonalEStep(models[0], CPU).of(features), diagonal.accumulate(models[0], features)
    for name in ("occupancy", "means", "variances", "log_likelihood"):
        near(np.asarray(getattr(found, name)), np.asarray(getattr(wanted, name)))
    assert found.frames == wanted.frames == len(features)


@pytest.mark.parametrize("selected", [5, GAUSSIANS + 3])
def test_full_statistics_are_those_of_the_tools_with_the_same_selection(features, models, selected, monkeypatch):
    monkeypatch.setitem(batched._ELEMENTS, "cpu", 64 * GAUSSIANS)
    diag, model = models
    step = batched.FullEStep(model, diag, selected, CPU)
    best = np.argsort(-diagonal.log_likelihoods(diag, features), axis=1)[:, :selected]
    selection = np.arange(len(features) + 1) * best.shape[1], best.ravel()
    found, wanted = step.of(features), full.accumulate(model, features, selection)
    for name in ("occupancy", "means", "covariances", "log_likelihood"):
        near(np.asarray(getattr(found, name)), np.asarray(getattr(wanted, name)))


def brute_force_posteriors(model: FullGmm, diag: DiagGmm, features: np.ndarray, selected: int, minimum: float):
    """Frame by frame, Gaussian by Gaussian."""
    dense = np.zeros((len(features), GAUSSIANS))
    for t, x in enumerate(features.astype(np.float64)):
        by_diagonal = [
            diag.gconsts[g] + x @ diag.means_invvars[g] - 0.5 * x**2 @ diag.inv_vars[g] for g in range(GAUSSIANS)
        ]
        chosen = np.argsort(by_diagonal)[::-1][:selected]
        scores = np.array(
            [model.gconsts[g] + x @ model.means_invcovars[g] - 0.5 * x @ model.inv_covars[g] @ x for g in chosen]
        )
        share = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        kept = np.where(share >= minimum, share, 0.0)
        dense[t, chosen] = kept / kept.sum() if kept.sum() else share == share.max()
    return dense


@pytest.mark.parametrize("minimum", [0.025, 0.6])  # above a half, some frames lose all and keep their best
def test_posteriors_are_pruned_as_kaldi_does(features, models, minimum):
    diag, model = models
    found = batched.Posteriors(model, diag, 6, minimum, CPU).of(features)
    wanted = brute_force_posteriors(model, diag, features, 6, minimum)
    np.testing.assert_allclose(pair_lists(found), wanted, atol=1e-4)
    assert (found.counts >= 1).all() and found.counts.sum() == len(found.indices) == len(found.weights)


def test_the_extractor_statistics_are_those_of_the_tools(features, models, monkeypatch):
    _, model = models
    found = batched.Posteriors(model, models[0], 6, 0.025, CPU).of(features)
    start = init(model.weights, model.means_invcovars, model.inv_covars, 5, False, np.random.default_rng(2))
    step = batched_ivector.ExtractorEStep(start, CPU)
    for part in batched_ivector.utterance_batches(features, LENGTHS, found, 3):
        step.add(step.expect(*batched_ivector.utterance_statistics(*part, GAUSSIANS, CPU)))
    scatter = batched_ivector.second_order(features, found, GAUSSIANS, CPU)
    stats = batched_ivector.with_second_order(start, step.stats(), scatter)
    wanted = tool_statistics(start, features, found)
    for name in ("auxf", "occupancy", "linear", "quadratic", "scatter", "num_ivectors", "ivector_sum"):
        near(np.asarray(getattr(stats, name)), np.asarray(getattr(wanted, name)))
    near(stats.ivector_scatter, wanted.ivector_scatter)


def tool_statistics(start: IvectorExtractor, features: np.ndarray, found: batched.FramePosteriors):
    accumulator = extractor_statistics.Accumulator(start, derive(start))
    ends = np.concatenate([[0], np.cumsum(LENGTHS)])
    offsets = np.concatenate([[0], np.cumsum(found.counts, dtype=np.int64)])
    for u in range(len(LENGTHS)):
        own = offsets[ends[u] : ends[u + 1] + 1]
        entries = slice(own[0], own[-1])
        pairs = own - own[0], found.indices[entries], found.weights[entries]
        accumulator.add(f"u{u}", features[ends[u] : ends[u + 1]], *pairs)
    return accumulator.finish()


def test_golden_posteriors_and_ivectors(golden_training):
    ubm = FullGmm(*read_full_gmm(str(golden_training / "4.ubm")))
    diag = DiagGmm(*read_diag_gmm(str(golden_training / "final.dubm")))
    extractor = IvectorExtractor(*read_ivector_extractor(str(golden_training / "5.ie")))
    ivectors = dict(read_table(f"ark:{golden_training}/ivectors.ark", "vector"))
    posteriors = batched.Posteriors(ubm, diag, 20, 0.025, CPU)
    inference = batched_ivector.IvectorPosterior(extractor, CPU)
    for key, matrix in read_table(f"ark:{golden_training}/feats.ark"):
        found = posteriors.of(matrix)
        stats = batched_ivector.utterance_statistics(matrix, np.array([len(matrix)]), found, len(ubm.weights), CPU)
        vector = inference.means(*stats)[0].numpy()
        vector[0] -= extractor.prior_offset
        np.testing.assert_allclose(vector, ivectors[key], atol=1e-3)


def test_means_are_those_of_one_utterance_at_a_time(features, models):
    _, model = models
    start = init(model.weights, model.means_invcovars, model.inv_covars, 4, False, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    zeroth, first = rng.uniform(0, 9, (5, GAUSSIANS)), rng.normal(size=(5, GAUSSIANS, DIM)) * 9
    found = batched_ivector.IvectorPosterior(start, CPU).means(torch.tensor(zeroth), torch.tensor(first))
    wanted = infer(start, derive(start), zeroth, first).means
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6, atol=1e-8)
