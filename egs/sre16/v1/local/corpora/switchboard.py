"""Switchboard-2 phases 1 to 3 and Cellular 1 and 2: one reader, a line of columns for each release.

Columns, calls that are left out and names of utterances: Kaldi's make_swbd2_phase*.pl and make_swbd_cellular*.pl.
"""

from __future__ import annotations

from typing import NamedTuple

from corpora.recordings import Collection, Recording
from corpora.tree import Tree, stem_of
from vouch.corpora.report import Report
from vouch.corpora.tables import Row, read_table
from vouch.errors import VouchError


class Layout(NamedTuple):
    """A table of calls: its path, the columns of both pins and genders, and the calls that are left out."""

    table: str
    pins: tuple[int, int]
    genders: tuple[int, int]
    bad: frozenset[int]
    stem: str  # of the audio file, with column 0 as {}; empty: from CALLINFO
    between: str = "_"  # what stands between speaker and call in the name of an utterance


_PHASE_BAD, _STEM = frozenset({3, 4}), "sw_{}"
CALLINFO = "docs/callinfo.tbl"  # a line for each side of a call, in the order of the calls; file, date, pin, side, ...
LAYOUTS = {
    "LDC98S75": Layout("docs/callstat.tbl", (2, 3), (5, 6), _PHASE_BAD, "{}"),
    "LDC99S79": Layout("docs/callstat.tbl", (2, 3), (4, 5), _PHASE_BAD, ""),
    "LDC2002S06": Layout("docs/callstat.tbl", (3, 4), (5, 6), _PHASE_BAD, _STEM),
    "LDC2001S13": Layout("docs/swb_callstats.tbl", (1, 2), (3, 4), frozenset({40019, 45024, 40022}), _STEM, "-swbdc_"),
    "LDC2004S07": Layout("docs/swb_callstats.tbl", (1, 2), (3, 4), frozenset({45024, 40022}), _STEM, "-swbdc_"),
}


def read_switchboard(tree: Tree, collection: Collection, report: Report) -> None:
    """Both sides of every call of the table whose audio is there; a call that stands twice is taken once."""
    layout = LAYOUTS[tree.corpus]
    least = max(layout.genders) + 1
    first_of: dict[str, Row] = {}
    for stem, row in _calls(tree, layout, least, report):
        if _number(stem) in layout.bad:
            continue
        pins = [row[column] for column in layout.pins]
        if stem in first_of:
            first = first_of[stem]
            other = "" if pins == [first[column] for column in layout.pins] else " with other pins"
            message = f"{row.where}: call {stem} stands already at {first.where}{other}; this row is skipped"
            report.warn(tree.corpus, "calls named twice", message)
            continue
        first_of[stem] = row
        if pins[0] == pins[1]:
            message = f"{row.where}: pin {pins[0]} is on both sides of call {stem}; the call is skipped"
            report.warn(tree.corpus, "calls of one person", message)
            continue
        found = collection.find_audio([tree], stem, row.where)
        if found is None:
            continue
        for side in (0, 1):
            pin = pins[side]
            if not pin.strip("0") or not any(character.isdigit() for character in pin):
                message = f"{row.where}: side {side + 1} of call {stem} has the pin {pin!r}, no person's; it is skipped"
                report.warn(tree.corpus, "sides without a speaker", message)
                continue
            gender = collection.gender(row[layout.genders[side]], tree.corpus, row.where, f"pin {pin}")
            if gender:
                speaker = f"sw_{pin}"
                name = f"{speaker}{layout.between}{stem}_{side + 1}"
                recording = Recording(name, speaker, gender, found[1], side + 1, tree.corpus, row.where, True)
                collection.add(recording)


def _calls(tree: Tree, layout: Layout, least: int, report: Report) -> list[tuple[str, Row]]:
    """(stem of the audio, row) of each call."""
    table = tree.need(layout.table)
    if layout.stem:
        rows = read_table(table, ",", least, tree.corpus, report)
        return [(layout.stem.format(stem_of(row[0])), row) for row in rows]
    rows = list(read_table(table, ",", 1, tree.corpus, report))
    info = tree.need(CALLINFO)
    sides = list(read_table(info, ",", 1, tree.corpus, report))
    if len(sides) != 2 * len(rows):
        raise VouchError(
            f"{info} has {len(sides)} lines, and {table} {len(rows)}: want two lines for each call, in the same order, "
            "or audio and speakers do not belong together; complete them"
        )
    calls = []
    for row, a, b in zip(rows, sides[::2], sides[1::2], strict=True):
        problem = _problem(row, a, b, layout, least)
        if problem:
            report.warn(tree.corpus, "rows with too few columns, or of two calls", f"{row.where}: {problem}")
        else:
            calls.append((stem_of(b[0]), row))
    return calls


def _problem(row: Row, a: Row, b: Row, layout: Layout, least: int) -> str:
    """Why a row of calls and its two lines of callinfo cannot be used, or nothing."""
    if len(row.fields) < least:
        return f"{len(row.fields)} columns, want at least {least}; the call is skipped"
    if stem_of(a[0]) != stem_of(b[0]):
        return f"its sides have two files, {a[0]} ({a.where}) and {b[0]} ({b.where}); the call is skipped"
    told = {side[2] for side in (a, b) if len(side.fields) > 3 and side[2].isdigit() and side[3].upper() in ("A", "B")}
    pins = {row[column] for column in layout.pins}
    if not told <= pins:
        return f"its pins are {' '.join(sorted(pins))}, at {a.where} {' '.join(sorted(told))}; the call is skipped"
    return ""


def _number(stem: str) -> int:
    """The number that the name of a call ends in."""
    digits = stem[len(stem.rstrip("0123456789")) :]
    return int(digits) if digits else -1
