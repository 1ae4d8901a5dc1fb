"""Mending a data directory, after Kaldi's utils/fix_data_dir.sh: sort, merge equal lines, keep what all files share.

Where Kaldi keeps an utterance that vad.scp, utt2dur, utt2num_frames or utt2uniq lack, or whose recording a recording
file lacks, here it is dropped and counted, so that a directory that was fixed is valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from operator import and_
from pathlib import Path
from typing import NamedTuple

from vouch.errors import VouchError
from vouch.io.datadir import (
    KINDS,
    RECORDING,
    SPEAKER,
    TRIAL,
    UTTERANCE,
    merge_lines,
    present_files,
    require_directory,
    segment_recordings,
    show,
    spk2utt_lines,
    split_lines,
    write_bytes,
)


class _Merged(NamedTuple):
    """A file in order: one block of lines, which takes a fifth of the memory of a list of them."""

    data: bytes
    index: str
    mask: bytearray | None  # of a file with a line for utterance i of utt2spk or none: 1 where it has one

    def select(self, keep: bytearray, kept: dict[str, list[bytes]]) -> bytes:
        """The lines that are about the kept utterances; keep[i] is 1 for a kept one."""
        if self.mask == keep:
            return self.data
        lines = split_lines(self.data)
        if self.mask is not None:
            chosen = list(compress(lines, compress(keep, self.mask)))
        elif self.index == TRIAL:
            known = set(kept[UTTERANCE])
            chosen = [line for line in lines if line.split()[1] in known]
        else:
            known = set(kept[self.index])
            chosen = [line for line in lines if line.partition(b" ")[0] in known]
        return b"\n".join(chosen) + b"\n" if chosen else b""


def fix_data_dir(
    directory: Path, utt_extra: Sequence[str] = (), spk_extra: Sequence[str] = (), *, backup: bool = True
) -> list[str]:
    """Mend a data directory in place; returns what was done, a line each.

    utt_extra, spk_extra: further files of the directory to filter by utterance or speaker; what they lack drops
    nothing. Files that change are kept in `.backup`. Every file is read and checked before the first is
    written, and each is replaced as a whole, so that a run cut off can be repeated. Raises VouchError, with
    nothing written, at a key with two values, at a line that cannot be read, and when no utterance would remain.
    """
    require_directory(directory)
    names = present_files(directory)
    if "utt2spk" not in names:
        raise VouchError(f"{directory}/utt2spk: no such file; every data directory needs it")
    if "segments" in names and "wav.scp" not in names:
        raise VouchError(f"{directory}/segments: stands without wav.scp; add wav.scp or remove segments")
    extra = dict.fromkeys(utt_extra, UTTERANCE) | dict.fromkeys(spk_extra, SPEAKER)
    for name in extra:
        if name in KINDS or not (directory / name).is_file():
            reason = "is treated in any case" if name in KINDS else "no such file"
            raise VouchError(f"{directory}/{name}: {reason}; leave it out of the extra files")
    merged, ids, keep, report = _merge_all(directory, {name: KINDS[name].index for name in names} | extra, extra)
    if not any(keep):
        raise VouchError(f"{directory}: no utterance is in all files, nothing written; {'; '.join(report)}")
    kept = {index: list(compress(keys, keep)) for index, keys in ids.items()}
    del ids
    if "trials" in merged and not merged["trials"].select(keep, kept):
        raise VouchError(f"{directory}/trials: no test utterance is in utt2spk, nothing written; mend or remove trials")
    total, left = len(keep), len(kept[UTTERANCE])
    report.append(f"{directory}: kept {f'{left} of' if left < total else 'all'} {total} utterances")
    for name in list(merged):
        report += _replace(directory / name, merged.pop(name).select(keep, kept), backup)
    data = b"\n".join(sorted(spk2utt_lines(kept[UTTERANCE], kept[SPEAKER]))) + b"\n"
    return report + _replace(directory / "spk2utt", data, backup)


def _merge_all(
    directory: Path, index_of: dict[str, str], extra: dict[str, str]
) -> tuple[dict[str, _Merged], dict[str, list[bytes]], bytearray, list[str]]:
    """Read every file, utt2spk first. Returns (files; utterance, speaker and recording of each utterance of utt2spk;
    1 for each utterance that no file lacks; a line for each file that lacks some)."""
    path = directory / "utt2spk"
    utterances, lines = merge_lines([path], "utt2spk")
    ids = {UTTERANCE: utterances, SPEAKER: _second_fields(path, lines), RECORDING: utterances}
    keep = bytearray(b"\1") * len(utterances)
    merged = {"utt2spk": _Merged(b"\n".join(lines) + b"\n", UTTERANCE, keep[:])}
    report = []
    for name, index in list(index_of.items())[1:]:
        path = directory / name
        keys, lines = merge_lines([path], name)
        by_utterance = index != TRIAL and ids[index] is utterances
        if by_utterance and keys == utterances:
            present = bytearray(b"\1") * len(utterances)
        else:
            present = bytearray(map(set(keys).__contains__, ids.get(index, [])))
        if by_utterance and present.count(1) < len(keys):
            wanted = set(utterances)
            lines = [line for key, line in zip(keys, lines, strict=True) if key in wanted]
        del keys
        merged[name] = _Merged(b"\n".join(lines) + b"\n", index, present if by_utterance else None)
        if name == "segments":
            found = iter(segment_recordings(path, lines))
            ids[RECORDING] = [next(found) if there else b"" for there in present]
        if index == TRIAL or name in extra or all(present):
            continue
        keep = bytearray(map(and_, keep, present))
        first = show(utterances[present.index(0)])
        report.append(f"{path}: has no line for {present.count(0)} utterances, first '{first}'")
    return merged, ids, keep, report


def _second_fields(path: Path, lines: list[bytes]) -> list[bytes]:
    fields = [line.partition(b" ")[2] for line in lines]
    for line, field in zip(lines, fields, strict=True):
        if not field or b" " in field:
            raise VouchError(f"{path}: the line '{show(line)}' has {len(line.split())} fields, want 2; mend it")
    return fields


def _replace(path: Path, data: bytes, backup: bool) -> list[str]:
    """Write the file unless it is so already; returns a line when it was changed."""
    before = path.read_bytes() if path.is_file() else b""
    if data == before:
        return []
    if before and backup:
        folder = path.parent / ".backup"
        folder.mkdir(exist_ok=True)
        write_bytes(folder / path.name, before)
    write_bytes(path, data)
    old, new = before.count(b"\n") + (before[-1:] not in (b"", b"\n")), data.count(b"\n")
    return [f"{path}: sorted or cleaned, {new} lines" if old == new else f"{path}: from {old} to {new} lines"]
