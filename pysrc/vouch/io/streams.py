"""Opening what Kaldi calls rxfilenames and wxfilenames: files, `file:offset`, `-`, and command pipes."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from vouch.errors import VouchError
from vouch.io.specifiers import split_offset

_BUFFER = 1 << 15  # bytes read at once of what is read in its order

# Exit codes of a command whose reader had enough: SIGPIPE as seen by bash and by Popen.
_READER_LEFT = (141, -13)


def is_pipe(name: str) -> bool:
    """Is this rxfilename or wxfilename a command?"""
    return name.endswith("|") or name.startswith("|")


def open_file(path: str, buffer: int = -1) -> BinaryIO:
    """Open a file for reading with a buffer of this size; VouchError names it when it cannot be opened."""
    try:
        return open(path, "rb", buffer)
    except (OSError, ValueError) as error:
        raise VouchError(f"cannot read {path}: {_reason(error)}; check the name") from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@contextmanager
def open_input(rxfilename: str) -> Iterator[BinaryIO]:
    """A buffered binary stream (with peek) on a file, `file:offset`, `-` (standard input) or `command |`.

    The command is run by bash with pipefail. Raises VouchError when the file cannot be opened, and, on leaving the
    block, when the command's exit code is not 0.
    """
    name = rxfilename.strip()
    if name in ("-", ""):
        if sys.stdin is None:
            raise VouchError("standard input is closed; give a file, or a command that writes to it")
        stdin = sys.stdin.buffer
        yield stdin if hasattr(stdin, "peek") else io.BufferedReader(stdin)
    elif name.partition(":")[0].split(",")[0] in ("ark", "scp"):
        raise VouchError(f"'{rxfilename}' is a table, where one file is wanted; are the arguments in their order?")
    elif name.startswith("|"):
        raise VouchError(f"'{rxfilename}' is a command to write to, not to read from; put the | at the end")
    elif name.endswith("|"):
        yield from _read_command(name[:-1].strip())
    else:
        path, offset = split_offset(name)
        with open_file(path, _BUFFER) as stream:
            if offset:
                seek(stream, offset, path)
            yield stream


def seek(stream: BinaryIO, offset: int, path: str) -> None:
    """Go to a byte offset; raises VouchError on a stream that has none (a named pipe) or an impossible offset."""
    try:
        stream.seek(offset)
    except (OSError, ValueError, OverflowError) as error:
        raise VouchError(f"cannot go to byte {offset} of {path}: {_reason(error)}; check the scp file") from None


def _bash(command: str) -> list[str]:
    if "\0" in command:
        raise VouchError(f"{command!r} holds a zero byte: it is no command; for an archive say ark:")
    return ["bash", "-o", "pipefail", "-c", command]


def _flush_stdout() -> None:
    """What was printed comes before what a command prints."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _read_command(command: str) -> Iterator[BinaryIO]:
    _flush_stdout()
    process = subprocess.Popen(_bash(command), _BUFFER, stdout=subprocess.PIPE)
    try:
        yield process.stdout
    except VouchError as error:  # most often the trace of the command's own failure: then say so
        process.stdout.close()
        code = _end(process, patience=2)
        if code > 0 and code not in _READER_LEFT:
            raise VouchError(f"{error} (the command ended with exit code {code}; its messages are above)") from None
        raise
    except BaseException:
        process.stdout.close()
        _end(process, patience=0)
        raise
    process.stdout.close()
    _check_exit(process.wait(), command)


def _end(process: subprocess.Popen[bytes], patience: float) -> int:
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.wait()


def _check_exit(code: int, command: str) -> None:
    if code and code not in _READER_LEFT:
        raise VouchError(f"command '{command}' ended with exit code {code}; its own messages say why")


class _OutputFile(io.FileIO):
    """A file whose write errors (a full disk) are VouchErrors that name the file the user asked for."""

    def __init__(self, path: str, wanted: str) -> None:
        super().__init__(path, "w")
        self.wanted = wanted

    def write(self, data: bytes) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise VouchError(
                f"cannot write {self.wanted}: {error.strerror}; free some space or write elsewhere"
            ) from None


@contextmanager
def open_output(wxfilename: str) -> Iterator[BinaryIO]:
    """A buffered binary stream to a file, `-` (standard output) or `| command`.

    A file is written as `<file>.tmp.<pid>` beside it and takes its name when the block ends well; when it ends with an
    exception the temporary is removed and an older file of that name stays. Devices and named pipes are written
    directly. Raises VouchError when the file cannot be written or the command's exit code is not 0.
    """
    name = wxfilename.strip()
    if name in ("-", ""):
        if sys.stdout is None:
            raise VouchError("standard output is closed; give a file, or a command that reads it")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif name.endswith("|"):
        raise VouchError(f"'{wxfilename}' is a command to read from, not to write to; put the | in front")
    elif name.startswith("|"):
        yield from _write_command(name[1:].strip())
    else:
        yield from _write_file(name)


def _write_command(command: str) -> Iterator[BinaryIO]:
    _flush_stdout()
    process = subprocess.Popen(_bash(command), stdin=subprocess.PIPE)
    try:
        yield process.stdin
        process.stdin.close()
    except BrokenPipeError:
        _check_exit(process.wait(), command)
        raise VouchError(f"command '{command}' ended before it had read everything; its messages say why") from None
    except BaseException:
        process.terminate()
        with suppress(OSError):
            process.stdin.close()
        process.wait()
        raise
    _check_exit(process.wait(), command)


def _write_file(name: str) -> Iterator[BinaryIO]:
    target = os.path.realpath(name)
    direct = os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode)
    temporary = target if direct else f"{target}.tmp.{os.getpid()}"
    try:
        stream = io.BufferedWriter(_OutputFile(temporary, name), 1 << 16)
    except (OSError, ValueError) as error:
        raise VouchError(f"cannot write {name}: {_reason(error)}; check that its folder is there") from None
    try:
        yield stream
        stream.close()
        if not direct:
            os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError, VouchError):
            stream.close()
        if not direct:
            with suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError) and error.filename == temporary:
            raise VouchError(f"cannot write {name}: {error.strerror}") from None
        raise


class OpenFiles:
    """The few files opened last, kept open, so that sorted access to an archive is not an open() per key."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._files: OrderedDict[str, BinaryIO] = OrderedDict()

    def at(self, rxfilename: str) -> BinaryIO:
        """The open file of `file[:offset]`, standing at the offset."""
        path, offset = split_offset(rxfilename)
        stream = self._files.pop(path, None) or open_file(path)
        self._files[path] = stream
        if len(self._files) > self._most:
            self._files.popitem(last=False)[1].close()
        seek(stream, offset, path)
        return stream

    def close(self) -> None:
        for stream in self._files.values():
            stream.close()
        self._files.clear()
