"""Writing Kaldi's object files; see `vouch.io.objects`, which offers this."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO

import numpy as np

from vouch.io.streams import open_output

# The byte in front of a binary number: its size, negative when unsigned.
INTEGERS = {1: "<b", -1: "<B", 2: "<h", -2: "<H", 4: "<i", -4: "<I", 8: "<q", -8: "<Q"}


@contextmanager
def write_object(wxfilename: str, binary: bool = True) -> Iterator[ObjectWriter]:
    """An `ObjectWriter` on a file, `-` or `| command`; the file takes its name when the block ends well."""
    with open_output(wxfilename) as stream:
        yield ObjectWriter(stream, binary)


class ObjectWriter:
    """Writes an object file in Kaldi's bytes (binary) or layout (text, 7 digits)."""

    def __init__(self, stream: BinaryIO, binary: bool) -> None:
        self._stream, self.binary = stream, binary
        if binary:
            stream.write(b"\0B")

    def token(self, token: str) -> None:
        """A word and a space."""
        if not token.isascii() or token.split() != [token]:
            raise ValueError(f"token {token!r} is empty, not ASCII or has white space in it")
        self._stream.write(token.encode() + b" ")

    def integer(self, value: int, size: int = 4) -> None:
        """A whole number of `size` bytes; a negative size means unsigned, as in the file."""
        data = struct.pack(INTEGERS[size], value)
        self._stream.write(struct.pack("<b", size) + data if self.binary else b"%d " % value)

    def real(self, value: float, double: bool = False) -> None:
        """A number, in single precision unless `double`."""
        value = float(_floats(value, double))
        mark = b"\10" if double else b"\4"
        data = mark + struct.pack("<d" if double else "<f", value)
        self._stream.write(data if self.binary else b"%.7g " % value)

    def boolean(self, value: bool) -> None:
        """T or F."""
        self._stream.write((b"T" if value else b"F") + b" " * (not self.binary))

    def vector(self, vector: np.ndarray, double: bool = False) -> None:
        """A vector (n,)."""
        values = _floats(vector, double, 1)
        if self.binary:
            self._array(b"DV " if double else b"FV ", values.shape, values)
        else:
            self._stream.write(b" [ " + _text(values) + b"]\n")

    def matrix(self, matrix: np.ndarray, double: bool = False) -> None:
        """A matrix (rows, columns)."""
        values = _floats(matrix, double, 2)
        if self.binary:
            self._array(b"DM " if double else b"FM ", values.shape if values.size else (0, 0), values)
        elif values.size:
            self._stream.write(b" [")
            for row in values:
                self._stream.write(b"\n  " + _text(row))
            self._stream.write(b"]\n")
        else:
            self._stream.write(b" [ ]\n")

    def packed(self, symmetric: np.ndarray, double: bool = False) -> None:
        """A symmetric matrix (n, n): its lower triangle by rows."""
        full = _floats(symmetric, double, 2)
        size = len(full)
        if full.shape != (size, size):
            raise ValueError(f"wants a square matrix, has shape {full.shape}")
        if self.binary:
            self._array(b"DP " if double else b"FP ", (size,), full[triangle(size)])
        elif size:
            rows = b"\n".join(_text(full[row, : row + 1]) for row in range(size))
            self._stream.write(b"[\n" + rows + b"]\n")
        else:
            self._stream.write(b"[ ]\n")

    def int_vector(self, values: np.ndarray) -> None:
        """A list of int32 (n,)."""
        array = np.asarray(values, np.int32)
        if self.binary:
            self._stream.write(struct.pack("<bi", 4, len(array)) + array.astype("<i4").tobytes())
        else:
            self._stream.write(b"[ " + b"".join(b"%d " % value for value in array.tolist()) + b"]\n")

    def newline(self) -> None:
        """The end of a line, which only the text form has."""
        if not self.binary:
            self._stream.write(b"\n")

    def _array(self, kind: bytes, shape: tuple[int, ...], values: np.ndarray) -> None:
        self._stream.write(kind + b"".join(struct.pack("<bi", 4, size) for size in shape))
        self._stream.write(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)


def _floats(value: np.ndarray | float, double: bool, dims: int = 0) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # too large for single precision: infinite, as in Kaldi
        array = np.asarray(value, np.float64 if double else np.float32)
    if array.ndim != dims:
        raise ValueError(f"wants {dims} dimension{'s' * (dims > 1)}, has shape {array.shape}")
    return array


def _text(row: np.ndarray) -> bytes:
    return (b"%.7g " * len(row)) % tuple(row.tolist())


@lru_cache(maxsize=4)
def triangle(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lower triangle of an (n, n) matrix, by rows, as Kaldi packs it."""
    return np.tril_indices(size)
