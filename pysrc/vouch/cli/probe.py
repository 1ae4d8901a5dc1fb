"""`vouch probe`: what embeddings hold, by linear probes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.cli.probe_labels import DEFAULT_NUMERIC, SPEAKER, read_labels
from vouch.cli.threads import default_to_one_thread
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.cli.probe_labels import LabelledUtterances

_HEADER = ["property", "embeddings", "classes", "held_out", "fitted", "tested", "measure", "value", "low", "high"]
_HEADER += ["majority", "uniform", "shuffled"]
_OUTLIER = 30  # times the median distance from the middle; embeddings of trained networks have 2 to 5


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
        "Ask what is in embeddings: the accuracy with which a linear classifier (logistic regression on "
        "standardised or whitened dims; this and the regularisation are chosen on the fitting part) tells the "
        "speaker, gender, ... of utterances that it was not fitted to; of a number, as the recording length, R^2 "
        "of its rank by ridge regression. For the speaker these are other recordings of the same speakers, for "
        "every other property other speakers. Prints a table, a line for each property and set: classes, "
        "utterances fitted (mean of the folds) and tested, the held-out value with its 95 % interval by "
        "resampling speakers; chance: majority (always the most frequent class, or the mean) and uniform "
        "(1/classes); and shuffled, the value of probes of shuffled labels (speakers exchange theirs where each "
        "has one). Copies of a recording stay together, and speakers who share recordings count as one voice. "
        "Classes in fewer than three recordings (speakers) are left out.",
        (1, None),
    )
    options.add("data", "", "data directory: probes all that it tells of speaker, gender, length, augmentation, speed")
    options.add(
        "labels", "", "'NAME=FILE NAME=FILE ...', FILE of lines 'UTTERANCE LABEL', quoted where it has spaces; speaker "
        "and recording say who speaks and which are copies of one recording"
    )  # fmt: skip
    options.add("properties", "", "probe only these, separated by spaces")
    options.add("numeric", " ".join(DEFAULT_NUMERIC), "properties whose labels are numbers")
    options.add("max-utterances", 20000, "of each property, drawn evenly from the speakers")
    options.add("max-speakers", 200, "classes of the speaker probe, drawn at random")
    options.add("folds", 5, "parts that are held out in turn, 3 or more")
    options.add(
        "balanced", False, "let all classes weigh the same, in the fit and in the accuracy: chance is 1/classes"
    )
    options.add("shuffles", 3, "probes of shuffled labels, of which the mean is given")
    options.add("seed", 0, "of all that is drawn")
    options.add("out", "", "write the table here too, tab-separated")
    opts, words = options.parse(argv)
    if opts.max_speakers < 2 or min(opts.max_utterances, opts.shuffles) < 1:
        raise VouchError("--max-speakers wants 2 or more, --max-utterances and --shuffles 1 or more")
    if opts.folds < 3 or opts.seed < 0:
        raise VouchError("--folds wants 3 or more, --seed 0 or more")
    default_to_one_thread()

    import numpy as np

    from vouch.cli.embedding_sets import parse_sets, read_chosen
    from vouch.cli.result_tables import text_table
    from vouch.io.streams import open_output
    from vouch.metrics.probe import families

    sets = parse_sets(words)
    labelled = read_labels(opts.data, opts.labels, opts.properties, opts.numeric)
    voices = families(labelled.speakers, labelled.recordings)
    tasks = [task for name in labelled.properties if (task := _task(name, labelled, voices, opts)) is not None]
    if not tasks:
        warn("nothing to probe: no property has two classes that are large enough; the table is empty")
    rows = np.unique(np.concatenate([np.zeros(0, dtype=int), *(task.rows for task in tasks)]))
    found: dict[tuple[str, str], list[str]] = {}
    for name, rspecifier in sets.items() if tasks else ():
        vectors = read_chosen(rspecifier, [labelled.keys[row] for row in rows])
        _warn_of_outliers(name, vectors)
        for task in tasks:
            try:
                found[task.name, name] = _line(task, name, vectors[np.searchsorted(rows, task.rows)], opts)
            except ValueError as error:
                if labelled.properties[task.name].wanted:
                    raise VouchError(f"{task.name}, {name}: {error}") from None
                warn(f"{task.name}, {name}: {error}; not probed")
    lines = [found[task.name, name] for task in tasks for name in sets if (task.name, name) in found]
    if opts.out:
        with open_output(opts.out) as stream:
            stream.write("".join("\t".join(line) + "\n" for line in [_HEADER, *lines]).encode())
    print(text_table(_HEADER, lines), end="")


def _task(name: str, labelled: LabelledUtterances, voices: np.ndarray, opts: SimpleNamespace) -> _Task | None:
    """The utterances to ask; None, with a warning, where a property that was not asked for has not two classes."""
    import numpy as np
    from scipy.stats import rankdata

    from vouch.metrics.probe import LEAST_GROUPS, draw_evenly, has_enough_groups

    labels, names, wanted = labelled.properties[name]
    of_speakers, is_number = name == SPEAKER, not names
    groups, unit = (labelled.recordings, "recordings") if of_speakers else (voices, "speakers")
    classes = np.where(np.isnan(labels), -1, 0) if is_number else labels

    def large_enough(rows: np.ndarray) -> np.ndarray:
        enough = has_enough_groups(classes[rows], groups[rows])
        small = [names[number] for number in np.unique(classes[rows[~enough]])] if names else []
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
    if len(np.unique(labels[rows])) < 2:
        what = "values" if is_number else f"of {len(names)} classes"
        complaint = f"{name}: fewer than two {what} have {LEAST_GROUPS} {unit} or more"
        if wanted:
            raise VouchError(f"{complaint}; give more utterances or classes")
        warn(f"{complaint}; not probed")
        return None
    own = rankdata(labels[rows]) / len(rows) if is_number else labels[rows]
    return _Task(name, rows, own, groups[rows], voices[rows], "utterances" if of_speakers else "speakers")


def _warn_of_outliers(name: str, vectors: np.ndarray) -> None:
    """Warn where some of vectors (utterances, dims) lie so far out that a linear probe sees the others as one."""
    import numpy as np

    distances = np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1)
    usual, furthest = np.median(distances), distances.max()
    if furthest > _OUTLIER * usual:
        warn(
            f"{name}: the furthest embedding lies {furthest / usual if usual else np.inf:.0f} times as far out as the "
            "median one; beside such outliers a linear probe finds little, which does not mean that nothing is there"
        )


def _line(task: _Task, name: str, vectors: np.ndarray, opts: SimpleNamespace) -> list[str]:
    """The cells of a property and a set, of vectors (utterances, dims). Raises ValueError as vouch.metrics.probe."""
    import numpy as np

    from vouch.metrics.probe import probe

    how = (opts.folds, opts.shuffles, opts.seed, opts.balanced)
    found = probe(vectors, task.labels, task.groups, task.voices, *how)
    number = np.issubdtype(task.labels.dtype, np.floating)
    measure = "R2" if number else "balanced" if opts.balanced else "accuracy"
    classes = 0 if number else len(np.unique(task.labels))
    log(
        f"{task.name}, {name}: {measure} {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) on {len(task.labels)} "
        f"held-out utterances, chance {found.trivial:.3f}"
    )
    shares = [f"{share:.3f}" for share in (found.value, found.low, found.high, found.trivial)]
    uniform = f"{1 / classes:.3f}" if classes else "-"
    counts = (task.held_out, str(round(found.fitted)), str(len(task.labels)), measure)
    return [task.name, name, str(classes or "-"), *counts, *shares, uniform, f"{found.shuffled:.3f}"]
