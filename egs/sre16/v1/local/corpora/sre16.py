"""The evaluation of SRE16 and its unlabelled speech.

Tables and names of utterances: Kaldi's make_sre16_eval.pl and make_sre16_unlabeled.pl; call_sides.tsv and subjects.tsv
as public readers of LDC2019S20 use them. What a trial's partition needs (gender, language, number of enrollment
segments, same or another telephone) is told by NIST's equalised metric.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from corpora.recordings import Recording, gender_of, is_name
from corpora.tree import Tree, stem_of
from vouch.corpora.report import Report
from vouch.corpora.tables import Row, first_rows, read_table
from vouch.errors import VouchError

UNLABELLED = "data/unlabeled/"
LANGUAGES = {"eval": ("tgl", "yue"), "dev": ("ceb", "cmn")}  # of the test calls of each part of SRE16
NOT_TOLD = "-"
SIDE = "a"  # of a call, that all segments are cut from: column `side` of the tables of enrollment and trials
SIZES = (1, 3)  # segments that a model is enrolled with


def key_of(part: str) -> str:
    """Where the trials of a part, eval or dev, are."""
    return f"docs/sre16_{part}_trial_key.tsv"


class Trial(NamedTuple):
    """A trial and what its partition is made of; a line of trial_info.tsv."""

    model: str
    segment: str
    target: str  # target or nontarget
    gender: str  # m, f, or - where the release has no table of it
    language: str
    enrollment_segments: int
    phone_match: str  # same, different, or - where the tables do not tell


class _Side(NamedTuple):
    side: str
    subject: str
    phone: str
    where: str


class _Model(NamedTuple):
    gender: str
    subject: str  # empty: not told
    phones: set[str]  # with an empty one where they are not told


class _Test(NamedTuple):
    language: str
    subject: str
    phone: str


def read_unlabelled(tree: Tree, part: str, report: Report) -> list[Recording]:
    """data/unlabeled/major or minor: every file is an utterance, and a speaker of its own; none without the folder."""
    folder = tree.folder(UNLABELLED + part)
    return [] if folder is None else _files(tree, folder, {}, report)


def _files(tree: Tree, folder: str, spelled: dict[str, str], report: Report) -> list[Recording]:
    """A recording of every file in a folder; spelled: names of stems in lower case, where tables have them."""
    recordings = []
    for stem in tree.stems(folder):
        name = spelled.get(stem.lower(), stem)
        if is_name(name):
            recordings.append(_whole(tree, name, name, stem, folder))
        else:
            message = f"{tree.audio(stem, folder)}: {name!r} is no name of an utterance; it is skipped"
            report.warn(tree.corpus, "names that cannot be used", message)
    return recordings


def _whole(tree: Tree, utterance: str, speaker: str, stem: str, below: str, where: str = "") -> Recording:
    path = tree.audio(stem, below)
    return Recording(utterance, speaker, "", path, 1, tree.corpus, where or str(path))


def _fail(where: str, message: str) -> NoReturn:
    raise VouchError(f"{where}: {message}")


class Evaluation:
    """The tables of the evaluation (part eval: R149_0_1) or of the development set (dev: LDC2016E46).

    enrollment, test: recordings that have a file; enrolled: model -> [(segment, file:line)] by the table.
    """

    def __init__(self, tree: Tree, part: str, report: Report) -> None:
        self.tree, self.part, self._report = tree, part, report
        self._key = tree.need(key_of(part))
        self._base = tree.base(self._key, key_of(part))  # LDC2019S20 has both parts, beside each other
        self.enrolled: dict[str, list[tuple[str, str]]] = {}
        folder = f"{self._base}data/enrollment/"
        self.enrollment: list[Recording] = []
        tables = f"docs/sre16_{part}_enrollment.tsv", f"docs/sre16_{part}_enrollments.tsv"
        for row in self.rows(self.need(*tables), 2):
            model, segment = row.named("modelid", 0), stem_of(row.named("segment", 1))
            _check_side(row)
            if not is_name(model):
                _fail(row.where, f"{model!r} is no name of a model; mend the line")
            segments = self.enrolled.setdefault(model, [])
            if segment in (known for known, _ in segments):
                self.warn("enrollment named twice", f"{row.where}: {model} {segment} stands already; it is skipped")
                continue
            segments.append((segment, row.where))
            if tree.audio(segment, folder) is None:
                self.warn("enrollment without a file", f"{row.where}: there is no data/enrollment/{segment}.sph")
            else:
                self.enrollment.append(_whole(tree, f"{model}-{segment}", model, segment, folder, row.where))
        folder = f"{self._base}data/test/"
        names = [stem_of(row.named("segment", 0)) for row in self.rows(self.need(*self.segment_keys), 2)]
        self.test = _files(tree, folder, {name.lower(): name for name in names}, report)

    @property
    def segment_keys(self) -> tuple[str, str]:
        """Where the calls of the test segments may be; in some releases of all segments."""
        return f"docs/sre16_{self.part}_segment_key.tsv", f"docs/sre16_{self.part}_test_segment_key.tsv"

    def need(self, *names: str) -> Path:
        return self.tree.need(*names, base=self._base)

    def find(self, *names: str) -> Path | None:
        return self.tree.table(*names, base=self._base)

    def rows(self, path: Path | None, least: int) -> Iterator[Row]:
        """Of a table; none of one that is not there."""
        return iter(()) if path is None else read_table(path, "\t", least, self.tree.corpus, self._report)

    def warn(self, kind: str, message: str) -> None:
        self._report.warn(self.tree.corpus, kind, message)

    def trials(self, enrollment: list[Recording], test: list[Recording]) -> list[Trial]:
        """The trials whose segments are among these recordings, sorted.

        Raises VouchError, naming file and line, on a model without enrollment or of two subjects, a trial that
        contradicts another, a test segment that its model is enrolled with, and what would make the metric wrong: a
        segment without call or with two, a call without subject or of another language, a subject without sex.
        """
        metadata = _Metadata(self)
        models = {recording.speaker: metadata.model(recording.speaker) for recording in enrollment}
        tests = {recording.utterance for recording in test}
        trials: dict[tuple[str, str], Trial] = {}
        numbers: dict[tuple[str, str], int] = {}  # there are two million trials: no text for each
        lost: dict[str, tuple[str, int]] = {}  # segment: the first of its trials, how many
        for row in self.rows(self._key, 4):
            model, segment = sys.intern(row.named("modelid", 0)), sys.intern(stem_of(row.named("segment", 1)))
            target = sys.intern(row.named("targettype", 3).lower())
            _check_side(row)
            if target not in ("target", "nontarget"):
                _fail(row.where, f"'{target}' is neither target nor nontarget; mend the line")
            if model not in models:
                what = "no audio of its enrollment is there" if model in self.enrolled else "it is not enrolled"
                _fail(row.where, f"the trials of model {model} cannot be scored: {what}; complete the release")
            if segment not in tests:
                place, count = lost.get(segment, (row.where, 0))
                lost[segment] = place, count + 1
                continue
            known = trials.get((model, segment))
            if known is not None:
                place = f"{row.path}:{numbers[model, segment]}"
                if known.target != target:
                    _fail(row.where, f"{model} {segment} is {target} here, and {known.target} at {place}")
                self.warn(
                    "trials named twice", f"{row.where}: {model} {segment} stands already at {place}; it is skipped"
                )
                continue
            numbers[model, segment] = row.number
            side, test_side = models[model], metadata.test(segment, row.where)
            count = len(self.enrolled[model])
            if any(segment == known for known, _ in self.enrolled[model]):
                _fail(row.where, f"model {model} is enrolled with {segment} itself; mend the tables")
            if side.subject and test_side.subject and (side.subject == test_side.subject) != (target == "target"):
                message = (
                    f"{row.where}: {model} {segment} is {target}, of subjects {side.subject} and {test_side.subject}"
                )
                self.warn("trials that contradict the subjects", f"{message}; the key is followed")
            phone = _match(side.phones, test_side.phone)
            trials[model, segment] = Trial(model, segment, target, side.gender, test_side.language, count, phone)
        for segment, (place, count) in lost.items():
            message = f"{place}: test segment {segment} has no usable file; its {count} trials are left out"
            self.warn("test segments without a file", message)
        if lost:
            total = sum(count for _, count in lost.values())
            self._report.note(self.tree.corpus, f"{total} trials are left out")
        for what, column in (("telephones", "phone_match"), ("genders", "gender")):
            unknown = sum(getattr(trial, column) == NOT_TOLD for trial in trials.values())
            if unknown:
                message = f"{self._key}: the {what} of {unknown} trials are not told; costs are equalised without them"
                self.warn(f"trials without {what}", message)
        return [trials[key] for key in sorted(trials, key=lambda key: f"{key[0]} {key[1]}".encode())]


def _check_side(row: Row) -> None:
    """Raise VouchError where a segment is said to be of another side of its call than all others are."""
    if row.named("side", 2).lower() not in (SIDE, ""):
        _fail(row.where, f"side {row.named('side', 2)!r}: segments are of side {SIDE} of their calls; mend the line")


def _match(enrolled: set[str], phone: str) -> str:
    if phone and phone in enrolled:
        return "same"
    return NOT_TOLD if not phone or "" in enrolled else "different"


def _table(rows: Iterator[Row], key: str, value: str) -> dict[str, Row]:
    """A table by its first column `key`; raises VouchError where a key has two values in the second, `value`."""

    def differ(name: str, first: Row, row: Row) -> None:
        values = f"{row.named(value, 1)!r} here, and {first.named(value, 1)!r} at {first.where}"
        _fail(row.where, f"the {value} of {name} is {values}; mend the table")

    def name_of(row: Row) -> str:
        return stem_of(row.named(key, 0)) if key == "segment" else row.named(key, 0)

    return first_rows(rows, name_of, lambda row: row.named(value, 1).lower(), differ)


class _Metadata:
    """Calls, subjects and telephones of the segments.

    Without the table of subjects no gender is told, without call_sides.tsv or the enrollment segments' calls (which
    Kaldi's recipe does not use) neither gender nor telephone. What a table that is there lacks is an error.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        need, find, rows, part = evaluation.need, evaluation.find, evaluation.rows, evaluation.part
        self._enrolled, self._languages = evaluation.enrolled, LANGUAGES[part]
        self._calls_table, self._sides_table = need("metadata/calls.tsv"), find("metadata/call_sides.tsv")
        self._subjects_table = find("metadata/subjects.tsv")
        self._calls = _table(rows(self._calls_table, 2), "call_id", "language_id")
        self._subjects = _table(rows(self._subjects_table, 1), "subject_id", "sex")
        self._sides: dict[str, list[_Side]] = {}
        for row in rows(self._sides_table, 3):
            phone = row.named("phone_id", 3) if not row.columns or "phone_id" in row.columns else ""
            side = _Side(row.named("call_side", 1).lower(), row.named("subject_id", 2), phone, row.where)
            self._sides.setdefault(row.named("call_id", 0), []).append(side)
        self._test_key = need(*evaluation.segment_keys)
        self._enrollment_key = find(f"docs/sre16_{part}_enrollment_segment_key.tsv")
        self._test_calls = _table(rows(self._test_key, 2), "segment", "call_id")
        self._enrollment_calls = _table(rows(self._enrollment_key, 2), "segment", "call_id")
        if self._enrollment_key is None and any(
            segment in self._test_calls for named in self._enrolled.values() for segment, _ in named
        ):
            self._enrollment_key, self._enrollment_calls = self._test_key, self._test_calls
        absent = {"call_sides.tsv": self._sides_table, "subjects.tsv": self._subjects_table}
        absent |= {"enrollment_segment_key.tsv": self._enrollment_key}
        for name in (name for name, path in absent.items() if path is None):
            evaluation.warn(
                "tables that are not there", f"{evaluation.tree.root}: no {name}, which tells genders or telephones"
            )
        self._tests: dict[str, _Test] = {}
        for model, segments in self._enrolled.items():
            if len(segments) not in SIZES:
                message = f"{segments[-1][1]}: model {model} has {len(segments)} enrollment segments, not 1 or 3"
                evaluation.warn("models of another size", f"{message}; its trials are a partition of their own")

    def model(self, model: str) -> _Model:
        """What a model's subject and the telephones of its enrollment calls are."""
        if self._enrollment_key is None or self._sides_table is None:
            return _Model(NOT_TOLD, "", {""})
        sides = [
            self._side(segment, self._enrollment_calls, self._enrollment_key, where)
            for segment, where in self._enrolled[model]
        ]
        subjects = {side.subject: side for side in sides}
        if len(subjects) > 1:
            named = " and ".join(sorted(subjects))
            _fail(self._enrolled[model][0][1], f"model {model} is enrolled with the subjects {named}; mend the tables")
        return _Model(self._gender(sides[0]), sides[0].subject, {side.phone for side in sides})

    def _gender(self, side: _Side) -> str:
        if self._subjects_table is None:
            return NOT_TOLD
        row = self._subjects.get(side.subject)
        if row is None:
            _fail(side.where, f"subject {side.subject} is not in {self._subjects_table}; complete it")
        gender = gender_of(row.named("sex", 1))
        if not gender:
            _fail(row.where, f"the sex of subject {side.subject} is '{row.named('sex', 1)}', not M or F; mend the line")
        return gender

    def test(self, segment: str, where: str) -> _Test:
        """Language, subject and telephone of a test segment's call."""
        if segment not in self._tests:
            key, subject, phone = self._call(segment, self._test_calls, self._test_key, where), "", ""
            if self._sides_table is not None:
                side = self._side(segment, self._test_calls, self._test_key, where)
                subject, phone = side.subject, side.phone
            row = self._calls.get(key.named("call_id", 1))
            if row is None:
                _fail(key.where, f"call {key.named('call_id', 1)} is not in {self._calls_table}; complete it")
            language = row.named("language_id", 1).lower()
            if language not in self._languages:
                wanted = " or ".join(self._languages)
                _fail(row.where, f"the language of segment {segment} is '{language}', not {wanted}; mend the line")
            self._tests[segment] = _Test(language, subject, phone)
        return self._tests[segment]

    def _side(self, segment: str, calls: dict[str, Row], key: Path, where: str) -> _Side:
        """The side of a call that a segment is cut from; where: the line that asks for it."""
        row = self._call(segment, calls, key, where)
        call = row.named("call_id", 1)
        sides = self._sides.get(call, [])
        if not sides:
            _fail(row.where, f"call {call} of segment {segment} is not in {self._sides_table}; complete it")
        sides = [side for side in sides if side.side == SIDE] or sides
        if len({side.subject for side in sides}) > 1:
            _fail(sides[1].where, f"call {call} has another subject above, and nothing tells whose {segment} is")
        return sides[0]

    @staticmethod
    def _call(segment: str, calls: dict[str, Row], key: Path, where: str) -> Row:
        if segment not in calls:
            _fail(where, f"segment {segment} has no call in {key}; the metric needs it, complete the table")
        return calls[segment]
