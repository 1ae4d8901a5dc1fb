"""Mixer 6: telephone calls, and interviews by many microphones.

Tables, columns, microphones and names of utterances: Kaldi's make_mx6.sh, make_mx6_mic.pl and make_mx6_calls.pl.
"""

from __future__ import annotations

import hashlib

from corpora.recordings import Collection, Recording
from corpora.tree import Tree, stem_of
from vouch.corpora.report import Report
from vouch.corpora.tables import Row, first_rows, read_table

CALLS = "docs/mx6_calls.csv"
LAPEL = "02"  # of the person interviewed: all of it is taken
OTHERS = tuple(f"{number:02d}" for number in range(4, 14))  # 01 is the interviewer's, 03 and 14 are often silent
CHOSEN = 2000  # utterances of the other microphones, which hear the same speech


def read_mixer6(tree: Tree, seed: int, collection: Collection, report: Report) -> None:
    """Both sides of the calls, the interviews by microphone 02, and CHOSEN of those by 04 to 13 (by the seed)."""
    subjects = tree.need("docs/mx6_subjs.csv")

    def differ(subject: str, first: Row, row: Row) -> None:
        message = (
            f"{row.where}: subject {subject} is {row[1]} here, and {first[1]} at {first.where}; the first is taken"
        )
        report.warn(tree.corpus, "speakers with two genders", message)

    rows = read_table(subjects, ",", 2, tree.corpus, report)
    genders = first_rows(rows, lambda row: row[0], lambda row: row[1].lower(), differ)

    def add(recording: Recording) -> None:
        row = genders.get(recording.speaker)
        if row is None:
            message = f"{recording.where}: subject {recording.speaker} is not in {subjects}; it is skipped"
            report.warn(tree.corpus, "subjects without a gender", message)
            return
        gender = collection.gender(row[1], tree.corpus, row.where, recording.speaker)
        if gender:
            collection.add(recording._replace(gender=gender), row.where)

    for recording in _calls(tree, collection, report):
        add(recording)
    lapel, others = _interviews(tree, collection, report)
    for recording in lapel + choose(others, CHOSEN, seed):
        add(recording)


def choose(recordings: list[Recording], count: int, seed: int) -> list[Recording]:
    """`count` of them at random: the order of a digest of seed and name, so that few change when some come or go."""

    def rank(recording: Recording) -> bytes:
        return hashlib.blake2b(f"{seed} {recording.utterance}".encode()).digest()

    return sorted(recordings, key=rank)[:count]


def _calls(tree: Tree, collection: Collection, report: Report) -> list[Recording]:
    """Rows with the call in column 0 and the subjects in columns 4 and 12; a file's name is DATE_TIME_CALL."""
    table = tree.need(CALLS)
    files: dict[str, list[str]] = {}
    for stem in tree.stems(tree.base(table, CALLS) + "data/ulaw_sphere/"):
        parts = stem.split("_")
        if len(parts) > 2:
            files.setdefault(_plain(parts[2]), []).append(stem)
    recordings, where_of = [], {}
    for row in read_table(table, ",", 13, tree.corpus, report):
        call = row[0]
        if call in where_of:
            message = f"{row.where}: call {call} stands already at {where_of[call]}; this row is skipped"
            report.warn(tree.corpus, "calls named twice", message)
            continue
        where_of[call] = row.where
        stems = files.get(_plain(call), [f"DATE_TIME_{call}"])
        if len(stems) > 1:
            message = f"call {call} has the files {stems[0]} and {stems[1]}; the first is taken"
            report.warn(tree.corpus, "recordings with several files", message)
        found = collection.find_audio([tree], stems[0], row.where)
        if found is None:
            continue
        if row[4] == row[12]:
            message = f"{row.where}: subject {row[4]} is on both sides of call {call}; the call is skipped"
            report.warn(tree.corpus, "calls of one person", message)
            continue
        for subject, channel, letter in ((row[4], 1, "A"), (row[12], 2, "B")):
            name = f"{subject}_MX6_{call}_{letter}"
            recordings.append(Recording(name, subject, "", found[1], channel, tree.corpus, row.where, True))
    return recordings


def _plain(call: str) -> str:
    return call.lstrip("0") or "0"


def _interviews(tree: Tree, collection: Collection, report: Report) -> tuple[list[Recording], list[Recording]]:
    """The interview components (seconds in columns 7 and 8) of the sessions by microphone 02 and by the others."""
    lapel: list[Recording] = []
    others: list[Recording] = []
    where_of: dict[str, str] = {}
    for row in read_table(tree.need("docs/mx6_ivcomponents.csv"), ",", 9, tree.corpus, report):
        session = stem_of(row[0])
        parts, times = session.split("_"), _times(row)
        problem = ""
        if session in where_of:
            problem = f"session {session} stands already at {where_of[session]}"
        elif len(parts) < 4:
            problem = f"'{session}' is not DATE_TIME_X_SPEAKER"
        elif times is None:
            problem = f"{row[7]} to {row[8]} s is no stretch of time"
        if problem:
            report.warn(tree.corpus, "interviews that cannot be used", f"{row.where}: {problem}; this row is skipped")
            continue
        where_of[session] = row.where
        for microphone in (LAPEL, *OTHERS):
            found = collection.find_audio([tree], f"{session}_CH{microphone}", row.where)
            if found:
                name = f"{parts[3]}_MX6_{parts[0]}_{parts[1]}_{microphone}"
                recording = Recording(name, parts[3], "", found[1], 1, tree.corpus, row.where, False, *times)
                (lapel if microphone == LAPEL else others).append(recording)
    return lapel, others


def _times(row: Row) -> tuple[float, float] | None:
    try:
        start, end = float(row[7]), float(row[8])
    except ValueError:
        return None
    return (start, end) if 0 <= start < end < float("inf") else None
