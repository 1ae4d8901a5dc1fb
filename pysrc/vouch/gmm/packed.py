"""Symmetric matrices as their lower triangle by rows: 00, 10, 11, 20, … of `(n, n)` in `(n (n + 1) / 2,)`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def triangle(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each packed value, `(P,)` each."""
    return np.tril_indices(size)


def pack(full: np.ndarray) -> np.ndarray:
    """The lower triangles `(…, P)` of `(…, n, n)`."""
    return full[(..., *triangle(full.shape[-1]))]


def unpack(packed: np.ndarray) -> np.ndarray:
    """Full symmetric matrices `(…, n, n)` of `(…, P)`."""
    size = order(packed.shape[-1])
    rows, columns = triangle(size)
    full = np.empty((*packed.shape[:-1], size, size))
    full[..., rows, columns] = packed
    full[..., columns, rows] = packed
    return full


def order(length: int) -> int:
    """The n of a packed length n (n + 1) / 2."""
    return (int(np.sqrt(8 * length + 1)) - 1) // 2


def outer_products(vectors: np.ndarray) -> np.ndarray:
    """Packed x xᵀ `(N, P)` of each x of `(N, n)`."""
    rows, columns = triangle(vectors.shape[-1])
    products = vectors[..., rows]
    products *= vectors[..., columns]
    return products


def diagonal(packed: np.ndarray) -> np.ndarray:
    """The diagonals `(…, n)` of packed matrices `(…, P)`."""
    ends = np.arange(1, order(packed.shape[-1]) + 1)
    return packed[..., ends * (ends + 1) // 2 - 1]


def trace_products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """tr(A B) `(…,)` of packed symmetric matrices `(…, P)`, pair by pair."""
    twice = np.einsum("...p,...p->...", a, b) * 2
    return twice - np.einsum("...n,...n->...", diagonal(a), diagonal(b))


def add_product(target: np.ndarray, a: np.ndarray, b: np.ndarray, most_values: int = 1 << 24) -> None:
    """target `(m, n)` += aᵀ b of `(k, m)` and `(k, n)`, in place, by rows, so that no second target is held."""
    step = max(1, most_values // max(1, target.shape[1]))
    for begin in range(0, len(target), step):
        target[begin : begin + step] += a[:, begin : begin + step].T @ b
