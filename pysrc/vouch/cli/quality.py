"""`vouch measure-quality`: what tells how far the scores of an utterance can be trusted."""

from __future__ import annotations

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.threads import default_to_one_thread
from vouch.errors import VouchError


def measure_quality(argv: list[str]) -> None:
    """Measure the quality of utterances for their calibration."""
    options = ToolOptions(
        "measure-quality",
        "[options] <durations> <embedding-rspecifier> <unit-rspecifier> <unit-cohort-rspecifier> <quality-wspecifier>",
        "Write a vector for each embedding: the log of its duration in seconds (text 'UTTERANCE SECONDS', as utt2dur), "
        "the length of the embedding, and the mean of its --top highest cosine scores with the cohort. <unit-...> are "
        "the same embeddings and the cohort's as for scoring by cosine: centred, of length 1. For the options "
        "--enrollment-qualities and --test-qualities of train-calibration and calibrate-scores.",
        (5, 5),
    )
    options.add("top", 300, "cohort scores that count, the highest of each vector")
    opt, (durations_in, embeddings_in, units_in, cohort_in, out) = options.parse(argv)
    default_to_one_thread()

    import numpy as np

    from vouch.backend.score_norm import cohort_statistics
    from vouch.cli.scoring import load_vectors, rows_of
    from vouch.io.tables import TableWriter

    if opt.top < 2:
        raise VouchError(f"--top={opt.top}: want 2 or more cohort scores")
    seconds = _read_durations(durations_in)
    row_of, embeddings = load_vectors(embeddings_in, None)
    unit_of, units = load_vectors(units_in, None)
    _, cohort = load_vectors(cohort_in, units.shape[1])
    keys = list(row_of)
    rows = rows_of(unit_of, keys)
    for given, table in ((seconds, durations_in), (unit_of, units_in)):
        lacking = next((key for key in keys if key not in given), None)
        if lacking is not None:
            raise VouchError(f"{lacking} of {embeddings_in} is not in {table}; give the same utterances")
    try:
        means, _ = cohort_statistics(units[rows], cohort, opt.top)
    except ValueError as error:
        raise VouchError(
            f"the highest scores of {keys[error.args[0]]} with the cohort {cohort_in} are all equal; give a cohort of "
            f"different vectors"
        ) from None
    lengths = np.linalg.norm(embeddings.astype(float), axis=1)
    qualities = np.stack([np.log([seconds[key] for key in keys]), lengths, means], axis=1).astype(np.float32)
    with TableWriter(out, "vector") as writer:
        for key, quality in zip(keys, qualities, strict=True):
            writer.write(key, quality)
    log(f"measured {len(keys)} utterances")


def _read_durations(path: str) -> dict[str, float]:
    from vouch.cli.scoring import parse_score
    from vouch.io.tables import read_token_lines

    found = {}
    for number, (key, text) in enumerate(read_token_lines(path, (2, 2)), 1):
        seconds = parse_score(text, f"{path}:{number}")
        if not 0 < seconds < float("inf"):
            raise VouchError(f"{path}:{number}: {key} lasts {text} s; want more than 0")
        found[key] = seconds
    return found
