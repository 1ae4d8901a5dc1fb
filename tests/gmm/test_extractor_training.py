"""The E-step and M-step of the i-vector extractor: against loops and closed forms, and Kaldi's own training."""

from __future__ import annotations

import numpy as np
import pytest
from extractor_examples import loops, random_extractor, random_utterance
from scipy.stats import multivariate_normal

from vouch.errors import VouchError
from vouch.gmm import packed
from vouch.gmm.extractor import ExtractorStats, derive, infer
from vouch.gmm.extractor_estimation import EstimationOptions, estimate, explained_variance
from vouch.gmm.extractor_statistics import Accumulator
from vouch.gmm.quadratic import maximise
from vouch.io.ivector_extractor import read_ivector_extractor
from vouch.io.tables import read_table

LENGTHS = (40, 12, 1, 25, 60)
EASY = EstimationOptions(gaussian_min_count=1.0)


def utterances_of(extractor, lengths=LENGTHS, **how):
    return {f"u{n}": random_utterance(extractor, frames, n, **how) for n, frames in enumerate(lengths)}


def accumulate(extractor, utterances, **options):
    accumulator = Accumulator(extractor, derive(extractor), **options)
    for key, utterance in utterances.items():
        accumulator.add(key, *utterance)
    return accumulator.finish()


def assert_same(ours, theirs, **tolerance):
    for name, a, b in zip(ExtractorStats.__dataclass_fields__, ours, theirs, strict=True):
        assert np.shape(a) == np.shape(b) and np.allclose(a, b, **tolerance), name


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_size", [1, 2, 100])
def test_statistics_are_sums_over_utterances(cache_size):
    extractor = random_extractor()
    utterances = utterances_of(extractor)
    stats = accumulate(extractor, utterances, cache_size=cache_size)
    wanted = ExtractorStats.zeros(extractor)
    quadratic = np.zeros((3, 5, 5))
    for utterance in utterances.values():
        zeroth, first, second = loops(extractor, utterance)
        found = infer(extractor, derive(extractor), zeroth[None], first[None])
        mean, moment = found.means[0], packed.unpack(found.covars[0]) + np.outer(found.means[0], found.means[0])
        wanted.occupancy += zeroth
        wanted.scatter += second
        wanted.ivector_sum += mean
        wanted.ivector_scatter += moment
        wanted.num_ivectors += 1
        for i in range(3):
            wanted.linear[i] += np.outer(first[i], mean)
            quadratic[i] += zeroth[i] * moment
    wanted.quadratic += packed.pack(quadratic)
    wanted.auxf = stats.auxf  # the next test's
    assert_same(stats, wanted)


@pytest.mark.parametrize("update_variances", [True, False])
def test_auxf_is_the_evidence(update_variances):
    """With hard decisions, log p(frames) of the Gaussian that frames and i-vector make together, and log weights.

    Without second-order statistics Kaldi takes the model's variances instead of the data's: the difference is added.
    """
    extractor = random_extractor()
    utterances = {}
    for key, (features, offsets, indices, weights) in utterances_of(extractor, (6, 9, 1), pairs=1).items():
        utterances[key] = features, offsets, indices, np.ones_like(weights)
    wanted = 0.0
    covars = np.linalg.inv(extractor.inv_covars)
    for features, _, indices, _ in utterances.values():
        projections = np.concatenate(extractor.projections[indices])
        covar = projections @ projections.T
        for t, i in enumerate(indices):
            covar[4 * t : 4 * t + 4, 4 * t : 4 * t + 4] += covars[i]
        mean = projections[:, 0] * extractor.prior_offset
        wanted += multivariate_normal(mean, covar).logpdf(features.reshape(-1))
        wanted += np.log(extractor.weights[indices]).sum()
        if not update_variances:
            for i in set(indices.tolist()):
                rest = features[indices == i] - features[indices == i].mean(axis=0)
                wanted += 0.5 * np.trace(rest.T @ rest @ extractor.inv_covars[i]) - 0.5 * 4 * len(rest)
    stats = accumulate(extractor, utterances, update_variances=update_variances)
    assert np.isclose(stats.auxf, wanted, rtol=1e-6)
    assert bool(stats.scatter.size) == update_variances
    assert accumulate(extractor, utterances, compute_auxf=False).auxf == 0


