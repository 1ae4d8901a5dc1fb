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

from corpora.recordings import Recording, gender_of
from corpora.report import Report
from corpora.tables import Row, read_table
from corpora.tree import Tree, stem_of
from vouch.errors import VouchError

LANGUAGES = ("tgl", "yue")
KEY = "docs/sre16_eval_trial_key.tsv"
ENROLLMENT_CALLS = "docs/sre16_eval_enrollment_segment_key.tsv"
TEST_CALLS = "docs/sre16_eval_segment_key.tsv", "docs/sre16_eval_test_segment_key.tsv"  # as in LDC2019S20
UNLABELLED = "data/unlabeled/"


class Trial(NamedTuple):
    """A trial and what its partition is made of; a line of trial_info.tsv."""

    model: str
    segment: str
    target: str  # target or nontarget
    gender: str
    language: str
    enrollment_segments: int
    phone_match: str  # same, different, or - where the tables do not tell


class _Side(NamedTuple):
    subject: str
    phone: str
    where: str


def read_unlabelled(tree: Tree, part: str) -> list[Recording]:
    """data/unlabeled/major or minor: every file is an utterance, and a speaker of its own."""
    folder = tree.folder(UNLABELLED + part)
    if folder is None:
        raise VouchError(
            f"{tree.corpus}: no folder {UNLABELLED}{part} in {tree.root}; is this the folder of the release?"
        )
    return [_whole(tree, stem, stem, stem, folder) for stem in tree.stems(folder)]


def _whole(tree: Tree, utterance: str, speaker: str, stem: str, below: str, where: str = "") -> Recording:
    path = tree.audio(stem, below)
    return Recording(utterance, speaker, "", path, 1, tree.corpus, where or str(path))


def _fail(where: str, message: str) -> NoReturn:
    raise VouchError(f"{where}: {message}")


class Evaluation:
    """The tables of R149_0_1.

    enrollment, test: recordings that have a file; enrolled: model -> [(segment, file:line)] by the table.
    """

    def __init__(self, tree: Tree, report: Report) -> None:
        self.tree, self._report = tree, report
        self._base = tree.base(tree.need(KEY), KEY)  # LDC2019S20 has the development set beside it
        self.enrolled: dict[str, list[tuple[str, str]]] = {}
        folder = f"{self._base}data/enrollment/"
        self.enrollment: list[Recording] = []
        for row in self.rows(self.need("docs/sre16_eval_enrollment.tsv"), 2):
            model, segment = row.named("modelid", 0), stem_of(row.named("segment", 1))
            segments = self.enrolled.setdefault(model, [])
            if segment in (known for known, _ in segments):
                self._warn("enrollment named twice", f"{row.where}: {model} {segment} stands already; it is skipped")
                continue
            segments.append((segment, row.where))
            if tree.audio(segment, folder) is None:
                self._warn("enrollment without a file", f"{row.where}: there is no data/enrollment/{segment}.sph")
            else:
                self.enrollment.append(_whole(tree, f"{model}-{segment}", model, segment, folder, row.where))
        folder = f"{self._base}data/test/"
        self.test = [_whole(tree, stem, stem, stem, folder) for stem in tree.stems(folder)]

    def need(self, *names: str) -> Path:
        return self.tree.need(*names, base=self._base)

    def rows(self, path: Path, least: int) -> Iterator[Row]:
        return read_table(path, "\t", least, self.tree.corpus, self._report)

    def _warn(self, kind: str, message: str) -> None:
        self._report.warn(self.tree.corpus, kind, message)

    def trials(self, enrollment: list[Recording], test: list[Recording]) -> list[Trial]:
        """The trials whose segments are among these recordings, sorted.

        Raises VouchError, naming file and line, on a model without enrollment, a trial that contradicts another, and
        what would make the metric wrong: a segment without call, a call without subject or of another language, a
        subject without sex.
        """
        metadata = _Metadata(self)
        models = {recording.speaker: metadata.model(recording.speaker) for recording in enrollment}
        tests = {recording.utterance for recording in test}
        trials: dict[tuple[str, str], Trial] = {}
        numbers: dict[tuple[str, str], int] = {}  # there are two million trials: no text for each
        lost: dict[str, tuple[str, int]] = {}  # segment: the first of its trials, how many
        for row in self.rows(self.need(KEY), 4):
            model, segment = sys.intern(row.named("modelid", 0)), sys.intern(stem_of(row.named("segment", 1)))
            target = sys.intern(row.named("targettype", 3).lower())
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
                self._warn(
                    "trials named twice", f"{row.where}: {model} {segment} stands already at {place}; it is skipped"
                )
                continue
            numbers[model, segment] = row.number
            gender, phones = models[model]
            language, phone = metadata.test(segment, row.where)
            count = len(self.enrolled[model])
            trials[model, segment] = Trial(model, segment, target, gender, language, count, _match(phones, phone))
        for segment, (place, count) in lost.items():
            message = f"{place}: test segment {segment} has no usable file; its {count} trials are left out"
            self._warn("test segments without a file", message)
        if lost:
            total = sum(count for _, count in lost.values())
            self._report.note(self.tree.corpus, f"{total} trials are left out")
        unknown = sum(trial.phone_match == "-" for trial in trials.values())
        if unknown:
            self._warn(
                "trials without phones", f"{metadata.sides_table}: the telephones of {unknown} trials are not told"
            )
        return [trials[key] for key in sorted(trials, key=lambda key: f"{key[0]} {key[1]}".encode())]


