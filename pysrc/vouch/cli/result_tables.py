"""The text tables of make-results, and the published numbers that stand beside the measured ones."""

from __future__ import annotations

from collections.abc import Sequence

from vouch.cli.result_rows import is_name, read_cells
from vouch.errors import VouchError

_PERCENT = ("EER", "EER_low", "EER_high", "eqEER")
_COSTS = ("minCprimary", "actCprimary", "actCprimary_uneq", "Cllr", "minCllr")
_DECIMALS = {**dict.fromkeys(_PERCENT, 2), **dict.fromkeys(_COSTS, 3)}
MEASURES = tuple(_DECIMALS)  # in the order of their columns
_TEXTS = ("system", "backend", "trials", "source", "property", "embeddings", "held_out", "measure")
_SHOWN = ("EER", "eqEER", "minCprimary", "actCprimary")  # in a table of blocks


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned by spaces; rates with two decimals, costs with three."""
    return _aligned(header, [[_rounded(cell, name) for name, cell in zip(header, row, strict=True)] for row in rows])


def block_table(rows: Sequence[dict[str, str]], whole: str) -> str:
    """The rows of the list `whole` and of its parts `whole`_X side by side: a block a system, in it a line a backend,
    with a group of columns (pooled, X, ...) for each of _SHOWN that was measured; the EER with its interval. Raises
    VouchError when no row is of the list."""
    if all(row["trials"] != whole for row in rows):
        raise VouchError(f"--blocks={whole}: no row is of this trial list; it has {_lists(rows)}")
    lists = [whole, *sorted({row["trials"] for row in rows if row["trials"].startswith(f"{whole}_")})]
    titles = ["pooled", *(name.removeprefix(f"{whole}_") for name in lists[1:])]
    measures = [name for name in _SHOWN if any(row.get(name, "-") != "-" for row in rows)]
    by_key = {(row["system"], row["backend"], row["trials"]): row for row in rows if row["trials"] in lists}
    sources = {row["system"]: row.get("source", "-") for row in by_key.values()}
    systems = sorted({(system, backend) for system, backend, _ in by_key})
    columns = [["# EER, eqEER in %", "# backend", *(backend for _, backend in systems)]]
    for measure in measures:
        for i, (name, title) in enumerate(zip(lists, titles, strict=True)):
            own = [_shown(by_key.get((*key, name), {}), measure) for key in systems]
            columns.append(["" if i else measure, title, *own])
    widths = [max(len(cell) for cell in column) for column in columns]
    head, names, *lines = [
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True)))
        for line in zip(*columns, strict=True)
    ]
    out, before = [head, names], ""
    for (system, _), line in zip(systems, lines, strict=True):
        if system != before:
            marked = f" ({sources[system]})" if sources[system] != "-" else ""
            out += ["", f"# {system}{marked}"]
        out.append(line)
        before = system
    return "".join(f"{line.rstrip()}\n" for line in out)


def _shown(row: dict[str, str], measure: str) -> str:
    cell = _rounded(row.get(measure, "-"), measure)
    if measure != "EER" or row.get("EER_low", "-") == "-":
        return cell
    return f"{cell} ({float(row['EER_low']):.1f}-{float(row['EER_high']):.1f})"


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
    decimals = 3 if name.startswith("minDCF") else _DECIMALS.get(name)
    return f"{float(cell):.{decimals}f}" if decimals is not None and cell != "-" else cell


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Texts to the left, numbers to the right."""
    lines = [[f"# {header[0]}", *header[1:]], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    out = []
    for line in lines:
        cells = [
            cell.ljust(width) if name in _TEXTS else cell.rjust(width)
            for cell, width, name in zip(line, widths, header, strict=True)
        ]
        out.append(" ".join(cells).rstrip() + "\n")
    return "".join(out)