def test_weight_statistics():
    """Of the samples: linear_i x and quadratic_i x xᵀ, averaged; the same whatever the order and the batches."""
    extractor = random_extractor(weights=True)
    utterances = utterances_of(extractor)
    stats = accumulate(extractor, utterances, num_samples=3, cache_size=100, seed=1)
    assert_same(stats, accumulate(extractor, dict(reversed(utterances.items())), num_samples=3, cache_size=2, seed=1))
    assert not np.allclose(stats.weight_linear, accumulate(extractor, utterances, num_samples=3, seed=2).weight_linear)
    # Of very many samples, the expectations, which another draw of points gives as well.
    one = {"u0": utterances["u0"]}
    stats = accumulate(extractor, one, num_samples=20_000)
    zeroth, first, _ = loops(extractor, one["u0"])
    found = infer(extractor, derive(extractor), zeroth[None], first[None])
    points = np.random.default_rng(9).multivariate_normal(found.means[0], packed.unpack(found.covars[0]), 20_000)
    scores = points @ extractor.weight_projections.T
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    safe = np.maximum(zeroth, zeroth.sum() * shares)
    linear = (zeroth - zeroth.sum() * shares + safe * scores).T @ points / len(points)
    assert np.allclose(stats.weight_linear, linear, atol=0.05 * np.abs(linear).max())
    quadratic = np.einsum("ng,nr,ns->grs", safe, points, points) / len(points)
    assert np.allclose(packed.unpack(stats.weight_quadratic), quadratic, atol=0.03 * np.abs(quadratic).max())


# --- M-step -----------------------------------------------------------------------------------------------------------


def test_quadratic_problem():
    rng = np.random.default_rng(0)
    x, y, current = rng.standard_normal((6, 9)), rng.standard_normal((4, 6)), rng.standard_normal((4, 6))
    p = rng.standard_normal((4, 9))
    q, p = x @ x.T, p @ p.T

    def objective(m):
        return np.trace(m.T @ p @ y) - 0.5 * np.trace(p @ m @ q @ m.T)

    found, improvement, floored = maximise(q, y, current, p)
    assert np.allclose(found, y @ np.linalg.inv(q)) and floored == 0
    assert np.isclose(improvement, objective(found) - objective(current))
    assert maximise(np.zeros((6, 6)), y, current, p) is None
    again, improvement, _ = maximise(q, y, found, p)
    assert np.allclose(again, found) and 0 <= improvement < 1e-12
    with pytest.raises(VouchError, match="not positive definite"):
        maximise(-q, y, current, p)


def test_quadratic_problem_floors_as_kaldi():
    """With a unit diagonal, eigenvalues under the largest / 10,000 are raised; a step from the current value."""
    rng = np.random.default_rng(0)
    x, current, y = rng.standard_normal((6, 3)), rng.standard_normal((2, 6)), rng.standard_normal((2, 6))
    q = (x @ x.T) * np.outer([1, 1, 1, 1, 1, 1e3], [1, 1, 1, 1, 1, 1e3])
    found, _, floored = maximise(q, y, current, None)
    root = np.sqrt(np.diag(q))
    values, vectors = np.linalg.eigh(q / np.outer(root, root))
    assert floored == 3 == (values < values[-1] / 1e4).sum()
    gradient = y / root - (current * root) @ (vectors * values @ vectors.T)
    step = gradient @ vectors / np.maximum(values, values[-1] / 1e4) @ vectors.T
    assert np.allclose(found, current + step / root)


