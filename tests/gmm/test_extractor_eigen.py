"""The symmetric eigensolver whose signs are Kaldi's, and packed matrices."""

from __future__ import annotations

import numpy as np
import pytest

from vouch.gmm import packed
from vouch.gmm.symmetric_qr import eigen, eigen_sorted


def symmetric(size, seed=0):
    x = np.random.default_rng(seed).standard_normal((size, size + 3))
    return x @ x.T


@pytest.mark.parametrize("matrix", [
    *(symmetric(size) for size in (1, 2, 3, 17, 60)),
    symmetric(9)[:9, :9] - 5 * np.eye(9),
    np.diag([3.0, -1.0, 2.0, 0.0]),
    np.eye(5),
    np.zeros((4, 4)),
    np.array([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]]),
    np.outer([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]),
], ids=lambda matrix: f"{len(matrix)}x{len(matrix)}")  # fmt: skip
def test_eigenvectors(matrix):
    before = matrix.copy()
    values, vectors = eigen(matrix)
    scale = max(np.abs(matrix).max(), 1.0)
    assert np.array_equal(matrix, before)
    assert np.abs(vectors * values @ vectors.T - matrix).max() < 1e-12 * scale
    assert np.abs(vectors.T @ vectors - np.eye(len(matrix))).max() < 1e-12
    assert np.allclose(np.sort(values), np.linalg.eigvalsh(matrix), atol=1e-12 * scale)


def test_sorted_by_absolute_value():
    values, vectors = eigen_sorted(symmetric(9) - 8 * np.eye(9))
    assert (np.diff(np.abs(values)) <= 0).all() and (values < 0).any()
    assert np.allclose((symmetric(9) - 8 * np.eye(9)) @ vectors, vectors * values)


def test_signs_are_those_of_the_algorithm_not_of_lapack():
    """A 2 x 2 matrix needs one rotation: [c s; -s c] of Golub and Van Loan's 5.1.8, worked by hand.

    d = (2 - 1)/2, mu = 1 - 1/(0.5 + sqrt(1.25)) = 0.38197, Givens(2 - mu, 1): tau = -1/1.61803, c = 0.85065, s = c tau.
    """
    values, vectors = eigen(np.array([[2.0, 1.0], [1.0, 1.0]]))
    c, s = 0.8506508083520399, -0.5257311121191336
    assert np.allclose(vectors.T, [[c, -s], [s, c]])
    assert np.allclose(values, [2.618033988749895, 0.3819660112501051])


def test_not_finite():
    with pytest.raises(np.linalg.LinAlgError):
        eigen(np.array([[1.0, np.nan], [np.nan, 1.0]]))


def test_packed_forms():
    matrices = np.stack([symmetric(4, seed) for seed in range(3)])
    small = packed.pack(matrices)
    assert small[0].tolist() == [matrices[0][i, j] for i in range(4) for j in range(i + 1)]
    assert np.array_equal(packed.unpack(small), matrices)
    other = np.stack([symmetric(4, seed) for seed in range(3, 6)])
    assert np.allclose(
        packed.trace_products(small, packed.pack(other)),
        [np.trace(a @ b) for a, b in zip(matrices, other, strict=True)],
    )
    assert np.array_equal(packed.diagonal(small), np.stack([np.diag(m) for m in matrices]))
    x = np.random.default_rng(1).standard_normal((3, 4))
    assert np.allclose(packed.outer_products(x), packed.pack(x[:, :, None] * x[:, None, :]))


def test_product_added_by_blocks():
    rng = np.random.default_rng(0)
    target, a, b = rng.standard_normal((7, 5)), rng.standard_normal((4, 7)), rng.standard_normal((4, 5))
    wanted = target + a.T @ b
    packed.add_product(target, a, b, most_values=10)  # two rows at a time
    assert np.allclose(target, wanted)
