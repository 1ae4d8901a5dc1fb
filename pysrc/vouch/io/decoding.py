"""Bytes of wav, flac and NIST sphere to samples. libsndfile decodes; what it lets pass silently is checked here.

libsndfile shortens a file that was cut off without a word, so the length that the header promises is read here first.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from vouch.io.payloads import PayloadError, read_exactly

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_STREAMING = 0x7FFFF000  # programs that write to a pipe put 0 or a number from here on for the size they cannot know
_CHUNK = 1 << 20
_DECODE = "decode it through a pipe, as in `ffmpeg -i FILE -f wav - |`"


class Wave(NamedTuple):
    """Audio: samples float32 (channels, samples) in the 16-bit range of +-32768, and the rate in Hz."""

    samples: np.ndarray
    rate: int


def decode(stream: BinaryIO, in_archive: bool = False) -> Wave:
    """The wave at the stream's place; in an archive (in_archive) only wav is possible, and nothing after it is read.

    Raises PayloadError, which says what is wrong, on anything but whole, finite, non-empty audio.
    """
    magic = stream.read(4)
    if not magic:
        raise PayloadError("it is empty; make it again")
    try:
        if magic == b"RIFF":
            wave = _decode_riff(stream, in_archive)
        elif in_archive:
            raise PayloadError("found no RIFF header, and an archive of waves can hold nothing else")
        elif magic == b"fLaC":
            wave = _decode_flac(magic + stream.read())
        elif magic == b"NIST":
            wave = _decode_sphere(magic + stream.read())
        else:
            raise PayloadError(f"it is not wav, flac or NIST sphere; {_DECODE}")
    except (soundfile.SoundFileError, ValueError, struct.error, OverflowError, MemoryError) as error:
        raise PayloadError(f"it cannot be decoded: {error}") from None
    if not wave.samples.shape[1]:
        raise PayloadError("it has no samples; leave it out")
    if not np.isfinite(wave.samples).all():
        raise PayloadError("it has NaN or infinite samples; leave it out, or make it again")
    return wave


def _sndfile(data: bytes) -> Wave:
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        samples = file.read(dtype="float32", always_2d=True)
        if file.frames != len(samples):
            raise PayloadError(f"it was cut off: {file.frames} samples promised, {len(samples)} there; copy it again")
        rate = file.samplerate
    samples *= np.float32(32768)
    return Wave(np.ascontiguousarray(samples.T), rate)


# --- wav --------------------------------------------------------------------------------------------------------------


def _decode_riff(stream: BinaryIO, in_archive: bool) -> Wave:
    riff_size, form = struct.unpack("<I4s", read_exactly(stream, 8))
    if form != b"WAVE":
        raise PayloadError(f"it is a RIFF file, but not wav; {_DECODE}")
    fmt, header = b"", 12
    while True:
        name, size = struct.unpack("<4sI", read_exactly(stream, 8))
        header += 8
        if name == b"data":
            break
        content = read_exactly(stream, size + size % 2)
        header += len(content)
        if name == b"fmt ":
            fmt = content
    block = _block_size(fmt)
    open_ended = size >= _STREAMING or (size == 0 and riff_size + 8 != header)
    if open_ended and in_archive:
        raise PayloadError("its header does not say how long it is, as an archive of waves needs")
    data = stream.read() if open_ended or (size == 0 and not in_archive) else _promised(stream, size, block)
    if len(data) % block:
        raise PayloadError("it was cut off within a sample; copy it again")
    head = struct.pack("<4sI4s4sI", b"RIFF", 20 + len(fmt) + len(data), b"WAVE", b"fmt ", len(fmt)) + fmt
    return _sndfile(b"".join((head, struct.pack("<4sI", b"data", len(data)), data)))


def _block_size(fmt: bytes) -> int:
    if len(fmt) < 16:
        raise PayloadError("it is a wav file without a format header; make it again")
    code, channels, rate, _, block, bits = struct.unpack("<HHIIHH", fmt[:16])
    if code == _EXTENSIBLE and len(fmt) >= 26:
        (code,) = struct.unpack("<H", fmt[24:26])
    if code not in (_PCM, _FLOAT, _ALAW, _MULAW):
        raise PayloadError(f"its wav encoding {code:#x} is not PCM, float, A-law or mu-law; {_DECODE}")
    if not channels or not rate or block != channels * ((bits + 7) // 8) or not block:
        raise PayloadError("its wav header contradicts itself; make it again")
    return block


def _promised(stream: BinaryIO, size: int, block: int) -> bytes:
    parts, left = [], size
    while left and (part := stream.read(min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    if left:
        there = (size - left) // block
        raise PayloadError(f"it was cut off: {size // block} samples promised, {there} there; copy it again")
    return b"".join(parts)


# --- flac and sphere --------------------------------------------------------------------------------------------------


def _decode_flac(data: bytes) -> Wave:
    if len(data) < 42:
        raise PayloadError("it was cut off within the header; copy it again")
    if not int.from_bytes(data[21:26], "big") & 0xFFFFFFFFF:  # its writer wrote to a pipe, and could not go back
        raise PayloadError("its header does not say how many samples it has; decode it: `flac -dc FILE |`")
    return _sndfile(data)


def _decode_sphere(data: bytes) -> Wave:
    fields, size = _sphere_header(data)
    coding = fields.get("sample_coding", "pcm").lower()
    if "," in coding or "embedded" in coding:
        raise PayloadError(f"it is a compressed sphere file ({coding}); use `sph2pipe -f wav -p -c 1 FILE |`")
    try:
        frame = int(fields.get("channel_count", "1")) * int(fields.get("sample_n_bytes", "2"))
        promised = int(fields["sample_count"])
    except (KeyError, ValueError):
        raise PayloadError("its sphere header does not say how many samples it has; make it again") from None
    there = (len(data) - size) // frame if frame > 0 else 0
    if there < promised:
        raise PayloadError(f"it was cut off: {promised} samples promised, {there} there; copy it again")
    if promised <= 0:
        raise PayloadError("it has no samples; leave it out")
    wave = _sndfile(data[: size + promised * frame])
    return Wave(wave.samples[:, :promised], wave.rate)


def _sphere_header(data: bytes) -> tuple[dict[str, str], int]:
    try:
        size = int(data[8:16])
        lines = data[16:size].decode("ascii").partition("end_head")[0].splitlines()
    except ValueError:
        raise PayloadError("its sphere header is damaged; copy it again") from None
    words = [line.split(None, 2) for line in lines]
    return {parts[0]: parts[2].strip() for parts in words if len(parts) == 3}, size
