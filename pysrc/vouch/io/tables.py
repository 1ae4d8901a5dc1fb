"""Kaldi's tables (archives and script files) of matrices, vectors, integers, floats and token lists.

Sequential reading streams: one value is in memory at a time. Random access through a script file reads a value when it
is asked for; of an archive it keeps what it read, or with the options `s,cs` only the current value.
Source of the forms and rules: Kaldi's util/kaldi-table and util/kaldi-holder.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np

from vouch.errors import VouchError
from vouch.io.payloads import write_payload
from vouch.io.sequential import check_kind, decode_text, load_payload, load_value, read_script, read_table
from vouch.io.specifiers import parse_range, parse_rspecifier, parse_wspecifier
from vouch.io.streams import OpenFiles, is_pipe, open_input, open_output

__all__ = [
    "RandomAccessTable",
    "ScriptTable",
    "TableWriter",
    "is_rereadable",
    "open_input",
    "open_output",
    "open_table",
    "read_matrix",
    "read_script",
    "read_table",
    "read_token_lines",
    "read_vector",
    "write_matrix",
    "write_vector",
]


def is_rereadable(rspecifier: str) -> bool:
    """Can this table be read twice? A regular file can; a command, standard input or a named pipe cannot."""
    name = parse_rspecifier(rspecifier).rxfilename
    return not is_pipe(name) and os.path.isfile(name)


# --- random access ----------------------------------------------------------------------------------------------------


class RandomAccessTable(ABC):
    """Values by key: `key in table`, `table[key]`; close() or `with` frees the files.

    A missing key is a VouchError that names the table. Made by `open_table`.
    """

    def __init__(self, rspecifier: str, kind: str) -> None:
        self._name, self._kind = rspecifier, kind
        self._specifier = parse_rspecifier(rspecifier)

    def __enter__(self) -> RandomAccessTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def __contains__(self, key: str) -> bool: ...

    @abstractmethod
    def __getitem__(self, key: str) -> Any: ...

    @abstractmethod
    def close(self) -> None: ...

    def _missing(self, key: str) -> VouchError:
        return VouchError(f"{self._name} has no entry for '{key}'; make it, or take the key out of the other list")


class ScriptTable(RandomAccessTable):
    """A table behind a script file: `_names` has the rxfilename of every key."""

    _names: dict[str, str]

    def __contains__(self, key: str) -> bool:
        if key not in self._names or not self._specifier.permissive:
            return key in self._names
        try:
            self[key]
        except VouchError:
            return False
        return True


class _ScpTable(ScriptTable):
    def __init__(self, rspecifier: str, kind: str) -> None:
        super().__init__(rspecifier, kind)
        self._files = OpenFiles()
        self._names = {}
        for key, name in read_script(self._specifier.rxfilename):
            if key in self._names:
                raise VouchError(f"{self._specifier.rxfilename}: key '{key}' is there twice; remove one of the lines")
            self._names[key] = name

    def __getitem__(self, key: str) -> Any:
        if key not in self._names:
            raise self._missing(key)
        who = f"key '{key}' of {self._specifier.rxfilename}"
        return load_value(self._names[key], self._kind, self._files, who)

    def close(self) -> None:
        self._files.close()


class ArchiveTable(RandomAccessTable):
    """An archive, read as far as needed. `s`: stop at a larger key; `s,cs`: keep only the current value; `o`: forget
    a value once it was given."""

    def __init__(self, rspecifier: str, kind: str, pairs: Iterator[tuple[str, Any]] | None = None) -> None:
        super().__init__(rspecifier, kind)
        self._pairs = read_table(rspecifier, kind) if pairs is None else pairs
        self._loaded: dict[str, Any] = {}
        self._last = ""
        self._asked = b""
        self._streams = self._specifier.sorted and self._specifier.called_sorted

    def __contains__(self, key: str) -> bool:
        self._check_order(key)
        while key not in self._loaded:
            if self._specifier.sorted and _order(self._last) > _order(key):
                return False
            try:
                found, value = next(self._pairs)
            except StopIteration:
                return False
            self._keep(found, value)
        return True

    def _check_order(self, key: str) -> None:
        if self._specifier.called_sorted:
            if _order(key) < self._asked:
                raise VouchError(f"{self._name}: '{key}' is asked for after a larger key; leave out the option cs")
            self._asked = _order(key)

    def _keep(self, key: str, value: Any) -> None:
        if key in self._loaded:
            raise VouchError(f"{self._name}: key '{key}' is there twice; remove one of the entries")
        if self._specifier.sorted and self._last and _order(key) <= _order(self._last):
            raise VouchError(
                f"{self._name}: key '{key}' comes after '{self._last}'; sort it, or leave out the option s"
            )
        if self._streams:
            self._loaded.clear()
        self._loaded[key] = value
        self._last = key

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise self._missing(key)
        return self._loaded.pop(key) if self._specifier.once else self._loaded[key]

    def close(self) -> None:
        self._pairs.close()
        self._loaded.clear()


def _order(key: str) -> bytes:
    return key.encode("utf-8")  # C order


def open_table(rspecifier: str, kind: str = "matrix") -> RandomAccessTable:
    """Open a table for access by key; kinds as in `read_table`. Raises VouchError on a duplicate key."""
    check_kind(kind)
    return (_ScpTable if parse_rspecifier(rspecifier).is_scp else ArchiveTable)(rspecifier, kind)


# --- writing ----------------------------------------------------------------------------------------------------------


class TableWriter:
    """Write a table: `with TableWriter("ark,scp:a.ark,a.scp") as writer: writer.write(key, value)`.

    The files take their names when the block ends well; on an exception nothing is left and older files stay.
    compression_method: 0 = none, 1 to 7 = Kaldi's for matrices (3 = two bytes a value, row by row).
    Raises VouchError when a value is not of this kind, a key has white space, or the file cannot be written.
    """

    def __init__(self, wspecifier: str, kind: str = "matrix", compression_method: int = 0) -> None:
        check_kind(kind)
        if compression_method and (kind != "matrix" or compression_method not in range(1, 8)):
            raise VouchError(f"compression method {compression_method} of a {kind}: only a matrix has one, 1 to 7")
        self._name, self._kind, self._method = wspecifier, kind, compression_method
        self._specifier = parse_wspecifier(wspecifier)
        self._text = self._specifier.text or kind == "tokens"
        self._stack = ExitStack()
        self._ark: BinaryIO | None = None
        self._scp: BinaryIO | None = None
        self._offset = 0

    def __enter__(self) -> TableWriter:
        with self._stack:
            if self._specifier.scp:
                self._scp = self._stack.enter_context(open_output(self._specifier.scp))
            self._ark = self._stack.enter_context(open_output(self._specifier.ark))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def write(self, key: str, value: Any) -> None:
        """Append one entry."""
        if not key or key.split() != [key]:
            raise VouchError(f"{self._name}: the key '{key}' is empty or has white space in it; rename it")
        try:
            payload = self._encode(value)
        except (ValueError, TypeError) as error:
            raise VouchError(f"{self._name}: key '{key}': cannot write this {self._kind}: {error}") from None
        head = key.encode() + b" "
        self._ark.write(head)
        self._ark.write(payload)
        if self._scp is not None:
            self._scp.write(f"{key} {self._specifier.ark}:{self._offset + len(head)}\n".encode())
        self._offset += len(head) + len(payload)
        if self._specifier.flush:
            self._ark.flush()
            if self._scp is not None:
                self._scp.flush()

    def _encode(self, value: Any) -> bytes:
        return write_payload(value, self._kind, self._text, self._method)


# --- single values ----------------------------------------------------------------------------------------------------


def read_matrix(rxfilename: str) -> np.ndarray:
    """The matrix (rows, columns) in a file, `file:offset[range]`, `-` or `command |`."""
    return _read_single(rxfilename, "matrix")


def read_vector(rxfilename: str) -> np.ndarray:
    """The vector (dims,) in a file, `file:offset[range]`, `-` or `command |`."""
    return _read_single(rxfilename, "vector")


def _read_single(rxfilename: str, kind: str) -> Any:
    name, part = parse_range(rxfilename)
    with open_input(name) as stream:
        return load_payload(stream, kind, name, part)


def write_matrix(wxfilename: str, matrix: np.ndarray, binary: bool = True) -> None:
    """Write a matrix (rows, columns) to a file, `-` or `| command`."""
    _write_single(wxfilename, matrix, "matrix", binary)


def write_vector(wxfilename: str, vector: np.ndarray, binary: bool = True) -> None:
    """Write a vector (dims,) to a file, `-` or `| command`."""
    _write_single(wxfilename, vector, "vector", binary)


def _write_single(wxfilename: str, value: np.ndarray, kind: str, binary: bool) -> None:
    try:
        payload = write_payload(value, kind, not binary)
    except (ValueError, TypeError) as error:
        raise VouchError(f"{wxfilename}: cannot write this {kind}: {error}") from None
    with open_output(wxfilename) as stream:
        stream.write(payload)


def read_token_lines(rxfilename: str, fields: tuple[int, int | None] = (1, None)) -> Iterator[list[str]]:
    """The white-space separated fields of every line of a text file (trials, lists).

    fields: least and most number of fields (None = no limit). Raises VouchError naming file:line otherwise.
    """
    least, most = fields
    with open_input(rxfilename) as stream:
        for number, line in enumerate(stream, 1):
            words = decode_text(line, rxfilename, number).split()
            if len(words) < least or (most is not None and len(words) > most):
                wanted = str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"
                raise VouchError(f"{rxfilename}:{number}: {len(words)} fields, want {wanted}; mend the line")
            yield words
