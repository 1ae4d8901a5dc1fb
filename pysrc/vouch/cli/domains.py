"""`vouch plot-embeddings` and `vouch probe-domain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

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
    _check_options(opts.max_utterances, opts.seed, opts.speakers)
    from vouch.io.streams import open_output
    from vouch.plots.embedding_map import maps_png

    maps = [_map(*words[i : i + 3], opts.max_utterances, opts.speakers, opts.seed) for i in range(0, len(words), 3)]
    with open_output(png) as stream:
        stream.write(maps_png(maps))
    log(f"drew {', '.join(str(len(shown.points)) for shown in maps)} embeddings in {png}")


def probe_domain(argv: list[str]) -> None:
    """How well a linear classifier tells the domain of embeddings."""
    options = ToolOptions(
        "probe-domain",
        "[options] <system> <source-embeddings-dir> <target-embeddings-dir> "
        "[<system> <source-embeddings-dir> <target-embeddings-dir>]... <tsv>",
        "Ask how much of the domain is left in embeddings: the balanced accuracy of a logistic regression on those of "
        "speakers that it was not fitted to (five-fold; 0.5 is chance). Writes a line for each system. The directories "
        "have embedding.scp and utt2spk, as steps/extract_embeddings.sh makes them.",
        (4, None),
    )
    options.add("max-utterances", 5000, "of each domain, drawn at random")
    options.add("seed", 0, "of the choice")
    opts, (*words, tsv) = options.parse(argv)
    if len(words) % 3:
        raise VouchError("probe-domain wants systems with two directories each, then the table's name")
    _check_options(opts.max_utterances, opts.seed)
    import numpy as np

    from vouch.io.streams import open_output
    from vouch.training.domain_probe import domain_probe

    lines = ["system\tsource_utterances\ttarget_utterances\tprobe\n"]
    for i in range(0, len(words), 3):
        name, *folders = words[i : i + 3]
        (source_speakers, source), (target_speakers, target) = (
            _read(folder, opts.max_utterances, opts.seed) for folder in folders
        )
        _check_dims(source, target, folders)
        groups = np.unique(source_speakers + target_speakers, return_inverse=True)[1]
        try:
            accuracy = domain_probe(source, target, groups[: len(source)], groups[len(source) :])
        except ValueError as error:
            raise VouchError(f"{' and '.join(folders)}: {error}") from None
        lines.append(f"{name}\t{len(source)}\t{len(target)}\t{accuracy:.3f}\n")
        log(f"{name}: a linear classifier tells the domain of {100 * accuracy:.1f} % of the embeddings (50: chance)")
    with open_output(tsv) as stream:
        stream.write("".join(lines).encode())


def _check_options(max_utterances: int, seed: int, speakers: int = 0) -> None:
    if max_utterances < 1 or seed < 0 or speakers < 0:
        raise VouchError("--max-utterances wants 1 or more, --seed and --speakers 0 or more")


def _check_dims(source: np.ndarray, target: np.ndarray, folders: Sequence[str]) -> None:
    if source.shape[1] != target.shape[1]:
        raise VouchError(
            f"{' and '.join(folders)} have embeddings of {source.shape[1]} and {target.shape[1]} dims; extract both "
            f"with the same model"
        )


def _read(folder: str, most: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Speakers and vectors of at most so many utterances of a directory."""
    import numpy as np

    from vouch.io.datadir import read_pairs
    from vouch.io.tables import open_table

    keys, speakers = ([word.decode() for word in column] for column in read_pairs(Path(folder) / "utt2spk"))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(keys))[:most]).tolist()
    vectors = []
    with open_table(f"scp:{folder}/embedding.scp", "vector") as table:
        for i in chosen:
            if keys[i] not in table:
                raise VouchError(f"{folder}/utt2spk: utterance {keys[i]} has no embedding; extract them again")
            vectors.append(table[keys[i]])
    return [speakers[i] for i in chosen], np.stack(vectors)


def _map(title: str, source: str, target: str, most: int, coloured: int, seed: int) -> EmbeddingMap:
    import numpy as np

    from vouch.plots.embedding_map import EmbeddingMap, place

    vectors, shown = [], []
    for folder in (source, target):
        speakers, own = _read(folder, most, seed)
        names, counts = np.unique(speakers, return_counts=True)
        named = set(names[np.lexsort((names, -counts))][:coloured].tolist())
        vectors.append(own)
        shown.extend(speaker if speaker in named else "" for speaker in speakers)
    _check_dims(*vectors, (source, target))
    try:
        points = place(np.concatenate(vectors), seed)
    except ValueError as error:
        raise VouchError(f"{source} and {target}: {error}") from None
    return EmbeddingMap(title, points, np.repeat([0, 1], [len(own) for own in vectors]), shown)
