"""Diagonal GMMs: likelihoods, statistics, selection and update against loops and scipy's densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from vouch.errors import VouchError
from vouch.gmm import diagonal, full
from vouch.gmm.models import DiagStats, accumulated_flags, parse_flags
from vouch.gmm.selection import select

G, D, T = 7, 3, 200
KEEP = diagonal.EstimateOptions(remove_low_count_gaussians=False)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def gmm(rng: np.random.Generator) -> diagonal.DiagGmm:
    return random_gmm(rng, G)


def random_gmm(rng: np.random.Generator, gaussians: int) -> diagonal.DiagGmm:
    inv_vars = rng.uniform(0.3, 3, (gaussians, D))
    return diagonal.make(rng.dirichlet(np.ones(gaussians)), rng.normal(0, 2, (gaussians, D)) * inv_vars, inv_vars)


def densities(gmm: diagonal.DiagGmm, features: np.ndarray) -> np.ndarray:
    """Log of weight · density `(T, G)` by scipy."""
    means, deviations = gmm.means_invvars / gmm.inv_vars, gmm.inv_vars**-0.5
    return np.log(gmm.weights) + norm.logpdf(features[:, None, :], means, deviations).sum(axis=2)


def random_selection(rng: np.random.Generator, frames: int, gaussians: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists of different lengths, without one that seems to count upwards."""
    lists = []
    while len(lists) < frames:
        chosen = rng.permutation(gaussians)[: rng.integers(1, gaussians)]
        if len(chosen) == 1 or chosen[-1] - chosen[0] != len(chosen) - 1:
            lists.append(chosen)
    return np.concatenate([[0], np.cumsum([len(chosen) for chosen in lists])]), np.concatenate(lists)


