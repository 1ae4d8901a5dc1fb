"""The smallest parts of Kaldi's binary and text values, shared by all that read them."""

from __future__ import annotations

import struct
from typing import BinaryIO

CHUNK = 1 << 24


class PayloadError(Exception):
    """The bytes are not a value of the kind that was asked for."""


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """`size` bytes, read in pieces, so that a corrupt size costs no memory; PayloadError when there are fewer."""
    parts, left = [], size
    while left:
        part = stream.read(min(left, CHUNK))
        if not part:
            raise PayloadError(f"the data end {left} bytes early (the file was cut off?)")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_binary(stream: BinaryIO) -> tuple[bool, bytes]:
    """(binary?, first byte of a text): Kaldi marks binary values with a zero byte and a B."""
    first = stream.read(1)
    if first != b"\0":
        return False, first
    if stream.read(1) != b"B":
        raise PayloadError("a zero byte that does not begin a binary value")
    return True, b""


def read_size(stream: BinaryIO) -> int:
    """A number of elements: a byte 4 and an int32; PayloadError when it is not."""
    mark, size = struct.unpack("<bi", read_exactly(stream, 5))
    if mark != 4:
        raise PayloadError("found other data where a size should be (a table of another kind?)")
    if size < 0:
        raise PayloadError(f"a size of {size}")
    return size


def int32_from_text(text: str | bytes) -> int:
    """A whole number of 32 bits; ValueError otherwise."""
    value = int(text)
    if not -(2**31) <= value < 2**31:
        raise ValueError
    return value


def printable(kind: str) -> str:
    """Without control characters, for a message."""
    return kind.encode("unicode_escape").decode()
