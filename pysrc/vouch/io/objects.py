"""Kaldi's object files: tokens, numbers, vectors and matrices one after the other, binary or text.

`read_object` and `write_object` are the alphabet; what a model consists of is said by the modules that use them
(`vouch.io.gmm`, `vouch.io.plda`, …). Source of the forms: Kaldi's base/io-funcs and matrix/*.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NoReturn

import numpy as np

from vouch.errors import VouchError
from vouch.io.object_writer import INTEGERS, ObjectWriter, triangle, write_object
from vouch.io.primitives import PayloadError, read_exactly
from vouch.io.streams import open_input

__all__ = ["ObjectReader", "ObjectWriter", "read_object", "write_object"]

_REALS = {4: "<f", 8: "<d"}
_LONGEST_WORD = 1 << 12
_LINE = 1 << 24
_SPACES = b" \t\n\r\v\f"
_LARGEST = 1e50  # products of some such numbers can still be computed; those of a trained model are far smaller


@contextmanager
def read_object(rxfilename: str, what: str = "a Kaldi object", fix: str = "write it again") -> Iterator[ObjectReader]:
    """An `ObjectReader` on a file, `file:offset`, `-` or `command |`; binary or text is told apart by itself.

    what and fix go into the messages: "FILE is not WHAT: reason; FIX".
    """
    with open_input(rxfilename) as stream:
        yield ObjectReader(stream, rxfilename, what, fix)


class ObjectReader:
    """Reads what follows in an object file. Every method raises VouchError naming the file when it is something else.

    `binary` says which of the two forms the file has.
    """

    def __init__(self, stream: BinaryIO, name: str, what: str, fix: str) -> None:
        self._stream, self._name, self._what, self._fix = stream, name, what, fix
        self._ahead = b""  # bytes that were looked at and not yet used
        self.binary = self._begins_binary()

    def fail(self, reason: str, fix: str | None = None) -> NoReturn:
        """Raise the VouchError for a file that cannot be used."""
        raise VouchError(f"{self._name} is not {self._what}: {reason}; {fix or self._fix}")

    def check_numbers(self, **arrays: np.ndarray | float | None) -> None:
        """Fail where an array holds NaN, infinity or a number so large that only damage can have made it."""
        for name, array in arrays.items():
            values = np.atleast_1d(0.0 if array is None else array)
            if not values.size:
                continue
            least, largest = values.min(), values.max()  # both NaN where one is; no copy of a large array
            if not -_LARGEST <= least <= largest <= _LARGEST:
                worst = largest if largest > _LARGEST else least
                self.fail(f"its {name.replace('_', ' ')} hold the number {worst:g}")

    def token(self) -> str:
        """The next word; the one space behind it is used up too."""
        return _printable(self._word()[1])

    def peek(self) -> str:
        """The next word, which stays to be read; empty at the end of the file."""
        if self.at_end():
            return ""
        raw, word = self._word()
        self._ahead = raw + self._ahead
        return _printable(word)

    def expect(self, *tokens: str) -> str:
        """Read a word that must be one of these; returns which."""
        found = self.token()
        if found not in tokens:
            self.fail(f"found '{found}' where {' or '.join(tokens)} should be")
        return found

    def at_end(self) -> bool:
        """Is there nothing more but white space?"""
        while True:
            byte = self._some(1)
            if byte not in _SPACES or not byte:
                self._ahead = byte + self._ahead
                return not byte

    def integer(self) -> int:
        """A whole number of any of Kaldi's sizes."""
        if self.binary:
            return self._number(INTEGERS, "a whole number")
        word = self.token()
        try:
            return int(word)
        except ValueError:
            self.fail(f"found '{word}' where a whole number should be")

    def real(self) -> float:
        """A number of single or double precision."""
        if self.binary:
            return self._number(_REALS, "a number")
        word = self.token()
        try:
            return float(word)
        except ValueError:
            self.fail(f"found '{word}' where a number should be")

    def boolean(self) -> bool:
        """T or F."""
        word = _printable(self._bytes(1)) if self.binary else self.token()
        if word not in ("T", "F"):
            self.fail(f"found '{word}' where T or F should be")
        return word == "T"

    def vector(self) -> np.ndarray:
        """A vector (n,) of single or double precision, as float64."""
        if self.binary:
            dtype = self._type("V", "a vector")
            return self._values(dtype, self._size())
        rows = self._text_rows()
        if len(rows) > 1:
            self.fail("found a matrix (several lines in [ ]) where a vector should be")
        return np.array(rows[0] if rows else [], np.float64)

    def matrix(self) -> np.ndarray:
        """A matrix (rows, columns) of single or double precision, as float64."""
        if self.binary:
            dtype = self._type("M", "a matrix")
            rows, cols = self._size(), self._size()
            if (rows == 0) != (cols == 0):
                self.fail(f"found a matrix of {rows} rows and {cols} columns")
            return self._values(dtype, rows * cols).reshape(rows, cols)
        lines = self._text_rows()
        if len({len(line) for line in lines}) > 1:
            self.fail("the rows of a matrix differ in length")
        return np.array(lines, np.float64).reshape(len(lines), len(lines[0]) if lines else 0)

    def packed(self) -> np.ndarray:
        """A symmetric matrix (n, n), in the file its lower triangle by rows, as float64."""
        if self.binary:
            dtype = self._type("P", "a symmetric matrix")
            size = self._size()
            values = self._values(dtype, size * (size + 1) // 2)
        else:
            values = np.array([value for row in self._text_rows() for value in row], np.float64)
            size = (int(np.sqrt(8 * len(values) + 1)) - 1) // 2
            if size * (size + 1) // 2 != len(values):
                self.fail(f"{len(values)} numbers are not the lower triangle of a symmetric matrix")
        rows, cols = triangle(size)
        full = np.empty((size, size))
        full[rows, cols] = values
        full[cols, rows] = values
        return full

    def int_vector(self) -> np.ndarray:
        """A list of int32 (n,)."""
        if self.binary:
            (mark,) = self._bytes(1)
            (count,) = struct.unpack("<i", self._bytes(4))
            if mark != 4 or count < 0:
                self.fail("found something else where a list of whole numbers should be")
            return np.frombuffer(self._bytes(4 * count), "<i4").astype(np.int32)
        values = [value for row in self._text_rows(int) for value in row]
        if values and not -(2**31) <= min(values) <= max(values) < 2**31:
            self.fail("a whole number does not fit into 32 bits")
        return np.array(values, np.int32)

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _begins_binary(self) -> bool:
        first = self._some(1)
        if first != b"\0":
            self._ahead = first
            return False
        if self._some(1) != b"B":
            self.fail("it begins with a zero byte that does not begin a binary file")
        return True

    def _some(self, size: int) -> bytes:
        """`size` bytes, fewer at the end of the file."""
        if not self._ahead:
            return self._guarded(self._stream.read, size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data if len(data) == size else data + self._some(size - len(data))

    def _bytes(self, size: int) -> bytes:
        head, self._ahead = self._ahead[:size], self._ahead[size:]
        rest = self._guarded(lambda left: read_exactly(self._stream, left), size - len(head))
        return head + rest if head else rest

    def _line(self) -> bytes:
        line, self._ahead = self._ahead, b""
        return line if line.endswith(b"\n") else line + self._guarded(self._stream.readline, _LINE)

    def _guarded(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except OSError as error:
            self.fail(error.strerror or str(error), "check the disk")
        except (PayloadError, MemoryError) as error:
            self.fail(str(error) or "there is not enough memory for it")

    def _word(self) -> tuple[bytes, bytes]:
        """(the bytes used up, the word without the white space around it)."""
        raw = word = b""
        while True:
            byte = self._some(1)
            raw += byte
            if byte and byte not in _SPACES:
                word += byte
            elif word:
                return raw, word
            elif not byte:
                self.fail("it ends early (the file was cut off?)")
            if len(raw) > _LONGEST_WORD:
                self.fail(f"found '{_printable(word[:20])}…' where a word should be")

    def _number(self, kinds: dict[int, str], what: str) -> int | float:
        (mark,) = struct.unpack("<b", self._bytes(1))
        if mark not in kinds:
            self.fail(f"found something else where {what} should be")
        return struct.unpack(kinds[mark], self._bytes(abs(mark)))[0]

    def _type(self, letter: str, what: str) -> np.dtype:
        found = self.token()
        if found not in (f"F{letter}", f"D{letter}"):
            self.fail(f"found '{found}' where {what} should be")
        return np.dtype("<f4" if found[0] == "F" else "<f8")

    def _size(self) -> int:
        mark, size = struct.unpack("<bi", self._bytes(5))
        if mark != 4 or size < 0:
            self.fail("the header of a vector or matrix holds no sensible size")
        return size

    def _values(self, dtype: np.dtype, count: int) -> np.ndarray:
        data = np.frombuffer(self._bytes(count * dtype.itemsize), dtype)
        with np.errstate(invalid="ignore"):  # a signalling NaN
            return data.astype(np.float64)

    def _text_rows(self, convert: type = float) -> list[list]:
        """The numbers between [ and ], one list a line; empty lines drop out."""
        if self.at_end() or self._some(1) != b"[":
            self.fail("found no [ where a vector or matrix should begin")
        rows = []
        while True:
            line = self._line()
            if not line:
                self.fail("it ends before a closing ]")
            body, bracket, rest = line.partition(b"]")
            try:
                rows += [[convert(word) for word in piece.split()] for piece in body.split(b";") if piece.strip()]
            except (ValueError, OverflowError):
                self.fail(f"'{_printable(body.strip()[:40])}' is not a row of numbers")
            if bracket:
                self._ahead = rest
                return rows


def _printable(word: bytes) -> str:
    text = word.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode()
