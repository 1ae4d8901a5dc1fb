"""What the header of an audio file promises, without decoding it: wav, flac and NIST sphere, compressed ones too."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from vouch.errors import VouchError
from vouch.io.decoding import is_compressed, riff_header, sphere_counts, sphere_header
from vouch.io.payloads import PayloadError


class AudioHeader(NamedTuple):
    """Channels, rate in Hz and samples of each channel; compressed: sphere that only sph2pipe can decode."""

    channels: int
    rate: int
    samples: int
    compressed: bool = False


def read_header(path: str | Path) -> AudioHeader:
    """The header of a file, some hundred bytes of which are read.

    Raises VouchError on a file that is missing, empty, no audio, without samples, or, wav and uncompressed sphere,
    shorter than its header promises.
    """
    try:
        with open(path, "rb") as file:
            header = _read(file, os.fstat(file.fileno()).st_size)
        if min(header[:3]) < 1:
            raise PayloadError("it has no samples; leave it out")
    except PayloadError as error:
        raise VouchError(f"{path}: cannot read the audio: {error}") from None
    except (ValueError, KeyError, struct.error):
        raise VouchError(f"{path}: cannot read the audio: its header is damaged; copy it again") from None
    except OSError as error:
        raise VouchError(f"{path}: cannot read the audio: {error.strerror or error}") from None
    return header


def _read(file: BinaryIO, size: int) -> AudioHeader:
    magic = file.read(4)
    if magic == b"NIST":
        return _of_sphere(magic + file.read(12), file, size)
    if magic == b"RIFF":
        return _of_riff(file, size)
    if magic == b"fLaC":
        # STREAMINFO is the first block: 20 bits of rate, 3 of channels - 1, 5 of width, 36 of samples (RFC 9639, 8.2).
        packed = int.from_bytes(file.read(22)[-8:], "big")
        return AudioHeader((packed >> 41 & 7) + 1, packed >> 44, packed & 0xFFFFFFFFF)
    raise PayloadError("it is empty; copy it again" if not magic else "it is not wav, flac or NIST sphere")


def _of_sphere(start: bytes, file: BinaryIO, size: int) -> AudioHeader:
    data = start + file.read(max(0, int(start[8:16]) - len(start)))
    fields, length = sphere_header(data)
    channels, frame, samples = sphere_counts(fields)
    if is_compressed(fields):
        return AudioHeader(channels, int(fields["sample_rate"]), samples, True)
    _check_length(samples, size - length, frame)
    return AudioHeader(channels, int(fields["sample_rate"]), samples)


def _of_riff(file: BinaryIO, size: int) -> AudioHeader:
    header = riff_header(file)
    channels, rate = struct.unpack("<2xHI", header.fmt[:8])
    there = size - file.tell()
    if header.to_the_end:
        return AudioHeader(channels, rate, there // header.block)
    samples = header.size // header.block
    _check_length(samples, there, header.block)
    return AudioHeader(channels, rate, samples)


def _check_length(samples: int, there: int, frame: int) -> None:
    """there: bytes after the header; frame: bytes of a sample of all channels."""
    if frame > 0 and samples * frame > there:
        raise PayloadError(f"it was cut off: {samples} samples promised, {there // frame} there; copy it again")
