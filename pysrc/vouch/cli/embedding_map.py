"""`vouch plot-embeddings`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from vouch.plots.embedding_map import EmbeddingMap


def plot_embeddings(argv: list[str]) -> None:
    """A picture of source and target embeddings."""
    options = ToolOptions(
        "plot-embeddings",
        "[options] <title> <source-embeddings-dir> <target-embeddings-dir> "
        "[<title> <source-embeddings-dir> <target-embeddings-dir>]... <png>",
        "Map embeddings of two domains into two dimensions by t-SNE and draw them, coloured by domain and, for some "
        "speakers, by speaker; with further titles and directories several maps below each other, as before and after "
        "an adaptation. The directories have embedding.scp and utt2spk, as steps/extract_embeddings.sh makes them.",
        (4, None),
    )
    options.add("max-utterances", 1000, "of each domain, drawn at random")
    options.add("speakers", 8, "coloured speakers of each domain: those with most utterances")
    options.add("seed", 0, "of the choice and of the map")
    opts, (*words, png) = options.parse(argv)
    if len(words) % 3:
        raise VouchError("plot-embeddings wants titles with two directories each, then the picture's name")
    from vouch.io.streams import open_output
    from vouch.plots.embedding_map import maps_png

    maps = [_map(*words[i : i + 3], opts.max_utterances, opts.speakers, opts.seed) for i in range(0, len(words), 3)]
    with open_output(png) as stream:
        stream.write(maps_png(maps))
    log(f"drew {', '.join(str(len(shown.points)) for shown in maps)} embeddings in {png}")


def _map(title: str, source: str, target: str, most: int, coloured: int, seed: int) -> EmbeddingMap:
    import numpy as np

    from vouch.io.datadir import read_pairs
    from vouch.io.tables import open_table
    from vouch.plots.embedding_map import EmbeddingMap, place

    vectors, domains, shown = [], [], []
    for domain, folder in enumerate((source, target)):
        keys, speakers = ([word.decode() for word in column] for column in read_pairs(Path(folder) / "utt2spk"))
        chosen = np.sort(np.random.default_rng(seed).permutation(len(keys))[:most])
        names, counts = np.unique([speakers[i] for i in chosen], return_counts=True)
        named = set(names[np.lexsort((names, -counts))][:coloured].tolist())
        with open_table(f"scp:{folder}/embedding.scp", "vector") as table:
            for i in chosen.tolist():
                if keys[i] not in table:
                    raise VouchError(f"{folder}/utt2spk: utterance {keys[i]} has no embedding; extract them again")
                vectors.append(table[keys[i]])
                domains.append(domain)
                shown.append(speakers[i] if speakers[i] in named else "")
    try:
        points = place(np.stack(vectors), seed)
    except ValueError as error:
        raise VouchError(f"{source} and {target}: {error}") from None
    return EmbeddingMap(title, points, np.array(domains), shown)
