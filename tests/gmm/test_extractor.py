"""I-vectors of a given extractor: against linear regression, loops, and Kaldi's own."""

from __future__ import annotations

import numpy as np
import pytest
from extractor_examples import loops, random_extractor, random_utterance

from vouch.errors import VouchError
from vouch.gmm import extractor_weights, packed
from vouch.gmm.extractor import IvectorExtractor, auxf_changes, derive, infer, init, solve
from vouch.gmm.extractor_statistics import Collector


def regression(extractor, zeroth, first):
    """(mean, covariance) of x given the means y_i = M_i x + noise of zeroth_i frames: generalised least squares
    with the prior as further rows."""
    rows, targets = [np.eye(extractor.ivector_dim)], [extractor.prior_offset * np.eye(extractor.ivector_dim)[0]]
    for i, count in enumerate(zeroth):
        root = np.sqrt(count) * np.linalg.cholesky(extractor.inv_covars[i]).T
        rows.append(root @ extractor.projections[i])
        targets.append(root @ (first[i] / count))
    matrix, target = np.concatenate(rows), np.concatenate(targets)
    inverse = np.linalg.pinv(matrix)
    return inverse @ target, inverse @ inverse.T


def test_distribution_is_that_of_linear_regression():
    extractor = random_extractor()
    statistics = [loops(extractor, random_utterance(extractor, frames, frames)) for frames in (30, 7)]
    zeroth, first = np.stack([s[0] for s in statistics]), np.stack([s[1] for s in statistics])
    found = infer(extractor, derive(extractor), zeroth, first)
    for b in range(2):
        mean, covar = regression(extractor, zeroth[b], first[b])
        assert np.allclose(found.means[b], mean, atol=1e-10)
        assert np.allclose(packed.unpack(found.covars[b]), covar, atol=1e-10)
        assert np.isclose(found.log_dets[b], np.linalg.slogdet(covar)[1])
    points = infer(extractor, derive(extractor), zeroth, first, with_covars=False)
    assert points.covars is None and np.allclose(points.means, found.means)


def test_no_data_gives_the_prior():
    extractor = random_extractor()
    found = infer(extractor, derive(extractor), np.zeros((1, 3)), np.zeros((1, 3, 4)))
    assert np.allclose(found.means[0], [2.5, 0, 0, 0, 0])
    assert np.allclose(packed.unpack(found.covars[0]), np.eye(5))
    assert auxf_changes(extractor, np.zeros((1, 3)), found)[0] == 0


@pytest.mark.parametrize("weights", [False, True])
def test_change_of_the_objective_function(weights):
    """Log of prior and likelihood at the mean less that at the prior's mean, from the frames one by one."""
    extractor = random_extractor(weights=weights)
    utterance = random_utterance(extractor, 20)
    zeroth, first, _ = loops(extractor, utterance)
    found = infer(extractor, derive(extractor), zeroth[None], first[None], with_covars=False)

    def log_joint(x):
        prior = -0.5 * np.sum((x - extractor.prior_offset * np.eye(5)[0]) ** 2)
        scores = extractor.weight_projections @ x if weights else np.log(extractor.weights)
        log_weights = scores - np.log(np.exp(scores).sum())
        total = prior
        for frame, start, end in zip(utterance[0], utterance[1][:-1], utterance[1][1:], strict=True):
            for i, weight in zip(utterance[2][start:end], utterance[3][start:end], strict=True):
                rest = frame - extractor.projections[i] @ x
                total += weight * (log_weights[i] - 0.5 * rest @ extractor.inv_covars[i] @ rest)
        return total

    wanted = log_joint(found.means[0]) - log_joint(extractor.prior_offset * np.eye(5)[0])
    assert np.isclose(auxf_changes(extractor, zeroth[None], found)[0], wanted)
    assert wanted > 0


def test_expansion_of_the_weights_has_the_true_gradient():
    """d/dx sum_i gamma_i log softmax_i(w x), by differences, is that of the expansion at its own point."""
    extractor = random_extractor(weights=True)
    w, zeroth, point = extractor.weight_projections, np.array([3.0, 0.5, 6.0]), np.array([0.3, -1.0, 0.2, 0.9, 0.1])
    linear, quadratic = extractor_weights.terms(w, zeroth, point)
    steps = 1e-5 * np.eye(5)
    values = extractor_weights.log_likelihoods(
        w, np.tile(zeroth, (10, 1)), np.concatenate([point + steps, point - steps])
    )
    gradient = (values[:5] - values[5:]) / 2e-5
    assert np.allclose(linear - packed.unpack(quadratic) @ point, gradient, atol=1e-7)
    scores = w @ (point + steps[0])
    assert np.isclose(values[0], zeroth @ (scores - np.log(np.exp(scores).sum())))
    safe = extractor_weights.coefficients(w, zeroth, point[None])[1][0]
    shares = np.exp(w @ point) / np.exp(w @ point).sum()
    assert np.allclose(safe, [max(g, 9.5 * p) for g, p in zip(zeroth, shares, strict=True)])


