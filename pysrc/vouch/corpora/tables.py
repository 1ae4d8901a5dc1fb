"""One tolerant reader for the tables of all corpora."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    and ;) and a header: a first line whose first field has no digit, which ids always have. Text that is not UTF-8 is
    taken for Latin-1. A row of fewer than `least` columns is warned of and skipped. Raises VouchError on a file that
    cannot be read or is compressed.
    """
    columns: dict[str, int] = {}
    first = True
    for number, line in enumerate(_text(path).split("\n"), 1):
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
            what = f"{row.where}: {len(fields)} columns, want at least {least}: '{line[:80]}'; the row is skipped"
            report.warn(corpus, "rows with too few columns", what)
            continue
        yield row


def _split(line: str, separator: str | None) -> list[str]:
    return line.split(separator) if separator and separator in line else line.split()


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VouchError(f"cannot read the table {path}: {error.strerror}; check the corpus") from None
    if data[:2] == b"\x1f\x8b":
        raise VouchError(f"{path} is compressed; unpack it (tar xzf, gunzip) and name what comes out")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
