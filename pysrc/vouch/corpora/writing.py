"""The data directories and tables that a preparation leaves, from one row an utterance."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vouch.io.datadir import spk2utt_lines, write_lines


def write_data_dir(directory: Path, rows: Iterable[tuple[str, str, str]], genders: Mapping[str, str]) -> None:
    """wav.scp, utt2spk, spk2utt and, where genders are told, spk2gender, sorted as Kaldi wants them.

    rows: (utterance, speaker, entry of wav.scp), in any order; genders: m or f of speakers.
    """
    directory.mkdir()
    ordered = sorted((os.fsencode(utterance), os.fsencode(speaker), entry) for utterance, speaker, entry in rows)
    utterances, speakers = [row[0] for row in ordered], [row[1] for row in ordered]
    write_lines(directory / "wav.scp", [u + b" " + os.fsencode(entry) for u, _, entry in ordered])
    write_lines(directory / "utt2spk", [u + b" " + s for u, s, _ in ordered])
    write_lines(directory / "spk2utt", spk2utt_lines(utterances, speakers))
    told = {os.fsencode(speaker): gender.encode() for speaker, gender in genders.items()}
    if told:
        write_lines(directory / "spk2gender", [s + b" " + told[s] for s in sorted(set(speakers))])


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Tab-separated."""
    write_lines(path, [os.fsencode("\t".join(map(str, row))) for row in rows])
