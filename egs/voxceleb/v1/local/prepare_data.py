#!/usr/bin/env python3
"""From VoxCeleb1 and VoxCeleb2 to data directories: OUT/.tmp/{train,test} and sources.tsv.

Called by prepare_data.sh, which checks them and moves them into OUT. Its --help has the whole story.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from vouch.corpora.folders import refuse_inside
from vouch.corpora.report import NAME, Report
from vouch.corpora.writing import write_data_dir
from vouch.errors import VouchError
from vouch.io.datadir import write_lines
from vox.audio import Audio
from vox.lists import NAMES, ListReader, TrialList, complete, find_lists
from vox.names import speaker_of
from vox.release import META, VOXCELEB1, VOXCELEB2, Release
from vox.sources import source_rows, write_sources


def fail(message: str) -> NoReturn:
    sys.exit(f"{NAME}: error: {message}")


def read_lists(given: str, release: Release, report: Report) -> dict[str, TrialList]:
    """The chosen lists by name."""
    meta = release.meta.path
    told = f"{meta} has no such name" if meta else f"{META[VOXCELEB1]} is neither in {release.root} nor above"
    lists = ListReader(release.meta.ids, told, report).read(find_lists(given, release.tables))
    for name, own in lists.items():
        print(f"{NAME}: {name}: {len(own.trials)} trials of {own.path}")
    return lists


def utterances_of(lists: Mapping[str, TrialList]) -> set[str]:
    return {utterance for own in lists.values() for utterance in own.utterances()}


def training_part(releases: Mapping[str, Release], tested: set[str]) -> dict[str, list[str]]:
    """The utterances of each corpus that are trained on: of all speakers but the tested."""
    part = {
        corpus: [utterance for utterance in release.files if speaker_of(utterance) not in tested]
        for corpus, release in releases.items()
    }
    if VOXCELEB1 in part and not part[VOXCELEB1]:
        print(f"{NAME}: the lists use all speakers of {VOXCELEB1}, as E and H do: it is not trained on")
    if not any(part.values()):
        raise VouchError(
            f"nothing is left to train on: the lists use all speakers of {VOXCELEB1}, and VoxCeleb2 is not given; "
            "add --voxceleb2 DIR, or choose lists of fewer speakers (--lists; O and O_clean use 40)"
        )
    return part


def genders_of(train: Iterable[str], releases: Mapping[str, Release], report: Report) -> dict[str, str]:
    """m or f of every speaker; of none, with a warning, where that of some is not told: Kaldi wants all or none."""
    told = {speaker: gender for release in releases.values() for speaker, gender in release.meta.genders.items()}
    speakers = {speaker_of(utterance) for utterance in train}
    lacking = sorted(speakers - told.keys())
    if lacking:
        tables = " and ".join(META[corpus] for corpus in releases)
        message = f"{tables} (in the folders or above) do not tell those of {len(lacking)} of {len(speakers)} speakers"
        report.warn("train", "missing genders", f"no spk2gender: {message}, e.g. {lacking[0]}")
        return {}
    return {speaker: told[speaker] for speaker in speakers}


def write_test(directory: Path, release: Release, test: set[str], lists: Mapping[str, TrialList], audio: Audio) -> None:
    """The data directory of all trials, each utterance its own speaker, with the trials of all lists and of each."""
    write_data_dir(directory, [(name, name, audio.entry(release, name)) for name in test], {})
    union = sorted({trial for own in lists.values() for trial in own.trials})
    for name, trials in (("trials", union), *((f"trials_{name}", own.trials) for name, own in lists.items())):
        write_lines(directory / name, [os.fsencode(trial) for trial in trials])


def prepare(options: argparse.Namespace, folders: Mapping[str, Path], folder: Path, report: Report) -> None:
    """Write everything into `folder`."""
    releases = {}
    for corpus, root in folders.items():
        print(f"{NAME}: reading {corpus} in {root}")
        releases[corpus] = Release(corpus, root, NAMES if corpus == VOXCELEB1 else (), report)
    lists: dict[str, TrialList] = {}
    if VOXCELEB1 in releases:
        lists = read_lists(options.lists, releases[VOXCELEB1], report)
    elif options.lists:
        raise VouchError("--lists is given, and --voxceleb1, whose utterances they name, is not; give both")
    else:
        print(f"{NAME}: --voxceleb1 is not given: training data only, no test")
    tested = {speaker_of(utterance) for utterance in utterances_of(lists)}  # also those whose files are missing
    allow_missing, check_headers = options.allow_missing == "true", options.check_headers == "true"
    if lists:  # before hours of decoding, and again after it
        lists = complete(lists, releases[VOXCELEB1].files, allow_missing, report)
    train, test = training_part(releases, tested), utterances_of(lists)

    audio = Audio(report, check_headers, options.decode_to, options.nj)
    if not check_headers:
        print(f"{NAME}: --check-headers false: no file is opened, and all are taken to be whole, 16 kHz and mono")
    for corpus, release in releases.items():
        audio.use(release, [*train[corpus], *sorted(test if corpus == VOXCELEB1 else ())])
        train[corpus] = [utterance for utterance in train[corpus] if utterance in release.files]
    if lists:
        lists = complete(lists, releases[VOXCELEB1].files, allow_missing, report)
        test = utterances_of(lists)
    trained = [utterance for own in train.values() for utterance in own]
    if not trained:
        raise VouchError(f"none of the files that are left to train on is usable (warnings above and in {report.file})")

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = (
        (utterance, speaker_of(utterance), audio.entry(releases[corpus], utterance))
        for corpus, own in train.items()
        for utterance in own
    )
    write_data_dir(folder / "train", rows, genders_of(trained, releases, report))
    if test:
        write_test(folder / "test", releases[VOXCELEB1], test, lists, audio)
    write_sources(folder / "sources.tsv", source_rows(releases, trained, test), report)


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = fail
    for name in ("voxceleb1", "voxceleb2", "lists", "decode-to"):
        parser.add_argument(f"--{name}", default="")
    for name in ("check-headers", "allow-missing"):
        parser.add_argument(f"--{name}", choices=("true", "false"), required=True)
    parser.add_argument("--nj", type=int, default=4)
    parser.add_argument("out", type=Path, help="folder of the data directories; they are left in OUT/.tmp")
    options = parser.parse_args()
    if options.nj < 1:
        raise VouchError(f"--nj {options.nj}: want 1 or more")
    given = {VOXCELEB1: options.voxceleb1, VOXCELEB2: options.voxceleb2}
    folders = {corpus: _absolute(path) for corpus, path in given.items() if path}
    if not folders:
        raise VouchError("neither --voxceleb1 nor --voxceleb2 is given; give the folder of one or of both")
    refuse_inside(options.out, folders)
    options.decode_to = _absolute(options.decode_to) if options.decode_to else None
    if options.decode_to is not None:
        refuse_inside(options.decode_to, folders, "folder of --decode-to")
    report = Report(options.out / "log" / "warnings.txt")
    try:
        prepare(options, folders, options.out / ".tmp", report)
    finally:
        report.close()


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(Path(path).expanduser()))


def main() -> None:
    try:
        run()
    except VouchError as error:
        fail(str(error))
    except OSError as error:  # a full disk, no permission
        fail(f"{error.strerror}{f' ({error.filename})' if error.filename else ''}")


if __name__ == "__main__":
    main()
