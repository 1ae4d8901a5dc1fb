"""Embedding tables read in checked blocks, for the backend tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vouch.cli.log import warn
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 4096  # vectors in memory at once, where a tool only accumulates
_NAMED = 20  # missing keys warned of by name


def read_vector_blocks(
    rspecifier: str, unique: bool = True, dim: int | None = None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (keys, vectors `(keys, dims)` as stored) in blocks of 4096, in the order of the table.

    Raises VouchError, naming the key, on a vector that is not finite or has another dimension than `dim` (that of
    the first vector when None), and with `unique` on a key that comes twice.
    """
    import numpy as np

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
        if not np.isfinite(vector).all():
            raise VouchError(f"{rspecifier}: the vector of {key} has NaN or infinite values: extract it again")
        if unique:
            if key in seen:
                raise VouchError(f"{rspecifier}: the key {key} comes twice: keep one of them")
            seen.add(key)
        keys.append(key)
        rows.append(vector)
        if len(keys) == _BLOCK:
            yield keys, np.stack(rows)
            keys, rows = [], []
    if keys:
        yield keys, np.stack(rows)


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
