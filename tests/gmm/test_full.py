"""Full-covariance GMMs: likelihoods, posteriors, statistics and update against loops and scipy's densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from vouch.errors import VouchError
from vouch.gmm import full
from vouch.gmm.models import FullStats

G, D, T = 6, 4, 150
KEEP = full.EstimateOptions(remove_low_count_gaussians=False, min_gaussian_occupancy=5.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(9)


@pytest.fixture
def gmm(rng: np.random.Generator) -> full.FullGmm:
    factors = rng.normal(0, 0.7, (G, D, D)) + np.eye(D)
    inv_covars = factors @ factors.swapaxes(1, 2) + 0.1 * np.eye(D)
    means = rng.normal(0, 1.5, (G, D))
    return full.make(rng.dirichlet(np.full(G, 3.0)), (inv_covars @ means[:, :, None])[:, :, 0], inv_covars)


def parameters(gmm: full.FullGmm) -> list[tuple[np.ndarray, np.ndarray]]:
    """(mean, covariance) of each Gaussian, by plain inversion."""
    covariances = [np.linalg.inv(matrix) for matrix in gmm.inv_covars]
    return [(covariance @ mean, covariance) for covariance, mean in zip(covariances, gmm.means_invcovars, strict=True)]


def densities(gmm: full.FullGmm, features: np.ndarray) -> np.ndarray:
    """Log of weight · density `(T, G)` by scipy."""
    columns = [multivariate_normal(mean, 0.5 * (cov + cov.T)).logpdf(features) for mean, cov in parameters(gmm)]
    return np.log(gmm.weights) + np.stack(columns, axis=1)


def random_selection(rng: np.random.Generator, frames: int) -> tuple[np.ndarray, np.ndarray]:
    lists = [rng.permutation(G)[: rng.integers(1, G + 1)] for _ in range(frames)]
    return np.concatenate([[0], np.cumsum([len(chosen) for chosen in lists])]), np.concatenate(lists)


def test_likelihoods_are_scipys(gmm: full.FullGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (T, D))
    expected = densities(gmm, features)
    np.testing.assert_allclose(full.log_likelihoods(gmm, features), expected, rtol=1e-9)
    np.testing.assert_allclose(full.frame_log_likelihoods(gmm, features), logsumexp(expected, axis=1), rtol=1e-9)
    selection = random_selection(rng, T)
    frames = np.repeat(np.arange(T), np.diff(selection[0]))
    np.testing.assert_allclose(
        full.selected_log_likelihoods(gmm, features, selection), expected[frames, selection[1]], rtol=1e-9
    )


def test_singular_covariance_is_named(gmm: full.FullGmm) -> None:
    bad = gmm.inv_covars.copy()
    bad[3] = np.outer(np.arange(D), np.arange(D))
    with pytest.raises(VouchError, match="covariance of Gaussian 3 is singular"):
        full.make(gmm.weights, gmm.means_invcovars, bad)


@pytest.mark.parametrize("selected", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_equal_a_loop(
    gmm: full.FullGmm, rng: np.random.Generator, selected: bool, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full, "_PAIRS", 40)  # many blocks
    features = rng.normal(0, 2, (T, D)).astype(np.float32).astype(np.float64)
    selection = random_selection(rng, T) if selected else None
    weights = rng.choice([0.0, 0.5, 2.0], T) if weighted else np.ones(T)
    scores = densities(gmm, features)
    occupancy, first, second, likelihood = np.zeros(G), np.zeros((G, D)), np.zeros((G, D, D)), 0.0
    for t, x in enumerate(features):
        among = np.arange(G) if selection is None else selection[1][selection[0][t] : selection[0][t + 1]]
        total = logsumexp(scores[t, among])
        likelihood += weights[t] * total
        for g in among:
            share = weights[t] * np.exp(scores[t, g] - total)
            occupancy[g] += share
            first[g] += share * x
            second[g] += share * np.outer(x, x)
    given = features.astype(np.float32)
    if weighted:
        given[weights == 0] = np.nan
    stats = full.accumulate(gmm, given, selection, weights if weighted else None)
    np.testing.assert_allclose(stats.occupancy, occupancy, rtol=1e-8)
    np.testing.assert_allclose(stats.means, first, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(stats.covariances, second, rtol=1e-8, atol=1e-8)
    assert stats.log_likelihood == pytest.approx(likelihood, rel=1e-9)
    assert stats.frames == pytest.approx(weights.sum())
    assert full.accumulate(gmm, given, selection, weights, second_order=False).covariances is None


def test_bad_frames_and_dimensions_are_named(gmm: full.FullGmm) -> None:
    features = np.zeros((3, D))
    features[2, 1] = np.nan
    with pytest.raises(VouchError, match="frame 2 is not a finite number"):
        full.accumulate(gmm, features)
    with pytest.raises(VouchError, match="5 dims, the model 4"):
        full.accumulate(gmm, np.zeros((3, 5)))


# --- posteriors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("min_post", [0.0, 0.025, 0.3, 0.9])
def test_posteriors_equal_a_loop(gmm: full.FullGmm, rng: np.random.Generator, min_post: float) -> None:
    features = rng.normal(0, 2, (T, D))
    selection = random_selection(rng, T)
    result = full.posteriors(gmm, features, selection, min_post)
    scores = densities(gmm, features)
    pruned_all = 0
    for t in range(T):
        among = selection[1][selection[0][t] : selection[0][t + 1]]
        shares = np.exp(scores[t, among] - logsumexp(scores[t, among]))
        best = shares.argmax()
        shares[shares < min_post] = 0
        if not shares.sum():
            shares[best] = 1
            pruned_all += 1
        shares /= shares.sum()
        mine = slice(result.offsets[t], result.offsets[t + 1])
        kept = shares.astype(np.float32) > 0
        assert result.indices[mine].tolist() == among[kept].tolist()  # in the order of the selection
        np.testing.assert_allclose(result.weights[mine], shares[kept], rtol=1e-5, atol=1e-30)
        assert result.log_likelihoods[t] == pytest.approx(logsumexp(scores[t, among]))
    assert result.weights.dtype == np.float32
    assert (pruned_all > 0) == (min_post == 0.9)


def test_posteriors_of_a_bad_frame_have_no_likelihood(gmm: full.FullGmm) -> None:
    features = np.zeros((2, D))
    features[0] = np.inf
    result = full.posteriors(gmm, features, (np.array([0, 2, 4]), np.array([0, 1, 0, 1])), 0.025)
    assert np.isnan(result.log_likelihoods[0])
    assert np.isfinite(result.log_likelihoods[1])


# --- update -----------------------------------------------------------------------------------------------------------


def test_update_is_the_weighted_mean_and_covariance(gmm: full.FullGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (3000, D))
    stats = full.accumulate(gmm, features)
    result = full.estimate(gmm, stats, KEEP)
    scores = densities(gmm, features)
    shares = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
    for g, (mean, covariance) in enumerate(parameters(result.gmm)):
        np.testing.assert_allclose(mean, np.average(features, axis=0, weights=shares[:, g]), rtol=1e-7)
        expected = np.cov(features.T, aweights=shares[:, g], bias=True)
        np.testing.assert_allclose(covariance, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(result.gmm.weights, shares.mean(axis=0), rtol=1e-9)
    before, after = (np.sum(shares * densities(model, features)) for model in (gmm, result.gmm))
    assert result.objective_change == pytest.approx(after - before, rel=1e-7)
    assert result.count == pytest.approx(3000)
    assert full.accumulate(result.gmm, features).log_likelihood > stats.log_likelihood


def test_update_of_covariances_alone_is_around_the_old_mean(gmm: full.FullGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (3000, D))
    scores = densities(gmm, features)
    shares = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
    new = full.estimate(gmm, full.accumulate(gmm, features), KEEP._replace(update_flags="v")).gmm
    for g, ((old, _), (mean, covariance)) in enumerate(zip(parameters(gmm), parameters(new), strict=True)):
        np.testing.assert_allclose(mean, old, rtol=1e-8)
        centred = features - old
        expected = (shares[:, g, None] * centred).T @ centred / shares[:, g].sum()
        np.testing.assert_allclose(covariance, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(new.weights, gmm.weights)


def one_gaussian(covariance: np.ndarray, count: float = 1000.0) -> tuple[full.FullGmm, FullStats]:
    """A standard normal model and statistics of mean 2 and this covariance."""
    mean = np.full(len(covariance), 2.0)
    stats = FullStats(
        np.array([count]), count * mean[None], count * (covariance + np.outer(mean, mean))[None], 0.0, count
    )
    return full.make(np.ones(1), np.zeros((1, len(mean))), np.eye(len(mean))[None]), stats


@pytest.mark.parametrize(
    ("options", "floor"), [({"variance_floor": 0.5, "max_condition": 1e9}, 0.5), ({"max_condition": 20.0}, 0.2)]
)
def test_small_eigenvalues_are_floored(rng: np.random.Generator, options: dict, floor: float) -> None:
    vectors, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    gmm, stats = one_gaussian(vectors @ np.diag([4.0, 1.0, 0.01]) @ vectors.T)
    result = full.estimate(gmm, stats, full.EstimateOptions(**options))
    expected = vectors @ np.diag([4.0, 1.0, floor]) @ vectors.T
    np.testing.assert_allclose(np.linalg.inv(result.gmm.inv_covars[0]), expected, rtol=1e-6, atol=1e-9)
    assert result.notes == ["1 variances floored in 1 Gaussians."]


def test_singular_statistics_are_floored_or_named() -> None:
    gmm, stats = one_gaussian(np.diag([1.0, 1.0, 0.0]))
    result = full.estimate(gmm, stats, full.EstimateOptions())
    assert np.linalg.inv(result.gmm.inv_covars[0])[2, 2] == pytest.approx(0.001)
    flat = FullStats(np.array([1000.0]), np.zeros((1, 3)), np.diag([1000.0, 1000.0, 0.0])[None], 0.0, 1.0)
    with pytest.raises(VouchError, match="Gaussian 0 is singular"):
        full.estimate(gmm, flat, full.EstimateOptions(variance_floor=0.0, max_condition=np.inf))


def test_gaussians_with_too_little_data_are_removed_or_kept(gmm: full.FullGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (3000, D))
    stats = full.accumulate(gmm, features, (np.arange(3001), rng.integers(1, G, 3000)))  # Gaussian 0 gets nothing
    removed = full.estimate(gmm, stats, full.EstimateOptions())
    assert len(removed.gmm.weights) == G - 1
    assert removed.gmm.weights.sum() == pytest.approx(1)
    assert "removing Gaussian (weight 0.000000, occupation count 0.000000, vector size 4)" in removed.notes[0]
    kept = full.estimate(gmm, stats, KEEP)
    np.testing.assert_allclose(kept.gmm.inv_covars[0], gmm.inv_covars[0], rtol=1e-8)
    np.testing.assert_allclose(kept.gmm.inv_covars[1:], removed.gmm.inv_covars, rtol=1e-9)
    assert kept.gmm.weights[0] == pytest.approx(1e-5)


def test_update_refuses_statistics_that_do_not_fit(gmm: full.FullGmm) -> None:
    _, stats = one_gaussian(np.eye(D))
    with pytest.raises(VouchError, match="of 1 Gaussians and 4 dims, the model has 6 and 4"):
        full.estimate(gmm, stats, KEEP)
    with pytest.raises(VouchError, match="NaN or infinity"):
        full.estimate(gmm, FullStats(np.ones(G), np.full((G, D), np.nan), None, 0.0, 1.0), KEEP)
    with pytest.raises(VouchError, match="for 'wm' only"):
        full.estimate(gmm, FullStats(np.ones(G), np.ones((G, D)), None, 0.0, 1.0), KEEP)


def test_split_moves_the_halves_apart(gmm: full.FullGmm, rng: np.random.Generator) -> None:
    new = full.split(gmm, G + 2, 0.01, rng)
    heaviest = int(gmm.weights.argmax())
    np.testing.assert_array_equal(new.inv_covars[G], gmm.inv_covars[heaviest])
    assert new.weights[G] == pytest.approx(gmm.weights[heaviest] / 2)
    assert new.weights.sum() == pytest.approx(1)
    (old, _), (mean, _) = parameters(gmm)[heaviest], parameters(new)[G]
    assert 0 < np.abs(mean - old).max() < 0.2
    with pytest.raises(VouchError, match="cannot split 6 Gaussians to 3"):
        full.split(gmm, 3, 0.01, rng)


def test_to_diag_keeps_means_and_variances(gmm: full.FullGmm) -> None:
    diag = full.to_diag(gmm)
    for g, (mean, covariance) in enumerate(parameters(gmm)):
        np.testing.assert_allclose(1 / diag.inv_vars[g], np.diagonal(covariance), rtol=1e-9)
        np.testing.assert_allclose(diag.means_invvars[g] / diag.inv_vars[g], mean, rtol=1e-8)


def test_golden_likelihoods_and_posteriors(golden) -> None:
    """Kaldi's fgmm-global-get-frame-likes and fgmm-global-gselect-to-post --min-post=0.025 with the trained UBM."""
    arrays = np.load(golden / "ivector" / "full_ubm.npz")
    packed = arrays["inv_covars_packed"].astype(np.float64)
    dim = arrays["means_invcovars"].shape[1]
    lower = np.zeros((len(packed), dim, dim))
    lower[:, *np.tril_indices(dim)] = packed
    inv_covars = lower + np.tril(lower, -1).swapaxes(1, 2)
    gmm = full.make(arrays["weights"].astype(np.float64), arrays["means_invcovars"].astype(np.float64), inv_covars)
    features = np.load(golden / "ivector" / "features.npz")
    kaldi = np.load(golden / "ivector" / "posteriors.npz")
    utterances = [name.partition("/")[2] for name in kaldi.files if name.startswith("post/")]
    assert utterances
    for utterance in utterances:
        x, chosen = features[utterance], kaldi[f"gselect/{utterance}"].astype(np.int64)
        np.testing.assert_allclose(
            full.frame_log_likelihoods(gmm, x), kaldi[f"full_loglike/{utterance}"], rtol=0, atol=1e-4
        )
        selection = np.arange(len(x) + 1) * chosen.shape[1], chosen.reshape(-1)
        result = full.posteriors(gmm, x, selection, 0.025)
        dense = np.zeros(kaldi[f"post/{utterance}"].shape)
        dense[np.repeat(np.arange(len(x)), np.diff(result.offsets)), result.indices] = result.weights
        np.testing.assert_allclose(dense, kaldi[f"post/{utterance}"], rtol=0, atol=2e-5)
