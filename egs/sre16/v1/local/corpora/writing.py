"""The data directories and tables that the preparation leaves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from corpora.audio import Audio
from corpora.recordings import Recording
from corpora.sre16 import LANGUAGES, Trial
from vouch.io.datadir import spk2utt_lines, write_lines


def write_data_dir(directory: Path, recordings: list[Recording], audio: Audio) -> None:
    """wav.scp, utt2spk, spk2utt and, where genders are told, spk2gender, sorted as Kaldi wants them."""
    directory.mkdir()
    rows = sorted((os.fsencode(r.utterance), os.fsencode(r.speaker), r) for r in recordings)
    utterances, speakers = [row[0] for row in rows], [row[1] for row in rows]
    write_lines(directory / "wav.scp", [u + b" " + os.fsencode(audio.entry(r)) for u, _, r in rows])
    write_lines(directory / "utt2spk", [u + b" " + s for u, s, _ in rows])
    write_lines(directory / "spk2utt", spk2utt_lines(utterances, speakers))
    genders = {s: r.gender.encode() for _, s, r in rows if r.gender}
    if genders:
        write_lines(directory / "spk2gender", [s + b" " + genders[s] for s in sorted(genders)])


def write_trials(directory: Path, part: str, trials: Sequence[Trial]) -> None:
    """trials, those of each language of the part (eval or dev), and trial_info.tsv."""
    for name, language in (("trials", ""), *((f"trials_{language}", language) for language in LANGUAGES[part])):
        chosen = [trial for trial in trials if language in ("", trial.language)]
        write_lines(directory / name, [" ".join(trial[:3]).encode() for trial in chosen])
    write_rows(directory / "trial_info.tsv", [Trial._fields, *trials])


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Tab-separated."""
    write_lines(path, [os.fsencode("\t".join(map(str, row))) for row in rows])
