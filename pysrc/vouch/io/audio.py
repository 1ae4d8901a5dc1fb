"""Recordings of a wav.scp: files, `file:offset`, command pipes, and pieces of them by a segments file.

Source of the forms: Kaldi's feat/wave-reader and featbin/extract-segments.
"""

from __future__ import annotations

import re
import shlex
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import numpy as np

from vouch.errors import VouchError
from vouch.io.decoding import Wave, decode
from vouch.io.payloads import PayloadError
from vouch.io.segments import cut_segment, is_empty, parse_segment
from vouch.io.sequential import read_archive, read_script
from vouch.io.specifiers import parse_rspecifier
from vouch.io.streams import open_input, open_output
from vouch.io.tables import read_token_lines

__all__ = [
    "Command",
    "Wave",
    "read_wave",
    "read_waves",
    "recordings_by_name",
    "split_pipeline",
    "to_int16",
    "wave_bytes",
    "write_wave",
]

# A tool that runs inside this process: (its arguments, the wave on its standard input or None) -> its output.
Command = Callable[[list[str], Wave | None], Wave]


def read_wave(
    rxfilename: str,
    *,
    allow_pipes: bool = True,
    commands: Mapping[str, Command] | None = None,
    as_stored: bool = False,
) -> Wave:
    """One recording, (channels, samples): wav, flac or NIST sphere in a file, `file:offset`, `-` or `command |`.

    16-bit samples are given as they are, as int16 with as_stored, else as float32; other integers and floats scaled to
    +-32768. The last stages of a pipeline that are `vouch NAME …` with NAME in `commands` are computed in this process;
    what comes before them is run by the shell, or refused with allow_pipes=False. Raises VouchError on audio that is
    missing, empty, cut off, not finite or not audio.
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
        return _decode(stream, name, as_stored)


def _decode(stream: BinaryIO, name: str, as_stored: bool, in_archive: bool = False) -> Wave:
    try:
        wave = decode(stream, in_archive)
        return wave if as_stored else Wave(wave.samples.astype(np.float32, copy=False), wave.rate)
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
    as_stored: bool = False,
) -> Iterator[tuple[str, Wave]]:
    """Every (utterance, wave) of `scp:wav.scp` or `ark:…`, or, with a segments file, of each segment.

    Segment lines are `segment recording start end [channel]`, times in seconds; the last recording is kept, so that
    segments sorted by recording read each one once. on_skip is told of what Kaldi's extract-segments drops (and, with
    the option `p`, of recordings that cannot be read). allow_pipes=False refuses the commands in the script file, not
    one that the caller wrote as the table itself. as_stored: 16-bit samples as int16.
    Raises VouchError naming the utterance, the file and the reason.
    """
    specifier = parse_rspecifier(rspecifier)
    skip = on_skip or (lambda message: None)

    def load(name: str) -> Wave:
        return read_wave(name, allow_pipes=allow_pipes, commands=commands, as_stored=as_stored)

    if segments:
        if not specifier.is_scp:
            raise VouchError(f"segments need recordings by name, and '{rspecifier}' is no script file; use scp:")
        yield from _read_segments(recordings_by_name(specifier.rxfilename), segments, load, skip, specifier.permissive)
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
        yield from read_archive(specifier, lambda stream, where: _decode(stream, where, as_stored, in_archive=True))


def recordings_by_name(script: str) -> dict[str, str]:
    """The rxfilename of every recording of a script file; raises VouchError on a name that is there twice."""
    names: dict[str, str] = {}
    for key, name in read_script(script):
        if key in names:
            raise VouchError(f"{script}: recording '{key}' is there twice; remove one of the lines")
        names[key] = name
    return names


def _read_segments(
    recordings: dict[str, str],
    segments: str,
    load: Callable[[str], Wave],
    skip: Callable[[str], None],
    permissive: bool,
) -> Iterator[tuple[str, Wave]]:
    last, wave = "", None
    for number, fields in enumerate(read_token_lines(segments), 1):
        segment = parse_segment(fields, f"{segments}:{number}")
        where = f"{segments}:{number}: segment '{segment.name}'"
        if is_empty(segment):
            skip(f"{where} is empty (from {segment.start:g} to {segment.end:g} s)")
            continue
        if segment.recording not in recordings:
            skip(f"{where}: there is no recording '{segment.recording}'")
            continue
        if segment.recording != last:
            wave = None  # the old one is let go before the new one is read
            try:
                wave = load(recordings[segment.recording])
            except VouchError as error:
                if not permissive:
                    raise VouchError(f"{where}: recording '{segment.recording}': {error}") from None
                skip(f"{where}: recording '{segment.recording}': {error}")
            last = segment.recording
        if wave is None:
            continue
        piece = cut_segment(wave, segment)
        if isinstance(piece, str):
            skip(f"{where} {piece}")
        else:
            yield segment.name, piece


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples as a 16-bit file holds them: truncated towards zero as Kaldi does, clipped to the range."""
    return np.clip(np.trunc(samples), -32768, 32767).astype(np.int16)


def wave_bytes(wave: Wave) -> bytes:
    """A 16-bit PCM wav file of (channels, samples), byte for byte as Kaldi writes it; see `to_int16`.

    Raises ValueError when there are no samples, or NaN among them.
    """
    channels, count = wave.samples.shape if wave.samples.ndim == 2 else (0, 0)
    if not channels or not count or not np.isfinite(wave.samples).all():
        raise ValueError("there are no samples, or NaN among them")
    size = 2 * channels * count
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, wave.rate, 2 * channels * wave.rate, 2 * channels, 16)
    head = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + fmt + struct.pack("<4sI", b"data", size)
    return head + to_int16(wave.samples).T.astype("<i2").tobytes()


def write_wave(wxfilename: str, wave: Wave) -> None:
    """Write (channels, samples) as 16-bit PCM wav to a file, `-` or `| command`; see `wave_bytes`.

    Raises VouchError when there are no samples, or NaN among them, or the file cannot be written.
    """
    try:
        data = wave_bytes(wave)
    except (ValueError, struct.error) as error:
        raise VouchError(f"{wxfilename}: {error}; nothing was written") from None
    with open_output(wxfilename) as stream:
        stream.write(data)
