"""The values in the files of a data directory: times, counts, genders; and the report that problems go to."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vouch.io.datadir import show

SHOWN = 3  # problems of one kind in one file that are told one by one
_ILLEGAL_WORDS = (b"<s>", b"</s>", b"#0")  # of Kaldi's language models


@dataclass
class Report:
    """What was found in a data directory: lines to show the user, and its size."""

    directory: Path
    warnings: list[str] = field(default_factory=list)
    utterances: int = 0
    speakers: int = 0
    _found: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, name: str, kind: str, line: int | None, message: str) -> None:
        """Note a problem of this kind in a line (from 1) of file `name`."""
        count = self._counts[name, kind] = self._counts.get((name, kind), 0) + 1
        if count <= SHOWN:
            where = f"{self.directory / name}:{line}" if line else f"{self.directory / name}"
            self._found.setdefault((name, kind), []).append(f"{where}: {message}")

    @property
    def count(self) -> int:
        """Number of problems, the untold ones included."""
        return sum(self._counts.values())

    def problems(self) -> list[str]:
        """One line a problem; behind the first of a kind, how many more there are."""
        lines: list[str] = []
        for (name, kind), found in self._found.items():
            lines += found
            more = self._counts[name, kind] - len(found)
            if more:
                lines.append(f"{self.directory / name}: and {more} more like this ({kind})")
        return lines


@dataclass
class CheckedFile:
    name: str
    keys: list[bytes]
    rests: list[bytes]  # what stands behind each key


def places(values: Sequence[bytes], wrong: Callable[[bytes], bool]) -> Iterator[int]:
    return (number for number, value in enumerate(values, 1) if wrong(value))


def check_segments(report: Report, file: CheckedFile) -> list[bytes]:
    """Check the times; return the recordings."""
    recordings = []
    for number, (key, rest) in enumerate(zip(file.keys, file.rests, strict=True), 1):
        fields = rest.split()
        if len(fields) != 3:
            continue
        recordings.append(fields[0])
        start, end = to_number(fields[1]), to_number(fields[2])
        if start < 0 or not start < end:  # a NaN, too
            message = (
                f"utterance '{show(key)}' goes from {show(fields[1])} to {show(fields[2])} s; want 0 <= start < end"
            )
            report.add(file.name, "times", number, message)
    return recordings


def to_number(text: bytes) -> float:
    """The number, or NaN where it is none or not finite."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _check_values(report: Report, file: CheckedFile, right: Callable[[bytes], bool], want: str) -> None:
    for number in places(file.rests, lambda rest: len(rest.split()) == 1 and not right(rest)):
        key, rest = file.keys[number - 1], file.rests[number - 1]
        report.add(file.name, "value", number, f"'{show(key)}' has '{show(rest)}', want {want}; mend the line")


def _check_positive(report: Report, file: CheckedFile) -> None:
    _check_values(report, file, lambda text: to_number(text) > 0, "a number of seconds over 0")


def _check_counts(report: Report, file: CheckedFile) -> None:
    if not (all(map(bytes.isdigit, file.rests)) and all(map(int, file.rests))):
        _check_values(report, file, lambda text: text.isdigit() and int(text) > 0, "a whole number over 0")


def _check_gender(report: Report, file: CheckedFile) -> None:
    _check_values(report, file, lambda text: text in (b"m", b"f"), "m or f")


def _check_age(report: Report, file: CheckedFile) -> None:
    _check_values(report, file, lambda text: to_number(text) > 0, "a number of years over 0")


def _check_channel(report: Report, file: CheckedFile) -> None:
    for number in places(file.rests, lambda rest: len(rest.split()) == 2 and rest.split()[1] not in (b"A", b"B", b"1")):
        report.add(file.name, "channel", number, "the channel is not A or B; mend the line")


def _check_wav(report: Report, file: CheckedFile) -> None:
    for number in places(file.rests, lambda rest: rest.startswith(b"~")):
        report.add(file.name, "tilde", number, "~ is not expanded by the tools; write the whole path")


def _check_text(report: Report, file: CheckedFile) -> None:
    for number in places(file.rests, lambda rest: any(w in rest and w in rest.split() for w in _ILLEGAL_WORDS)):
        report.add(
            file.name, "illegal word", number, "holds one of <s>, </s>, #0, which language models reserve; remove it"
        )


VALUE_CHECKS: dict[str, Callable[[Report, CheckedFile], None]] = {
    "utt2dur": _check_positive,
    "reco2dur": _check_positive,
    "utt2num_frames": _check_counts,
    "spk2gender": _check_gender,
    "spk2age": _check_age,
    "reco2file_and_channel": _check_channel,
    "wav.scp": _check_wav,
    "text": _check_text,
}


def check_audio(report: Report, file: CheckedFile) -> None:
    from tqdm import tqdm

    for number, rest in enumerate(tqdm(file.rests, desc="audio files", unit=" files", disable=None), 1):
        if not rest or rest.endswith(b"|") or rest == b"-" or os.path.isfile(rest):
            continue
        path = re.sub(rb":\d+$", b"", rest)
        if path == rest or not os.path.isfile(path):
            message = f"the audio file {show(path)} of '{show(file.keys[number - 1])}' does not exist; check the path"
            report.add(file.name, "audio missing", number, message)
