"""Durations of the utterances of a data directory, after Kaldi's utils/data/get_utt2dur.sh."""

from __future__ import annotations

import re
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool
from pathlib import Path

from vouch.errors import VouchError
from vouch.io.datadir import (
    FRAME_SHIFT,
    read_bytes,
    read_pairs,
    read_utt2spk,
    show,
    split_lines,
    tidy_lines,
    write_lines,
)


def write_utt2dur(
    directory: Path, *, frame_shift: float | None = None, threads: int = 8, allow_pipes: bool = True
) -> str:
    """Write utt2dur, seconds with five decimals; returns the name of the file that the durations come from.

    They come from segments, else from utt2num_frames times the frame shift (seconds; by default that of the
    directory's file frame_shift, else 0.01), else from the headers of the audio files; only what comes through a
    pipe is read as a whole. Raises VouchError at an utterance without a positive duration.
    """
    utterances, _ = read_utt2spk(directory)
    if (directory / "segments").is_file():
        name, durations = "segments", _from_segments(directory / "segments")
    elif (directory / "utt2num_frames").is_file():
        name, durations = "utt2num_frames", _from_frames(directory, frame_shift)
    elif (directory / "wav.scp").is_file():
        name, durations = "wav.scp", _from_audio(directory / "wav.scp", threads, allow_pipes)
    else:
        raise VouchError(
            f"{directory}: has none of segments, utt2num_frames, wav.scp to take durations from; add wav.scp"
        )
    lines, known = [], set(utterances)
    for key, duration in durations:
        if duration < 5e-6:
            raise VouchError(f"{directory}/{name}: utterance '{show(key)}' lasts {duration} s; remove it")
        known.discard(key)
        lines.append(key + b" " + f"{duration:.5f}".rstrip("0").rstrip(".").encode())
    if known:
        first = show(min(known))
        raise VouchError(
            f"{directory}/{name}: lacks {len(known)} utterances (first '{first}'); run fix_data_dir.sh {directory}"
        )
    write_lines(directory / "utt2dur", lines)
    return name


def has_utt2dur(directory: Path) -> bool:
    """Is there a utt2dur of exactly the utterances of utt2spk?"""
    path = directory / "utt2dur"
    return path.is_file() and path.stat().st_size > 0 and read_pairs(path)[0] == read_utt2spk(directory)[0]


def _to_float(path: Path, number: int, text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise VouchError(f"{path}:{number}: '{show(text)}' is not a number; mend the line") from None


def _from_segments(path: Path) -> Iterable[tuple[bytes, float]]:
    for number, line in enumerate(split_lines(read_bytes(path)), 1):
        fields = line.split()
        if len(fields) != 4:
            raise VouchError(f"{path}:{number}: has {len(fields)} fields, want 4 (utterance recording start end)")
        yield fields[0], _to_float(path, number, fields[3]) - _to_float(path, number, fields[2])


def _from_frames(directory: Path, frame_shift: float | None) -> Iterable[tuple[bytes, float]]:
    path = directory / "utt2num_frames"
    shift_file = directory / FRAME_SHIFT
    if frame_shift is None:
        frame_shift = _to_float(shift_file, 1, read_bytes(shift_file).strip()) if shift_file.is_file() else 0.01
    for number, (key, frames) in enumerate(zip(*read_pairs(path), strict=True), 1):
        yield key, _to_float(path, number, frames) * frame_shift


def _from_audio(path: Path, threads: int, allow_pipes: bool) -> Iterable[tuple[bytes, float]]:
    from tqdm import tqdm

    lines = tidy_lines(read_bytes(path), "wav.scp")
    keys, rests = [line.partition(b" ")[0] for line in lines], [line.partition(b" ")[2] for line in lines]
    with ThreadPool(threads) as pool:
        durations = pool.imap(
            lambda pair: _audio_duration(*pair, allow_pipes), zip(keys, rests, strict=True), chunksize=16
        )
        yield from zip(
            keys, tqdm(durations, total=len(keys), desc="durations", unit=" files", disable=None), strict=True
        )


def _audio_duration(key: bytes, rest: bytes, allow_pipes: bool) -> float:
    import soundfile

    from vouch.io.audio import read_wave

    name = show(rest)
    if name.endswith("|") or re.search(r":\d+$|\]$", name):
        try:
            wave = read_wave(name, allow_pipes=allow_pipes)
        except VouchError as error:
            raise VouchError(f"utterance '{show(key)}': {error}") from None
        return wave.samples.shape[1] / wave.rate
    try:
        info = soundfile.info(name)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise VouchError(f"utterance '{show(key)}': {name}: {reason}; check the path and the file") from None
    return info.frames / info.samplerate
