"""Score files in blocks of many lines, for tools that turn scores into other scores."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 1 << 17  # trials in memory at once


def finite_score_blocks(path: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], np.ndarray]]:
    """(models, tests, scores `(trials,)`) of the lines 'MODEL TEST SCORE', in their order.

    Raises VouchError naming file:line on a score that is no finite number, and when there are no lines.
    """
    import numpy as np

    from vouch.cli.scoring import parse_score
    from vouch.io.tables import read_token_lines

    done = 0
    lines = read_token_lines(path, (3, 3))
    while block := list(islice(lines, _BLOCK)):
        models, tests, texts = zip(*block, strict=True)
        scores = np.array([parse_score(text, f"{path}:{number}") for number, text in enumerate(texts, done + 1)])
        if not np.isfinite(scores).all():
            number = done + 1 + int(np.argmin(np.isfinite(scores)))
            raise VouchError(f"{path}:{number}: the score is not finite; score this trial again")
        yield models, tests, scores
        done += len(block)
    if not done:
        raise VouchError(f"{path} has no scores: check the step that made it")
