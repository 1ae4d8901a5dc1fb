"""Quadratic problems of matrices, solved as Kaldi solves them (matrix/sp-matrix.cc)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vouch.errors import VouchError

_CONDITION = 1e4  # greatest condition number; smaller eigenvalues are floored


def maximise(
    quadratic: np.ndarray, linear: np.ndarray, current: np.ndarray, precision: np.ndarray | None
) -> tuple[np.ndarray, float, int] | None:
    """Maximise tr(Mᵀ P Y) - 0.5 tr(P M Q Mᵀ) over M, from the current M (Kaldi, SolveQuadraticMatrixProblem).

    quadratic: Q `(R, R)`; linear: Y `(D, R)`; current `(D, R)`; precision: P `(D, D)`, None for the unit matrix.
    Returns (M, improvement, number of floored eigenvalues of Q); None where Q is zero: M is to stay as it is.
    Raises VouchError where Q is far from positive semidefinite.
    """
    if not quadratic.any():
        return None
    root = np.sqrt(np.maximum(np.diagonal(quadratic), np.finfo(np.float64).tiny * 1e3))
    q = quadratic / np.outer(root, root)
    start = current * root
    gradient = linear / root - start @ q
    step, floored = _divide(gradient, q)
    weighted = step if precision is None else precision @ step
    improvement = float(np.vdot(weighted, gradient) - 0.5 * np.vdot(weighted, step @ q))
    if improvement < 0:  # possible by rounding, at the maximum
        return current, 0.0, floored
    return (start + step) / root, improvement, floored


def _divide(y: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, int]:
    """(y q⁻¹ `(D, R)`, number of floored eigenvalues of q): those under the largest / 10,000 are raised to that.

    The sum of a row's absolute values is not under the largest eigenvalue: where q less this bound / 10,000 is positive
    definite, no eigenvalue is to be floored and Cholesky's factors do, at a tenth of the price of eigenvectors.
    """
    bound = np.abs(q).sum(axis=0).max() / _CONDITION
    try:
        np.linalg.cholesky(q - bound * np.eye(len(q)))
        return cho_solve(cho_factor(q, lower=True), y.T).T, 0
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(q)
    if -values[0] > 0.001 * values[-1]:
        raise VouchError("a second moment of i-vectors is not positive definite; make the statistics again")
    floor = values[-1] / _CONDITION
    return (y @ vectors / np.maximum(values, floor)) @ vectors.T, int((values < floor).sum())