def test_weights_iteration():
    """The loop of Kaldi's GetIvectorDistribution, written down anew with plain inverses."""
    extractor = random_extractor(weights=True)
    zeroth, first, _ = loops(extractor, random_utterance(extractor, 40))
    found = infer(extractor, derive(extractor), zeroth[None], first[None])
    base = np.eye(5) + sum(
        n * m.T @ p @ m for n, m, p in zip(zeroth, extractor.projections, extractor.inv_covars, strict=True)
    )
    line = sum(m.T @ p @ x for x, m, p in zip(first, extractor.projections, extractor.inv_covars, strict=True))
    line[0] += 2.5
    mean, w = np.linalg.solve(base, line), extractor.weight_projections
    for _ in range(4):
        shares = np.exp(w @ mean) / np.exp(w @ mean).sum()
        safe = np.maximum(zeroth, zeroth.sum() * shares)
        inverse = np.linalg.inv(base + w.T @ np.diag(safe) @ w)
        old, mean = mean, inverse @ (line + w.T @ (zeroth - zeroth.sum() * shares + safe * (w @ mean)))
        if np.linalg.norm(mean - old) < 0.1:
            break
    assert np.allclose(found.means[0], mean)
    assert np.allclose(packed.unpack(found.covars[0]), inverse)


def test_samples():
    rng = np.random.default_rng(0)
    covar = np.array([[2.0, 0.6], [0.6, 1.0]])
    sets = [extractor_weights.sample(np.array([5.0, -1.0]), packed.pack(covar), 4, rng) for _ in range(4000)]
    assert np.allclose([s.mean(axis=0) for s in sets], [5.0, -1.0])
    scatter = np.mean([(s - s.mean(axis=0)).T @ (s - s.mean(axis=0)) / 4 for s in sets], axis=0)
    assert np.allclose(scatter, covar, rtol=0.05)


def test_expected_log_likelihood_of_weights_has_kaldis_second_order_term():
    extractor = random_extractor(weights=True)
    w, zeroth, mean = extractor.weight_projections, np.array([3.0, 0.5, 6.0]), np.array([0.3, -1.0, 0.2, 0.9, 0.1])
    covar = np.diag([0.1, 0.2, 0.3, 0.1, 0.2])
    found = extractor_weights.expected_log_likelihoods(w, zeroth[None], mean[None], packed.pack(covar)[None])[0]
    p = np.exp(w @ mean) / np.exp(w @ mean).sum()
    jacobian = w + np.outer(p, w.T @ p)
    wanted = zeroth @ np.log(p) - 0.5 * sum(g * row @ covar @ row for g, row in zip(zeroth, jacobian, strict=True))
    assert np.isclose(found, wanted)


@pytest.mark.parametrize("use_weights", [False, True])
def test_init(use_weights):
    like = random_extractor()
    means = np.random.default_rng(1).standard_normal((3, 4)) * 7
    means_invcovars = np.einsum("gij,gj->gi", like.inv_covars, means)
    extractor = init(like.weights, means_invcovars, like.inv_covars, 6, use_weights, np.random.default_rng(0))
    assert extractor.projections.shape == (3, 4, 6)
    assert np.allclose(extractor.projections[:, :, 0] * extractor.prior_offset, means)
    assert extractor.prior_offset == 100.0 and np.array_equal(extractor.inv_covars, like.inv_covars)
    others = init(like.weights, means_invcovars, like.inv_covars, 400, use_weights, np.random.default_rng(0))
    assert abs(others.projections[:, :, 1:].std() - 1) < 0.05 and abs(others.projections[:, :, 1:].mean()) < 0.05
    if use_weights:
        assert extractor.weight_projections.shape == (3, 6) and not extractor.weight_projections.any()
        assert extractor.weights.shape == (0,)
    else:
        assert np.array_equal(extractor.weights, like.weights) and extractor.weight_projections.shape == (0, 0)


