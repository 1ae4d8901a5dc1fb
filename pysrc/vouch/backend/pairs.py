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
    models, starts = np.unique(rows[order], return_index=True)
    bounds = np.append(starts[::_MODELS], len(rows))
    for first, begin, end in zip(range(0, len(models), _MODELS), bounds[:-1], bounds[1:], strict=True):
        chosen = order[begin:end]
        block = models[first : first + _MODELS]
        tests, where = np.unique(cols[chosen], return_inverse=True)
        if len(block) * len(tests) <= _DENSITY * len(chosen):
            products = left[block] @ right[tests].T
            scores[chosen] = products[np.searchsorted(block, rows[chosen]), where]
        else:
            for start in range(0, len(chosen), _PAIRS):
                some = chosen[start : start + _PAIRS]
                scores[some] = np.einsum("ij,ij->i", left[rows[some]], right[cols[some]])
    return scores
