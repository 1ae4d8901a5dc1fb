"""A stretch of a recording, read without what lies before and after it where the format allows."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from vouch.errors import VouchError
from vouch.io.audio import Command, Wave, read_wave
from vouch.io.decoding import pcm16_header
from vouch.io.payloads import PayloadError
from vouch.io.streams import is_pipe

# (channels, rate in Hz, samples of a channel) of a recording -> the channel from 0, the first sample and their number.
Place = Callable[[int, int, int], tuple[int, int, int]]


def read_stretch(
    rxfilename: str, first: int, count: int, commands: Mapping[str, Command] | None = None
) -> tuple[np.ndarray, int]:
    """Samples first to first + count of the first channel of a recording, fewer where it ends; and its rate in Hz.

    (n,) float32 in ±32768, n = 0 beyond the end. Of a file of 16-bit wav or flac only these samples are read; all else
    (pipes, archives, sphere) is read whole by `read_wave`, which also says what is raised.
    """
    return read_place(rxfilename, lambda *_: (0, first, count), partial(read_wave, commands=commands))


def read_place(rxfilename: str, place: Place, read: Callable[[str], Wave]) -> tuple[np.ndarray, int]:
    """As read_stretch, of the channel and samples that `place` chooses when it is told of the recording.

    read: what reads a recording whole. What `place` raises is passed on.
    """
    name = rxfilename.strip()
    if not is_pipe(name) and name != "-" and ":" not in name:
        try:
            found = _of_file(name, place)
        except (OSError, PayloadError, struct.error):
            found = None  # read says what is wrong
        if found is not None:
            return found
    wave = read(name)
    channel, first, count = place(len(wave.samples), wave.rate, wave.samples.shape[1])
    return wave.samples[channel, first : first + count], wave.rate


def _of_file(name: str, place: Place) -> tuple[np.ndarray, int] | None:
    """None where the format is another."""
    with open(name, "rb") as file:
        magic = file.read(4)
        if magic == b"fLaC":
            return _of_flac(name, place)
        header = pcm16_header(file) if magic == b"RIFF" else None
        if header is None:
            return None
        channels, rate, total = header
        channel, first, count = place(channels, rate, total)
        count = max(0, min(count, total - first))
        file.seek(first * 2 * channels, 1)
        data = file.read(count * 2 * channels)
    if len(data) < count * 2 * channels:
        raise VouchError(f"{name}: it was cut off: {total} samples promised; copy it again")
    return np.frombuffer(data, "<i2")[channel::channels].astype(np.float32), rate


def _of_flac(name: str, place: Place) -> tuple[np.ndarray, int] | None:
    import soundfile

    try:
        with soundfile.SoundFile(name) as file:
            rate = file.samplerate
            channel, first, count = place(file.channels, rate, file.frames)
            count = max(0, min(count, file.frames - first))
            file.seek(min(first, file.frames))
            samples = file.read(count, dtype="float32", always_2d=True)
    except soundfile.SoundFileError:
        return None
    if len(samples) < count:
        raise VouchError(f"{name}: it was cut off within the samples {first} to {first + count}; copy it again")
    return samples[:, channel] * np.float32(32768), rate
