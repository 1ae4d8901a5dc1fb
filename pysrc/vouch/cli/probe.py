"""`vouch probe` and `vouch map-embeddings`: what embeddings hold, by linear probes and by pictures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.cli.threads import default_to_one_thread
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.cli.probe_labels import LabelledUtterances

_HEADER = ["property", "embeddings", "classes", "held_out", "fitted", "tested", "accuracy", "accuracy_low"]
_HEADER += ["accuracy_high", "majority", "uniform", "shuffled"]


class _Task(NamedTuple):
    """A property to ask for: rows (utterances,) of the utterances drawn, their labels, groups that are held out
    together, voices; what is held out."""

    name: str
    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    voices: np.ndarray
    held_out: str


def probe(argv: list[str]) -> None:
    """Linear probes of properties in one or several sets of embeddings."""
    options = ToolOptions(
        "probe",
        "[options] <name>=<embedding-rspecifier> [<name>=<embedding-rspecifier> ...]",
        "Ask what is in embeddings: the accuracy with which a linear classifier (logistic regression, its "
        "regularisation chosen on the fitting part) tells the speaker, gender, recording length, ... of utterances "
        "that it was not fitted to. For the speaker these are other recordings of the same speakers, for every other "
        "property other speakers. Prints a table, a line for each property and set: classes, utterances fitted (mean "
        "of the folds) and tested, held-out accuracy with its 95 % interval by resampling speakers; chance: majority "
        "(always the most frequent class) and uniform (1/classes); and shuffled, the accuracy of probes of shuffled "
        "labels. Copies of a recording stay together, and speakers who share recordings count as one voice. Classes in "
        "fewer than three recordings (speakers) are left out.",
        (1, None),
    )
    options.add("data", "", "data directory: probes all that it tells of speaker, gender, length, augmentation, speed")
    options.add(
        "labels", "", "'NAME=FILE NAME=FILE ...', FILE of lines 'UTTERANCE LABEL', quoted where it has spaces; speaker "
        "and recording say who speaks and which are copies of one recording"
    )  # fmt: skip
    options.add("properties", "", "probe only these, separated by spaces")
    options.add("numeric", "length", "properties whose labels are numbers: they are cut into --bins classes")
    options.add("bins", 4, "classes of a numeric property, cut at its quantiles")
    options.add("max-utterances", 20000, "of each property, drawn evenly from the speakers")
    options.add("max-speakers", 200, "classes of the speaker probe, drawn at random")
    options.add("folds", 5, "parts that are held out in turn, 3 or more")
    options.add("shuffles", 3, "probes of shuffled labels, of which the mean is given")
    options.add("seed", 0, "of all that is drawn")
    options.add("out", "", "write the table here too, tab-separated")
    opts, words = options.parse(argv)
    if min(opts.bins, opts.max_speakers) < 2 or min(opts.max_utterances, opts.shuffles) < 1:
        raise VouchError("--bins and --max-speakers want 2 or more, --max-utterances and --shuffles 1 or more")
    if opts.folds < 3 or opts.seed < 0:
        raise VouchError("--folds wants 3 or more, --seed 0 or more")
    default_to_one_thread()

    import numpy as np

    from vouch.cli.embedding_sets import parse_sets, read_chosen
    from vouch.cli.probe_labels import read_labels
    from vouch.cli.result_tables import text_table
    from vouch.io.streams import open_output
    from vouch.metrics.probe import families

    sets = parse_sets(words)
    labelled = read_labels(opts.data, opts.labels, opts.properties, opts.numeric, opts.bins)
    voices = families(labelled.speakers, labelled.recordings)
    tasks = [task for name in labelled.properties if (task := _task(name, labelled, voices, opts)) is not None]
    if not tasks:
        raise VouchError("nothing to probe: no property has two classes that are large enough")
    rows = np.unique(np.concatenate([task.rows for task in tasks]))
    found: dict[tuple[str, str], list[str]] = {}
    for name, rspecifier in sets.items():
        vectors = read_chosen(rspecifier, [labelled.keys[row] for row in rows])
        for task in tasks:
            found[task.name, name] = _line(task, name, vectors[np.searchsorted(rows, task.rows)], opts)
    lines = [found[task.name, name] for task in tasks for name in sets]
    if opts.out:
        with open_output(opts.out) as stream:
            stream.write("".join("\t".join(line) + "\n" for line in [_HEADER, *lines]).encode())
    print(text_table(_HEADER, lines), end="")


def _task(name: str, labelled: LabelledUtterances, voices: np.ndarray, opts: SimpleNamespace) -> _Task | None:
    """The utterances to ask; None, with a warning, where a property that was not asked for has not two classes."""
    import numpy as np

    from vouch.cli.probe_labels import SPEAKER
    from vouch.metrics.probe import LEAST_GROUPS, draw_evenly, has_enough_groups

    classes, names, wanted = labelled.properties[name]
    of_speakers = name == SPEAKER
    groups, unit = (labelled.recordings, "recordings") if of_speakers else (voices, "speakers")

    def large_enough(rows: np.ndarray) -> np.ndarray:
        enough = has_enough_groups(classes[rows], groups[rows])
        small = [names[number] for number in np.unique(classes[rows[~enough]])]
        if small:
            listed = ", ".join(small[:5]) + (" ..." if len(small) > 5 else "")
            few = f"{len(small)} of {len(names)} classes have fewer than {LEAST_GROUPS} {unit}"
            log(f"{name}: {few}, left out: {listed}")
        return rows[enough]

    generator = np.random.default_rng(opts.seed)
    rows = large_enough(np.flatnonzero(classes >= 0))
    present = np.unique(classes[rows])
    if of_speakers and len(present) > opts.max_speakers:
        rows = rows[np.isin(classes[rows], generator.permutation(present)[: opts.max_speakers])]
        log(f"{name}: {opts.max_speakers} of {len(present)} classes drawn")
    if len(rows) > opts.max_utterances:
        rows = rows[draw_evenly((classes if of_speakers else voices)[rows], opts.max_utterances, generator)]
        rows = large_enough(rows)
    if len(np.unique(classes[rows])) < 2:
        complaint = f"{name}: fewer than two classes have {LEAST_GROUPS} {unit} or more ({len(names)} in all)"
        if wanted:
            raise VouchError(f"{complaint}; give more utterances")
        warn(f"{complaint}; not probed")
        return None
    return _Task(name, rows, classes[rows], groups[rows], voices[rows], "utterances" if of_speakers else "speakers")


def _line(task: _Task, name: str, vectors: np.ndarray, opts: SimpleNamespace) -> list[str]:
    """The cells of a property and a set, of vectors (utterances, dims)."""
    import numpy as np

    from vouch.metrics.probe import probe

    found = probe(vectors, task.labels, task.groups, task.voices, opts.folds, opts.shuffles, opts.seed)
    classes = len(np.unique(task.labels))
    log(
        f"{task.name}, {name}: {100 * found.accuracy:.1f} % of {len(task.labels)} utterances are told right (chance: "
        f"{100 * found.majority:.1f}), {100 * found.low:.1f} to {100 * found.high:.1f}"
    )
    shares = (found.accuracy, found.low, found.high, found.majority, 1 / classes, found.shuffled)
    counts = (classes, task.held_out, round(found.fitted), len(task.labels))
    return [task.name, name, *map(str, counts), *(f"{share:.3f}" for share in shares)]


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

    from vouch.cli.embedding_sets import parse_sets, read_chosen
    from vouch.io.datadir import read_pairs
    from vouch.io.streams import open_output
    from vouch.metrics.probe import draw_evenly
    from vouch.plots.embedding_map import place, sets_png

    sets = parse_sets(words)
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
