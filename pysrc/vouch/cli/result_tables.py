"""The text tables of make-results, and the published numbers that stand beside the measured ones."""

from __future__ import annotations

from collections.abc import Sequence

from vouch.cli.result_rows import is_name, read_cells
from vouch.errors import VouchError

_PERCENT = ("EER", "EER_low", "EER_high", "eqEER")
_COSTS = ("minDCF01", "minDCF001", "minCprimary", "actCprimary", "actCprimary_uneq", "Cllr", "minCllr")
_DECIMALS = {**dict.fromkeys(_PERCENT, 2), **dict.fromkeys(_COSTS, 3)}
_TEXTS = ("system", "backend", "trials", "measure", "source")


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned by spaces; rates with two decimals, costs with three."""
    return _aligned(header, [[_rounded(cell, name) for name, cell in zip(header, row, strict=True)] for row in rows])


def block_table(rows: Sequence[dict[str, str]], header: Sequence[str], whole: str) -> str:
    """The rows of the list `whole` and of its parts `whole`_X side by side: for every system and backend a block of
    lines, one a measure of the header. Raises VouchError when no row is of the list."""
    if all(row["trials"] != whole for row in rows):
        raise VouchError(f"--blocks={whole}: no row is of this trial list; it has {_lists(rows)}")
    names = {row["trials"] for row in rows}
    lists = [whole, *sorted(name for name in names if name.startswith(f"{whole}_"))]
    measures = [name for name in header if name not in _TEXTS]
    by_system: dict[tuple[str, str, str], dict[str, dict[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (row["system"], row["backend"])):
        if row["trials"] in lists:
            key = row["system"], row["backend"], row.get("source", "-")
            by_system.setdefault(key, {})[row["trials"]] = row
    sourced = ["source"] if "source" in header else []
    table: list[list[str]] = []
    for (system, backend, source), of_list in by_system.items():
        for measure in measures:
            cells = [of_list.get(name, {}).get(measure, "-") for name in lists]
            if any(cell != "-" for cell in cells):
                rounded = [_rounded(cell, measure) for cell in cells]
                table.append([system, backend, measure, *rounded, *([source] if sourced else [])])
    parts = [name.removeprefix(f"{whole}_") for name in lists[1:]]
    return _aligned(["system", "backend", "measure", "pooled", *parts, *sourced], table, blocks=2)


def read_reference(path: str) -> list[dict[str, str]]:
    """The rows of a tab-separated file of published numbers, `-` where there is none.

    Raises VouchError when a column is lacking or comes twice, or naming the line whose cells do not fit.
    """
    header, *lines = read_cells(path)
    lacking = [name for name in ("system", "backend", "trials", "source") if name not in header]
    if lacking or len(set(header)) < len(header) or not lines:
        raise VouchError(
            f"{path}: want tab-separated rows under a header with system, backend, trials and source, each column once"
        )
    rows = []
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            raise VouchError(f"{path}:{number}: {len(cells)} cells, want {len(header)}; cells are separated by tabs")
        row = dict(zip(header, cells, strict=True))
        for name, cell in row.items():
            if name in _TEXTS[:3] and not is_name(cell):
                raise VouchError(f"{path}:{number}: the {name} is '{cell}': a name has letters, digits and . _ + : = -")
            if name not in _TEXTS and not _is_number(cell):
                raise VouchError(f"{path}:{number}: {name} is '{cell}': want a number, or - where there is none")
        if row["source"].strip() in ("", "-"):
            raise VouchError(f"{path}:{number}: the source is empty: say where the numbers are from")
        rows.append(row)
    return rows


def _is_number(cell: str) -> bool:
    if cell == "-":
        return True
    try:
        return float(cell) >= 0
    except ValueError:
        return False


def _lists(rows: Sequence[dict[str, str]]) -> str:
    return ", ".join(sorted({row["trials"] for row in rows}))


def _rounded(cell: str, name: str) -> str:
    return f"{float(cell):.{_DECIMALS[name]}f}" if name in _DECIMALS and cell != "-" else cell


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]], blocks: int = 0) -> str:
    """Texts to the left, numbers to the right; an empty line where one of the first `blocks` cells changes."""
    lines = [[f"# {header[0]}", *header[1:]], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    out = []
    for before, line in zip([lines[0], *lines], lines, strict=False):
        if blocks and before is not lines[0] and before[:blocks] != line[:blocks]:
            out.append("\n")
        cells = [
            cell.ljust(width) if name in _TEXTS else cell.rjust(width)
            for cell, width, name in zip(line, widths, header, strict=True)
        ]
        out.append(" ".join(cells).rstrip() + "\n")
    return "".join(out)
