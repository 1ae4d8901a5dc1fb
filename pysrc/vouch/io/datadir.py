"""The files of a Kaldi data directory: what each is, and reading and writing them whole.

Ids and lines are handled as bytes, in C order, in lists: a directory of 1.2 million utterances is read without an
object per field. The rules are those of Kaldi's utils/validate_data_dir.sh and fix_data_dir.sh.
"""

from __future__ import annotations

import glob
import os
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import lt
from pathlib import Path
from typing import NamedTuple

from vouch.errors import VouchError


class FileKind(NamedTuple):
    """A file of a data directory: what its first field names, and how many fields a line has (None: no limit)."""

    index: str
    least: int
    most: int | None


UTTERANCE, SPEAKER, RECORDING, TRIAL = "utterance", "speaker", "recording", "trial"

# Without a segments file every recording is an utterance, and recordings are named as utterances.
KINDS: dict[str, FileKind] = {
    "utt2spk": FileKind(UTTERANCE, 2, 2),
    "segments": FileKind(UTTERANCE, 4, 4),
    "wav.scp": FileKind(RECORDING, 2, None),
    "reco2file_and_channel": FileKind(RECORDING, 3, 3),
    "reco2dur": FileKind(RECORDING, 2, 2),
    "text": FileKind(UTTERANCE, 1, None),
    "feats.scp": FileKind(UTTERANCE, 2, None),
    "vad.scp": FileKind(UTTERANCE, 2, None),
    "utt2dur": FileKind(UTTERANCE, 2, 2),
    "utt2num_frames": FileKind(UTTERANCE, 2, 2),
    "utt2lang": FileKind(UTTERANCE, 2, 2),
    "utt2uniq": FileKind(UTTERANCE, 2, 2),
    "cmvn.scp": FileKind(SPEAKER, 2, None),
    "spk2gender": FileKind(SPEAKER, 2, 2),
    "spk2age": FileKind(SPEAKER, 2, 2),
    "spk2lang": FileKind(SPEAKER, 2, 2),
    "trials": FileKind(TRIAL, 3, 3),
}
FRAME_SHIFT = "frame_shift"  # one number, seconds
_NO_ODD_SPACE = bytes(set(range(256)) - set(b"\t\r"))
CONTROL = bytes(set(range(32)) - set(b"\t\n\r") | {127})  # characters that no file may hold
_NO_CONTROL = bytes(set(range(256)) - set(CONTROL))
ALL_FILES = (*KINDS, "spk2utt", FRAME_SHIFT)


def show(field: bytes) -> str:
    """A field as text for a message."""
    return field.decode("utf-8", "backslashreplace")


def require_directory(directory: Path) -> None:
    """Raise VouchError unless this is a directory."""
    if not directory.is_dir():
        raise VouchError(f"{directory}: no such data directory; check the path, or prepare the data first")


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises VouchError when it is missing, not readable or empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VouchError(f"{path}: cannot be read: {error.strerror}; check the data directory") from None
    if not data:
        raise VouchError(f"{path}: is empty; remove it, or make it again")
    return data


def split_lines(data: bytes) -> list[bytes]:
    """Lines without their newline; a last line without newline counts."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def split_keys(data: bytes, lines: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """First field of every line and the rest behind the white space; both b"" for an empty line."""
    if not _is_irregular(data):
        return [line.partition(b" ")[0] for line in lines], [line.partition(b" ")[2] for line in lines]
    keys, rests = [], []
    for line in lines:
        fields = line.split(None, 1)
        keys.append(fields[0] if fields else b"")
        rests.append(fields[1].rstrip() if len(fields) > 1 else b"")
    return keys, rests


def tidy_lines(data: bytes, name: str) -> list[bytes]:
    """Lines of file `name` with one space behind the key (between all fields where their number is fixed), without
    white space at the ends, carriage returns and empty lines."""
    lines = split_lines(data)
    if not _is_irregular(data):
        return lines
    splits = -1 if name in KINDS and KINDS[name].most else 1
    return [b" ".join(line.rstrip().split(None, splits)) for line in lines if line.strip()]


def _is_irregular(data: bytes) -> bool:
    """Is there white space other than one space behind a key or field, and one newline behind a line?"""
    if data[:1] in (b" ", b"\n") or data[-1:] == b" " or data.translate(None, _NO_ODD_SPACE):
        return True
    return any(text in data for text in (b"  ", b" \n", b"\n ", b"\n\n"))


def line_keys(name: str, lines: Sequence[bytes]) -> list[bytes]:
    """What identifies each tidy line of file `name`: its first field; of a trial, `MODEL UTTERANCE`."""
    if name == "trials":
        return [b" ".join(line.split()[:2]) for line in lines]
    return [line.partition(b" ")[0] for line in lines]


def is_increasing(keys: Sequence[bytes]) -> bool:
    """Sorted in C order and each key once."""
    return all(map(lt, keys, islice(keys, 1, None)))


def read_pairs(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Keys and values of a file of two fields a line, such as utt2spk. Raises VouchError at the first other line."""
    data = read_bytes(path)
    lines = split_lines(data)
    keys, values = split_keys(data, lines)
    if _is_irregular(data) or b"" in values or data.count(b" ") != len(lines):
        for number, line in enumerate(lines, 1):
            if len(line.split()) != 2:
                raise VouchError(
                    f"{path}:{number}: '{show(line)}' has {len(line.split())} fields, want 2; mend the line"
                )
    return keys, values


