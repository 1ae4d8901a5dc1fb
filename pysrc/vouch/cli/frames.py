"""Tools that add, drop or repeat what a feature table holds: add-deltas, subsample-feats, feat-to-dim."""

from __future__ import annotations

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError


def add_deltas(argv: list[str]) -> None:
    """Append the differences of features over time (Kaldi, add-deltas)."""
    parser = ToolOptions(
        "add-deltas",
        "[options] FEATS_RSPECIFIER FEATS_WSPECIFIER",
        "Appends to each frame its differences over time: static, delta, delta-delta. Beyond the ends the first and "
        "the last frame are repeated. Empty matrices are warned of and left out.",
        (2, 2),
    )
    parser.add("truncate", 0, "take only this many of the first columns; 0 for all")
    parser.add("delta-order", 2, "highest order of the differences")
    parser.add("delta-window", 2, "frames on each side that a difference of order 1 looks at")
    options, (feats_rspecifier, feats_wspecifier) = parser.parse(argv)
    if options.truncate < 0:
        raise VouchError(f"--truncate={options.truncate}: want 0 or more")
    from vouch.io.tables import TableWriter, read_table
    from vouch.signal import deltas

    deltas.delta_filters(options.delta_order, options.delta_window)  # wrong options end it before a file is opened
    with TableWriter(feats_wspecifier) as writer:
        for utterance, features in read_table(feats_rspecifier):
            if not len(features):
                warn(f"Empty feature matrix for key {utterance}")
                continue
            if options.truncate > features.shape[1]:
                raise VouchError(
                    f"{feats_rspecifier}: {utterance} has {features.shape[1]} columns, fewer than "
                    f"--truncate={options.truncate}"
                )
            kept = features[:, : options.truncate or None]
            writer.write(utterance, deltas.add_deltas(kept, options.delta_order, options.delta_window))


def subsample_feats(argv: list[str]) -> int:
    """Every n-th frame, or every frame several times (Kaldi, subsample-feats)."""
    parser = ToolOptions(
        "subsample-feats",
        "[options] FEATS_RSPECIFIER FEATS_WSPECIFIER",
        "Keeps every n-th frame; with a negative n repeats every frame -n times. Utterances of which no frame is left "
        "are warned of and left out.",
        (2, 2),
    )
    parser.add("n", 1, "keep every n-th frame; below 0: repeat each frame -n times")
    parser.add("offset", 0, "the first frame to keep; not with a negative n")
    options, (feats_rspecifier, feats_wspecifier) = parser.parse(argv)
    if options.n == 0 or options.offset < 0 or (options.n < 0 and options.offset):
        raise VouchError(
            f"--n={options.n} --offset={options.offset}: want n other than 0, and an offset of 0 or more; only 0 with a"
            " negative n"
        )
    import numpy as np

    from vouch.io.tables import TableWriter, read_table

    done = errors = frames_in = frames_out = 0
    with TableWriter(feats_wspecifier) as writer:
        for utterance, features in read_table(feats_rspecifier):
            features = features.astype(np.float32, copy=False)
            if options.n > 0:
                output = features[options.offset :: options.n]
            else:
                output = np.repeat(features, -options.n, axis=0)
            frames_in, frames_out = frames_in + len(features), frames_out + len(output)
            if options.n > 0 and not len(output):
                warn(f"For utterance {utterance}, output would have no rows, producing no output.")
                errors += 1
                continue
            writer.write(utterance, output)
            done += 1
    log(f"Processed {done} feature matrices; {errors} with errors.")
    log(f"Processed {frames_in} input frames and {frames_out} output frames.")
    return 0 if done else 1


def feat_to_dim(argv: list[str]) -> None:
    """Number of columns of features (Kaldi, feat-to-dim)."""
    parser = ToolOptions(
        "feat-to-dim",
        "[options] FEATS_RSPECIFIER (DIM_WSPECIFIER|DIM_FILE)",
        "Writes the number of columns of each matrix to a table or, when the second argument is a file or -, that of "
        "the first matrix only.",
        (2, 2),
    )
    _, (feats_rspecifier, target) = parser.parse(argv)
    from vouch.io.specifiers import is_table
    from vouch.io.tables import TableWriter, open_output, read_table

    if is_table(target):
        with TableWriter(target, "int32") as writer:
            for utterance, features in read_table(feats_rspecifier):
                writer.write(utterance, features.shape[1])
        return
    first = next(read_table(feats_rspecifier), None)
    if first is None:
        raise VouchError(f"could not read any features of {feats_rspecifier}: it is empty; check the step that made it")
    with open_output(target) as stream:
        stream.write(f"{first[1].shape[1]}\n".encode())
