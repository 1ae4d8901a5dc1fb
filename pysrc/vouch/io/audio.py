"""Recordings of a wav.scp: files, `file:offset`, command pipes, and pieces of them by a segments file.

Source of the forms: Kaldi's feat/wave-reader and featbin/extract-segments.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import numpy as np
import soundfile

from vouch.errors import VouchError
from vouch.io.decoding import Wave, decode
from vouch.io.payloads import PayloadError
from vouch.io.sequential import read_archive, read_script
from vouch.io.specifiers import parse_rspecifier
from vouch.io.streams import open_input, open_output
from vouch.io.tables import read_token_lines

__all__ = ["Command", "Wave", "read_wave", "read_waves", "split_pipeline", "to_int16", "write_wave"]

# A tool that runs inside this process: (its arguments, the wave on its standard input or None) -> its output.
Command = Callable[[list[str], Wave | None], Wave]

MIN_SEGMENT_SECONDS = 0.05
MAX_OVERSHOOT_SECONDS = 0.5


def read_wave(rxfilename: str, *, allow_pipes: bool = True, commands: Mapping[str, Command] | None = None) -> Wave:
    """One recording, (channels, samples): wav, flac or NIST sphere in a file, `file:offset`, `-` or `command |`.

    16-bit samples are given as they are, other integers and floats scaled to +-32768. The last stages of a pipeline
    that are `vouch NAME …` with NAME in `commands` are computed in this process; what comes before them is run by the
    shell, or refused with allow_pipes=False. Raises VouchError on audio that is missing, empty, cut off, not finite or
    not audio.
    """
    name = rxfilename.strip()
    if name.endswith("|"):
        before, stages = split_pipeline(name[:-1], commands or {})
        if (before or not stages) and not allow_pipes:
            raise VouchError(f"'{name}' is a command, and pipes are not allowed; pass --allow-pipes=true to run it")
        if stages:
            wave = read_wave(f"{before}|") if before else None
            for tool, argv in stages:
                wave = commands[tool](argv, wave)
            return wave
    with open_input(name) as stream:
        return _decode(stream, name)


def _decode(stream: BinaryIO, name: str, in_archive: bool = False) -> Wave:
    try:
        return decode(stream, in_archive)
    except PayloadError as error:
        raise VouchError(f"{name}: cannot read the audio: {error}") from None
    except OSError as error:
        raise VouchError(f"{name}: cannot read the audio: {error.strerror or error}; check the disk") from None


_PIECE = re.compile(r"""'[^']*'|"[^"$`\\]*"|\|\|?|[^|'"]+|.""", re.DOTALL)
_SHELL_SYNTAX = re.compile(r"[$`\\!*?\[\]{}~#\n();<>&'\"]")


def split_pipeline(command: str, tools: Mapping[str, object]) -> tuple[str, list[tuple[str, list[str]]]]:
    """(what the shell must run, stages (tool, arguments)) of `a … | vouch B … | vouch C …`.

    The stages are the longest end of the pipeline that is `vouch NAME …` with NAME in `tools` and needs no shell.
    """
    texts, plain = [""], [True]  # each stage as written, and whether it has no shell syntax outside its quotes
    for piece in _PIECE.findall(command):
        if piece == "|":
            texts.append("")
            plain.append(True)
        else:
            quoted = len(piece) > 1 and piece[0] in "'\""
            texts[-1] += piece
            plain[-1] &= quoted or (piece != "||" and not _SHELL_SYNTAX.search(piece))
    stages: list[tuple[str, list[str]]] = []
    while texts and plain[-1]:
        words = shlex.split(texts[-1])
        if len(words) < 2 or words[0] != "vouch" or words[1] not in tools:
            break
        stages.insert(0, (words[1], words[2:]))
        texts.pop()
        plain.pop()
    if not all("||" not in text for text in texts):
        return command, []  # `a || b | vouch …`: the shell groups it otherwise
    return "|".join(texts), stages


def read_waves(
    rspecifier: str,
    segments: str = "",
    *,
    allow_pipes: bool = True,
    commands: Mapping[str, Command] | None = None,
    on_skip: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, Wave]]:
    """Every (utterance, wave) of `scp:wav.scp` or `ark:…`, or, with a segments file, of each segment.

    Segment lines are `segment recording start end [channel]`, times in seconds; the last recording is kept, so that
    segments sorted by recording read each one once. on_skip is told of what Kaldi's extract-segments drops (and, with
    the option `p`, of recordings that cannot be read). allow_pipes=False refuses the commands in the script file, not
    one that the caller wrote as the table itself. Raises VouchError naming the utterance, the file and the reason.
    """
    specifier = parse_rspecifier(rspecifier)
    skip = on_skip or (lambda message: None)

    def load(name: str) -> Wave:
        return read_wave(name, allow_pipes=allow_pipes, commands=commands)

    if segments:
        if not specifier.is_scp:
            raise VouchError(f"segments need recordings by name, and '{rspecifier}' is no script file; use scp:")
        yield from _read_segments(dict(_unique(specifier.rxfilename)), segments, load, skip, specifier.permissive)
    elif specifier.is_scp:
        for utterance, name in read_script(specifier.rxfilename):
            try:
                wave = load(name)
            except VouchError as error:
                if not specifier.permissive:
                    raise VouchError(f"utterance '{utterance}': {error}") from None
                skip(f"utterance '{utterance}': {error}")
                continue
            yield utterance, wave
    else:
        yield from read_archive(specifier, lambda stream, where: _decode(stream, where, in_archive=True))