def test_init_refuses():
    like = random_extractor()
    with pytest.raises(VouchError, match="ivector-dim=0"):
        init(like.weights, np.zeros((3, 4)), like.inv_covars, 0, False, np.random.default_rng(0))
    singular = like.inv_covars.copy()
    singular[1] = 1.0
    with pytest.raises(VouchError, match="Gaussian 1 .* singular"):
        init(like.weights, np.zeros((3, 4)), singular, 2, False, np.random.default_rng(0))


def test_negative_posteriors_are_an_error():
    with pytest.raises(VouchError, match="not positive definite"):
        solve(np.array([-2.0, 0.0, 1.0]), np.ones(2))


def test_collector_and_its_errors():
    extractor = random_extractor()
    utterances = {f"u{n}": random_utterance(extractor, frames, n) for n, frames in enumerate((40, 3, 1, 25))}
    second = np.zeros((3, 4, 4))
    collector = Collector(3, 4, second)
    for key, utterance in utterances.items():
        collector.add(key, *utterance)
    batch = collector.take()
    wanted = [loops(extractor, utterance) for utterance in utterances.values()]
    assert batch.keys == list(utterances)
    assert np.allclose(batch.zeroth, [w[0] for w in wanted]) and np.allclose(batch.first, [w[1] for w in wanted])
    assert np.allclose(second, sum(w[2] for w in wanted))
    assert collector.take().zeroth.shape == (0, 3)
    features, offsets, indices, weights = utterances["u0"]
    for arguments, text in (
        ((features[:, :3], offsets, indices, weights), "'k' has features of 3 dim"),
        ((features, offsets, indices + 3, weights), "'k' has posteriors of Gaussian"),
        ((features, offsets, indices - 3, weights), "'k' has posteriors of Gaussian"),
        ((features * np.nan, offsets, indices, weights), "'k' has NaN, infinity or a number beyond"),
        ((features * 1e20, offsets, indices, weights), "'k' has NaN, infinity or a number beyond"),
        ((features, offsets, indices, weights * np.inf), "'k' has posteriors that are not numbers"),
    ):
        with pytest.raises(VouchError, match=text):
            collector.add("k", *arguments)


# --- Kaldi's i-vectors ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kaldi_statistics(golden):
    """A function: (keys) -> zeroth and first-order statistics with posteriors worked out here from Kaldi's UBMs."""
    folder = golden / "ivector"
    diagonal, full = np.load(folder / "diag_ubm_from_full.npz"), np.load(folder / "full_ubm.npz")
    features, precisions = np.load(folder / "features.npz"), packed.unpack(full["inv_covars_packed"].astype(np.float64))

    def posteriors(x):
        scores = diagonal["gconsts"] + x @ diagonal["means_invvars"].T - 0.5 * x**2 @ diagonal["inv_vars"].T
        chosen = np.argsort(-scores, axis=1)[:, :20]
        quadratic = np.stack([np.einsum("td,td->t", x @ precision, x) for precision in precisions], axis=1)
        scores = np.take_along_axis(full["gconsts"] + x @ full["means_invcovars"].T - 0.5 * quadratic, chosen, 1)
        values = np.exp(scores - scores.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
        values[values < 0.025] = 0
        values /= values.sum(axis=1, keepdims=True)
        offsets = np.concatenate([[0], np.cumsum((values > 0).sum(axis=1))])
        return offsets, chosen[values > 0].astype(np.int32), values[values > 0].astype(np.float32)

    def statistics(keys):
        collector = Collector(len(precisions), precisions.shape[1])
        for key in keys:
            collector.add(key, features[key], *posteriors(features[key].astype(np.float64)))
        return collector.take()

    return statistics


@pytest.mark.parametrize("name", ["extractor", "extractor_weights"])
def test_ivectors_of_kaldi(golden, kaldi_statistics, name):
    model = np.load(golden / "ivector" / f"{name}.npz")
    reference = model if name == "extractor_weights" else np.load(golden / "ivector" / "ivectors.npz")
    covars = packed.unpack(model["Sigma_inv_packed"])
    extractor = IvectorExtractor(model["w"], model["w_vec"], model["M"], covars, float(model["prior_offset"]))
    assert extractor.has_weight_projections == (name == "extractor_weights")
    batch = kaldi_statistics([str(key) for key in reference["keys"]])
    means = infer(extractor, derive(extractor), batch.zeroth, batch.first, with_covars=False).means
    means[:, 0] -= extractor.prior_offset
    assert np.abs(means - reference["ivectors"]).max() < 1e-5
