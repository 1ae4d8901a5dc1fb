"""Several tables of embeddings of the same utterances, given as NAME=RSPECIFIER."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np


def parse_sets(words: Sequence[str]) -> dict[str, str]:
    """Table of each name. Raises VouchError at a word that is not NAME=RSPECIFIER, or a name that comes twice."""
    sets: dict[str, str] = {}
    for word in words:
        name, equals, rspecifier = word.partition("=")
        if not equals or not name or ":" in name or not name.isprintable():
            raise VouchError(f"'{word}' is not NAME=RSPECIFIER, as purified=scp:embedding.scp")
        if name in sets:
            raise VouchError(f"two sets of embeddings are called '{name}'; give each a name of its own")
        sets[name] = rspecifier
    return sets


def read_chosen(rspecifier: str, keys: Sequence[str]) -> np.ndarray:
    """The vectors (keys, dims) float32 of these keys in their order; the table streams by, only they are kept.

    Raises VouchError when one of them is missing, and as read_vector_blocks.
    """
    import numpy as np

    from vouch.cli.vector_blocks import read_vector_blocks

    row_of = {key: row for row, key in enumerate(keys)}
    chosen, missing = np.zeros((0, 0), dtype=np.float32), set(row_of)
    for block_keys, vectors in read_vector_blocks(rspecifier):
        if not chosen.size:
            chosen = np.zeros((len(keys), vectors.shape[1]), dtype=np.float32)
        places = [place for place, key in enumerate(block_keys) if key in row_of]
        chosen[[row_of[block_keys[place]] for place in places]] = vectors[places]
        missing.difference_update(block_keys)
    if missing:
        raise VouchError(
            f"{rspecifier} lacks {len(missing)} of the {len(keys)} chosen utterances (first: {min(missing)}); give "
            f"embeddings of all labelled utterances"
        )
    return chosen
