"""Trial lists read in blocks of many lines: a million lines a second, where one by one they would be the whole work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from vouch.errors import VouchError
from vouch.io.sequential import decode_text
from vouch.io.streams import open_input

_BLOCK = 4 << 20  # bytes


def read_trial_blocks(rxfilename: str) -> Iterator[tuple[list[str], list[str]]]:
    """(first keys, second keys) of the trials 'KEY1 KEY2', a line each, in blocks of some 4 MB of text.

    Raises VouchError naming file:line on a line that has not two fields or is not UTF-8.
    """
    line = 1
    with open_input(rxfilename) as stream:
        for block in _whole_lines(stream):
            words = block.decode().split() if _has_pairs(block) else _words_of_lines(block, rxfilename, line)
            line += block.count(b"\n")
            yield words[0::2], words[1::2]


def _whole_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of the stream, cut after line ends."""
    rest = b""
    while data := stream.read(_BLOCK):
        cut = data.rfind(b"\n") + 1
        if not cut:
            rest += data
            continue
        yield rest + data[:cut]
        rest = data[cut:]
    if rest:
        yield rest


def _has_pairs(block: bytes) -> bool:
    """Can it be seen at once that every line has two words? Only of plain ASCII, ended by a newline."""
    text = np.frombuffer(block, np.uint8)
    newlines = np.flatnonzero(text == ord("\n"))
    gaps = text <= ord(" ")
    blanks = sum(np.count_nonzero(text == ord(blank)) for blank in " \t\r") + len(newlines)
    if not block.isascii() or not block.endswith(b"\n") or np.count_nonzero(gaps) != blanks:
        return False
    starts = np.flatnonzero(gaps[:-1] & ~gaps[1:]) + 1
    if not gaps[0]:
        starts = np.concatenate([[0], starts])
    if len(starts) != 2 * len(newlines):
        return False
    return bool((starts[1::2] < newlines).all() and (starts[2::2] > newlines[:-1]).all())


def _words_of_lines(block: bytes, name: str, number: int) -> list[str]:
    """The words of the lines, of which the first is line `number` of the file; each must have two."""
    found: list[str] = []
    for row, line in enumerate(block.removesuffix(b"\n").split(b"\n")):
        words = decode_text(line, name, number + row).split()
        if len(words) != 2:
            raise VouchError(f"{name}:{number + row}: {len(words)} fields, want 2; mend the line")
        found += words
    return found
