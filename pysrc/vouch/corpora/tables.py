"""One tolerant reader for the tables of all corpora."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vouch.corpora.report import Report
from vouch.errors import VouchError


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of a line, the file and number of it, and the column of each name in the header."""

    fields: list[str]
    path: Path
    number: int
    columns: Mapping[str, int]

    @property
    def where(self) -> str:
        return f"{self.path}:{self.number}"

    def __getitem__(self, column: int) -> str:
        return self.fields[column]

    def named(self, name: str, column: int) -> str:
        """The field under this name of the header, or else that of `column`; empty where the row ends before it."""
        column = self.columns.get(name, column)
        return self.fields[column] if column < len(self.fields) else ""


def read_table(path: Path, separator: str | None, least: int, corpus: str, report: Report) -> Iterator[Row]:
    """The rows of a table, in their order; separator None is white space.

    Passed over: a byte order mark, carriage returns, spaces around fields, quotation marks, empty lines, comments (#
    and ;) and a header: a first line whose first field has no digit, which ids always have. A line that is not UTF-8 is
    taken for Latin-1. A row of fewer than `least` columns is warned of and skipped, and so is a table without rows.
    Raises VouchError on a file that cannot be read, is compressed or is UTF-16.
    """
    columns: dict[str, int] = {}
    first, rows = True, 0
    for number, line in enumerate(_lines(path), 1):
        line = line.strip(" \r\x1a")  # the last ends files of old systems
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        fields = [field.strip(" \t\"'") for field in _split(line, separator)]
        if first and not any(character.isdigit() for character in fields[0]):
            columns, first = {name.lower(): column for column, name in enumerate(fields)}, False
            continue
        first = False
        row = Row(fields, path, number, columns)
        if len(fields) < least:
            what = f"{row.where}: {len(fields)} columns, want at least {least}: {line[:80]!r}; the row is skipped"
            report.warn(corpus, "rows with too few columns", what)
            continue
        rows += 1
        yield row
    if not rows:
        report.warn(corpus, "tables without rows", f"{path}: it has no rows that can be read")


def first_rows(
    rows: Iterable[Row],
    key: Callable[[Row], str],
    value: Callable[[Row], Hashable],
    differ: Callable[[str, Row, Row], None],
) -> dict[str, Row]:
    """The first row of every key; differ(key, first, row) is called where a later row has another value."""
    found: dict[str, Row] = {}
    for row in rows:
        first = found.setdefault(key(row), row)
        if value(first) != value(row):
            differ(key(row), first, row)
    return found


def _split(line: str, separator: str | None) -> list[str]:
    if not separator or separator not in line:
        return line.split()
    return (
        next(csv.reader([line], skipinitialspace=True)) if separator == "," and '"' in line else line.split(separator)
    )


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VouchError(f"cannot read the table {path}: {error.strerror}; check the corpus") from None
    if data[:2] == b"\x1f\x8b":
        raise VouchError(f"{path} is compressed; unpack it (tar xzf, gunzip) and name what comes out")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise VouchError(f"{path} is UTF-16; convert a copy of it with iconv -f UTF-16 -t UTF-8")
    return [_decoded(line) for line in re.split(rb"\r\n|\n|\r", data.removeprefix(b"\xef\xbb\xbf"))]


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