def _unique(script: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for key, name in read_script(script):
        if key in seen:
            raise VouchError(f"{script}: recording '{key}' is there twice; remove one of the lines")
        seen.add(key)
        yield key, name


def _read_segments(
    recordings: dict[str, str],
    segments: str,
    load: Callable[[str], Wave],
    skip: Callable[[str], None],
    permissive: bool,
) -> Iterator[tuple[str, Wave]]:
    last, wave = "", None
    for number, fields in enumerate(read_token_lines(segments, (4, 5)), 1):
        segment, recording = fields[:2]
        where = f"{segments}:{number}: segment '{segment}'"
        start, end, channel = _times(fields, where)
        if start < 0 or (end != -1 and (end <= 0 or start >= end)):
            skip(f"{where} is empty (from {start:g} to {end:g} s)")
            continue
        if recording not in recordings:
            skip(f"{where}: there is no recording '{recording}'")
            continue
        if recording != last:
            wave = None  # the old one is let go before the new one is read
            try:
                wave = load(recordings[recording])
            except VouchError as error:
                if not permissive:
                    raise VouchError(f"{where}: recording '{recording}': {error}") from None
                skip(f"{where}: recording '{recording}': {error}")
            last = recording
        if wave is None:
            continue
        piece = _cut(wave, start, end, channel)
        if isinstance(piece, str):
            skip(f"{where} {piece}")
        else:
            yield segment, piece


def _times(fields: list[str], where: str) -> tuple[float, float, int | None]:
    try:
        start, end = float(fields[2]), float(fields[3])
        channel = int(fields[4]) if len(fields) == 5 else None
    except ValueError:
        raise VouchError(f"{where}: '{' '.join(fields[2:])}' is not START END [CHANNEL]; mend the line") from None
    if not (np.isfinite([start, end]).all() and abs(start) < 1e9 and abs(end) < 1e9) or (channel or 0) < 0:
        raise VouchError(f"{where}: '{' '.join(fields[2:])}' is not START END [CHANNEL]; mend the line")
    return start, end, channel


def _cut(wave: Wave, start: float, end: float, channel: int | None) -> Wave | str:
    """The piece from start to end (seconds; -1 = to the end), or why it is dropped."""
    channels, length = wave.samples.shape
    first = int(start * wave.rate + 0.5)
    stop = length if end == -1 else int(end * wave.rate + 0.5)
    if first >= length:
        return f"begins at {start:g} s, after the recording's end"
    if stop >= length + int(MAX_OVERSHOOT_SECONDS * wave.rate):
        return f"ends at {end:g} s, too far after the recording's end ({length / wave.rate:g} s)"
    stop = min(stop, length)
    if stop <= first + int(MIN_SEGMENT_SECONDS * wave.rate):
        return f"is shorter than {MIN_SEGMENT_SECONDS} s"
    if channel is not None and channel >= channels:
        return f"wants channel {channel} of a recording with {channels}"
    chosen = slice(None) if channel is None else slice(channel, channel + 1)
    return Wave(wave.samples[chosen, first:stop].copy(), wave.rate)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples as a 16-bit file holds them: truncated towards zero as Kaldi does, clipped to the range."""
    return np.clip(np.trunc(samples), -32768, 32767).astype(np.int16)


def write_wave(wxfilename: str, wave: Wave) -> None:
    """Write (channels, samples) as 16-bit PCM wav to a file, `-` or `| command`; see `to_int16`.

    Raises VouchError when there are no samples, or NaN among them, or the file cannot be written.
    """
    if wave.samples.ndim != 2 or not wave.samples.size or not np.isfinite(wave.samples).all():
        raise VouchError(f"{wxfilename}: there are no samples, or NaN among them; nothing was written")
    buffer = io.BytesIO()
    soundfile.write(buffer, to_int16(wave.samples).T, wave.rate, format="WAV", subtype="PCM_16")
    with open_output(wxfilename) as stream:
        stream.write(buffer.getbuffer())
