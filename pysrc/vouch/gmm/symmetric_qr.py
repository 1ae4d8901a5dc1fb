"""Eigenvectors of a symmetric matrix with the signs and the order that Kaldi's own solver gives them.

An eigenvector is defined up to its sign only, yet the sign decides in which direction the axes of a trained i-vector
space point. Whoever wants the model files that Kaldi would have written needs the algorithm that Kaldi took the sign
from: Golub and Van Loan, Matrix Computations, 3rd edition, 8.3.1 (Householder tridiagonalisation, here from the last
row upwards) and 8.3.3 (implicit QR steps with Wilkinson's shift), as in its matrix/qr.cc.
"""

from __future__ import annotations

import math

import numpy as np

_MOST_STEPS = 500  # + 4 n; about 2 n are needed
_EPSILON = 2.0**-52


def eigen(symmetric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `(n,)` and eigenvectors as the columns of `(n, n)`, neither sorted: in the order they are found.

    Raises np.linalg.LinAlgError where the matrix is not finite or the QR steps do not converge.
    """
    if not np.isfinite(symmetric).all():
        raise np.linalg.LinAlgError("the matrix has values that are not finite")
    diagonal, beside, rows = _tridiagonal(np.array(symmetric, dtype=np.float64))
    _diagonalise(diagonal, beside, rows)
    return np.array(diagonal), rows.T


def eigen_sorted(symmetric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `eigen`, from the greatest absolute eigenvalue to the least."""
    values, vectors = eigen(symmetric)
    order = np.argsort(-np.abs(values), kind="stable")
    return values[order], vectors[:, order]


def _householder(x: np.ndarray) -> tuple[np.ndarray, float]:
    """(v, beta) such that I - beta v vᵀ sends x to a multiple of the last axis; v ends in 1 (ibid., 5.1.3)."""
    v = x / max(np.abs(x).max(), np.finfo(np.float64).tiny)
    sigma = v[:-1] @ v[:-1]
    if sigma == 0.0:
        return v, 0.0
    last = v[-1]
    norm = math.sqrt(last * last + sigma)
    last = last - norm if last <= 0 else -sigma / (last + norm)
    v[-1] = last
    return v / last, 2 * last * last / (sigma + last * last)


def _tridiagonal(a: np.ndarray) -> tuple[list[float], list[float], np.ndarray]:
    """(diagonal, the elements beside it, Q `(n, n)`) of T = Q A Qᵀ; overwrites a."""
    size = len(a)
    q = np.eye(size)
    for k in range(size - 1, 1, -1):
        row = a[k, :k]
        v, beta = _householder(row)
        if beta == 0.0:
            continue  # nothing but the last element: the row has its form already
        p = beta * (a[:k, :k] @ v)
        w = p - 0.5 * beta * (p @ v) * v
        a[k, k - 1] = math.sqrt(row @ row)
        a[:k, :k] -= np.outer(v, w) + np.outer(w, v)
        q[:k] -= np.outer(v, beta * (v @ q[:k]))
    return np.diagonal(a).tolist(), np.diagonal(a, -1).tolist(), q


def _diagonalise(diagonal: list[float], beside: list[float], rows: np.ndarray) -> None:
    """QR steps on the unreduced parts until nothing is left beside the diagonal; turns `rows` along."""
    size = len(diagonal)
    for _ in range(_MOST_STEPS + 4 * size):
        for i in range(size - 1):
            if abs(beside[i]) <= _EPSILON * (abs(diagonal[i]) + abs(diagonal[i + 1])):
                beside[i] = 0.0
        end = size
        while end > 1 and beside[end - 2] == 0.0:
            end -= 1
        if end <= 1:
            return
        begin = end - 2
        while begin > 0 and beside[begin - 1] != 0.0:
            begin -= 1
        _qr_step(diagonal, beside, rows, begin, end)
    raise np.linalg.LinAlgError("the eigenvalues did not converge")


def _qr_step(diagonal: list[float], beside: list[float], rows: np.ndarray, begin: int, end: int) -> None:
    """One implicit symmetric QR step with Wilkinson's shift on the part [begin, end) (ibid., 8.3.2)."""
    half = (diagonal[end - 2] - diagonal[end - 1]) / 2.0
    scale = max(abs(half), abs(beside[end - 2]), np.finfo(np.float64).tiny)
    d, t = half / scale, (beside[end - 2] / scale) ** 2
    shift = diagonal[end - 1] - scale * t / (d + math.copysign(1.0, d if d else -1.0) * math.sqrt(d * d + t))
    x, z = diagonal[begin] - shift, beside[begin]
    for k in range(begin, end - 1):
        c, s = _givens(x, z)
        p, q, r = diagonal[k], beside[k], diagonal[k + 1]
        diagonal[k] = c * (c * p - s * q) - s * (c * q - s * r)
        beside[k] = s * (c * p - s * q) + c * (c * q - s * r)
        diagonal[k + 1] = s * (s * p + c * q) + c * (s * q + c * r)
        if k > begin:
            beside[k - 1] = c * beside[k - 1] - s * z
        rows[k : k + 2] = np.array(((c, -s), (s, c))) @ rows[k : k + 2]
        if k < end - 2:
            x, z = beside[k], -s * beside[k + 1]
            beside[k + 1] *= c


def _givens(a: float, b: float) -> tuple[float, float]:
    """Cosine and sine of the rotation that brings b to zero (ibid., 5.1.8)."""
    if b == 0.0:
        return 1.0, 0.0
    if abs(b) > abs(a):
        tau = -a / b
        s = 1.0 / math.sqrt(1.0 + tau * tau)
        return s * tau, s
    tau = -b / a
    c = 1.0 / math.sqrt(1.0 + tau * tau)
    return c, c * tau
