"""Linear probes: what a linear classifier finds in embeddings, asked about those that it was not fitted to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C: weight of the data against the squared parameters
LEAST_GROUPS = 3  # of a class: one that is asked, one to fit to, one to choose the regularisation on

Measure = Callable[[np.ndarray], np.ndarray]  # of sums (..., figures): (...)


class Probe(NamedTuple):
    """value (accuracy, or R^2 of numbers) and its 95 % interval low to high; that of always giving the most frequent
    class (the mean of numbers: 0), and of probes of shuffled labels; utterances fitted to (mean over the folds)."""

    value: float
    low: float
    high: float
    trivial: float
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
    balanced: bool = False,
) -> Probe:
    """A linear probe of embeddings (utterances, dims) for labels (utterances,): classes where they are whole numbers,
    measured by accuracy; floating-point numbers are estimated, measured by R^2. balanced: all classes weigh the same,
    in the fit and in the accuracy.

    Cross-validated: groups (utterances,), whole numbers from 0, are dealt into folds, and each fold is asked of a
    probe fitted to the others (held_out_answers). The interval is over speakers (utterances,) (speaker_interval). The
    control is the mean value of as many whole probes as `shuffles` says, of shuffled labels: where all utterances
    of a group have one label, groups exchange theirs, otherwise utterances do. Hewitt & Liang 2019 (Designing and
    interpreting probes with control tasks) for the thought. Raises ValueError for fewer than three folds, and for
    fewer than two labels, or a class (numbers: all) of fewer than three groups.
    """
    if folds < 3:
        raise ValueError(f"{folds} folds leave no part to choose the regularisation on, want three or more")
    if labels.min() == labels.max() or not has_enough_groups(_strata(labels), groups).all():
        raise ValueError(f"a probe wants two classes or more, each of {LEAST_GROUPS} groups or more")
    generator = np.random.default_rng(seed)

    def ask(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = group_folds(_strata(wanted), groups, folds, generator)
        return parts, held_out_answers(embeddings, wanted, parts, groups, balanced=balanced)

    parts, answers = ask(labels)
    statistics, measure = _statistics(labels, answers, balanced)
    control = []
    for _ in range(shuffles):
        shuffled = shuffle_labels(labels, groups, generator)
        control.append(measure(_statistics(shuffled, ask(shuffled)[1], balanced)[0].sum(0)))
    low, high = speaker_interval(statistics, measure, speakers, seed=seed)
    counts = np.unique(labels, return_counts=True)[1]
    trivial = 0.0 if _is_number(labels) else 1 / len(counts) if balanced else counts.max() / len(labels)
    fitted = len(labels) * (1 - 1 / len(np.unique(parts)))
    return Probe(float(measure(statistics.sum(0))), low, high, float(trivial), float(np.mean(control)), fitted)


def _is_number(labels: np.ndarray) -> bool:
    return np.issubdtype(labels.dtype, np.floating)


def _strata(labels: np.ndarray) -> np.ndarray:
    """Classes of which each fold has its share: numbers are one."""
    return np.zeros(len(labels), dtype=int) if _is_number(labels) else labels


def _statistics(labels: np.ndarray, answers: np.ndarray, balanced: bool) -> tuple[np.ndarray, Measure]:
    """Figures (utterances, figures) of each answer, and the measure, a function of sums (..., figures) of them."""
    ones = np.ones(len(labels))
    if not _is_number(labels):
        hits = answers == labels
        if not balanced:
            return np.stack([hits, ones], axis=1), lambda sums: sums[..., 0] / sums[..., 1]
        own = (labels[:, None] == np.unique(labels)).astype(float)  # (utterances, classes)
        return np.concatenate([own * hits[:, None], own], axis=1), _mean_of_classes
    variance = labels.var()  # of all, also in a resample, which may have no variance of its own
    squares = (answers - labels) ** 2
    return np.stack([squares, ones], axis=1), lambda sums: 1 - sums[..., 0] / (variance * sums[..., 1])


def _mean_of_classes(sums: np.ndarray) -> np.ndarray:
    """Of hits and utterances of each class (..., 2 classes): the mean accuracy (...) of the classes that are there."""
    hits, counts = np.split(sums, 2, axis=-1)
    there = counts > 0
    return np.divide(hits, counts, out=np.zeros_like(hits, dtype=float), where=there).sum(-1) / there.sum(-1)


def group_folds(labels: np.ndarray, groups: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """A fold from 0 (utterances,) for each utterance: those of a group have one; the groups of each class are dealt out
    at random, so that folds have as many of each as can be. Those of several classes come first, the rarest of these
    first, each to the fold that has fewest of the class; so that a class of three groups lies in three folds."""
    places = np.unique(labels, return_inverse=True)[1]
    pairs = np.unique(np.stack([places, groups]), axis=1)
    fold_of = np.full(int(groups.max()) + 1, -1)
    several = np.bincount(pairs[1], minlength=len(fold_of)) > 1

    def deal(own: np.ndarray, left: np.ndarray) -> None:
        """Folds for the groups of a class, `own`, that have none yet, `left`."""
        counts = np.bincount(fold_of[own][fold_of[own] >= 0], minlength=number)
        if not counts.any():
            fold_of[left] = generator.permutation(len(left)) % number
            return
        for group in generator.permutation(left):
            fold_of[group] = counts.argmin()
            counts[fold_of[group]] += 1

    own_of = [pairs[1, pairs[0] == place] for place in range(int(places.max()) + 1)]
    for own in sorted(own_of, key=len):
        left = own[several[own] & (fold_of[own] < 0)]
        if len(left):
            deal(own, left)
    for own in own_of:
        deal(own, own[fold_of[own] < 0])
    return fold_of[groups]


def held_out_answers(
    embeddings: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    groups: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
    balanced: bool = False,
    whitened: bool = True,
) -> np.ndarray:
    """The class or number (utterances,) that a probe fitted to the other folds (utterances,) tells of each embedding.

    Logistic regression (multinomial), or ridge regression of numbers, on dims standardised by the fitting part, or
    whitened by it, and with the L2 regularisation of `strengths` (in rising order): what tells most of a fold of that
    part's own groups (least squared error) when fitted to its rest; of equals standardised dims, and of these the
    strongest regularisation. (On standardised dims regularisation hides what lies in directions of little variance
    between dims that go together, or beside outliers; whitened, many dims and few utterances are mostly noise.)
    whitened: False leaves standardised dims alone. balanced: all classes weigh the same in the fit. Raises ValueError
    where a part to fit to has one class only.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    def fitted(white: bool, strength: float, rows: np.ndarray) -> Pipeline:
        if not numbers and len(np.unique(labels[rows])) < 2:
            raise ValueError("the part that a probe is fitted to has one class only; give more speakers of each class")
        weight = "balanced" if balanced else None
        model = Ridge(1 / strength) if numbers else LogisticRegression(C=strength, class_weight=weight, max_iter=1000)
        scaling = [StandardScaler(), _Whitening()] if white else [StandardScaler()]
        return make_pipeline(*scaling, model).fit(embeddings[rows], labels[rows])

    def best(rows: np.ndarray, number: int) -> tuple[bool, float]:
        own = group_folds(_strata(labels[rows]), groups[rows], number, np.random.default_rng(0))
        inner, outer = rows[own > 0], rows[own == 0]
        errors = []
        for candidate in candidates:
            missed = fitted(*candidate, inner).predict(embeddings[outer]) - labels[outer]
            errors.append(np.mean(missed**2 if numbers else missed != 0))
        return candidates[int(np.argmin(errors))]

    numbers, embeddings = _is_number(labels), embeddings.astype(float)
    candidates = [(white, strength) for white in ([False, True] if whitened else [False]) for strength in strengths]
    answers = np.empty_like(labels)
    present = np.unique(folds)
    # Warnings are of classes that are told apart without an error; on a busy machine small products wait for threads.
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
        for fold in present:
            rest, asked = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            chosen = candidates[0] if len(candidates) == 1 else best(rest, len(present) - 1)
            answers[asked] = fitted(*chosen, rest).predict(embeddings[asked])
    return answers


