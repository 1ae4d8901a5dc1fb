"""Lists of whole numbers or pairs for every frame: Kaldi's posteriors, Gaussian selections, int32 vectors.

All lists of an utterance lie in one array; `offsets` say where each frame's begins. In the binary forms every number
is a byte 4 and four bytes, so that a table is parsed and made by array operations.
Source of the forms: Kaldi's hmm/posterior and util/kaldi-holder (BasicVectorHolder, BasicVectorVectorHolder).
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

import numpy as np

from vouch.io.primitives import PayloadError, is_binary, printable, read_exactly, read_size

_MARKED = np.dtype([("mark", "i1"), ("value", "<i4")])
_FRAMES = 1 << 14  # of so many frames the bytes are made at once
_LARGEST_LIST = 10_000_000  # of one frame; more means a damaged size


class Posterior(NamedTuple):
    """Frame t has the pairs indices[k], weights[k] for k in offsets[t] … offsets[t+1] - 1.

    offsets (frames + 1,) int64, indices (pairs,) int32, weights (pairs,) float32.
    """

    offsets: np.ndarray
    indices: np.ndarray
    weights: np.ndarray


class Selection(NamedTuple):
    """Frame t has indices[offsets[t] : offsets[t+1]]; offsets (frames + 1,) int64, indices (entries,) int32."""

    offsets: np.ndarray
    indices: np.ndarray


# --- reading ----------------------------------------------------------------------------------------------------------


def read_posterior(stream: BinaryIO) -> Posterior:
    """The posteriors at the stream's place, binary or text; PayloadError when there are none."""
    line = _text_line(stream)
    if line is not None:
        return _posterior_from_text(line)
    counts, values = _read_lists(stream, 2)
    return Posterior(_offsets(counts), values[0::2].copy(), values[1::2].copy().view(np.float32))


def read_selection(stream: BinaryIO) -> Selection:
    """The selection (Kaldi's Int32VectorVector) at the stream's place; PayloadError when there is none."""
    line = _text_line(stream)
    if line is not None:
        return _selection_from_text(line)
    counts, values = _read_lists(stream, 1)
    return Selection(_offsets(counts), values)


def read_int32_vector(stream: BinaryIO) -> np.ndarray:
    """The int32 (n,) at the stream's place; PayloadError when there are none."""
    line = _text_line(stream)
    if line is not None:
        return _integers(line.split())
    return _marked_values(read_exactly(stream, read_size(stream) * _MARKED.itemsize))


def _read_lists(stream: BinaryIO, width: int) -> tuple[list[int], np.ndarray]:
    """(entries of each frame, all their numbers); an entry is `width` numbers."""
    counts, pieces = [], []
    for _ in range(read_size(stream)):
        count = read_size(stream)
        if count > _LARGEST_LIST:
            raise PayloadError(f"a frame with {count} entries")
        counts.append(count)
        pieces.append(read_exactly(stream, count * width * _MARKED.itemsize))
    return counts, _marked_values(b"".join(pieces))


def _marked_values(data: bytes) -> np.ndarray:
    records = np.frombuffer(data, _MARKED)
    if (records["mark"] != 4).any():
        raise PayloadError("found something else where a number should be")
    return records["value"].astype(np.int32)


def _offsets(counts: list[int]) -> np.ndarray:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _text_line(stream: BinaryIO) -> bytes | None:
    """The line of a text value; None when a binary value follows."""
    binary, first = is_binary(stream)
    if binary:
        return None
    if not first:
        raise PayloadError("no data")
    line = first if first == b"\n" else first + stream.readline()
    if not line.endswith(b"\n"):  # only the end of the line says that nothing is missing
        raise PayloadError("the line does not end with a newline (the file was cut off?)")
    return line


