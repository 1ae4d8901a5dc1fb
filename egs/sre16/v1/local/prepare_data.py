#!/usr/bin/env python3
"""From the corpora of SRE16 to data directories: OUT/.tmp/{sre,swbd,sre16_...}, sources.tsv and corpora.tsv.

Called by prepare_data.sh, which checks them and moves them into OUT. Its --help has the whole story.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from corpora.audio import Audio
from corpora.catalogue import CATALOGUE, EVALUATION, SRE, SWITCHBOARD, UNLABELLED, YEARS
from corpora.locations import find_corpora, missing_lines
from corpora.mixer6 import read_mixer6
from corpora.recordings import Collection, Recording
from corpora.sre import read_sre04_to_06, read_sre08, read_sre10
from corpora.sre16 import Evaluation, Trial, key_of, read_unlabelled
from corpora.switchboard import LAYOUTS, read_switchboard
from corpora.tree import Tree, stem_of
from corpora.writing import write_recordings, write_trials
from vouch.corpora.folders import refuse_inside
from vouch.corpora.report import NAME, Report
from vouch.corpora.writing import write_rows
from vouch.errors import VouchError


def fail(message: str) -> NoReturn:
    sys.exit(f"{NAME}: error: {message}")


def read_labelled(found: dict[str, Path], seed: int, audio: Audio, report: Report) -> list[Recording]:
    """The recordings of all corpora with speakers, in the order of the catalogue, that can be used."""
    trees: dict[str, Tree] = {}
    for number, path in found.items():
        if CATALOGUE[number].part in (SRE, SWITCHBOARD):
            print(f"{NAME}: reading {number} ({CATALOGUE[number].name}) in {path}")
            trees[number] = Tree(path, number, report)
    collection, idle = Collection(report), set()
    early = {number: trees[number] for _, numbers in YEARS.values() for number in numbers if number in trees}
    if early and "speaker_list" in found:
        read_sre04_to_06(early, found["speaker_list"], collection, report)
    elif early:
        idle |= early.keys()
        report.warn("speaker_list", "missing", f"it is not given, so {', '.join(early)} cannot be used")
    if "LDC2011S08" in trees:
        read_sre08(trees["LDC2011S08"], trees.get("LDC2011S05"), collection, report)
    elif "LDC2011S05" in trees:
        idle.add("LDC2011S05")
        report.warn("LDC2011S05", "missing", "LDC2011S08 is not given, which has its keys, so it cannot be used")
    if "LDC2017S06" in trees:
        read_sre10(trees["LDC2017S06"], collection, report)
    if "LDC2013S03" in trees:
        read_mixer6(trees["LDC2013S03"], seed, collection, report)
    for number in LAYOUTS:
        if number in trees:
            read_switchboard(trees[number], collection, report)
    for number, count in collection.missing.items():
        report.note(number, f"{count} keys have no file in the releases of this year that are given")
    usable = audio.usable(collection.recordings)
    for number in sorted(trees.keys() - idle - {recording.corpus for recording in usable}):
        raise VouchError(
            f"{number}: no recording of {found[number]} can be used that another corpus has not (warnings, if any, are "
            f"in {report.file}); mend the path, or take it out of the list of corpora"
        )
    return usable


def refuse_overlap(evaluation: list[Recording], others: list[Recording]) -> None:
    """Raise VouchError when a segment of the evaluation is also among the recordings that systems learn from."""
    known = {stem_of(recording.path.name).lower(): recording for recording in evaluation}
    files = {_identity(recording.path): recording for recording in evaluation}
    for recording in others:
        segment = known.get(stem_of(recording.path.name).lower()) or files.get(_identity(recording.path))
        if segment is not None:
            raise VouchError(
                f"SRE16's segment {segment.path} is in {recording.corpus} too ({recording.path}); systems may not "
                "learn from it: take it out there"
            )


def _identity(path: Path) -> tuple[int, int]:
    """The same for all links to a file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def source_rows(
    found: dict[str, Path], recordings: list[Recording], trials: list[Trial], audio: Audio, report: Report
) -> list[tuple[str, str, int, str, int, int]]:
    """(number, name, utterances, speakers, seconds, warnings) of each corpus that has recordings or warnings; - where
    speakers are not told. Of the evaluation the models are counted."""
    by_corpus: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_corpus.setdefault(recording.corpus, []).append(recording)
    rows = []
    for number, corpus in CATALOGUE.items():
        mine = by_corpus.get(number, [])
        if mine or (number in found and corpus.part in (SRE, SWITCHBOARD, EVALUATION, UNLABELLED)):
            speakers = {recording.speaker for recording in mine}
            if corpus.part == EVALUATION:
                speakers = {trial.model for trial in trials}
            told = "-" if corpus.part == UNLABELLED else str(len(speakers))
            seconds = round(sum(map(audio.seconds, mine)))
            rows.append((number, corpus.name, len(mine), told, seconds, report.counts[number]))
    return rows