@pytest.mark.parametrize("weights", [False, True])
def test_model_is_the_same_in_the_new_space(weights):
    """The prior's update turns the space only: with nothing else to update, likelihoods and i-vectors go along."""
    extractor = random_extractor(weights=weights)
    utterances = utterances_of(extractor)
    stats = accumulate(extractor, utterances, update_variances=False)
    found = estimate(extractor, stats, EstimationOptions(gaussian_min_count=np.inf)).extractor
    means = (stats.ivector_sum / stats.num_ivectors)[:, None]
    turn = np.linalg.lstsq(found.projections.reshape(-1, 5), extractor.projections.reshape(-1, 5))[0]  # x_new = turn x
    assert np.allclose(found.projections @ turn, extractor.projections)
    assert np.allclose(turn @ means, [[found.prior_offset], [0], [0], [0], [0]], atol=1e-9) and found.prior_offset > 0
    covar = stats.ivector_scatter / stats.num_ivectors - means @ means.T
    assert np.allclose(turn @ covar @ turn.T, np.eye(5), atol=1e-9)
    assert np.array_equal(found.inv_covars, extractor.inv_covars)


@pytest.mark.parametrize("diagonalize", [True, False])
def test_axes_in_order_of_importance(diagonalize):
    extractor = random_extractor()
    stats = accumulate(extractor, utterances_of(extractor), update_variances=False)
    options = EstimationOptions(gaussian_min_count=np.inf, diagonalize=diagonalize)
    found = estimate(extractor, stats, options).extractor
    turn = np.linalg.lstsq(found.projections.reshape(-1, 5), extractor.projections.reshape(-1, 5))[0][1:, 1:]
    average = sum(
        w * m.T @ p @ m for w, m, p in zip(extractor.weights, extractor.projections, extractor.inv_covars, strict=True)
    )
    turned = np.linalg.inv(turn).T @ average[1:, 1:] @ np.linalg.inv(turn)
    beside = np.abs(turned - np.diag(np.diag(turned))).max()
    if diagonalize:
        assert beside < 1e-9 * np.abs(turned).max() and (np.diff(np.diag(turned)) <= 0).all()
    else:
        assert beside > 1e-3 * np.abs(turned).max()


def test_variances_are_residual_covariances_and_floored():
    """Of many frames: S - Y Mᵀ - M Yᵀ + M R Mᵀ over the count, by loops over the i-vectors' distributions."""
    extractor = random_extractor()
    utterances = utterances_of(extractor)
    stats = accumulate(extractor, utterances)
    loose = estimate(extractor, stats, EASY._replace(variance_floor_factor=1e-9)).extractor
    new = estimate(extractor, stats, EASY._replace(variance_floor_factor=1.0)).extractor
    # The new M in the old space, from the normal equations.
    projections = [y @ np.linalg.inv(packed.unpack(r)) for y, r in zip(stats.linear, stats.quadratic, strict=True)]
    residual = np.zeros((3, 4, 4))
    for utterance in utterances.values():
        zeroth, first, second = loops(extractor, utterance)
        found = infer(extractor, derive(extractor), zeroth[None], first[None])
        moment = packed.unpack(found.covars[0]) + np.outer(found.means[0], found.means[0])
        for i, m in enumerate(projections):
            cross = np.outer(first[i], m @ found.means[0])
            residual[i] += second[i] - cross - cross.T + zeroth[i] * m @ moment @ m.T
    wanted = residual / stats.occupancy[:, None, None]
    assert np.allclose(np.linalg.inv(loose.inv_covars), wanted, rtol=1e-6, atol=1e-8)
    average = residual.sum(axis=0) / stats.occupancy.sum()
    for i, covar in enumerate(np.linalg.inv(new.inv_covars)):
        factor = np.linalg.inv(np.linalg.cholesky(average))
        values, vectors = np.linalg.eigh(factor @ wanted[i] @ factor.T)
        raised = (vectors * np.maximum(values, 1)) @ vectors.T
        assert np.allclose(factor @ covar @ factor.T, raised)
        assert (values < 1).any()  # the floor did something here


