"""Kaldi's names of tables (`scp,s,cs:feats.scp`, `ark,t:-`) and of ranges (`foo.ark:12[0:99]`), parsed.

Source of the rules: Kaldi's util/kaldi-table (ClassifyRspecifier, ClassifyWspecifier) and util/kaldi-io.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vouch.errors import VouchError

_READ_FLAGS = ("o", "s", "cs", "p", "bg", "b", "t")
_WRITE_FLAGS = ("b", "t", "f", "p")
_RANGE = re.compile(r"(?P<file>.*)\[(?P<rows>\d+:\d+|:)(?:,(?P<cols>\d+:\d+|:))?\]$")
# Kaldi lets a range end at most this many rows past the matrix, for edge effects of framing and rounding.
_ROWS_OVER = 3


class ReadSpecifier(NamedTuple):
    """A table to read: is it a script file, where it lies, and its options."""

    is_scp: bool
    rxfilename: str
    once: bool
    sorted: bool
    called_sorted: bool
    permissive: bool
    background: bool


class WriteSpecifier(NamedTuple):
    """A table to write: names of archive and script file ("" = none), and its options."""

    ark: str
    scp: str
    text: bool
    flush: bool


class Range(NamedTuple):
    """Rows and columns to keep of a matrix, ends INCLUDED as Kaldi has them; None = all."""

    rows: tuple[int, int] | None
    cols: tuple[int, int] | None

    def bounds(self, rows: int, cols: int) -> tuple[slice, slice]:
        """Slices for a matrix of this size; raises ValueError where the range does not fit into it."""
        return _slice(self.rows, rows, _ROWS_OVER, "rows"), _slice(self.cols, cols, 0, "columns")


def _slice(ends: tuple[int, int] | None, size: int, over: int, what: str) -> slice:
    if ends is None:
        return slice(0, size)
    first, last = ends
    if first > last or first >= size or last >= size + over:
        raise ValueError(f"range [{first}:{last}] does not fit into {size} {what}")
    return slice(first, min(last + 1, size))


def is_table(name: str) -> bool:
    """Is this the name of a table (`ark:…`, `scp,p:…`), else that of a file?"""
    head, colon, _ = name.partition(":")
    return bool(colon) and not {"ark", "scp"}.isdisjoint(head.split(","))


def _split(specifier: str, role: str) -> tuple[list[str], str]:
    head, colon, name = specifier.partition(":")
    words = head.split(",")
    if not colon or not {"ark", "scp"} & set(words):
        raise VouchError(f"'{specifier}' is not a table to {role}; write ark:{specifier} or scp:{specifier}")
    return words, name.strip()


def _flags(specifier: str, words: list[str], known: tuple[str, ...]) -> set[str]:
    flags: set[str] = set()
    for word in words:
        if word in known:
            flags.add(word)
        elif word[:1] == "n" and word[1:] in known:
            flags.discard(word[1:])
        else:
            raise VouchError(f"'{specifier}' has the unknown table option '{word}'; known: {', '.join(known)}")
    return flags


def parse_rspecifier(specifier: str) -> ReadSpecifier:
    """Parse `[options,](ark|scp)[,options]:NAME`; raises VouchError on anything else."""
    words, name = _split(specifier, "read")
    kinds = [word for word in words if word in ("ark", "scp")]
    if len(kinds) != 1:
        raise VouchError(f"'{specifier}' names both ark and scp; a table to read has one of them")
    flags = _flags(specifier, [word for word in words if word != kinds[0]], _READ_FLAGS)
    return ReadSpecifier(
        kinds[0] == "scp", name or "-", "o" in flags, "s" in flags, "cs" in flags, "p" in flags, "bg" in flags
    )


def parse_wspecifier(specifier: str) -> WriteSpecifier:
    """Parse `ark[,t]:NAME` or `ark,scp[,t]:ARK,SCP`; raises VouchError on anything else."""
    words, name = _split(specifier, "write")
    kinds = [word for word in words if word in ("ark", "scp")]
    flags = _flags(specifier, [word for word in words if word not in ("ark", "scp")], _WRITE_FLAGS)
    if kinds not in (["ark"], ["ark", "scp"]):
        raise VouchError(f"'{specifier}' cannot be written; use ark:FILE or ark,scp:ARK_FILE,SCP_FILE")
    ark, scp = name, ""
    if kinds == ["ark", "scp"]:
        ark, comma, scp = name.partition(",")
        if not (ark and comma and scp) or ark == "-" or ark.startswith("|"):
            raise VouchError(f"'{specifier}' needs two names, the first a file: ark,scp:ARK_FILE,SCP_FILE")
    return WriteSpecifier(ark or "-", scp, "t" in flags, "f" in flags)


def parse_range(rxfilename: str) -> tuple[str, Range | None]:
    """Split `foo.ark:12[0:99,2:5]` into (`foo.ark:12`, Range); without a range, (rxfilename, None)."""
    if not rxfilename.endswith("]"):
        return rxfilename, None
    match = _RANGE.match(rxfilename)
    if not match:
        raise VouchError(f"{rxfilename}: what stands in [ ] is not a range; write [FIRST:LAST] or [:,FIRST:LAST]")
    return match["file"], Range(_ends(match["rows"]), _ends(match["cols"]))


def _ends(text: str | None) -> tuple[int, int] | None:
    if text in (None, ":"):
        return None
    first, _, last = text.partition(":")
    return int(first), int(last)


def split_offset(rxfilename: str) -> tuple[str, int]:
    """Split `foo.ark:12` into (`foo.ark`, 12); without an offset, (rxfilename, 0)."""
    path, colon, offset = rxfilename.rpartition(":")
    if colon and offset.isascii() and offset.isdigit():
        return path, int(offset)
    return rxfilename, 0