def prepare(found: dict[str, Path], seed: int, folder: Path, report: Report) -> None:
    """Write everything into `folder`."""
    audio = Audio(report)
    labelled = read_labelled(found, seed, audio, report)
    if not labelled:
        raise VouchError("no labelled corpus is given that a system could be trained on; see the list above")
    parts = {
        name: [recording for recording in labelled if CATALOGUE[recording.corpus].part == name]
        for name in (SRE, SWITCHBOARD)
    }
    sre16 = {number: Tree(found[number], number, report) for number in ("LDC2016E46", "R149_0_1") if number in found}
    if "LDC2016E46" in sre16:
        for part in ("major", "minor"):
            parts[f"sre16_{part}"] = audio.usable(read_unlabelled(sre16["LDC2016E46"], part, report))
            if not parts[f"sre16_{part}"]:
                message = (
                    f"no usable recording in data/unlabeled/{part}; is this the folder of the release, and complete?"
                )
                if part == "major":
                    raise VouchError(f"LDC2016E46: {message}")
                report.warn("LDC2016E46", "missing", message)
    others = [recording for part in parts.values() for recording in part]
    trials: dict[str, list[Trial]] = {}
    for part in ("dev", "eval"):  # the development set is in either release
        tree = next((tree for tree in sre16.values() if tree.table(key_of(part)) is not None), None)
        if part == "eval":
            tree = sre16.get("R149_0_1")
        if tree is not None:
            evaluation = Evaluation(tree, part, report)
            enroll, test = audio.usable(evaluation.enrollment), audio.usable(evaluation.test)
            refuse_overlap(enroll + test, others)
            trials[part] = evaluation.trials(enroll, test)
            if not trials[part]:
                raise VouchError(f"{tree.corpus}: no trial of {key_of(part)} has audio; complete the release")
            if len({trial.target for trial in trials[part]}) < 2:
                raise VouchError(
                    f"{tree.corpus}: all trials of {key_of(part)} that have audio are {trials[part][0].target} trials; "
                    "no error rate can be had of them, complete the release"
                )
            parts |= {f"sre16_{part}_enroll": enroll, f"sre16_{part}_test": test}
            others += enroll + test
    recordings = [recording for part in parts.values() for recording in part]
    audio.check_decoder(recordings)

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, part in parts.items():
        if part:
            write_recordings(folder / name, part, audio)
    for part, own in trials.items():
        write_trials(folder / f"sre16_{part}_test", part, own)
    rows = source_rows(found, recordings, trials.get("eval", []), audio, report)
    write_rows(folder / "sources.tsv", [("corpus", "name", "utterances", "speakers", "seconds", "warnings"), *rows])
    write_rows(folder / "corpora.tsv", found.items())
    print(f"{'corpus':24s} {'LDC':12s} {'utterances':>10s} {'speakers':>8s} {'hours':>8s} {'warnings':>8s}")
    for number, name, utterances, speakers, seconds, warnings in rows:
        print(f"{name:24s} {number:12s} {utterances:10d} {speakers:>8s} {seconds / 3600:8.1f} {warnings:8d}")


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = fail
    parser.add_argument("--seed", type=int, default=0, help="of the choice of Mixer 6's microphones (0)")
    parser.add_argument("corpora", type=Path, help="a YAML file or a folder")
    parser.add_argument("out", type=Path, help="folder of the data directories; they are left in OUT/.tmp")
    options = parser.parse_args()
    found = find_corpora(options.corpora)
    refuse_inside(options.out, found)
    print(missing_lines(NAME, found), end="")
    report = Report(options.out / "log" / "warnings.txt")
    try:
        prepare(found, options.seed, options.out / ".tmp", report)
    finally:
        report.close()


def main() -> None:
    try:
        run()
    except VouchError as error:
        fail(str(error))
    except OSError as error:  # a full disk, no permission
        fail(f"{error.strerror}{f' ({error.filename})' if error.filename else ''}")


if __name__ == "__main__":
    main()