def _match(enrolled: set[str], phone: str) -> str:
    if phone and phone in enrolled:
        return "same"
    return "-" if not phone or "" in enrolled else "different"


class _Metadata:
    """Calls, subjects and telephones of the segments."""

    def __init__(self, evaluation: Evaluation) -> None:
        need, rows = evaluation.need, evaluation.rows
        self._enrolled = evaluation.enrolled
        self._calls_table, self.sides_table = need("metadata/calls.tsv"), need("metadata/call_sides.tsv")
        self._subjects_table = need("metadata/subjects.tsv")
        self._calls = {row.named("call_id", 0): row for row in rows(self._calls_table, 2)}
        self._subjects = {row.named("subject_id", 0): row for row in rows(self._subjects_table, 1)}
        self._sides: dict[str, list[_Side]] = {}
        for row in rows(self.sides_table, 3):
            phone = row.named("phone_id", 3) if not row.columns or "phone_id" in row.columns else ""
            side = _Side(row.named("subject_id", 2), phone, row.where)
            self._sides.setdefault(row.named("call_id", 0), []).append(side)
        self._enrollment_key, self._test_key = need(ENROLLMENT_CALLS), need(*TEST_CALLS)
        self._enrollment_calls, self._test_calls = (
            {stem_of(row.named("segment", 0)): row for row in rows(path, 2)}
            for path in (self._enrollment_key, self._test_key)
        )
        self._tests: dict[str, tuple[str, str]] = {}

    def model(self, model: str) -> tuple[str, set[str]]:
        """Gender of a model's subject, and the telephones of its enrollment calls."""
        genders, phones = set(), set()
        for segment, where in self._enrolled[model]:
            side = self._side(segment, self._enrollment_calls, self._enrollment_key, where)
            row = self._subjects.get(side.subject)
            if row is None:
                _fail(side.where, f"subject {side.subject} is not in {self._subjects_table}; complete it")
            gender = gender_of(row.named("sex", 1))
            if not gender:
                _fail(
                    row.where,
                    f"the sex of subject {side.subject} is '{row.named('sex', 1)}', not M or F; mend the line",
                )
            genders.add(gender)
            phones.add(side.phone)
        if len(genders) > 1:
            _fail(
                self._enrolled[model][0][1], f"model {model} is enrolled with subjects of both genders; mend the tables"
            )
        return genders.pop(), phones

    def test(self, segment: str, where: str) -> tuple[str, str]:
        """Language and telephone of a test segment's call."""
        if segment not in self._tests:
            side = self._side(segment, self._test_calls, self._test_key, where)
            key = self._test_calls[segment]
            row = self._calls.get(key.named("call_id", 1))
            if row is None:
                _fail(key.where, f"call {key.named('call_id', 1)} is not in {self._calls_table}; complete it")
            language = row.named("language_id", 1).lower()
            if language not in LANGUAGES:
                _fail(row.where, f"the language of segment {segment} is '{language}', not tgl or yue; mend the line")
            self._tests[segment] = language, side.phone
        return self._tests[segment]

    def _side(self, segment: str, calls: dict[str, Row], key: Path, where: str) -> _Side:
        """The side of a call that a segment is cut from; where: the line that asks for it."""
        if segment not in calls:
            _fail(where, f"segment {segment} has no call in {key}; the metric needs it, complete the table")
        call = calls[segment].named("call_id", 1)
        sides = self._sides.get(call, [])
        if not sides:
            _fail(calls[segment].where, f"call {call} of segment {segment} is not in {self.sides_table}; complete it")
        if len({side.subject for side in sides}) > 1:
            _fail(sides[1].where, f"call {call} has two subjects, and nothing tells whose side segment {segment} is")
        return sides[0]
