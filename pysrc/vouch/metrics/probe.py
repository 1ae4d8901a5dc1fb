"""Linear probes: what a linear classifier finds in embeddings, asked about those that it was not fitted to."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C: weight of the data against the squared parameters
LEAST_GROUPS = 3  # of a class: one that is asked, one to fit to, one to choose the regularisation on


class Probe(NamedTuple):
    """accuracy and its 95 % interval low to high, the accuracy of always giving the most frequent class and that of
    probes of shuffled labels, all in [0, 1]; utterances that a probe was fitted to (mean over the folds)."""

    accuracy: float
    low: float
    high: float
    majority: float
    shuffled: float
    fitted: float


def probe(
    embeddings: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    speakers: np.ndarray,
    folds: int = 5,
    shuffles: int = 3,
    seed: int = 0,
) -> Probe:
    """A linear probe of embeddings (utterances, dims) for classes, labels (utterances,) whole numbers.

    Cross-validated: groups (utterances,), whole numbers from 0, are dealt into folds, and each fold is asked of a
    probe fitted to the others (held_out_answers). The interval is over speakers (utterances,) (accuracy_interval). The
    control is the mean accuracy of as many whole probes as `shuffles` says, of shuffled labels: where all utterances
    of a group have one label, groups exchange theirs, otherwise utterances do. Hewitt & Liang 2019 (Designing and
    interpreting probes with control tasks) for the thought. Raises ValueError for fewer than three folds, and for
    fewer than two classes or one of fewer than three groups.
    """
    if folds < 3:
        raise ValueError(f"{folds} folds leave no part to choose the regularisation on, want three or more")
    if len(np.unique(labels)) < 2 or not has_enough_groups(labels, groups).all():
        raise ValueError(f"a probe wants two classes or more, each of {LEAST_GROUPS} groups or more")
    generator = np.random.default_rng(seed)
    parts = group_folds(labels, groups, folds, generator)
    right = held_out_answers(embeddings, labels, parts, groups) == labels
    control = []
    for _ in range(shuffles):
        shuffled = shuffle_labels(labels, groups, generator)
        own = group_folds(shuffled, groups, folds, generator)
        control.append(np.mean(held_out_answers(embeddings, shuffled, own, groups) == shuffled))
    low, high = accuracy_interval(right, speakers, seed=seed)
    majority = np.unique(labels, return_counts=True)[1].max() / len(labels)
    fitted = len(labels) * (1 - 1 / len(np.unique(parts)))
    return Probe(float(right.mean()), low, high, float(majority), float(np.mean(control)), fitted)


def group_folds(labels: np.ndarray, groups: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """A fold from 0 (utterances,) for each utterance: those of a group have one; the groups of each class, counted for
    the first of their classes, are dealt out at random, so that folds have as many of each as can be."""
    fold_of = np.full(int(groups.max()) + 1, -1)
    for label in np.unique(labels):
        own = np.unique(groups[labels == label])
        own = own[fold_of[own] < 0]
        fold_of[own] = generator.permutation(len(own)) % number
    return fold_of[groups]


def held_out_answers(
    embeddings: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    groups: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
    balanced: bool = False,
) -> np.ndarray:
    """The class (utterances,) that a probe fitted to the other folds (utterances,) tells of each embedding.

    Logistic regression (multinomial) on dims standardised by the fitting part, with the L2 regularisation of
    `strengths` (several: in rising order) that tells most of a fold of that part's own groups when fitted to its rest;
    of equals the strongest regularisation. balanced: all classes weigh the same in the fit.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fitted(strength: float, rows: np.ndarray) -> Pipeline:
        weight = "balanced" if balanced else None
        classifier = LogisticRegression(C=strength, class_weight=weight, max_iter=1000)
        return make_pipeline(StandardScaler(), classifier).fit(embeddings[rows], labels[rows])

    def best(rows: np.ndarray, number: int) -> float:
        own = group_folds(labels[rows], groups[rows], number, np.random.default_rng(0))
        inner, outer = rows[own > 0], rows[own == 0]
        scores = [
            np.mean(fitted(strength, inner).predict(embeddings[outer]) == labels[outer]) for strength in strengths
        ]
        return strengths[int(np.argmax(scores))]

    answers = np.empty_like(labels)
    present = np.unique(folds)
    with warnings.catch_warnings(action="ignore"):  # of classes that are told apart without an error
        for fold in present:
            rest, asked = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            strength = strengths[0] if len(strengths) == 1 else best(rest, len(present) - 1)
            answers[asked] = fitted(strength, rest).predict(embeddings[asked])
    return answers


def has_enough_groups(labels: np.ndarray, groups: np.ndarray, least: int = LEAST_GROUPS) -> np.ndarray:
    """Is the class of each utterance one that at least so many groups have? bool (utterances,)."""
    classes, places = np.unique(labels, return_inverse=True)
    pairs = np.unique(np.stack([places, groups]), axis=1)
    return (np.bincount(pairs[0], minlength=len(classes)) >= least)[places]


def shuffle_labels(labels: np.ndarray, groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Labels (utterances,) exchanged between groups where each has one, otherwise between utterances."""
    _, first, places = np.unique(groups, return_index=True, return_inverse=True)
    if (labels[first][places] == labels).all():
        return generator.permutation(labels[first])[places]
    return generator.permutation(labels)


def accuracy_interval(
    right: np.ndarray, speakers: np.ndarray, num_samples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """(low, high) of the share of right answers, bool (utterances,), by resampling speakers (utterances,): as many as
    there are are drawn with replacement, each with all its utterances (a percentile bootstrap, as of eer_interval)."""
    _, places = np.unique(speakers, return_inverse=True)
    counts = np.bincount(places)
    draws = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), num_samples)
    shares = draws @ np.bincount(places, right) / (draws @ counts)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def families(speakers: np.ndarray, recordings: np.ndarray) -> np.ndarray:
    """A number from 0 (utterances,) for the voice of each utterance: speakers (utterances,) who share recordings
    (utterances,), as a speaker and its copies at other speeds, are one. Both whole numbers from 0."""
    size, first = int(speakers.max()) + 1, int(recordings.max()) + 1
    links = coo_array((np.ones(len(speakers), bool), (speakers, size + recordings)), shape=(size + first,) * 2)
    return np.unique(connected_components(links, directed=False)[1][speakers], return_inverse=True)[1]


def draw_evenly(speakers: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Rows, in rising order, of at most so many utterances drawn at random from speakers (utterances,), as many of
    each as there are until the number is full."""
    order = generator.permutation(len(speakers))
    order = order[np.argsort(speakers[order], kind="stable")]
    starts = np.unique(speakers[order], return_index=True, return_inverse=True)
    turns = np.arange(len(order)) - starts[1][starts[2]]
    ties = generator.permutation(len(order))
    return np.sort(order[np.lexsort((ties, turns))[:most]])
