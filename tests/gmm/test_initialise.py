"""The first GMM from frames in memory: the random subset, the start, growth by splitting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from vouch.errors import VouchError
from vouch.gmm import diagonal, initialise

OPTIONS = diagonal.EstimateOptions()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def clusters(rng: np.random.Generator, frames: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """(frames `(T, 2)` around four centres, the centres)."""
    centres = np.array([[0, 0], [8, 0], [0, 8], [8, 8]], dtype=np.float64)
    return centres[rng.integers(4, size=frames)] + rng.normal(0, [0.5, 1.0], (frames, 2)), centres


def test_reservoir_keeps_all_while_there_is_room(rng: np.random.Generator) -> None:
    reservoir = initialise.FrameReservoir(10, rng)
    reservoir.add(np.ones((3, 2)))
    reservoir.add(np.zeros((0, 0)))
    reservoir.add(2 * np.ones((4, 2)))
    np.testing.assert_array_equal(reservoir.frames[:, 0], [1, 1, 1, 2, 2, 2, 2])
    assert reservoir.seen == 7
    with pytest.raises(VouchError, match="3 dims where the features before have 2"):
        reservoir.add(np.ones((1, 3)))


def test_reservoir_keeps_every_frame_with_the_same_chance() -> None:
    total, capacity, runs = 60, 15, 3000
    times = np.zeros(total)
    for seed in range(runs):
        reservoir = initialise.FrameReservoir(capacity, np.random.default_rng(seed))
        for part in np.split(np.arange(total, dtype=np.float32)[:, None], [7, 20, 21, 40]):
            reservoir.add(part)
        assert len(reservoir.frames) == capacity
        times[np.unique(reservoir.frames[:, 0]).astype(int)] += 1
    assert times.sum() == runs * capacity  # no frame twice
    deviation = (runs * capacity / total * (1 - capacity / total)) ** 0.5
    assert np.abs(times - runs * capacity / total).max() < 5 * deviation


def test_start_has_means_on_frames_and_the_overall_variance(rng: np.random.Generator) -> None:
    features = clusters(rng)[0]
    gmm = initialise.random_start(features, 6, rng)
    means = gmm.means_invvars / gmm.inv_vars
    distances = np.abs(features[:, None, :] - means).max(axis=2).min(axis=0)
    np.testing.assert_allclose(distances, 0, atol=1e-9)
    assert len(np.unique(means, axis=0)) == 6
    np.testing.assert_allclose(1 / gmm.inv_vars, np.tile(features.var(axis=0), (6, 1)), rtol=1e-9)
    np.testing.assert_allclose(gmm.weights, 1 / 6)


@pytest.mark.parametrize(
    ("features", "gaussians", "message"),
    [
        (np.zeros((0, 0)), 1, "0 frames are too few for 1 Gaussians"),
        (np.zeros((49, 2)), 5, "49 frames are too few for 5 Gaussians: give at least 50"),
        (np.tile([1.0, 2.0], (50, 1)), 2, "column 0 of the features is the same"),
        (np.full((50, 2), np.nan), 2, "hold NaN"),
    ],
)
def test_start_refuses_frames_that_cannot_do(features: np.ndarray, gaussians: int, message: str) -> None:
    with pytest.raises(VouchError, match=message):
        initialise.random_start(features, gaussians, np.random.default_rng(0))


def test_training_reaches_the_likelihood_of_the_clusters(rng: np.random.Generator) -> None:
    features, centres = clusters(rng)
    lines: list[str] = []
    gmm = initialise.init_diag_gmm(features, 16, 0, 24, OPTIONS, rng, report=lines.append)
    truth = logsumexp(norm.logpdf(features[:, None, :], centres, [0.5, 1.0]).sum(axis=2) - np.log(4), axis=1).mean()
    reached = diagonal.frame_log_likelihoods(gmm, features).mean()
    assert truth - 0.02 < reached < truth + 0.1
    likelihoods = [float(line.split()[7]) for line in lines if line.startswith("Likelihood per frame on iteration")]
    assert len(likelihoods) == 24
    assert lines[1].endswith("over 3000 frames.")
    assert likelihoods[0] < truth - 0.5 < likelihoods[-1] < reached + 1e-5


def test_gaussians_are_added_in_the_first_half_of_the_iterations(rng: np.random.Generator) -> None:
    """Kaldi's shares: from 16 to 32 in 6 iterations are 5 each, the rest after them."""
    lines: list[str] = []
    features = clusters(rng, 1000)[0]
    gmm = initialise.init_diag_gmm(features, 32, 16, 6, OPTIONS._replace(min_gaussian_occupancy=0), rng, lines.append)
    split = [line for line in lines if line.startswith("Splitting")]
    assert split == [f"Splitting to {n} Gaussians." for n in (21, 26, 31, 32)]
    assert len(gmm.weights) == 32


def test_too_few_iterations_to_split_are_said(rng: np.random.Generator) -> None:
    features = clusters(rng, 500)[0]
    with pytest.raises(VouchError, match="leaves no iteration to split 2 Gaussians to 4"):
        initialise.init_diag_gmm(features, 4, 2, 1, OPTIONS, rng)
    warnings: list[str] = []
    gmm = initialise.init_diag_gmm(
        features, 4, 2, 20, OPTIONS, rng, warn=warnings.append
    )  # 2 // 10 = 0 a time, as Kaldi
    assert len(gmm.weights) == 2
    assert "2 of 4 Gaussians" in warnings[-1]


def test_same_seed_same_model_and_threads_do_not_matter() -> None:
    features = clusters(np.random.default_rng(3))[0]
    models = [
        initialise.init_diag_gmm(features, 8, 4, 6, OPTIONS, np.random.default_rng(seed), threads=threads)
        for seed, threads in [(7, 1), (7, 1), (7, 3), (8, 1)]
    ]
    np.testing.assert_array_equal(models[0].means_invvars, models[1].means_invvars)
    np.testing.assert_allclose(models[0].means_invvars, models[2].means_invvars, rtol=1e-6, atol=1e-6)
    assert not np.allclose(models[0].means_invvars, models[3].means_invvars)
