"""The values of Kaldi's tables as bytes: matrices, vectors, lists, numbers and token lists, binary and text.

`PayloadError` says what is wrong with the bytes; who called knows the file and the key, and adds them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from vouch.io import compression, ragged
from vouch.io.primitives import CHUNK, PayloadError, int32_from_text, is_binary, printable, read_exactly, read_size
from vouch.io.specifiers import Range

_PLAIN = {"FM": "<f4", "FV": "<f4", "DM": "<f8", "DV": "<f8"}
_LARGEST_TOKEN = 8
_ALL = Range(None, None)


def read_payload(stream: BinaryIO, kind: str, part: Range | None = None) -> Any:
    """The value of this kind at the stream's place; `part` selects rows and columns of a matrix or vector."""
    try:
        if kind in _ARRAY_READERS:
            return _ARRAY_READERS[kind](stream, part or _ALL)
        if part not in (None, _ALL):
            raise PayloadError("a range in [ ] is for matrices and vectors only")
        return _READERS[kind](stream)
    except (ValueError, OverflowError, MemoryError, struct.error) as error:
        raise PayloadError(str(error) or "not enough memory for it") from None


def write_payload(value: Any, kind: str, text: bool, compression_method: int = 0) -> bytes:
    """The bytes of a value after `key `; raises ValueError when the value is not of this kind."""
    if kind == "matrix":
        return _write_matrix(value, text, compression_method)
    return _WRITERS[kind](value, text)


# --- arrays -----------------------------------------------------------------------------------------------------------


def _read_type(stream: BinaryIO) -> str:
    token = b""
    while len(token) < _LARGEST_TOKEN:
        char = stream.read(1)
        if char in (b" ", b""):
            break
        token += char
    return token.decode("latin-1")


def _read_matrix(stream: BinaryIO, part: Range) -> np.ndarray:
    binary, first = is_binary(stream)
    if not binary:
        return _text_matrix(stream, first, part)
    kind = _read_type(stream)
    if kind in ("CM", "CM2", "CM3"):
        return _read_compressed(stream, kind, part)
    if kind in ("FM", "DM"):
        rows, cols = read_size(stream), read_size(stream)
        return _read_rows(stream, np.dtype(_PLAIN[kind]), rows, cols, part)
    raise PayloadError(f"found '{printable(kind)}' where a matrix should begin")


def _read_rows(stream: BinaryIO, dtype: np.dtype, rows: int, cols: int, part: Range) -> np.ndarray:
    """The wanted rows only: the ones before are skipped, by a seek where the stream can."""
    keep_rows, keep_cols = part.bounds(rows, cols)
    width = cols * dtype.itemsize
    if keep_rows.start:
        _skip(stream, keep_rows.start * width)
    count = keep_rows.stop - keep_rows.start
    data = read_exactly(stream, count * width)
    if (keep_rows.stop < rows) and not stream.seekable():
        _skip(stream, (rows - keep_rows.stop) * width)
    values = np.frombuffer(data, dtype).reshape(count, cols)[:, keep_cols]
    return np.array(values, dtype=dtype.newbyteorder("="), order="C")


def _skip(stream: BinaryIO, size: int) -> None:
    if stream.seekable():
        stream.seek(size, 1)
        return
    while size:
        size -= len(read_exactly(stream, min(size, CHUNK)))


def _read_compressed(stream: BinaryIO, kind: str, part: Range) -> np.ndarray:
    low, width, rows, cols = compression.HEADER.unpack(read_exactly(stream, compression.HEADER.size))
    if rows < 0 or cols < 0:
        raise PayloadError("the header holds no sensible size")
    if kind == "CM":
        data = read_exactly(stream, cols * (8 + rows))
        with np.errstate(all="ignore"):
            matrix = compression.decompress_columns(data, low, width, rows, cols)
        keep_rows, keep_cols = part.bounds(rows, cols)
        return np.ascontiguousarray(matrix[keep_rows, keep_cols])
    dtype, top = compression.LEVELS[kind]
    codes = _read_rows(stream, dtype, rows, cols, part)
    with np.errstate(all="ignore"):
        return compression.decompress_levels(codes, low, width, top)


def _read_vector(stream: BinaryIO, part: Range) -> np.ndarray:
    binary, first = is_binary(stream)
    if not binary:
        rows = _text_rows(stream, first)
        if len(rows) > 1:
            raise PayloadError("found a matrix (several lines in [ ]) where a vector should be")
        with np.errstate(over="ignore"):
            values = np.array(rows[0] if rows else [], dtype=np.float32)
    else:
        kind = _read_type(stream)
        if kind not in ("FV", "DV"):
            raise PayloadError(f"found '{printable(kind)}' where a vector should begin")
        dtype = np.dtype(_PLAIN[kind])
        values = np.frombuffer(read_exactly(stream, read_size(stream) * dtype.itemsize), dtype)
        values = np.array(values, dtype=dtype.newbyteorder("="))
    if part.cols is not None:
        raise PayloadError("a vector has no columns to choose a range of")
    return values[part.bounds(len(values), 0)[0]]


# --- text -------------------------------------------------------------------------------------------------------------


