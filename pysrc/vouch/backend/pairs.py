"""Scores of chosen pairs of vectors without the full score matrix."""

from __future__ import annotations

import numpy as np

_MODELS = 256  # rows of a matrix block
_PAIRS = 4096  # pairs of a row-wise block
_DENSITY = 16  # a block is a matrix product when it has at most this many products per wanted one


def dot_products_of_pairs(left: np.ndarray, right: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """left[rows[i]] . right[cols[i]] for every i, `(pairs,)`.

    `left` `(models, dims)`, `right` `(tests, dims)`. Blocks of 256 models whose pairs fill enough of the rectangle
    models x tests are matrix products; pairs that lie scattered are taken one by one, 4096 at once. Memory: that of
    a block, at most 16 numbers a pair.
    """
    scores = np.empty(len(rows), dtype=np.result_type(left, right))
    order = np.argsort(rows, kind="stable")
    models, rows = distinct(rows, len(left))
    for first in range(0, len(models), _MODELS):
        block = models[first : first + _MODELS]
        begin, end = np.searchsorted(rows, [first, first + len(block)], sorter=order)
        chosen = order[begin:end]
        tests, where = distinct(cols[chosen], len(right))
        if len(block) * len(tests) <= _DENSITY * len(chosen):
            scores[chosen] = (left[block] @ right[tests].T)[rows[chosen] - first, where]
        else:
            for start in range(0, len(chosen), _PAIRS):
                some = chosen[start : start + _PAIRS]
                scores[some] = np.einsum("ij,ij->i", left[models[rows[some]]], right[cols[some]])
    return scores


def distinct(numbers: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(the distinct `numbers`, in order; the place of each of `numbers` `(n,)` among them), for numbers under `size`.

    As np.unique gives them, but without sorting unless the numbers are few for their size.
    """
    if size > 8 * len(numbers):
        return np.unique(numbers, return_inverse=True)
    used = np.zeros(size, dtype=bool)
    used[numbers] = True
    places = np.cumsum(used) - 1
    return np.flatnonzero(used), places[numbers]
