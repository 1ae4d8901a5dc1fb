"""How much of the domain a linear classifier still finds in embeddings."""

from __future__ import annotations

import warnings

import numpy as np


def domain_probe(source: np.ndarray, target: np.ndarray, source_groups: np.ndarray, target_groups: np.ndarray) -> float:
    """Accuracy in [0, 1] of a linear classifier of the domain on embeddings (utterances, dims) that it has not seen.

    Logistic regression on standardised dims, fitted anew to four fifths of the groups (numbers (utterances,): copies of
    a recording, or recordings of a speaker, stay together, also where a number is in both domains) and asked about the
    last, five times over; both domains weigh the same, so that 1/2 is chance whatever their numbers. Where a domain has
    fewer than five groups the folds are as many as these. Not a number where embeddings are not finite. Raises
    ValueError where a domain has one group.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    number = min(5, len(np.unique(source_groups)), len(np.unique(target_groups)))
    if number < 2:
        raise ValueError("a domain probe wants two recordings or speakers of each domain, or more")
    both = np.concatenate([source, target])
    if not np.isfinite(both).all():
        return float("nan")
    domains = np.repeat([0, 1], [len(source), len(target)])
    generator = np.random.default_rng(0)
    source_folds, target_folds = (_folds(own, number, generator) for own in (source_groups, target_groups))
    fold_of = dict(zip(source_groups.tolist(), source_folds.tolist(), strict=True))
    for place, group in enumerate(target_groups.tolist()):
        target_folds[place] = fold_of.get(group, target_folds[place])
    folds = PredefinedSplit(np.concatenate([source_folds, target_folds]))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    with warnings.catch_warnings(action="ignore"):  # of domains that are told apart without an error
        told = cross_val_predict(classifier, both, domains, cv=folds)
    return float(balanced_accuracy_score(domains, told))


def _folds(groups: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """A fold (utterances,) for each utterance of a domain: groups drawn at random, as many to each fold, so that every
    fold has some of either domain."""
    _, places = np.unique(groups, return_inverse=True)
    return (generator.permutation(places.max() + 1) % number)[places]