def _text_rows(stream: BinaryIO, first: bytes) -> list[list[float]]:
    """The numbers between [ and ], one list a line; empty lines drop out."""
    while first in (b" ", b"\t", b"\n"):
        first = stream.read(1)
    if first != b"[":
        raise PayloadError("found neither a binary value nor the [ of a text one" if first else "no data")
    rows: list[list[float]] = []
    while True:
        line = stream.readline(CHUNK)
        if not line:
            raise PayloadError("the data end before the closing ]")
        body, bracket, rest = line.partition(b"]")
        rows += [_numbers(piece) for piece in body.split(b";") if piece.strip()]
        if bracket:
            if rest.strip():
                raise PayloadError("there is more text after the closing ]")
            return rows


def _numbers(text: bytes) -> list[float]:
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise PayloadError(f"'{printable(text.strip()[:40].decode('latin-1'))}' is not a row of numbers") from None


def _text_matrix(stream: BinaryIO, first: bytes, part: Range) -> np.ndarray:
    rows = _text_rows(stream, first)
    if len({len(row) for row in rows}) > 1:
        raise PayloadError("the rows differ in length")
    with np.errstate(over="ignore"):
        matrix = np.array(rows, dtype=np.float32).reshape(len(rows), len(rows[0]) if rows else 0)
    keep_rows, keep_cols = part.bounds(*matrix.shape)
    return np.ascontiguousarray(matrix[keep_rows, keep_cols])


def _read_scalar(stream: BinaryIO, sizes: dict[int, str], convert: Callable[[str], Any], what: str) -> Any:
    binary, first = is_binary(stream)
    if binary:
        (size,) = read_exactly(stream, 1)
        if size not in sizes:
            raise PayloadError(f"found no {what}")
        return struct.unpack(sizes[size], read_exactly(stream, size))[0]
    line = (first + stream.readline(CHUNK)).strip() if first not in (b"\n", b"") else b""
    try:
        return convert(line.decode("ascii"))
    except ValueError:
        raise PayloadError(f"'{printable(line[:40].decode('latin-1'))}' is not {what}") from None


def _read_int32(stream: BinaryIO) -> int:
    return _read_scalar(stream, {4: "<i"}, int32_from_text, "one whole number")


def _read_float(stream: BinaryIO) -> float:
    return _read_scalar(stream, {4: "<f", 8: "<d"}, float, "one number")


def _read_tokens(stream: BinaryIO) -> list[str]:
    line = stream.readline()
    try:
        return line.decode("utf-8").split()
    except UnicodeDecodeError:
        raise PayloadError("the line is not text") from None


# --- writing ----------------------------------------------------------------------------------------------------------


def _as_float(value: Any, dims: int) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype != np.float64:
        array = array.astype(np.float32, copy=False)
    if array.ndim != dims:
        raise ValueError(f"wants {dims} dimension{'s' * (dims > 1)}, has shape {array.shape}")
    return array


def _write_matrix(value: Any, text: bool, method: int) -> bytes:
    matrix = _as_float(value, 2)
    if not matrix.size:
        matrix = matrix.reshape(0, 0)  # Kaldi knows only one empty matrix
    if method:
        packed = b"\0B" + compression.compress(matrix, method)
        if not text:
            return packed
        matrix = _read_matrix(io.BytesIO(packed), _ALL)
    if text:
        if not matrix.size:
            return b" [ ]\n"
        row = "\n  " + "%.7g " * matrix.shape[1]
        return (" [" + "".join(row % tuple(values) for values in matrix.tolist()) + "]\n").encode()
    kind = b"DM " if matrix.dtype == np.float64 else b"FM "
    header = b"\0B" + kind + struct.pack("<bibi", 4, matrix.shape[0], 4, matrix.shape[1])
    return b"".join((header, np.ascontiguousarray(matrix, dtype=_PLAIN[kind.decode().strip()])))


def _write_vector(value: Any, text: bool) -> bytes:
    vector = _as_float(value, 1)
    if text:
        return (" [ " + "".join(f"{number:.7g} " for number in vector.tolist()) + "]\n").encode()
    kind = b"DV " if vector.dtype == np.float64 else b"FV "
    return b"\0B" + kind + struct.pack("<bi", 4, len(vector)) + vector.astype(_PLAIN[kind.decode().strip()]).tobytes()


def _write_int32(value: Any, text: bool) -> bytes:
    if not -(2**31) <= int(value) < 2**31:
        raise ValueError(f"{value} does not fit into 32 bits")
    return b"%d \n" % int(value) if text else struct.pack("<2sbi", b"\0B", 4, int(value))


def _write_float(value: Any, text: bool) -> bytes:
    return b"%.7g \n" % float(value) if text else struct.pack("<2sbf", b"\0B", 4, float(value))


def _write_tokens(value: Any, text: bool) -> bytes:
    if any(not token or token.split() != [token] for token in value):
        raise ValueError("a token is empty or has white space in it")
    return (" ".join(value) + "\n").encode()


_ARRAY_READERS: dict[str, Callable[[BinaryIO, Range], Any]] = {"matrix": _read_matrix, "vector": _read_vector}
_READERS: dict[str, Callable[[BinaryIO], Any]] = {
    "int32": _read_int32,
    "float": _read_float,
    "tokens": _read_tokens,
    "int32-vector": ragged.read_int32_vector,
    "gselect": ragged.read_selection,
    "posterior": ragged.read_posterior,
}
_WRITERS: dict[str, Callable[[Any, bool], bytes]] = {
    "vector": _write_vector,
    "int32": _write_int32,
    "float": _write_float,
    "tokens": _write_tokens,
    "int32-vector": ragged.write_int32_vector,
    "gselect": ragged.write_selection,
    "posterior": ragged.write_posterior,
}
KINDS = (*_ARRAY_READERS, *_READERS)