def loop_statistics(
    scores: np.ndarray, features: np.ndarray, selection: tuple | None, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Occupancy, sums of x and of x x', log likelihood, one frame after the other."""
    gaussians, dim = scores.shape[1], features.shape[1]
    occupancy, first = np.zeros(gaussians), np.zeros((gaussians, dim))
    second, likelihood = np.zeros((gaussians, dim, dim)), 0.0
    for t, x in enumerate(features.astype(np.float64)):
        among = np.arange(gaussians) if selection is None else selection[1][selection[0][t] : selection[0][t + 1]]
        total = logsumexp(scores[t, among])
        likelihood += weights[t] * total
        for g in among:
            share = weights[t] * np.exp(scores[t, g] - total)
            occupancy[g] += share
            first[g] += share * x
            second[g] += share * np.outer(x, x)
    return occupancy, first, second, likelihood


def assert_statistics(stats: DiagStats, loop: tuple, weights: np.ndarray) -> None:
    occupancy, first, second, likelihood = loop
    np.testing.assert_allclose(stats.occupancy, occupancy, rtol=1e-9)
    np.testing.assert_allclose(stats.means, first, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(stats.variances, np.einsum("gdd->gd", second), rtol=1e-9)
    assert stats.log_likelihood == pytest.approx(likelihood, rel=1e-10)
    assert stats.frames == pytest.approx(weights.sum())


def test_likelihoods_are_scipys(gmm: diagonal.DiagGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (T, D))
    expected = densities(gmm, features)
    np.testing.assert_allclose(diagonal.log_likelihoods(gmm, features), expected, rtol=1e-10)
    np.testing.assert_allclose(diagonal.frame_log_likelihoods(gmm, features), logsumexp(expected, axis=1), rtol=1e-10)


def test_gconst_of_a_weightless_gaussian_is_minus_infinity() -> None:
    gmm = diagonal.make(np.array([1.0, 0.0]), np.zeros((2, D)), np.ones((2, D)))
    assert gmm.gconsts[1] == -np.inf
    features = np.zeros((4, D))
    np.testing.assert_allclose(diagonal.frame_log_likelihoods(gmm, features), norm.logpdf(0) * D)
    assert diagonal.accumulate(gmm, features).occupancy.tolist() == [4, 0]


def test_gconst_without_a_number_is_refused() -> None:
    with pytest.raises(VouchError, match="Gaussian 1 is not a number"):
        diagonal.make(np.array([0.5, 0.5]), np.ones((2, D)), np.array([[1.0] * D, [-1.0] * D]))


@pytest.mark.parametrize("selected", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_equal_a_loop(
    gmm: diagonal.DiagGmm, rng: np.random.Generator, selected: bool, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagonal, "_PAIRS", 50)  # many blocks
    monkeypatch.setattr(diagonal, "_GATHERED", 20)
    monkeypatch.setattr(diagonal, "_LEAST_FRAMES", 11)
    monkeypatch.setattr(diagonal, "_VALUES", 1)
    features = rng.normal(0, 2, (T, D)).astype(np.float32)
    selection = random_selection(rng, T, G) if selected else None
    weights = rng.choice([0.0, 0.5, 2.0], T) if weighted else None
    stats = diagonal.accumulate(gmm, features, selection, weights)
    used = np.ones(T) if weights is None else weights
    assert_statistics(stats, loop_statistics(densities(gmm, features), features, selection, used), used)


def test_list_that_seems_to_count_upwards_is_scored_as_if_it_did(rng: np.random.Generator) -> None:
    gmm = random_gmm(rng, 12)
    features = rng.normal(0, 2, (3, D))
    lists = [[3, 9, 1, 6], [4, 5, 6, 7], [6, 9, 1, 3]]  # only the first is mistaken, for 3 4 5 6
    selection = np.array([0, 4, 8, 12]), np.concatenate(lists)
    expected = densities(gmm, features)[[0] * 4 + [1] * 4 + [2] * 4, [3, 4, 5, 6, 4, 5, 6, 7, 6, 9, 1, 3]]
    scores = diagonal.selected_log_likelihoods(gmm, features, selection)
    np.testing.assert_allclose(scores, expected, rtol=1e-10)
    stats = diagonal.accumulate(gmm, features[:1], (np.array([0, 4]), np.array(lists[0])))
    shares = np.exp(expected[:4] - logsumexp(expected[:4]))
    np.testing.assert_allclose(stats.occupancy[lists[0]], shares, rtol=1e-9)  # but given to the Gaussians of the list


def test_frames_of_weight_zero_may_be_bad(gmm: diagonal.DiagGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (T, D))
    features[3] = np.nan
    weights = np.ones(T)
    weights[3] = 0
    stats = diagonal.accumulate(gmm, features, None, weights)
    good = diagonal.accumulate(gmm, np.delete(features, 3, axis=0))
    np.testing.assert_allclose(stats.means, good.means, rtol=1e-9, atol=1e-9)
    with pytest.raises(VouchError, match="frame 3 is not a finite number"):
        diagonal.accumulate(gmm, features)


def test_wrong_dimension_and_selection_are_named(gmm: diagonal.DiagGmm) -> None:
    with pytest.raises(VouchError, match="4 dims, the model 3"):
        diagonal.accumulate(gmm, np.zeros((5, 4)))
    two = np.zeros((2, D))
    with pytest.raises(VouchError, match=f"names Gaussian {G}"):
        diagonal.accumulate(gmm, two, (np.array([0, 1, 2]), np.array([0, G])))
    with pytest.raises(VouchError, match="no Gaussian for frame 1"):
        diagonal.accumulate(gmm, two, (np.array([0, 1, 1]), np.array([0])))
    with pytest.raises(VouchError, match="selection has 1 frames, the features 2"):
        diagonal.accumulate(gmm, two, (np.array([0, 1]), np.array([0])))


# --- selection --------------------------------------------------------------------------------------------------------


def test_selection_is_sorted_best_first(gmm: diagonal.DiagGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (T, D))
    scores = densities(gmm, features)
    expected = np.argsort(-scores, axis=1)[:, :4]
    offsets, indices, totals = select(gmm, features, 4)
    np.testing.assert_array_equal(indices.reshape(T, 4), expected)
    np.testing.assert_array_equal(offsets, 4 * np.arange(T + 1))
    np.testing.assert_allclose(totals, logsumexp(np.take_along_axis(scores, expected, 1), axis=1), rtol=1e-10)


def test_of_equal_gaussians_the_later_is_selected_first() -> None:
    """Kaldi sorts pairs (likelihood, index) downwards; Gaussians of weight 0 all have −inf."""
    weights = np.array([0.0, 0.2, 0.2, 0.4, 0.2, 0.0])
    gmm = diagonal.make(weights, np.zeros((6, D)), np.ones((6, D)))
    for best, expected in [(1, [3]), (2, [3, 4]), (3, [3, 4, 2]), (5, [3, 4, 2, 1, 5]), (9, [3, 4, 2, 1, 5, 0])]:
        assert select(gmm, np.ones((2, D)), best)[1].tolist() == expected * 2


def test_selection_works_with_likelihoods_of_any_sign() -> None:
    inv_vars = np.full((5, D), 1e4)  # narrow: positive log likelihoods near the mean
    gmm = diagonal.make(np.full(5, 0.2), np.arange(5)[:, None] * 0.01 * inv_vars, inv_vars)
    scores = densities(gmm, np.full((1, D), 0.012))
    assert scores.max() > 0 > scores.min()
    assert select(gmm, np.full((1, D), 0.012), 5)[1].tolist() == np.argsort(-scores[0]).tolist()


def test_selection_among_a_selection(gmm: diagonal.DiagGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (T, D))
    among = random_selection(rng, T, G)
    scores = densities(gmm, features)
    offsets, indices, totals = select(gmm, features, 3, among)
    for t in range(T):
        mine = among[1][among[0][t] : among[0][t + 1]]
        expected = mine[np.argsort(-scores[t, mine])][:3]
        assert indices[offsets[t] : offsets[t + 1]].tolist() == expected.tolist()
        assert totals[t] == pytest.approx(logsumexp(scores[t, expected]))


def test_bad_frame_has_no_selection(gmm: diagonal.DiagGmm) -> None:
    features = np.zeros((3, D))
    features[1, 2] = np.inf
    with pytest.raises(VouchError, match="frame 1 is not a finite number"):
        select(gmm, features, 2)


# --- update -----------------------------------------------------------------------------------------------------------


def test_update_is_the_weighted_mean_and_variance(gmm: diagonal.DiagGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (3000, D))
    stats = diagonal.accumulate(gmm, features)
    result = diagonal.estimate(gmm, stats, KEEP)
    scores = densities(gmm, features)
    shares = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
    for g in range(G):
        mean = np.average(features, axis=0, weights=shares[:, g])
        variance = np.average((features - mean) ** 2, axis=0, weights=shares[:, g])
        np.testing.assert_allclose(result.gmm.means_invvars[g] / result.gmm.inv_vars[g], mean, rtol=1e-9)
        np.testing.assert_allclose(1 / result.gmm.inv_vars[g], variance, rtol=1e-9)
    np.testing.assert_allclose(result.gmm.weights, shares.mean(axis=0), rtol=1e-9)
    before, after = (np.sum(shares * densities(model, features)) for model in (gmm, result.gmm))
    assert result.objective_change == pytest.approx(after - before, rel=1e-9)
    assert result.count == pytest.approx(3000)
    assert not result.notes
    assert diagonal.accumulate(result.gmm, features).log_likelihood > stats.log_likelihood


def test_update_of_variances_alone_is_around_the_old_mean(gmm: diagonal.DiagGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (3000, D))
    stats = diagonal.accumulate(gmm, features)
    scores = densities(gmm, features)
    shares = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
    old = gmm.means_invvars / gmm.inv_vars
    new = diagonal.estimate(gmm, stats, KEEP._replace(update_flags="v")).gmm
    np.testing.assert_allclose(new.means_invvars / new.inv_vars, old, rtol=1e-9)
    np.testing.assert_array_equal(new.weights, gmm.weights)
    for g in range(G):
        variance = np.average((features - old[g]) ** 2, axis=0, weights=shares[:, g])
        np.testing.assert_allclose(1 / new.inv_vars[g], variance, rtol=1e-9)


@pytest.mark.parametrize("flags", ["m", "w", "mw"])
def test_update_touches_only_what_the_flags_name(gmm: diagonal.DiagGmm, rng: np.random.Generator, flags: str) -> None:
    stats = diagonal.accumulate(gmm, rng.normal(0, 2, (3000, D)))
    whole = diagonal.estimate(gmm, stats, KEEP).gmm
    new = diagonal.estimate(gmm, stats, KEEP._replace(update_flags=flags)).gmm
    np.testing.assert_array_equal(new.inv_vars, gmm.inv_vars)
    means, old, updated = (model.means_invvars / model.inv_vars for model in (new, gmm, whole))
    np.testing.assert_allclose(means, updated if "m" in flags else old, rtol=1e-9)
    np.testing.assert_allclose(new.weights, whole.weights if "w" in flags else gmm.weights, rtol=1e-12)


def test_small_variances_are_floored_and_said() -> None:
    gmm = diagonal.make(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
    stats = DiagStats(np.array([100.0]), np.array([[500.0, 0.0]]), np.array([[2500.0, 300.0]]), 0.0, 100.0)
    result = diagonal.estimate(gmm, stats, diagonal.EstimateOptions(min_variance=0.25))
    np.testing.assert_allclose(1 / result.gmm.inv_vars, [[0.25, 3.0]])
    assert result.notes == ["1 variances floored in 1 Gaussians."]


def low_count_stats(occupancy: list[float]) -> DiagStats:
    counts = np.array(occupancy)
    return DiagStats(counts, counts[:, None] * np.ones((len(counts), D)), counts[:, None] * np.full(D, 2.0), 0.0, 1.0)


def test_gaussians_with_too_little_data_are_removed(rng: np.random.Generator) -> None:
    gmm = random_gmm(rng, 4)
    result = diagonal.estimate(gmm, low_count_stats([100, 5, 300, 0]), diagonal.EstimateOptions())
    np.testing.assert_allclose(result.gmm.weights, [0.25, 0.75])
    np.testing.assert_allclose(result.gmm.inv_vars, 1.0)
    assert len(result.notes) == 2
    assert "removing Gaussian (weight 0.012346, occupation count 5.000000, vector size 3)" in result.notes[0]


def test_gaussians_with_too_little_data_are_kept_when_asked(rng: np.random.Generator) -> None:
    gmm = random_gmm(rng, 4)
    options = KEEP._replace(min_gaussian_weight=0.001)
    result = diagonal.estimate(gmm, low_count_stats([100, 5, 295, 0]), options)
    np.testing.assert_allclose(result.gmm.weights, [0.25, 0.0125, 0.7375, 0.001])
    np.testing.assert_array_equal(result.gmm.inv_vars[[1, 3]], 1 / (1 / gmm.inv_vars[[1, 3]]))
    assert [note.split(":")[0] for note in result.notes] == [
        "Gaussian has too little data but not removing it because remove-low-count-gaussians == false"
    ] * 2


def test_the_last_gaussian_is_never_removed(rng: np.random.Generator) -> None:
    gmm = random_gmm(rng, 3)
    result = diagonal.estimate(gmm, low_count_stats([1, 2, 1]), diagonal.EstimateOptions())
    np.testing.assert_allclose(result.gmm.weights, [1.0])
    np.testing.assert_allclose(result.gmm.inv_vars[0], gmm.inv_vars[2])
    assert "it is the last Gaussian: g = 2" in result.notes[-1]


def test_update_refuses_statistics_that_do_not_fit(gmm: diagonal.DiagGmm) -> None:
    with pytest.raises(VouchError, match="of 4 Gaussians and 3 dims, the model has 7 and 3"):
        diagonal.estimate(gmm, low_count_stats([1, 2, 3, 4]), KEEP)
    only_weights = DiagStats(np.ones(G), None, None, 0.0, 1.0)
    with pytest.raises(VouchError, match="for 'w' only"):
        diagonal.estimate(gmm, only_weights, KEEP)
    with pytest.raises(VouchError, match="NaN or infinity"):
        diagonal.estimate(gmm, low_count_stats([np.nan] * G), KEEP)
    assert diagonal.estimate(gmm, only_weights, KEEP._replace(update_flags="w")).gmm.weights[0] == pytest.approx(1 / G)


def test_split_halves_the_heaviest(rng: np.random.Generator) -> None:
    gmm = random_gmm(rng, 2)._replace(weights=np.array([0.3, 0.7]))
    new = diagonal.split(gmm, 4, 0.01, rng)
    np.testing.assert_allclose(new.weights, [0.3, 0.175, 0.35, 0.175])
    means, old = new.means_invvars / new.inv_vars, gmm.means_invvars / gmm.inv_vars
    np.testing.assert_array_equal(new.inv_vars[2], gmm.inv_vars[1])
    assert 0 < np.abs(means[1] - old[1]).max() < 0.2


def test_to_full_has_the_same_densities(gmm: diagonal.DiagGmm, rng: np.random.Generator) -> None:
    features = rng.normal(0, 2, (T, D))
    np.testing.assert_allclose(
        full.log_likelihoods(diagonal.to_full(gmm), features), densities(gmm, features), rtol=1e-10
    )
    back = full.to_diag(diagonal.to_full(gmm))
    for array, expected in zip(back, gmm, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-10)


def test_flags() -> None:
    assert parse_flags("vm") == "mv"
    assert parse_flags("a") == "mvwt"
    assert accumulated_flags("v") == "mvw"
    assert accumulated_flags("m") == "mw"
    assert accumulated_flags("") == "w"
    with pytest.raises(VouchError, match="'x' is none of m"):
        parse_flags("mx")


def test_golden_likelihoods_and_selection(golden) -> None:
    """Kaldi's gmm-global-get-frame-likes with the trained UBM, gmm-gselect with the diagonal of the full one."""
    trained, selecting = (
        diagonal.make(*(np.load(golden / "ivector" / f"{name}.npz")[key].astype(np.float64) for key in arrays))
        for name in ("diag_ubm", "diag_ubm_from_full")
        for arrays in [("weights", "means_invvars", "inv_vars")]
    )
    features = np.load(golden / "ivector" / "features.npz")
    kaldi = np.load(golden / "ivector" / "posteriors.npz")
    utterances = [name.partition("/")[2] for name in kaldi.files if name.startswith("gselect/")]
    assert utterances
    for utterance in utterances:
        x = features[utterance]
        likelihoods = diagonal.frame_log_likelihoods(trained, x)
        np.testing.assert_allclose(likelihoods, kaldi[f"diag_loglike/{utterance}"], atol=1e-4)
        theirs = kaldi[f"gselect/{utterance}"].astype(np.int64)
        ours = select(selecting, x, 20)[1].reshape(-1, 20)
        scores = diagonal.log_likelihoods(selecting, x)
        differ = np.flatnonzero((ours != theirs).any(axis=1))  # only where two are equal in single precision
        assert len(differ) < 0.01 * len(x)
        mine, other = (np.take_along_axis(scores[differ], chosen[differ], axis=1) for chosen in (ours, theirs))
        np.testing.assert_allclose(mine, other, atol=1e-4)
