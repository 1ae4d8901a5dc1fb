"""Trial lists: where they are, what they are called, and their trials by the names of utterances."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

from vouch.corpora.report import Report
from vouch.errors import VouchError
from vox.names import speaker_of, utterance_of
from vox.release import PREFIX, VOXCELEB1

NAMES = {  # of the published files
    "veri_test.txt": "O",
    "voxceleb1_test_v2.txt": "O",  # Kaldi's
    "voxceleb1_test.txt": "O",  # Kaldi's, with the names of the first release
    "veri_test2.txt": "O_clean",
    "list_test_all.txt": "E",
    "list_test_all2.txt": "E_clean",
    "list_test_hard.txt": "H",
    "list_test_hard2.txt": "H_clean",
}
SHOWN = 3  # utterances that a message names
_LABELS = {"1": "target", "0": "nontarget", "target": "target", "nontarget": "nontarget"}


class TrialList(NamedTuple):
    """A list: its file, and its trials as Kaldi writes them (UTT1 UTT2 target), sorted, each once."""

    path: Path
    trials: list[str]

    def utterances(self) -> set[str]:
        return {utterance for trial in self.trials for utterance in trial.split(" ", 2)[:2]}


def find_lists(given: str, tables: Mapping[str, list[Path]]) -> list[tuple[str, Path]]:
    """(name, file) of the lists that --lists names, or, where it is empty, of the published ones among `tables`.

    Raises VouchError where there is none, and on a list that does not exist or has no fit name.
    """
    if not given:
        found = [(NAMES[name], paths[0]) for name, paths in tables.items() if name in NAMES]
        if not found:
            raise VouchError(
                f"{VOXCELEB1}: no trial list ({', '.join(NAMES)}) in its folder or above; put one there, or name it "
                "with --lists FILE: without one, no utterance is known to be for tests and none may be trained on"
            )
        return sorted(found)
    folder = Path(given).expanduser()
    if folder.is_dir():
        found = [(name, folder / file) for file, name in NAMES.items() if (folder / file).is_file()]
        if not found:
            raise VouchError(f"--lists {folder}: none of {', '.join(NAMES)} is in this folder; name the files")
        return sorted(found)
    beside = {word: str(tables[word][0]) for word in _words(given) if word in tables and not Path(word).is_file()}
    return [_named(beside.get(word, word)) for word in _words(given)]


def planned_names(given: str) -> set[str]:
    """What the lists that --lists names are called, whether they are there or not; none where the folder decides."""
    if not given or Path(given).expanduser().is_dir():
        return set()
    parts = (word.rpartition("=") for word in _words(given))
    return {name or NAMES.get(Path(file).name, Path(file).name.partition(".")[0]) for name, _, file in parts}


def _words(given: str) -> list[str]:
    """FILE or NAME=FILE, whatever spaces it has, or several, in which spaces are quoted."""
    if any(Path(file).expanduser().is_file() for file in (given, given.partition("=")[2])):
        return [given]
    try:
        return shlex.split(given)
    except ValueError as error:
        raise VouchError(f"--lists {given}: {error}; give files divided by spaces") from None


def _named(word: str) -> tuple[str, Path]:
    name, equals, file = word.partition("=")
    if not equals or Path(word).expanduser().is_file():
        name, file = "", word
    path = Path(file).expanduser()
    if not path.is_file():
        raise VouchError(f"--lists: there is no file {path}; mend the path")
    name = name or NAMES.get(path.name, path.name.partition(".")[0])
    if not re.fullmatch(r"[\w.+-]+", name, re.ASCII):
        raise VouchError(f"--lists: '{name}' cannot be a list's name (letters, digits, _ . + -); give NAME=FILE")
    return name, path


class ListReader:
    """Reads lists; utterances and trials that several of them have are in memory once."""

    def __init__(self, ids: Mapping[str, str], meta: str, report: Report) -> None:
        self._ids, self._meta, self._report = ids, meta, report
        self._utterances: dict[str, str] = {}
        self._trials: dict[str, str] = {}

    def read(self, found: list[tuple[str, Path]]) -> dict[str, TrialList]:
        """The lists by name. Raises VouchError when two of one name differ, and as `_read` does."""
        lists: dict[str, TrialList] = {}
        for name, path in found:
            new = TrialList(path, self._read(name, path))
            known = lists.setdefault(name, new)
            if known.trials != new.trials:
                raise VouchError(
                    f"two lists are called {name} and differ: {known.path} and {path}; take one away, or name them "
                    f'with --lists "{name}={known.path} OTHER={path}"'
                )
        return lists

    def _read(self, name: str, path: Path) -> list[str]:
        """Sorted trials. Raises VouchError at the first line that is no trial of VoxCeleb1, or whose label is not what
        its speakers say: no two lists can contradict each other then."""
        trials: set[str] = set()
        count = 0
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                words = line.split()
                if not words:
                    continue
                trial = self._trial(words, f"{path}:{number}")
                trials.add(self._trials.setdefault(trial, trial))
                count += 1
        if not trials:
            raise VouchError(f"the trial list {path} is empty; copy it again")
        if count > len(trials):
            self._report.note(name, f"{count - len(trials)} of {count} trials of {path} stand there again: taken once")
        return sorted(trials)

    def _trial(self, words: list[str], where: str) -> str:
        if len(words) == 3 and words[0] in ("0", "1"):
            label, first, second = words
        elif len(words) == 3 and words[2] in ("target", "nontarget"):
            first, second, label = words
        else:
            raise VouchError(f"{where}: '{' '.join(words)[:80]}' is no trial; want '1 FILE FILE' or 'UTT UTT target'")
        first, second, label = self._utterance(first, where), self._utterance(second, where), _LABELS[label]
        if (label == "target") != (speaker_of(first) == speaker_of(second)):
            one = "one speaker" if label == "nontarget" else "two speakers"
            raise VouchError(
                f"{where}: {first} {second} is {label}, which contradicts their ids, of {one}, and so all other lists; "
                "mend the list"
            )
        return f"{first} {second} {label}"

    def _utterance(self, word: str, where: str) -> str:
        known = self._utterances.get(word)
        if known is not None:
            return known
        try:
            utterance = utterance_of(word, self._ids)
        except KeyError as error:
            raise VouchError(f"{where}: the id of {error.args[0]} is not known: {self._meta}") from None
        if utterance is None:
            raise VouchError(f"{where}: '{word}' is no utterance; want id10270/VIDEO/00001.wav or id10270-VIDEO-00001")
        if not utterance.startswith(PREFIX[VOXCELEB1]):
            raise VouchError(
                f"{where}: {word} is not of {VOXCELEB1} ({PREFIX[VOXCELEB1]}...), and all of VoxCeleb2 is trained on; "
                "take the list out"
            )
        self._utterances[word] = utterance
        return utterance


def complete(
    lists: Mapping[str, TrialList], known: Container[str], allow_missing: bool, report: Report
) -> dict[str, TrialList]:
    """The lists with the trials whose utterances are `known`: all, or, with a warning, a part where that is allowed.

    Raises VouchError where utterances are missing and that is not allowed, and when no trial of a list is left.
    """
    left: dict[str, TrialList] = {}
    for name, own in lists.items():
        used = own.utterances()
        missing = {utterance for utterance in used if utterance not in known}
        if not missing:
            left[name] = own
            continue
        trials = [trial for trial in own.trials if missing.isdisjoint(trial.split(" ", 2)[:2])]
        some = ", ".join(sorted(missing)[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        message = (
            f"{own.path}: {len(missing)} of its {len(used)} utterances are not there or not usable ({some}), so "
            f"{len(own.trials) - len(trials)} of its {len(own.trials)} trials"
        )
        if not allow_missing or not trials:
            lost = "results on a part of a list compare with no others: complete VoxCeleb1"
            how = f"{lost}, or pass --allow-missing true" if trials else "complete VoxCeleb1"
            raise VouchError(f"the list {name}, {message} cannot be scored; {how}")
        report.warn(name, "missing utterances", f"{message} are left out: its results compare with no others")
        left[name] = TrialList(own.path, trials)
    return left
