"""Tools on vectors (embeddings): copy-vector, ivector-mean, ivector-subtract-global-mean, ivector-normalize-length,
with the options, defaults, arguments and exit codes of Kaldi's tools of the same names; a tool that wrote nothing exits
with 1. Vectors are float32 between tools, as Kaldi's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.cli.vector_blocks import check_finite, finite_vectors, float_vectors, require_some
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np


def _same_size(key: str, vector: np.ndarray, size: int, other: str) -> np.ndarray:
    if len(vector) != size:
        raise VouchError(f"vector '{key}' has {len(vector)} values, {other} {size}; they must come from one system")
    return vector


def copy_vector(argv: list[str]) -> int:
    """Copy one vector, or a table of them, to another form."""
    options = ToolOptions(
        "copy-vector",
        "[options] (IN-RSPECIFIER OUT-WSPECIFIER | IN-FILE OUT-FILE)",
        "Copy vectors or tables of vectors, e.g. to text: vouch copy-vector ark:x.ark ark,t:-",
        (2, 2),
    )
    options.add("binary", True, "write binary; for files only, a table says ark,t: for text")
    options.add("change-dim", -1, "cut the vectors, or pad them with zeros, to this many values; -1 = do not")
    options.add("scale", 1.0, "multiply the vectors of a table by this", single=True)
    values, (source, target) = options.parse(argv)
    from vouch.io.specifiers import is_table

    if is_table(source) != is_table(target):
        raise VouchError(f"'{source}' and '{target}': both must be tables (ark:, scp:) or both files")
    import numpy as np

    from vouch.io.tables import TableWriter, read_vector, write_vector

    def resized(vector: np.ndarray) -> np.ndarray:
        if values.change_dim < 0:
            return vector
        changed = np.zeros(values.change_dim, np.float32)
        kept = min(len(vector), len(changed))
        changed[:kept] = vector[:kept]
        return changed

    if not is_table(source):
        if values.scale != 1:
            raise VouchError("--scale is for tables; write ark:… in front of both names")
        write_vector(target, resized(read_vector(source).astype(np.float32)), values.binary)
        log(f"Copied vector to {target}")
        return 0
    done = 0
    with TableWriter(target, "vector") as writer:
        for key, vector in float_vectors(source):
            vector = resized(vector)
            writer.write(key, vector if values.scale == 1 else vector * np.float32(values.scale))
            done += 1
        require_some(done, source)
    log(f"Copied {done} vectors.")
    return 0


def ivector_mean(argv: list[str]) -> int:
    """Mean vector of each speaker (3 or 4 arguments), or of all vectors (2)."""
    options = ToolOptions(
        "ivector-mean",
        "[options] (SPK2UTT-RSPECIFIER VECTOR-RSPECIFIER OUT-WSPECIFIER [NUM-UTTS-WSPECIFIER]"
        " | VECTOR-RSPECIFIER MEAN-FILE)",
        "With 3 or 4 arguments, the mean of the vectors of each speaker and, in the fourth, how many there were (for"
        " PLDA). With 2, the mean of all vectors, written to a file.",
        (2, 4),
    )
    options.add("binary", False, "write the mean of all vectors in binary; for the form with 2 arguments")
    values, args = options.parse(argv)
    if len(args) == 2:
        return _mean_of_all(*args, binary=values.binary)
    return _mean_of_speakers(*args)


def _sum(vectors: Iterable[tuple[str, np.ndarray]]) -> tuple[np.ndarray | None, int]:
    """(sum in float64, number) of the vectors; (None, 0) without any."""
    import numpy as np

    total, count = None, 0
    for key, vector in vectors:
        if total is None:
            total = np.zeros(len(vector))
        total += _same_size(key, vector, len(total), "those before it")
        count += 1
    return total, count


def _mean_of_all(source: str, target: str, binary: bool) -> int:
    from vouch.io.tables import write_vector

    total, count = _sum(finite_vectors(source))
    if total is None:
        raise VouchError(f"'{source}' has no vectors to take the mean of; check the step that made it")
    write_vector(target, total * (1.0 / count), binary)
    log(f"Wrote the mean of {count} vectors to {target}")
    return 0


def _mean_of_speakers(spk2utt: str, source: str, target: str, counts: str = "") -> int:
    import contextlib

    import numpy as np

    from vouch.io.tables import TableWriter, open_table, read_table

    done = no_utterances = utterances = absent = 0
    total, square = None, 0.0
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(open_table(source, "vector"))
        writer = stack.enter_context(TableWriter(target, "vector"))
        count_writer = stack.enter_context(TableWriter(counts, "int32")) if counts else None
        for speaker, members in read_table(spk2utt, "tokens"):
            if not members:
                raise VouchError(f"{spk2utt}: speaker '{speaker}' has no utterances; remove the line")
            found = [utterance for utterance in members if utterance in table]
            for utterance in sorted(set(members) - set(found)):
                warn(f"No vector for utterance {utterance} of speaker {speaker}")
            absent += len(members) - len(found)
            if not found:
                warn(f"No output for speaker {speaker}: none of the utterances has a vector")
                no_utterances += 1
                continue
            mean = np.zeros(0, np.float32)
            for place, utterance in enumerate(found):
                vector = table[utterance].astype(np.float32)
                check_finite(source, utterance, vector)
                mean = mean + _same_size(utterance, vector, len(mean), "those before it") if place else vector
            mean *= np.float32(1.0 / len(found))
            if total is None:
                total = np.zeros(len(mean))
            writer.write(speaker, mean)
            if count_writer is not None:
                count_writer.write(speaker, len(found))
            total += _same_size(speaker, mean, len(total), "those before it")
            square += float(np.dot(mean, mean))
            done += 1
            utterances += len(found)
        if total is None:
            raise VouchError(f"no utterance of {spk2utt} has a vector in {source}; check that they belong together")
    log(
        f"Computed mean of {done} speakers ({no_utterances} with no utterances), consisting of {utterances} utterances"
        f" ({absent} absent from input)."
    )
    length = float(np.sqrt(square / done / max(len(total), 1)))
    log(
        f"Norm of mean of speakers is {np.linalg.norm(total / done):.6g}, root-mean-square length of their vectors"
        f" divided by sqrt(dim) is {length:.6g}"
    )
    return 0


def ivector_subtract_global_mean(argv: list[str]) -> int:
    """Subtract a given mean vector, or the mean of the vectors themselves."""
    options = ToolOptions(
        "ivector-subtract-global-mean",
        "[options] [MEAN-FILE] VECTOR-RSPECIFIER OUT-WSPECIFIER",
        "Copy a table of vectors and subtract a mean: the vector in MEAN-FILE or, without it, the mean of the table."
        " A table in files is then read twice; one from a pipe is held in memory.",
        (2, 3),
    )
    options.add("subtract-mean", True, "false: copy only; for the form without MEAN-FILE")
    values, args = options.parse(argv)
    if len(args) == 3:
        return _subtract_given(*args)
    return _subtract_own(*args, subtract=values.subtract_mean)


def _subtract_given(mean_file: str, source: str, target: str) -> int:
    import numpy as np

    from vouch.io.tables import TableWriter, read_vector

    mean = read_vector(mean_file).astype(np.float32)
    done = 0
    with TableWriter(target, "vector") as writer:
        for key, vector in finite_vectors(source):
            writer.write(key, _same_size(key, vector, len(mean), f"the mean {mean_file}") - mean)
            done += 1
        require_some(done, source)
    log(f"Wrote {done} mean-subtracted vectors")
    return 0


def _subtract_own(source: str, target: str, subtract: bool) -> int:
    import numpy as np

    from vouch.io.tables import TableWriter, is_rereadable

    held = None if is_rereadable(source) else list(finite_vectors(source))
    total, count = _sum(finite_vectors(source) if held is None else held)
    log(f"Read {count} vectors")
    require_some(count, source)
    log(f"Norm of their mean was {np.linalg.norm(total) / count:.6g}")
    with TableWriter(target, "vector") as writer:
        # Kaldi rounds the factor, not the mean, to single precision.
        shift = float(np.float32(-1.0 / count)) * total
        for key, vector in finite_vectors(source) if held is None else held:
            writer.write(key, (vector + shift).astype(np.float32) if subtract else vector)
    log(f"Wrote {count} {'mean-subtracted' if subtract else 'unchanged'} vectors")
    return 0


def paste_vectors(argv: list[str]) -> int:
    """The vectors of several tables, one behind the other."""
    options = ToolOptions(
        "paste-vectors",
        "[options] <vectors-rspecifier> <vectors-rspecifier>... <vectors-wspecifier>",
        "Write for every key of the first table its vectors in all of them, one behind the other. Tables after the "
        "first are looked up key by key. A key that one of them lacks is left out with a warning.",
        (3, None),
    )
    _, (first, *others, target) = options.parse(argv)
    import contextlib

    import numpy as np

    from vouch.io.tables import TableWriter, open_table

    done = absent = 0
    sizes: list[int] = []
    with contextlib.ExitStack() as stack:
        tables = [stack.enter_context(open_table(other, "vector")) for other in others]
        writer = stack.enter_context(TableWriter(target, "vector"))
        for key, vector in float_vectors(first):
            lacking = [other for other, table in zip(others, tables, strict=True) if key not in table]
            if lacking:
                warn(f"{key} is not in {lacking[0]}: left out")
                absent += 1
                continue
            parts = [vector, *(table[key].astype(np.float32, copy=False) for table in tables)]
            sizes = sizes or [len(part) for part in parts]
            for part, size, table in zip(parts, sizes, (first, *others), strict=True):
                _same_size(key, part, size, f"those before it in {table}")
            writer.write(key, np.concatenate(parts))
            done += 1
        require_some(done, first)
    log(f"Pasted the vectors of {done} keys, {' + '.join(map(str, sizes))} values each; {absent} left out")
    return 0


def _norm(vector: np.ndarray) -> np.float32:
    """Euclidean length, the squares summed one after the other in single precision, as Kaldi does."""
    import numpy as np

    return np.sqrt(np.cumsum(vector * vector, dtype=np.float32)[-1]) if len(vector) else np.float32(0)


def ivector_normalize_length(argv: list[str]) -> int:
    """Scale every vector to length sqrt(dim), or to 1."""
    options = ToolOptions(
        "ivector-normalize-length",
        "[options] VECTOR-RSPECIFIER OUT-WSPECIFIER",
        "Scale every vector to the length sqrt(dim). A vector of zeros is copied, with a warning.",
        (2, 2),
    )
    options.add("normalize", True, "false: only report the lengths, and copy")
    options.add("scaleup", True, "false: scale to length 1 instead")
    values, (source, target) = options.parse(argv)
    import numpy as np

    from vouch.io.tables import TableWriter

    done, total, square = 0, 0.0, 0.0
    with TableWriter(target, "vector") as writer:
        for key, vector in finite_vectors(source):
            norm = _norm(vector)
            ratio = np.float32(float(norm) / np.sqrt(len(vector))) if values.scaleup and len(vector) else norm
            if values.verbose >= 2:
                log(f"Ratio for {key} is {ratio:.6g}")
            if ratio == 0:
                warn(f"The vector of {key} is zero")
            elif values.normalize:
                vector = vector * np.float32(1.0 / float(ratio))
            writer.write(key, vector)
            done, total, square = done + 1, total + float(ratio), square + float(ratio) ** 2
        require_some(done, source)
    log(f"Processed {done} vectors.")
    mean = total / done
    deviation = max(square / done - mean**2, 0.0) ** 0.5
    log(f"Average ratio of a vector to expected length was {mean:.6g}, standard deviation was {deviation:.6g}")
    return 0
