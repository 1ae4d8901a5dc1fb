"""The data directories and tables that the preparation leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpora.audio import Audio
from corpora.recordings import Recording
from corpora.sre16 import LANGUAGES, Trial
from vouch.corpora.writing import write_data_dir, write_rows
from vouch.io.datadir import write_lines


def write_recordings(directory: Path, recordings: list[Recording], audio: Audio) -> None:
    """A data directory of the recordings, with spk2gender where genders are told."""
    genders = {recording.speaker: recording.gender for recording in recordings if recording.gender}
    write_data_dir(directory, [(r.utterance, r.speaker, audio.entry(r)) for r in recordings], genders)


def write_trials(directory: Path, part: str, trials: Sequence[Trial]) -> None:
    """trials, those of each language of the part (eval or dev), and trial_info.tsv."""
    for name, language in (("trials", ""), *((f"trials_{language}", language) for language in LANGUAGES[part])):
        chosen = [trial for trial in trials if language in ("", trial.language)]
        write_lines(directory / name, [" ".join(trial[:3]).encode() for trial in chosen])
    write_rows(directory / "trial_info.tsv", [Trial._fields, *trials])
