"""How much of the domain a linear classifier still finds in embeddings."""

from __future__ import annotations

import numpy as np

from vouch.metrics.probe import group_folds, held_out_answers


def domain_probe(source: np.ndarray, target: np.ndarray, source_groups: np.ndarray, target_groups: np.ndarray) -> float:
    """Accuracy in [0, 1] of a linear classifier of the domain on embeddings (utterances, dims) that it has not seen.

    Logistic regression on standardised dims, fitted anew to four fifths of the groups (numbers (utterances,): copies of
    a recording, or recordings of a speaker, stay together, also where a number is in both domains) and asked about the
    last, five times over; both domains weigh the same, so that 1/2 is chance whatever their numbers. Where a domain has
    fewer than five groups the folds are as many as these. Not a number where embeddings are not finite. Raises
    ValueError where a domain has one group.
    """
    from sklearn.metrics import balanced_accuracy_score

    number = min(5, len(np.unique(source_groups)), len(np.unique(target_groups)))
    if number < 2:
        raise ValueError("a domain probe wants two recordings or speakers of each domain, or more")
    both = np.concatenate([source, target])
    if not np.isfinite(both).all():
        return float("nan")
    domains = np.repeat([0, 1], [len(source), len(target)])
    groups = np.concatenate([source_groups, target_groups])
    folds = group_folds(domains, groups, number, np.random.default_rng(0))
    told = held_out_answers(both, domains, folds, groups, strengths=(1.0,), balanced=True, whitened=False)
    return float(balanced_accuracy_score(domains, told))