def test_training_climbs():
    """The objective function rises at every iteration, by what the M-step promised at least."""
    extractor = random_extractor(gaussians=4, dim=6, rank=3, seed=1)
    truth = random_extractor(gaussians=4, dim=6, rank=3, seed=2)
    rng = np.random.default_rng(0)
    utterances = {}
    for n in range(60):
        ivector = rng.standard_normal(3) + [truth.prior_offset, 0, 0]
        indices = rng.integers(0, 4, 50).astype(np.int32)
        noise = np.stack(
            [np.linalg.solve(np.linalg.cholesky(truth.inv_covars[i]).T, rng.standard_normal(6)) for i in indices]
        )
        features = (truth.projections[indices] @ ivector + noise).astype(np.float32)
        utterances[f"u{n}"] = features, np.arange(51), indices, np.ones(50, np.float32)
    auxf, promised = [], 0.0
    for _ in range(6):
        stats = accumulate(extractor, utterances)
        auxf.append(stats.auxf / stats.occupancy.sum())
        found = estimate(extractor, stats, EASY._replace(variance_floor_factor=1e-6))
        extractor = found.extractor
        if len(auxf) > 1:
            assert auxf[-1] >= auxf[-2] + promised - 1e-6
        promised = found.improvement
    assert promised < 0.01 < auxf[-1] - auxf[0]
    assert 0 < explained_variance(extractor, stats) < 1


def test_small_gaussians_stay():
    extractor = random_extractor()
    stats = accumulate(extractor, utterances_of(extractor))
    least = np.sort(stats.occupancy)[1]
    found = estimate(extractor, stats, EstimationOptions(gaussian_min_count=least))
    small = int(np.argmin(stats.occupancy))
    kept = [i for i in range(3) if np.array_equal(found.extractor.inv_covars[i], extractor.inv_covars[i])]
    assert kept == [small]
    warnings = [note.text for note in found.notes if note.kind == "warn"]
    assert warnings == [
        f"Skipping Gaussian index {small} because count {stats.occupancy[small]:.6g} is below min-count."
    ]


def test_one_dimension():
    extractor = random_extractor(rank=1)
    found = estimate(extractor, accumulate(extractor, utterances_of(extractor)), EASY).extractor
    assert np.isfinite(found.projections).all() and found.prior_offset > 0


def test_what_cannot_be_estimated():
    extractor = random_extractor()
    stats = accumulate(extractor, utterances_of(extractor))
    for wrong, text in (
        (
            accumulate(other := random_extractor(rank=4), utterances_of(other)),
            "4-dimensional i-vectors.* 5-dimensional",
        ),
        (accumulate(other := random_extractor(weights=True), utterances_of(other)), "with weight projections;"),
        (ExtractorStats.zeros(extractor), "no utterance at all"),
        (ExtractorStats(*[value * np.nan for value in stats]), "not numbers"),
    ):
        with pytest.raises(VouchError, match=text):
            estimate(extractor, wrong)
    with pytest.raises(VouchError, match="no Gaussian has a count of 100000"):
        estimate(extractor, stats, EstimationOptions(gaussian_min_count=1e5))
    singular = extractor._replace(inv_covars=extractor.inv_covars * np.array([1, 0, 1])[:, None, None])
    with pytest.raises(VouchError, match="Gaussian 1 .*singular"):
        derive(singular)


# --- Kaldi's training -------------------------------------------------------------------------------------------------


def test_training_of_kaldi(golden_training):
    """From 0.ie, with signs and order: 1.ie and 5.ie, and the same log."""
    from vouch.gmm.extractor import IvectorExtractor

    features = dict(read_table(f"ark:{golden_training}/feats.ark"))
    posteriors = dict(read_table(f"ark:{golden_training}/post.ark", "posterior"))
    utterances = {key: (features[key], *posteriors[key]) for key in features}
    said = set((golden_training / "log_lines.txt").read_text().splitlines())
    extractor = IvectorExtractor(*read_ivector_extractor(f"{golden_training}/0.ie"))
    for iteration in range(1, 6):
        stats = accumulate(extractor, utterances)
        stats.quadratic[:] = stats.quadratic.astype(np.float32)  # as through a file
        found = estimate(extractor, stats)
        extractor = found.extractor
        if iteration == 1:
            assert {note.text for note in found.notes if "verall" in note.text} <= said
        if iteration in (1, 5):
            wanted = read_ivector_extractor(f"{golden_training}/{iteration}.ie")
            for ours, theirs in zip(extractor, wanted, strict=True):
                most = {1: 1e-5, 5: 5e-3}[iteration]
                assert np.linalg.norm(ours - theirs) <= most * np.linalg.norm(theirs)
