"""Several tables of embeddings of the same utterances, given as NAME=RSPECIFIER; `vouch map-embeddings`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.threads import default_to_one_thread
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


def map_embeddings(argv: list[str]) -> None:
    """A picture of several sets of embeddings of the same utterances."""
    options = ToolOptions(
        "map-embeddings",
        "[options] <utt2spk> <name>=<embedding-rspecifier> [<name>=<embedding-rspecifier> ...] <png>",
        "Map sets of embeddings of the same utterances, as purified and eliminated ones, into two dimensions by t-SNE, "
        "each by itself, and draw them beside each other under their names: some speakers, each in a colour. Speakers "
        "with --utterances or more come first, drawn at random.",
        (3, None),
    )
    options.add("speakers", 10, "how many speakers, at most 20")
    options.add("utterances", 40, "of each at most, drawn at random")
    options.add("seed", 0, "of the choice and of the map")
    opts, (utt2spk, *words, png) = options.parse(argv)
    if not 1 <= opts.speakers <= 20 or opts.utterances < 1 or opts.seed < 0:
        raise VouchError("--speakers wants 1 to 20, --utterances 1 or more, --seed 0 or more")
    default_to_one_thread()

    import numpy as np

    from vouch.io.datadir import read_pairs
    from vouch.io.streams import open_output
    from vouch.metrics.probe import draw_evenly
    from vouch.plots.embedding_map import place, sets_png

    sets = parse_sets(words)
    if "=" in png and ":" in png.partition("=")[2]:
        raise VouchError(f"'{png}' is a set of embeddings; name the picture's file behind it")
    keys, names = ([word.decode() for word in column] for column in read_pairs(Path(utt2spk)))
    shown, speakers = np.unique(names, return_inverse=True)
    generator = np.random.default_rng(opts.seed)
    counts = np.minimum(np.bincount(speakers), opts.utterances)
    chosen = np.lexsort((generator.random(len(shown)), -counts))[: opts.speakers]
    rows = np.flatnonzero(np.isin(speakers, chosen))
    rows = rows[draw_evenly(speakers[rows], int(counts[chosen].sum()), generator)]
    points = []
    for rspecifier in sets.values():
        try:
            points.append(place(read_chosen(rspecifier, [keys[row] for row in rows]), opts.seed))
        except ValueError as error:
            raise VouchError(f"{utt2spk}: {error}") from None
    with open_output(png) as stream:
        stream.write(sets_png(list(sets), points, [names[row] for row in rows]))
    log(f"drew {len(rows)} utterances of {len(chosen)} speakers in {png}")
