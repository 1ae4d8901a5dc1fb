#!/usr/bin/env python3
"""Make a Kaldi data directory from a corpus's own tables: checked, sorted, audio paths absolute.

Reads SOURCE/{wav.scp,utt2spk} and, where they are, segments, spk2gender and spk2age; writes them and spk2utt into
the new folder TARGET. Fields may be divided by tabs. Called by the data-preparation scripts.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

AUDIO_ENDINGS = (".WAV", ".wav", ".flac", ".FLAC")
Table = dict[str, str]


def fail(message: str) -> NoReturn:
    sys.exit(f"{Path(__file__).name}: error: {message}")


def read_table(path: Path) -> Table:
    """Key and rest of each line; an empty table where there is no such file. Errors name file and line."""
    table: Table = {}
    if not path.exists():
        return table
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            key, *rest = line.split(None, 1)[:2] or [""]
            if not rest:
                fail(f"{path}:{number}: want a key and a value, found {line.strip()!r}; mend or remove the line")
            if key in table:
                fail(f"{path}:{number}: {key} stands there twice; remove one of the lines")
            table[key] = rest[0].strip()
    return table


def require(table: Table, path: Path) -> Table:
    if not table:
        fail(f"{path} is missing or empty; is the corpus complete?")
    return table


def look_up(keys: Iterable[str], table: Table, path: Path, what: str) -> Table:
    """The part of a table for these keys, all of which it must hold."""
    keys = list(keys)
    missing = [key for key in keys if key not in table]
    if missing:
        fail(f"{path}: no line for {len(missing)} {what}(s), e.g. {' '.join(missing[:3])}; add them")
    return {key: table[key] for key in keys}


def file_of(rxfilename: str) -> str:
    """The file that an entry of wav.scp reads: without the offset of an archive (file.ark:1234)."""
    path, colon, offset = rxfilename.rpartition(":")
    return path if colon and offset.isdecimal() else rxfilename


def resolve_audio(wavs: Table, scp: Path, root: Path, any_ending: bool) -> Table:
    """Absolute paths of existing files; command pipes stay as they are."""
    resolved, missing, renamed = {}, [], 0
    for key, entry in wavs.items():
        path = entry if entry.endswith("|") else os.path.abspath(os.path.join(root, entry))
        if not entry.endswith("|") and not os.path.isfile(file_of(path)):
            stem = os.path.splitext(path)[0]
            others = [stem + ending for ending in AUDIO_ENDINGS if any_ending and os.path.isfile(stem + ending)]
            if not others:
                missing.append(path)
                continue
            path = others[0]
            renamed += 1
        resolved[key] = path
    if missing:
        fail(
            f"{scp}: {len(missing)} of {len(wavs)} audio files are not there, e.g. {', '.join(missing[:3])}; "
            "restore them, or check the folder that the paths are relative to (prepare_kaldi_dirs.sh: --wav-root DIR)"
        )
    if renamed:
        print(f"{scp}: took {renamed} files with another ending (of {', '.join(AUDIO_ENDINGS)}) than it says")
    return resolved


def write_table(path: Path, table: Table) -> None:
    if table:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as out:
            out.writelines(f"{key} {table[key]}\n" for key in sorted(table))


def keep_age_group(utt2spk: Table, source: Path, group: str, limit: float) -> Table:
    """The utterances of children (at most `limit` years old) or of adults."""
    path = source / "spk2age"
    ages: dict[str, float] = {}
    for speaker, age in look_up(set(utt2spk.values()), require(read_table(path), path), path, "speaker").items():
        try:
            ages[speaker] = float(age)
        except ValueError:
            fail(f"{path}: the age of speaker {speaker} is '{age}', want a number of years")
    speakers = {speaker for speaker, age in ages.items() if (age <= limit) == (group == "child")}
    kept = {utterance: speaker for utterance, speaker in utt2spk.items() if speaker in speakers}
    if not kept:
        fail(f"{path}: no speaker is {'at most' if group == 'child' else 'above'} {limit:g} years old")
    return kept


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = fail
    parser.add_argument("--audio-root", type=Path, default=Path(), help="folder that relative audio paths start from")
    parser.add_argument(
        "--any-ending", action="store_true", help="a missing X.WAV may be there as X.wav, X.flac or X.FLAC"
    )
    parser.add_argument(
        "--speaker-prefix", action="store_true", help="put SPEAKER- before each utterance id, as Kaldi's sorting needs"
    )
    parser.add_argument("--age-group", choices=("all", "child", "adult"), default="all", help="speakers to keep (all)")
    parser.add_argument("--age-limit", type=float, default=15, help="years up to which a speaker is a child (15)")
    parser.add_argument(
        "--unlabelled", action="store_true", help="forget the speakers: each utterance is a speaker of its own"
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    return parser.parse_args()


def main() -> None:
    opts = options()
    source, target = opts.source, opts.target
    wavs = require(read_table(source / "wav.scp"), source / "wav.scp")
    segments = read_table(source / "segments")
    utterances = segments or wavs
    if opts.unlabelled and opts.age_group == "all":
        utt2spk = {utterance: utterance for utterance in utterances}
    else:
        path = source / "utt2spk"
        utt2spk = look_up(utterances, require(read_table(path), path), path, "utterance")
    if opts.age_group != "all":
        utt2spk = keep_age_group(utt2spk, source, opts.age_group, opts.age_limit)
    recordings = {segments[utterance].split()[0] for utterance in utt2spk} if segments else utt2spk.keys()
    wavs = look_up(sorted(recordings), wavs, source / "wav.scp", "recording")
    wavs = resolve_audio(wavs, source / "wav.scp", opts.audio_root, opts.any_ending)

    names = {utt: f"{spk}-{utt}" if opts.speaker_prefix else utt for utt, spk in utt2spk.items()}
    if segments:
        segments = {names[utterance]: segments[utterance] for utterance in utt2spk}
    else:
        wavs = {names[utterance]: wav for utterance, wav in wavs.items()}
    utt2spk = {names[utt]: names[utt] if opts.unlabelled else spk for utt, spk in utt2spk.items()}
    speakers = dict.fromkeys(utt2spk.values())
    spk2utt: dict[str, list[str]] = {speaker: [] for speaker in speakers}
    for utterance in sorted(utt2spk):
        spk2utt[utt2spk[utterance]].append(utterance)

    target.mkdir(parents=True)
    write_table(target / "wav.scp", wavs)
    write_table(target / "segments", segments)
    write_table(target / "utt2spk", utt2spk)
    write_table(target / "spk2utt", {speaker: " ".join(its) for speaker, its in spk2utt.items()})
    for name in () if opts.unlabelled else ("spk2gender", "spk2age"):
        table = read_table(source / name)
        if table:
            write_table(target / name, look_up(speakers, table, source / name, "speaker"))


if __name__ == "__main__":
    try:
        main()
    except OSError as error:  # a full disk, no permission
        fail(f"{error.strerror}{f' ({error.filename})' if error.filename else ''}")
