"""Reading Kaldi's tables in their order, one value in memory at a time; see `vouch.io.tables`, which offers this.

Source of the forms and rules: Kaldi's util/kaldi-table and util/kaldi-holder.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, BinaryIO

import numpy as np

from vouch.errors import VouchError
from vouch.io.payloads import KINDS, PayloadError, read_payload
from vouch.io.specifiers import Range, ReadSpecifier, parse_range, parse_rspecifier
from vouch.io.streams import OpenFiles, is_pipe, open_input

_LONGEST_KEY = 1 << 16
_FLOAT_VECTOR = re.compile(rb"([!-~]+) \x00BFV \x04(....)", re.DOTALL)  # a plain key, the type, the number of values


def read_table(rspecifier: str, kind: str = "matrix") -> Iterator[tuple[str, Any]]:
    """Every (key, value) of a table in its order.

    kind: "matrix" (frames, dims) and "vector" (dims,) are float32 arrays, or float64 where stored so; "int32" an int;
    "float" a float; "tokens" a list of str; "int32-vector" an int32 array (n,); "gselect" and "posterior" a `Selection`
    and a `Posterior` (vouch.io.ragged). Binary, text and compressed values are told apart by themselves.
    Raises VouchError naming file, key and reason; with the option `p`, entries that cannot be read are passed over.
    """
    check_kind(kind)
    specifier = parse_rspecifier(rspecifier)
    pairs = _read_scp(specifier, kind) if specifier.is_scp else _read_ark(specifier, kind)
    return _in_background(pairs) if specifier.background else pairs


def read_script(rxfilename: str) -> Iterator[tuple[str, str]]:
    """The (key, rxfilename) lines of a script file; raises VouchError on a line without both."""
    with open_input(rxfilename) as stream:
        for number, line in enumerate(stream, 1):
            parts = decode_text(line, rxfilename, number).split(None, 1)
            if len(parts) != 2:
                raise VouchError(f"{rxfilename}:{number}: want 'KEY FILE', found '{' '.join(parts)}'; mend the line")
            yield parts[0], parts[1].rstrip()


def check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is not one of {KINDS}")


def decode_text(line: bytes, name: str, number: int) -> str:
    """Line `number` of the file `name` as text; raises VouchError when it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise VouchError(
            f"{name}:{number}: not UTF-8 text; is it an archive? then write ark: in front of its name"
        ) from None


def _read_scp(specifier: ReadSpecifier, kind: str) -> Iterator[tuple[str, Any]]:
    with closing(OpenFiles()) as files:
        for key, name in read_script(specifier.rxfilename):
            try:
                value = load_value(name, kind, files, f"key '{key}' of {specifier.rxfilename}")
            except VouchError:
                if specifier.permissive:
                    continue
                raise
            yield key, value


def load_value(name: str, kind: str, files: OpenFiles, who: str) -> Any:
    """The value at `name` (`file`, `file:offset`, `command |`, each with an optional range)."""
    file, part = parse_range(name)
    if is_pipe(file) or file == "-":
        with open_input(file) as stream:
            return load_payload(stream, kind, f"{file}: {who}", part)
    try:
        stream = files.at(file)
    except VouchError as error:
        raise VouchError(f"{who}: {error}") from None
    return load_payload(stream, kind, f"{file}: {who}", part)


def load_payload(stream: BinaryIO, kind: str, where: str, part: Range | None = None) -> Any:
    try:
        return read_payload(stream, kind, part)
    except PayloadError as error:
        raise VouchError(f"{where}: cannot read a {kind}: {error}; give another file, or write it again") from None
    except OSError as error:
        raise VouchError(f"{where}: cannot read a {kind}: {error.strerror or error}; check the disk") from None


def _read_ark(specifier: ReadSpecifier, kind: str) -> Iterator[tuple[str, Any]]:
    ahead = buffered_vectors if kind == "vector" else None
    return read_archive(specifier, lambda stream, where: load_payload(stream, kind, where), ahead)


def read_archive(
    specifier: ReadSpecifier,
    read_value: Callable[[BinaryIO, str], Any],
    read_ahead: Callable[[BinaryIO], list[tuple[str, Any]]] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Every (key, value) of an archive; read_value(stream, "FILE: key 'KEY'") reads one value, or raises VouchError.

    read_ahead(stream) may read some entries at once, whenever an entry begins; it reads none that is not plain.
    """
    name = specifier.rxfilename
    with open_input(name) as stream:
        last = ""
        while True:
            if read_ahead is not None:
                for key, value in read_ahead(stream):
                    yield key, value
                    last = key
            try:
                key = _read_key(stream, name, last)
                if key is None:
                    return
                value = read_value(stream, f"{name}: key '{key}'")
            except VouchError:
                if specifier.permissive:
                    return  # as Kaldi: after a bad value nothing says where the next one begins
                raise
            yield key, value
            last = key


def buffered_vectors(stream: BinaryIO) -> list[tuple[str, np.ndarray]]:
    """The binary float vectors with their keys that lie whole in the stream's buffer, read.

    Ends before anything else (a text, a vector that the buffer has only a part of, damage), which is left to be read
    one by one, and told of there.
    """
    ahead, begin = stream.peek(1), 0
    found: list[tuple[str, np.ndarray]] = []
    while head := _FLOAT_VECTOR.match(ahead, begin):
        size = int.from_bytes(head[2], "little")
        if head.end() + 4 * size > len(ahead):
            break
        found.append((head[1].decode(), np.frombuffer(ahead, "<f4", size, head.end()).astype(np.float32)))
        begin = head.end() + 4 * size
    stream.read(begin)
    return found


def _read_key(stream: BinaryIO, name: str, last: str) -> str | None:
    """The next key, with the stream left after its space; None at the end of the archive."""
    after = f"after key '{last}'" if last else "at its begin"
    data = b""
    while True:
        ahead = stream.peek(1)
        if not ahead:
            if data.strip():
                raise VouchError(f"{name}: the archive ends within a key {after}; it was cut off: write it again")
            return None
        if not data:
            blank = len(ahead) - len(ahead.lstrip(b" \t\n\r"))
            if blank:
                stream.read(blank)
                continue
        ends = [place for place in (ahead.find(b" "), ahead.find(b"\n"), ahead.find(b"\t")) if place >= 0]
        if ends:
            data += stream.read(min(ends))
            if ahead[min(ends) : min(ends) + 1] != b"\n":
                stream.read(1)
            break
        data += stream.read(len(ahead))
        if len(data) > _LONGEST_KEY:
            break
    if len(data) > _LONGEST_KEY or b"\0" in data:
        raise VouchError(f"{name}: found no key {after}; it is not an archive, or it is damaged: write it again")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise VouchError(f"{name}: found no key {after}; it is not an archive, or it is damaged") from None


def _in_background(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The same pairs, the next one being read by a thread while the caller works on this one (option `bg`)."""
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(1)
    stopped = threading.Event()

    def put(item: tuple[bool, Any]) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            with closing(pairs):
                for pair in pairs:
                    put((True, pair))
                    if stopped.is_set():
                        return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            more, item = ready.get()
            if not more:
                if item is not None:
                    raise item
                return
            yield item
    finally:
        stopped.set()
        thread.join()
