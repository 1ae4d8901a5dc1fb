"""PLDA: training, scores, smoothing and adaptation against Kaldi and against Gaussian densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from vouch.backend.pairs import distinct, dot_products_of_pairs
from vouch.backend.plda import Plda
from vouch.backend.plda_training import PldaEstimator, train_plda
from vouch.backend.statistics import Moments, SpeakerStatistics
from vouch.errors import VouchError


def two_covariance_data(num_speakers=300, most=6, dims=4, seed=3):
    """(vectors, speakers, mean, between, within) drawn from the model, with 1 to `most` utterances a speaker."""
    generator = np.random.default_rng(seed)
    between, within = (m @ m.T for m in generator.normal(size=(2, dims, dims)))
    mean = generator.normal(size=dims)
    speakers = np.repeat(np.arange(num_speakers), generator.integers(1, most + 1, num_speakers))
    centres = generator.multivariate_normal(mean, between, num_speakers)[speakers]
    return (
        centres + generator.multivariate_normal(np.zeros(dims), within, len(speakers)),
        speakers,
        mean,
        between,
        within,
    )


def covariances(plda: Plda) -> tuple[np.ndarray, np.ndarray]:
    inverse = np.linalg.inv(plda.transform)
    return inverse * plda.psi @ inverse.T, inverse @ inverse.T


def model(dims=3, seed=5) -> Plda:
    generator = np.random.default_rng(seed)
    return Plda(generator.normal(size=dims), generator.normal(size=(dims, dims)), np.array([2.0, 0.7, 0.0])[:dims])


@pytest.mark.parametrize("num_examples", [1, 2, 5])
def test_score_is_the_ratio_of_joint_gaussian_densities(num_examples):
    """log p(enrollment, test | one speaker) - log p(enrollment) - log p(test), the densities written out in full."""
    plda = model()
    between, within = covariances(plda)
    generator = np.random.default_rng(0)
    enrollment, test = generator.normal(size=(num_examples, 3)), generator.normal(size=3)

    def log_density(*vectors):
        size = len(vectors)
        covariance = np.kron(np.ones((size, size)), between) + np.kron(np.eye(size), within)
        return multivariate_normal(np.tile(plda.mean, size), covariance).logpdf(np.concatenate(vectors))

    wanted = log_density(*enrollment, test) - log_density(*enrollment) - log_density(test)
    average = plda.project(enrollment.mean(axis=0, keepdims=True))
    score = plda.log_likelihood_ratio(average, num_examples, plda.project(test[None]))
    assert score[0, 0] == pytest.approx(wanted, abs=1e-9)


def test_score_matrix_equals_single_scores():
    plda, generator = model(), np.random.default_rng(1)
    enrollment, test, counts = generator.normal(size=(4, 3)), generator.normal(size=(5, 3)), np.array([1, 2, 2, 7])
    matrix = plda.log_likelihood_ratio(enrollment, counts, test)
    for row in range(4):
        for col in range(5):
            single = plda.log_likelihood_ratio(enrollment[[row]], int(counts[row]), test[[col]])
            assert matrix[row, col] == pytest.approx(single[0, 0])
    swapped = plda.log_likelihood_ratio(test, 1, enrollment)
    np.testing.assert_allclose(swapped, plda.log_likelihood_ratio(enrollment, 1, test).T, atol=1e-12)


def test_length_normalisation_reaches_the_expected_length():
    plda, vectors = model(), np.random.default_rng(2).normal(size=(6, 3))
    counts = np.array([1, 2, 3, 1, 5, 9])
    normal = plda.transform_vectors(vectors, counts)
    np.testing.assert_allclose(np.sum(normal**2 / (plda.psi + 1 / counts[:, None]), axis=1), 3)
    np.testing.assert_allclose(np.linalg.norm(plda.transform_vectors(vectors, counts, simple=True), axis=1), np.sqrt(3))
    np.testing.assert_allclose(plda.transform_vectors(vectors, 1, False), (vectors - plda.mean) @ plda.transform.T)


def test_em_never_lowers_the_likelihood_and_the_objective_is_the_likelihood():
    vectors, speakers, *_ = two_covariance_data(num_speakers=40)
    estimator = PldaEstimator(SpeakerStatistics.of(vectors, speakers))
    objectives = [estimator.objective()]
    for _ in range(30):
        estimator.step()
        objectives.append(estimator.objective())
    assert (np.diff(objectives) > -1e-12).all()
    assert objectives[-1] > objectives[0] + 0.1
    between, within = covariances(estimator.plda())
    likelihood = 0.0
    for speaker in np.unique(speakers):
        own = vectors[speakers == speaker]
        size = len(own)
        covariance = np.kron(np.ones((size, size)), between) + np.kron(np.eye(size), within)
        likelihood += multivariate_normal(np.tile(estimator.mean, size), covariance).logpdf(own.ravel())
    assert objectives[-1] == pytest.approx(likelihood / len(vectors), abs=1e-9)


def test_training_recovers_the_covariances():
    vectors, speakers, mean, between, within = two_covariance_data(num_speakers=4000)
    plda = train_plda(vectors, speakers, 30)
    got_between, got_within = covariances(plda)
    np.testing.assert_allclose(got_within, within, atol=0.06 * np.trace(within) / 4)
    np.testing.assert_allclose(got_between, between, atol=0.1 * np.trace(between) / 4)
    np.testing.assert_allclose(plda.mean, mean, atol=0.1)


def test_training_is_equivariant_where_em_has_converged():
    vectors, speakers, *_ = two_covariance_data()
    shift = np.array([100.0, -20, 3, 0])
    plda, moved = train_plda(vectors, speakers, 40), train_plda(vectors + shift, speakers, 40)
    np.testing.assert_allclose(moved.psi, plda.psi, rtol=1e-7)
    np.testing.assert_allclose(moved.mean, plda.mean + shift)


def test_smoothing_adds_between_to_within():
    plda = model()
    between, within = covariances(plda)
    smooth_between, smooth_within = covariances(plda.smooth(0.3))
    np.testing.assert_allclose(smooth_within, within + 0.3 * between, atol=1e-9)
    np.testing.assert_allclose(smooth_between, between, atol=1e-9)


def test_adaptation_adds_all_of_the_excess_and_nothing_else():
    """With scales that sum to 1 the new total covariance is that of the data in directions of excess."""
    plda = model()
    total = sum(covariances(plda))
    generator = np.random.default_rng(7)
    moments = Moments()
    moments.add(generator.multivariate_normal(plda.mean + 1, 9 * total, 5000))
    adapted = plda.adapt(moments, 0.4, 0.6)
    offset = moments.mean - plda.mean
    np.testing.assert_allclose(sum(covariances(adapted)), moments.covariance + np.outer(offset, offset), atol=1e-8)
    np.testing.assert_allclose(adapted.mean, moments.mean)
    narrow = Moments()
    narrow.add(plda.mean + 0.1 * generator.multivariate_normal(np.zeros(3), total, 5000))
    same = covariances(plda.adapt(narrow))
    np.testing.assert_allclose(same, covariances(plda), atol=1e-8)


@pytest.mark.parametrize("num_pairs", [0, 30, 3000])  # nothing, scattered pairs, filled blocks
def test_pairs_equal_the_full_product(num_pairs):
    generator = np.random.default_rng(4)
    left, right = generator.normal(size=(600, 7)), generator.normal(size=(300, 7))
    rows, cols = generator.integers(0, 600, num_pairs), generator.integers(0, 300, num_pairs)
    if num_pairs == 3000:
        rows, cols = rows % 20, cols % 60
    np.testing.assert_allclose(dot_products_of_pairs(left, right, rows, cols), (left @ right.T)[rows, cols])


def test_refusals():
    vectors, speakers, *_ = two_covariance_data(num_speakers=20)
    plda = model()
    with pytest.raises(VouchError, match="are too few for PLDA of dimension 4"):
        train_plda(vectors[:4], speakers[:4])
    with pytest.raises(VouchError, match="speakers have one utterance"):
        train_plda(vectors, np.arange(len(vectors)))
    with pytest.raises(VouchError, match="model of dimension 3"):
        plda.project(vectors)
    with pytest.raises(VouchError, match="from 0 to 1"):
        plda.smooth(1.5)
    with pytest.raises(VouchError, match="no vectors to adapt"):
        plda.adapt(Moments())
    with pytest.raises(VouchError, match="vector 1 equals the PLDA mean"):
        plda.transform_vectors(np.stack([plda.mean + 1, plda.mean]))
    with pytest.raises(VouchError, match="NaN"):
        Plda(plda.mean, plda.transform * np.nan, plda.psi)


# --- Kaldi's own models and scores ------------------------------------------------------------------------------------


def kaldi_training_data(golden, spk2utt):
    lines = [line.split() for line in (golden / "backend" / spk2utt).read_text().splitlines()]
    speaker_of = {utterance: line[0] for line in lines for utterance in line[1:]}
    inputs = np.load(golden / "backend" / "inputs.npz")
    chosen = [row for row, key in enumerate(inputs["train_keys"]) if key in speaker_of]
    return inputs["train"][chosen], [speaker_of[inputs["train_keys"][row]] for row in chosen]


def kaldi_plda(golden, name) -> Plda:
    models = np.load(golden / "backend" / "plda_models.npz")
    return Plda(*(models[f"{name}/{part}"] for part in ("mean", "transform", "psi")))


def assert_same_model(plda: Plda, wanted: Plda):
    np.testing.assert_allclose(plda.mean, wanted.mean, rtol=1e-9)
    np.testing.assert_allclose(plda.psi, wanted.psi, rtol=1e-9)
    signs = np.sign(np.sum(plda.transform * wanted.transform, axis=1))[:, None]
    np.testing.assert_allclose(plda.transform * signs, wanted.transform, atol=1e-9)


@pytest.mark.parametrize("name, spk2utt, iterations", [
    ("plda", "spk2utt", 10),
    ("plda_iters1", "spk2utt", 1),
    ("plda_iters20", "spk2utt", 20),
    ("plda_unbalanced", "spk2utt_unbalanced", 10),
])  # fmt: skip
def test_kaldi_training(golden, name, spk2utt, iterations):
    vectors, speakers = kaldi_training_data(golden, spk2utt)
    assert_same_model(train_plda(vectors, speakers, iterations), kaldi_plda(golden, name))


@pytest.mark.parametrize("factor", ["0.0", "0.1", "1.0"])
def test_kaldi_smoothing(golden, factor):
    smooth = kaldi_plda(golden, "plda").smooth(float(np.float32(factor)))
    assert_same_model(smooth, kaldi_plda(golden, f"plda_smooth{factor}"))


@pytest.mark.parametrize("name, scales", [
    ("default", (float(np.float32(0.3)), float(np.float32(0.7)), 1.0)),
    ("sre16", (0.75, 0.25, 1.0)),
    ("w1_b0_m0", (1.0, 0.0, 0.0)),
])  # fmt: skip
def test_kaldi_adaptation(golden, name, scales):
    moments = Moments()
    for block in np.array_split(np.load(golden / "backend" / "inputs.npz")["adapt"], 3):
        moments.add(block)
    assert_same_model(kaldi_plda(golden, "plda").adapt(moments, *scales), kaldi_plda(golden, f"plda_adapt_{name}"))


@pytest.mark.parametrize("name, plda_name, normalize, simple, counted", [
    ("nlen", "plda", True, False, False),
    ("nonlen", "plda", False, False, False),
    ("nlen_simple", "plda", True, True, False),
    ("nlen_numutts", "plda", True, False, True),
    ("nonlen_numutts", "plda", False, False, True),
    ("nlen_simple_numutts", "plda", True, True, True),
    ("smooth0.1", "plda_smooth0.1", True, False, True),
    ("adapt_sre16", "plda_adapt_sre16", True, False, True),
    ("unbalanced", "plda_unbalanced", True, False, True),
])  # fmt: skip
def test_kaldi_scores(golden, name, plda_name, normalize, simple, counted):
    folder = golden / "backend"
    inputs = np.load(folder / "inputs.npz")
    members = dict(line.split(maxsplit=1) for line in (folder / "enroll_spk2utt").read_text().splitlines())
    row_of = {key: row for row, key in enumerate(inputs["enroll_utt_keys"])}
    groups = [inputs["enroll_utt"][[row_of[u] for u in utterances.split()]] for utterances in members.values()]
    models = {model: row for row, model in enumerate(members)}
    tests = {key: row for row, key in enumerate(inputs["test_keys"])}
    counts = np.array([len(group) for group in groups]) if counted else 1
    plda = kaldi_plda(golden, plda_name)
    means = np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])
    enrollment = plda.transform_vectors(means, counts, normalize, simple)
    matrix = plda.log_likelihood_ratio(enrollment, counts, plda.transform_vectors(inputs["test"], 1, normalize, simple))
    trials = [line.split() for line in (folder / "trials").read_text().splitlines()]
    scores = np.array([matrix[models[model], tests[test]] for model, test, _ in trials])
    assert np.abs(scores - np.load(folder / "scores.npz")[name]).max() < 2e-4


def test_condensed_statistics_train_as_those_of_all_speakers():
    """One EM step by Kaldi's formulas, speaker by speaker; 40 speakers of count 3 for 6 dimensions, 2 of count 5."""
    generator = np.random.default_rng(5)
    counts = np.array([3] * 40 + [5] * 2 + [1] * 7)
    generator.shuffle(counts)
    speakers = np.repeat(np.arange(len(counts)), counts)
    vectors = generator.normal(size=(len(counts), 6))[speakers] + generator.normal(size=(len(speakers), 6))
    estimator = PldaEstimator(SpeakerStatistics.of(vectors, speakers.tolist()))
    estimator.step()
    centre = np.mean([vectors[speakers == s].mean(axis=0) for s in range(len(counts))], axis=0)
    between, within = np.zeros((6, 6)), np.zeros((6, 6))
    for speaker, count in enumerate(counts):
        own = vectors[speakers == speaker] - centre
        variance = np.linalg.inv(np.eye(6) + count * np.eye(6))  # both covariances begin as unit matrices
        mean = variance @ (count * own.mean(axis=0))
        between += np.outer(mean, mean) + variance
        within += (own - mean).T @ (own - mean) + count * variance
    plda = estimator.plda()
    inverse = np.linalg.inv(plda.transform)
    np.testing.assert_allclose(inverse @ inverse.T, within / counts.sum(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(inverse * plda.psi @ inverse.T, between / len(counts), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [20, 5000])
def test_distinct_numbers_and_their_places(size):
    numbers = np.random.default_rng(size).integers(0, 20, 300)
    for got, wanted in zip(distinct(numbers, size), np.unique(numbers, return_inverse=True), strict=True):
        assert np.array_equal(got, wanted)
