"""Tools on tables of posteriors and of Gaussian selections: copy-gselect, copy-post, scale-post.

Options, defaults, arguments, log lines and exit codes are those of Kaldi's tools of the same names; a tool that wrote
nothing exits with 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from vouch.io.ragged import Posterior, Selection


def copy_gselect(argv: list[str]) -> None:
    """Copy selections of Gaussians (Kaldi, copy-gselect)."""
    parser = ToolOptions(
        "copy-gselect",
        "[options] GSELECT_RSPECIFIER GSELECT_WSPECIFIER",
        "Copies the Gaussians selected for each frame, best first as gmm-gselect writes them, and may cut the lists.",
        (2, 2),
    )
    parser.add("n", 0, "Gaussians to keep of each frame; 0 for all")
    options, (source, target) = parser.parse(argv)
    if options.n < 0:
        raise VouchError(f"--n={options.n}: give the number of Gaussians to keep, or 0 for all")
    from vouch.io.tables import TableWriter, read_table

    done = 0
    with TableWriter(target, "gselect") as writer:
        for key, selection in read_table(source, "gselect"):
            writer.write(key, _best(selection, options.n) if options.n else selection)
            done += 1
        _require(done, f"{source} has no selections")
    log(f"Copied {done} gselect objects" + (f", limiting sizes to {options.n}" if options.n else ""))


def copy_post(argv: list[str]) -> None:
    """Copy posteriors (Kaldi, copy-post)."""
    parser = ToolOptions(
        "copy-post",
        "[options] POST_RSPECIFIER POST_WSPECIFIER",
        "Copies tables of posteriors, converts them (ark,t: is text) and may scale them.",
        (2, 2),
    )
    parser.add("scale", 1.0, "factor for all posteriors; 0 takes every entry out", single=True)
    options, (source, target) = parser.parse(argv)
    from vouch.io.tables import TableWriter, read_table

    done = 0
    with TableWriter(target, "posterior") as writer:
        for key, posterior in read_table(source, "posterior"):
            writer.write(key, _scaled(posterior, options.scale))
            done += 1
        _require(done, f"{source} has no posteriors")
    log(f"Done copying {done} posteriors.")


def scale_post(argv: list[str]) -> None:
    """Scale posteriors (Kaldi, scale-post)."""
    parser = ToolOptions(
        "scale-post",
        "[options] POST_RSPECIFIER (SCALE_RSPECIFIER | SCALE) POST_WSPECIFIER",
        "Multiplies posteriors by one number, or those of each utterance by its number in a table. Utterances without "
        "a number in the table are reported and left out. The factor 0 takes every entry out.",
        (3, 3),
    )
    _, (source, scale, target) = parser.parse(argv)
    from contextlib import nullcontext
    from math import isfinite

    from vouch.io.specifiers import is_table
    from vouch.io.tables import TableWriter, open_table, read_table

    fixed = None if is_table(scale) else _number(scale)
    done = missing = 0
    scales = open_table(scale, "float") if fixed is None else nullcontext()
    with scales, TableWriter(target, "posterior") as writer:
        for key, posterior in read_table(source, "posterior"):
            if fixed is None and key not in scales:
                warn(f"{scale} has no scale for {key}")
                missing += 1
                continue
            factor = scales[key] if fixed is None else fixed
            if not isfinite(factor):
                raise VouchError(f"{scale}: the scale of {key} is {factor:g}; give a finite number")
            writer.write(key, _scaled(posterior, factor))
            done += 1
        _require(done, f"no utterance of {source} has posteriors and a scale")
    log(f"Done {done} posteriors;  {missing} had no scales.")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise VouchError(f"the scale '{text}' is neither a number nor a table; for a table write ark:{text}") from None


def _best(selection: Selection, count: int) -> Selection:
    """The first `count` entries of every frame."""
    import numpy as np

    counts = np.diff(selection.offsets)
    places = np.arange(len(selection.indices)) - np.repeat(selection.offsets[:-1], counts)
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, count))])
    return selection._replace(offsets=offsets, indices=selection.indices[places < count])


def _scaled(posterior: Posterior, scale: float) -> Posterior:
    """The weights times `scale` in single precision; no entries at all when it is 0."""
    import numpy as np

    if scale == 0:
        return posterior._replace(
            offsets=np.zeros_like(posterior.offsets), indices=posterior.indices[:0], weights=posterior.weights[:0]
        )
    with np.errstate(over="ignore"):
        return posterior._replace(weights=posterior.weights * np.float32(scale))


def _require(done: int, otherwise: str) -> None:
    if not done:
        raise VouchError(otherwise)
