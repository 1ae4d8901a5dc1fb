"""Linear discriminant analysis of embeddings, as Kaldi's ivector-compute-lda."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.backend.statistics import SpeakerStatistics
from vouch.errors import VouchError


class Lda(NamedTuple):
    """transform `(dim, dims + 1)`: the projection with the offset that brings the mean to zero as last column.

    eigenvalues `(dims,)`: between-speaker covariance in the normalised space, largest first.
    floored: how many eigenvalues of the normalised covariance were raised to the floor.
    """

    transform: np.ndarray
    eigenvalues: np.ndarray
    floored: int


def estimate_lda(
    statistics: SpeakerStatistics,
    dim: int,
    total_covariance_factor: float = 0.0,
    covariance_floor: float = 1e-6,
) -> Lda:
    """Estimate an LDA transform.

    With T and W the total and within-speaker covariances, both divided by the number of utterances, rows are the
    `dim` leading eigenvectors of T - W after the projection that makes f T + (1 - f) W the unit matrix, where f is
    `total_covariance_factor`; eigenvalues of f T + (1 - f) W under `covariance_floor` times its largest are raised
    to that. The sign of a row is arbitrary. Source: Kaldi ivector-compute-lda; Fukunaga, Introduction to
    Statistical Pattern Recognition (1990), section 10.2.

    Raises VouchError where Kaldi stops: dim out of range, fewer utterances than dimensions, or no speaker with two
    utterances; and when the vectors do not vary at all.
    """
    dims = statistics.dim
    if not 0 < dim <= dims:
        raise VouchError(f"LDA to {dim} dimensions of vectors with {dims}: --dim must be from 1 to {dims}")
    if statistics.num_utterances == statistics.num_speakers:
        raise VouchError(
            f"all {statistics.num_speakers} speakers have one utterance: LDA needs speakers with two or more; "
            "check utt2spk"
        )
    if statistics.num_utterances < dims:
        raise VouchError(
            f"{statistics.num_utterances} utterances are too few for LDA of {dims}-dimensional vectors: "
            f"give at least {dims}, or train the system with a smaller embedding_dim"
        )
    total = statistics.moments.covariance
    between = statistics.between_scatter / statistics.num_utterances
    within = total - between
    variances, axes = np.linalg.eigh(total_covariance_factor * total + (1 - total_covariance_factor) * within)
    floor = covariance_floor * variances[-1]
    if not variances[-1] > 0 or not np.maximum(variances[0], floor) > 0:
        raise VouchError(
            "the covariance to normalise is singular: use --covariance-floor above 0 and vectors that vary "
            "within speakers"
        )
    whiten = axes.T / np.sqrt(np.maximum(variances, floor))[:, None]
    eigenvalues, rotation = np.linalg.eigh(whiten @ between @ whiten.T)
    projection = rotation[:, ::-1][:, :dim].T @ whiten
    offset = -projection @ statistics.moments.mean
    return Lda(np.column_stack([projection, offset]), eigenvalues[::-1], int(np.sum(variances < floor)))