class _Whitening:
    """Rows (utterances, dims) of mean 0 -> their principal components with variance 1, without those that are rounding
    (scikit-learn's PCA keeps these, too)."""

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> _Whitening:
        _, values, directions = np.linalg.svd(rows, full_matrices=False)
        kept = values > 1e-5 * values.max(initial=0.0)
        self._components = (directions[kept] / values[kept, None]).T * len(rows) ** 0.5
        return self

    def transform(self, rows: np.ndarray) -> np.ndarray:
        return rows @ self._components


def has_enough_groups(labels: np.ndarray, groups: np.ndarray, least: int = LEAST_GROUPS) -> np.ndarray:
    """Is the class of each utterance one that at least so many groups have? bool (utterances,)."""
    classes, places = np.unique(labels, return_inverse=True)
    pairs = np.unique(np.stack([places, groups]), axis=1)
    return (np.bincount(pairs[0], minlength=len(classes)) >= least)[places]


def shuffle_labels(labels: np.ndarray, groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Labels (utterances,) exchanged between groups where each has one, otherwise between utterances, and then anew
    where a class has come into fewer groups than a probe wants. Raises ValueError where 100 draws find no other."""
    _, first, places = np.unique(groups, return_index=True, return_inverse=True)
    if (labels[first][places] == labels).all():
        return generator.permutation(labels[first])[places]
    for _ in range(100):
        shuffled = generator.permutation(labels)
        if has_enough_groups(_strata(shuffled), groups).all():
            return shuffled
    raise ValueError(f"shuffled, a class lies in fewer than {LEAST_GROUPS} groups; give more utterances of each class")


def speaker_interval(
    statistics: np.ndarray,
    measure: Measure,
    speakers: np.ndarray,
    num_samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """(low, high) of a measure of sums of statistics (utterances, figures) by resampling speakers (utterances,): as
    many as there are are drawn with replacement, each with all its utterances (a percentile bootstrap, as of
    eer_interval)."""
    _, places = np.unique(speakers, return_inverse=True)
    sums = np.stack([np.bincount(places, column) for column in statistics.T], axis=1)
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), num_samples)
    low, high = np.quantile(measure(draws @ sums), [(1 - level) / 2, (1 + level) / 2])
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