def _posterior_from_text(line: bytes) -> Posterior:
    *frames, rest = line.split(b"]")
    if rest.strip():
        raise PayloadError(f"found '{_excerpt(rest)}' where [ … ] or the end of the line should be")
    counts: list[int] = []
    words: list[bytes] = []
    for frame in frames:
        bracket, *pairs = frame.split() or [b""]
        if bracket != b"[" or len(pairs) % 2:
            raise PayloadError(f"'{_excerpt(frame)}]' is not of the form [ index weight index weight … ]")
        counts.append(len(pairs) // 2)
        words += pairs
    try:
        weights = [float(word) for word in words[1::2]]
    except ValueError as error:
        raise PayloadError(f"a posterior is not a number ({error})") from None
    with np.errstate(over="ignore"):
        return Posterior(_offsets(counts), _integers(words[0::2]), np.array(weights, np.float64).astype(np.float32))


def _selection_from_text(line: bytes) -> Selection:
    *frames, rest = line.split(b";")
    if rest.strip():
        raise PayloadError("the line does not end with ;")
    lists = [frame.split() for frame in frames]
    return Selection(_offsets([len(words) for words in lists]), _integers([word for words in lists for word in words]))


def _integers(words: list[bytes]) -> np.ndarray:
    try:
        return _int32([int(word) for word in words])
    except (ValueError, OverflowError):
        raise PayloadError("a word is not a whole number of 32 bits") from None


def _excerpt(text: bytes) -> str:
    return printable(text.strip()[:40].decode("latin-1"))


# --- writing ----------------------------------------------------------------------------------------------------------


def write_posterior(value: Posterior, text: bool) -> bytes | bytearray:
    """The bytes of posteriors; raises ValueError when the arrays do not fit together."""
    offsets, indices, weights = value
    offsets, indices = _checked(offsets, indices)
    with np.errstate(over="ignore"):
        weights = np.ascontiguousarray(weights, np.float32)
    if weights.shape != indices.shape:
        raise ValueError(f"{len(indices)} indices and weights of shape {weights.shape} do not fit together")
    if not text:
        return _binary_lists(offsets, [indices, weights.view(np.int32)])
    form = b"".join(b"[ " + b"%d %.7g " * count + b"] " for count in np.diff(offsets).tolist())
    numbers: list[float] = [0] * (2 * len(indices))
    numbers[0::2], numbers[1::2] = indices.tolist(), weights.tolist()
    return form % tuple(numbers) + b"\n"


def write_selection(value: Selection, text: bool) -> bytes | bytearray:
    """The bytes of a selection; raises ValueError when the arrays do not fit together."""
    offsets, indices = _checked(*value)
    if not text:
        return _binary_lists(offsets, [indices])
    form = b"".join(b"%d " * count + b"; " for count in np.diff(offsets).tolist())
    return form % tuple(indices.tolist()) + b"\n"


def write_int32_vector(value: np.ndarray, text: bool) -> bytes:
    """The bytes of whole numbers (n,); raises ValueError when they do not fit into 32 bits."""
    values = _int32(value)
    if text:
        return b"%d " * len(values) % tuple(values.tolist()) + b"\n"
    return b"\0B" + struct.pack("<bi", 4, len(values)) + _marked(values)


def _checked(offsets: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    offsets, indices = np.asarray(offsets), _int32(indices)
    if offsets.ndim != 1 or not len(offsets) or offsets[0] != 0 or offsets[-1] != len(indices):
        raise ValueError(f"offsets must be a list from 0 to the number of entries, {len(indices)}")
    if (np.diff(offsets) < 0).any():
        raise ValueError("offsets must not decrease")
    return offsets.astype(np.int64), indices


def _int32(values: np.ndarray | list[int]) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"wants a list of whole numbers, has {array.dtype} of shape {array.shape}")
    if array.size and not -(2**31) <= array.min() <= array.max() < 2**31:
        raise ValueError("a number does not fit into 32 bits")
    return array.astype(np.int32, copy=False)


def _binary_lists(offsets: np.ndarray, columns: list[np.ndarray]) -> bytearray:
    """Every frame: its number of entries, then the entries; an entry is a number of each of the columns (entries,)."""
    frames, width = len(offsets) - 1, len(columns)
    start = b"\0B" + struct.pack("<bi", 4, frames)
    result = bytearray(len(start) + (frames + len(columns[0]) * width) * _MARKED.itemsize)
    result[: len(start)] = start
    records = np.frombuffer(result, _MARKED, offset=len(start))
    records["mark"] = 4
    values = records["value"]
    for first in range(0, frames, _FRAMES):
        ends = offsets[first : first + _FRAMES + 1]
        part = values[ends[0] * width + first : ends[-1] * width + first + len(ends) - 1]
        heads = (ends[:-1] - ends[0]) * width + np.arange(len(ends) - 1)
        is_entry = np.ones(len(part), bool)
        is_entry[heads] = False
        part[heads] = np.diff(ends)
        part[is_entry] = np.stack([column[ends[0] : ends[-1]] for column in columns], axis=1).ravel()
    return result


def _marked(values: np.ndarray) -> bytes:
    records = np.empty(len(values), _MARKED)
    records["mark"] = 4
    records["value"] = values
    return records.tobytes()