def read_utt2spk(directory: Path) -> tuple[list[bytes], list[bytes]]:
    """Utterances, and the speaker of each, of a data directory in the file's order.

    Raises VouchError when there is none, at a malformed line and at an utterance that stands twice.
    """
    require_directory(directory)
    path = directory / "utt2spk"
    utterances, speakers = read_pairs(path)
    if not is_increasing(utterances) and len(set(utterances)) != len(utterances):
        first: dict[bytes, int] = {}
        for number, utterance in enumerate(utterances, 1):
            if utterance in first:
                raise VouchError(
                    f"{path}:{number}: utterance '{show(utterance)}' stands again (first in line {first[utterance]}); "
                    f"run fix_data_dir.sh {directory}"
                )
            first[utterance] = number
    return utterances, speakers


def spk2utt_lines(utterances: Sequence[bytes], speakers: Sequence[bytes]) -> list[bytes]:
    """Lines of spk2utt in order of each speaker's first appearance (Kaldi utils/utt2spk_to_spk2utt.pl)."""
    utterances_of: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for speaker, utterance in zip(speakers, utterances, strict=True):
        utterances_of[speaker].append(utterance)
    return [b" ".join((speaker, *found)) for speaker, found in utterances_of.items()]


def segment_recordings(path: Path, lines: Sequence[bytes]) -> list[bytes]:
    """Recording of every line of a segments file. Raises VouchError at a line without 4 fields."""
    recordings = []
    for line in lines:
        fields = line.split()
        if len(fields) != 4:
            wanted = "4 (utterance recording start end)"
            raise VouchError(f"{path}: the line '{show(line)}' has {len(fields)} fields, want {wanted}; mend it")
        recordings.append(fields[1])
    return recordings


def present_files(directory: Path, names: Sequence[str] = tuple(KINDS)) -> list[str]:
    """Those of the named files that the directory has."""
    return [name for name in names if (directory / name).is_file()]


def write_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Write the lines beside `path` and rename; on any error nothing is left behind."""
    write_bytes(path, b"\n".join(lines) + b"\n" if lines else b"")


def write_bytes(path: Path, data: bytes) -> None:
    """Write the data beside `path` and rename; on any error nothing is left behind."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def has_control_characters(data: bytes) -> bool:
    """Is there a control character other than tab, newline and carriage return?"""
    return bool(data.translate(None, _NO_CONTROL))


def _read_tidy_lines(path: Path, name: str) -> list[bytes]:
    data = read_bytes(path)
    if has_control_characters(data):
        number = next(n for n, line in enumerate(split_lines(data), 1) if has_control_characters(line))
        raise VouchError(f"{path}:{number}: has a control character; remove it")
    lines = tidy_lines(data, name)
    if not lines:
        raise VouchError(f"{path}: has only empty lines; remove it, or make it again")
    return lines


def merge_lines(paths: Sequence[Path], name: str, lines: list[bytes] | None = None) -> tuple[list[bytes], list[bytes]]:
    """Keys and tidy lines of one kind of file out of one or several directories, sorted, equal lines once.

    Raises VouchError at a control character, in a file without lines, and when two lines have one key and
    different values, naming both: choosing would be a guess.
    """
    lines = [line for path in paths for line in _read_tidy_lines(path, name)]
    if not is_increasing(lines):
        lines.sort()  # the order of the keys, for the space behind a key comes before every character of a key
        lines = b"\n".join(lines).split(b"\n")  # neighbours in memory again, which all later passes gain from
    keys = line_keys(name, lines)
    if is_increasing(keys):
        return keys, lines
    once = [0]
    for i in range(1, len(keys)):
        if keys[i] != keys[i - 1]:
            once.append(i)
        elif lines[i] != lines[i - 1]:
            where = " and ".join(_find_line(paths, name, line) for line in (lines[i - 1], lines[i]))
            raise VouchError(f"{where}: '{show(keys[i])}' has two different values; remove the wrong line")
    return [keys[i] for i in once], [lines[i] for i in once]


def _find_line(paths: Sequence[Path], name: str, wanted: bytes) -> str:
    for path in paths:
        for number, line in enumerate(split_lines(read_bytes(path)), 1):
            if line and tidy_lines(line, name) == [wanted]:
                return f"{path}:{number}"
    raise VouchError(f"{paths[0]}: changed while it was read; run again")


@contextmanager
def staged_directory(destination: Path) -> Iterator[Path]:
    """A folder beside `destination` to write a data directory into; on success its files replace those there.

    Data files that `destination` had and the new directory has not are removed: they would describe other
    utterances. Everything else there (logs, archives) stays. On an error, `destination` is as it was.
    """
    if destination.exists() and not destination.is_dir():
        raise VouchError(f"{destination}: is a file, not a data directory; give another destination")
    destination.parent.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    for left_over in destination.parent.glob(f".{glob.escape(destination.name)}.{host}.*.tmp"):
        if not _is_running(left_over.name.split(".")[-2]):
            shutil.rmtree(left_over, ignore_errors=True)
    stage = destination.parent / f".{destination.name}.{host}.{os.getpid()}.tmp"
    stage.mkdir()
    try:
        yield stage
        _install(stage, destination)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _install(stage: Path, destination: Path) -> None:
    try:  # rather than ask whether it is there: another process may split the same directory at this moment
        os.rename(stage, destination)
        return
    except OSError:
        if not destination.is_dir():
            raise
    for name in present_files(destination, ALL_FILES):
        if not (stage / name).exists():
            (destination / name).unlink(missing_ok=True)
    for path in sorted(stage.iterdir()):
        os.replace(path, destination / path.name)
