"""Correlation alignment: a PLDA model moved to another domain by the covariance of its unlabelled vectors."""

from __future__ import annotations

import numpy as np

from vouch.backend.plda import Plda, diagonalise
from vouch.backend.statistics import Moments
from vouch.errors import VouchError


def coral(plda: Plda, moments: Moments, shrinkage: float | None = None) -> Plda:
    """CORAL of a PLDA model: W' = A W A^T and B' = A B A^T with A = C_i^(1/2) C_o^(-1/2); the mean becomes theirs.

    C_o = W + B is the model's total covariance (out of the domain), C_i that of the unlabelled vectors of the domain,
    drawn to C_o by the share `shrinkage` (None: dims / (dims + vectors), ours: fewer vectors than dimensions have no
    covariance of full rank; Sun et al. add the unit matrix). Source: Sun, Feng & Saenko 2016 (1511.05547); Lee, Wang &
    Koshinaka 2019 (1812.10260) for PLDA.

    Raises VouchError without vectors, on another dimension, a share outside 0 to 1, and a singular covariance.
    """
    within, between = _covariances(plda)
    return _model(moments, *_aligned(plda, moments, shrinkage, within, between))


def coral_plus(plda: Plda, moments: Moments, scale: float = 0.8, shrinkage: float | None = None) -> Plda:
    """CORAL+: only where CORAL makes a covariance larger, and `scale` of that.

    Of Phi = W and Phi = B alike, with Phi' as CORAL makes it and V such that V^T Phi V = 1 and V^T Phi' V = diag(E):
    Phi + scale V^-T max(0, E - 1) V^-1. Source: Lee, Wang & Koshinaka 2019 (1812.10260); scale 0.8 is that of a public
    implementation. Raises VouchError as `coral`, and on a negative scale.
    """
    if scale < 0:
        raise VouchError(f"a scale of {scale:g} for CORAL+: it must be 0 or more")
    own = _covariances(plda)
    aligned = _aligned(plda, moments, shrinkage, *own)
    return _model(moments, *(_enlarged(a, b, scale) for a, b in zip(own, aligned, strict=True)))


def _covariances(plda: Plda) -> tuple[np.ndarray, np.ndarray]:
    """W and B (dims, dims)."""
    back = np.linalg.inv(plda.transform)
    return back @ back.T, (back * plda.psi) @ back.T


def _aligned(
    plda: Plda, moments: Moments, shrinkage: float | None, within: np.ndarray, between: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if not moments.count:
        raise VouchError("no vectors to adapt PLDA to: check the adaptation table")
    if len(moments.origin) != plda.dim:
        raise VouchError(
            f"adaptation vectors of dimension {len(moments.origin)} for a PLDA model of {plda.dim}: "
            "apply the LDA of the PLDA's training vectors to them"
        )
    share = plda.dim / (plda.dim + moments.count) if shrinkage is None else shrinkage
    if not 0 <= share <= 1:
        raise VouchError(f"a shrinkage of {share:g}: it must be from 0 to 1")
    total = within + between
    align = _power((1 - share) * moments.covariance + share * total, 0.5) @ _power(total, -0.5)
    return align @ within @ align.T, align @ between @ align.T


def _power(covariance: np.ndarray, exponent: float) -> np.ndarray:
    variances, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    if not variances[0] > 1e-10 * variances[-1]:
        raise VouchError(
            "a covariance is singular: give CORAL more vectors than dimensions, or a shrinkage above 0 (the default)"
        )
    return (axes * variances**exponent) @ axes.T


def _enlarged(covariance: np.ndarray, aligned: np.ndarray, scale: float) -> np.ndarray:
    floor = 1e-8 * np.trace(covariance) / len(covariance)  # B has no full rank where there are few speakers
    variances, axes = np.linalg.eigh(covariance + floor * np.eye(len(covariance)))
    root = axes * np.sqrt(np.maximum(variances, floor))
    inverse = axes / np.sqrt(np.maximum(variances, floor))
    ratios, turns = np.linalg.eigh(inverse.T @ aligned @ inverse)
    back = root @ turns  # V^-T
    return covariance + scale * (back * np.maximum(ratios - 1, 0.0)) @ back.T


def _model(moments: Moments, within: np.ndarray, between: np.ndarray) -> Plda:
    transform, psi = diagonalise(between, within)
    return Plda(moments.mean, transform, psi)
