"""A random permutation of 0 … n−1 of which any part is computed alone: no memory and no time at the start."""

from __future__ import annotations

import numpy as np

_ROUNDS = 12  # fewer leave pairs of places uneven where n is below 10


def permuted(positions: np.ndarray, sizes: np.ndarray | int, *key: int | np.ndarray) -> np.ndarray:
    """Where a permutation of 0 … sizes−1 takes `positions`: int64 of the broadcast shape of positions, sizes and key.

    Every (sizes, key) is a permutation of its own; key: integers, or arrays of them to broadcast. A generalised
    Feistel network over a × b ≥ n numbers that is walked on while it leads outside (Black and Rogaway 2002, "Ciphers
    with arbitrary finite domains"), with the finaliser of splitmix64 (Steele et al. 2014) as its round function: it
    mixes well and keeps no secret. Raises ValueError for a position outside its size.
    """
    values, n, *keys = np.broadcast_arrays(
        np.asarray(positions, np.int64), np.asarray(sizes, np.int64), *(np.asarray(k, np.int64) for k in key)
    )
    if not ((values >= 0) & (values < n)).all():
        raise ValueError(f"positions {positions} are not all within 0 to {sizes} - 1")
    seed = np.zeros(values.shape, np.uint64)
    for part in keys:
        seed = _mixed(seed + part.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    a = np.ceil(np.sqrt(n)).astype(np.int64)
    b = -(-n // a)
    values = _feistel(values, a, b, seed)
    while (outside := values >= n).any():
        values[outside] = _feistel(values[outside], a[outside], b[outside], seed[outside])
    return values


def _feistel(values: np.ndarray, a: np.ndarray, b: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """One pass: a permutation of 0 … a·b − 1."""
    right, left = np.divmod(values, a)
    for number in range(_ROUNDS):
        modulus = b if number % 2 else a
        noise = _mixed(seed + np.uint64(number << 56) + right.astype(np.uint64)) % modulus.astype(np.uint64)
        left, right = right, (left + noise.astype(np.int64)) % modulus
    return left + a * right


def _mixed(words: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: 64 bits to 64 bits."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
