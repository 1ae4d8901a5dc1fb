"""Embedding tables, vector by vector or in checked blocks, for the tools on vectors and the backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vouch.cli.log import warn
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 512  # vectors in memory at once, where a tool only accumulates
_LARGEST = 1e18  # the square of a larger value overflows single precision
_NAMED = 20  # missing keys warned of by name


def float_vectors(rspecifier: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every (key, vector `(dims,)` float32) of a table."""
    import numpy as np

    from vouch.io.tables import read_table

    for key, vector in read_table(rspecifier, "vector"):
        yield key, vector.astype(np.float32, copy=False)


def finite_vectors(rspecifier: str) -> Iterator[tuple[str, np.ndarray]]:
    """As float_vectors, for arithmetic: raises VouchError, naming the key, on NaN, infinite or absurd values."""
    for key, vector in float_vectors(rspecifier):
        check_finite(rspecifier, key, vector)
        yield key, vector


def require_some(count: int, rspecifier: str) -> None:
    """VouchError when a table had no vector; called before its output is finished, so that none is left."""
    if not count:
        raise VouchError(f"'{rspecifier}' has no vectors; check the step that made it")


def check_finite(rspecifier: str, key: str, vector: np.ndarray) -> None:
    """VouchError when a vector holds NaN, infinity, or values whose squares overflow."""
    if len(vector) and not abs(vector).max() < _LARGEST:
        raise VouchError(f"{rspecifier}: the vector of {key} has NaN, infinite or huge values: extract it again")


def read_vector_blocks(
    rspecifier: str, unique: bool = True, dim: int | None = None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (keys, vectors `(keys, dims)` as stored) in blocks of 512, in the order of the table.

    Raises VouchError, naming the key, on a vector that is not finite or has another dimension than `dim` (that of
    the first vector when None), and with `unique` on a key that comes twice.
    """
    from vouch.io.tables import read_table

    seen: set[str] = set()
    keys: list[str] = []
    rows: list[np.ndarray] = []
    for key, vector in read_table(rspecifier, "vector"):
        dim = len(vector) if dim is None else dim
        if len(vector) != dim:
            raise VouchError(
                f"{rspecifier}: the vector of {key} has {len(vector)} dimensions, want {dim}: all vectors and the "
                "model must come through the same extractor, LDA and centring"
            )
        if unique:
            if key in seen:
                raise VouchError(f"{rspecifier}: the key {key} comes twice: keep one of them")
            seen.add(key)
        keys.append(key)
        rows.append(vector)
        if len(keys) == _BLOCK:
            yield keys, _finite(rspecifier, keys, rows)
            keys, rows = [], []
    if keys:
        yield keys, _finite(rspecifier, keys, rows)


def _finite(rspecifier: str, keys: list[str], rows: list[np.ndarray]) -> np.ndarray:
    """The rows as one array `(keys, dims)`; VouchError when a value of it is not finite."""
    import numpy as np

    block = np.stack(rows)
    if block.size and not np.abs(block).max() < _LARGEST:
        for key, vector in zip(keys, rows, strict=True):
            check_finite(rspecifier, key, vector)
    return block


class MissingKeys:
    """Warns of missing keys, the first 20 by name, and counts the times they were wanted."""

    def __init__(self, what: str) -> None:
        self.what, self.times = what, 0
        self._named: set[str] = set()

    def add(self, key: str) -> None:
        """Note that `key` was wanted and is not there."""
        self.times += 1
        if key in self._named or len(self._named) > _NAMED:
            return
        self._named.add(key)
        if len(self._named) <= _NAMED:
            warn(self.what.format(key))
        else:
            warn("more keys are missing; only the first 20 are named here")
