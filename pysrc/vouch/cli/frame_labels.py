"""Frame labels from likelihoods and from other labels: compute-vad-from-frame-likes, merge-vads."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.io.tables import RandomAccessTable


def compute_vad_from_frame_likes(argv: list[str]) -> int:
    """The likeliest class of every frame (Kaldi, compute-vad-from-frame-likes)."""
    parser = ToolOptions(
        "compute-vad-from-frame-likes",
        "[options] LIKES_RSPECIFIER_1 ... LIKES_RSPECIFIER_N VAD_WSPECIFIER",
        "Writes for each frame the class whose log likelihood, plus the logarithm of its prior, is greatest; of equal "
        "ones the first. Classes are numbered from 0 in the order of the tables. Utterances that are not in all tables "
        "with the same number of frames are warned of and left out.",
        (3, None),
    )
    parser.add("map", "", "file of lines 'CLASS LABEL': labels to write instead of the classes")
    parser.add("priors", "", "prior of each class, separated by commas; else all are equal")
    options, (first, *others, vad_wspecifier) = parser.parse(argv)
    import numpy as np

    from vouch.io.tables import TableWriter, open_table, read_table

    classes = len(others) + 1
    priors = np.array(_log_priors(options.priors, classes), dtype=np.float32)[:, None]
    labels = np.arange(classes, dtype=np.float32)
    for source, label in _read_map(options.map, 2) if options.map else ():
        if not 0 <= source < classes:
            raise VouchError(f"{options.map}: there is no class {source}; the tables are 0 to {classes - 1}")
        labels[source] = label
    done = errors = 0
    with ExitStack() as stack:
        tables = [stack.enter_context(open_table(name, "vector")) for name in others]
        writer = stack.enter_context(TableWriter(vad_wspecifier, "vector"))
        for utterance, vector in read_table(first, "vector"):
            likes = _of_all(utterance, vector, tables)
            if likes is None:
                errors += 1
                continue
            writer.write(utterance, labels[(likes + priors).argmax(axis=0)])
            done += 1
    log(
        "Applied frame-level likelihood-based voice activity detection; "
        f"processed {done} utterances successfully; {errors} had errors."
    )
    return 0 if done else 1


def _log_priors(text: str, classes: int) -> list[float]:
    try:
        priors = [float(word) for word in text.split(",")] if text else [1.0 / classes] * classes
    except ValueError:
        raise VouchError(f"--priors takes numbers separated by commas, not '{text}'") from None
    if len(priors) != classes or not all(0 < prior < math.inf for prior in priors):
        raise VouchError(f"--priors={text}: want {classes} numbers above 0, one for each table of likelihoods")
    return [math.log(prior) for prior in priors]


def _read_map(rxfilename: str, fields: int) -> list[list[int]]:
    """The lines of a map: `fields` whole numbers each, # begins a comment."""
    from vouch.io.tables import read_token_lines

    rows = []
    for number, words in enumerate(read_token_lines(rxfilename, (0, None)), 1):
        words = " ".join(words).partition("#")[0].split()
        if not words:
            continue
        try:
            rows.append([int(word) for word in words])
        except ValueError:
            rows.append([])
        if len(rows[-1]) != fields:
            raise VouchError(f"{rxfilename}:{number}: want {fields} whole numbers, found '{' '.join(words)}'")
    return rows


def _of_all(utterance: str, vector: np.ndarray, tables: list[RandomAccessTable]) -> np.ndarray | None:
    """The vectors (tables + 1, frames) float32 of an utterance; None, after a warning, when one does not fit."""
    import numpy as np

    if not len(vector):
        warn(f"Empty vector for utterance {utterance}")
        return None
    rows = [vector]
    for table in tables:
        if utterance not in table:
            warn(f"No vector for utterance {utterance}")
            return None
        rows.append(table[utterance])
        if len(rows[-1]) != len(vector):
            warn(f"Dimension mismatch in input vectors in {utterance}: {len(vector)} vs. {len(rows[-1])}")
            return None
    return np.stack(rows).astype(np.float32)


def merge_vads(argv: list[str]) -> int:
    """One label for each pair of labels of a frame (Kaldi, merge-vads)."""
    parser = ToolOptions(
        "merge-vads",
        "[options] VAD_RSPECIFIER_1 VAD_RSPECIFIER_2 VAD_WSPECIFIER",
        "Writes 1 for the frames that both inputs have as 1, else 0; or any label for each pair of labels. Utterances "
        "that are not in both with the same number of frames are warned of and left out.",
        (3, 3),
    )
    parser.add("map", "", "file of lines 'LABEL_1 LABEL_2 LABEL', one for each pair of labels")
    options, (first, second, vad_wspecifier) = parser.parse(argv)
    import numpy as np

    from vouch.io.tables import TableWriter, open_table, read_table

    rows = _read_map(options.map, 3) if options.map else [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]]
    label_of = {(one, two): label for one, two, label in rows}
    done = errors = 0
    with open_table(second, "vector") as table, TableWriter(vad_wspecifier, "vector") as writer:
        for utterance, vector in read_table(first, "vector"):
            if utterance not in table:
                warn(f"No vector for utterance {utterance}")
                errors += 1
                continue
            if len(table[utterance]) != len(vector):
                warn(f"VAD length mismatch for utterance {utterance}")
                errors += 1
                continue
            both = np.stack([vector, table[utterance]]).astype(np.int64)
            pairs, place = np.unique(both, axis=1, return_inverse=True)
            missing = [pair for pair in zip(*pairs.tolist(), strict=True) if pair not in label_of]
            if missing:
                raise VouchError(
                    f"{utterance} has a frame with the labels {missing[0][0]} and {missing[0][1]}, for which no line "
                    f"is in {options.map or 'the default map'}; add one to a file for --map"
                )
            labels = np.array([label_of[pair] for pair in zip(*pairs.tolist(), strict=True)], dtype=np.float32)
            writer.write(utterance, labels[place.reshape(-1)])
            done += 1
    log(f"Merged voice activity detection decisions; processed {done} utterances successfully; {errors} had errors.")
    return 0 if done else 1
