"""Bytes of wav, flac and NIST sphere to samples. libsndfile decodes all but 16-bit wav; what it passes is checked.

libsndfile shortens a file that was cut off without a word, so the length that the header promises is read here first.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

import numpy as np

from vouch.io.payloads import PayloadError, read_exactly

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_STREAMING = 0x7FFFF000  # programs that write to a pipe put 0 or a number from here on for the size they cannot know
_CHUNK = 1 << 20
_NO_LENGTH = "its header does not say how long it is"
_DECODE = "decode it through a pipe, as in `ffmpeg -i FILE -f wav - |`"


class Wave(NamedTuple):
    """Audio: samples (channels, samples) in the 16-bit range of +-32768, and the rate in Hz.

    Samples are float32, or, only where a reader was asked for them as stored, int16.
    """

    samples: np.ndarray
    rate: int


def decode(stream: BinaryIO, in_archive: bool = False) -> Wave:
    """The wave at the stream's place; in an archive (in_archive) only wav is possible, and nothing after it is read.

    The samples of 16-bit wav are int16, those of all else float32.
    Raises PayloadError, which says what is wrong, on anything but whole, finite, non-empty audio.
    """
    return _decode(stream.read(4), stream, in_archive)


def _decode(magic: bytes, stream: BinaryIO, in_archive: bool) -> Wave:
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
    except (ValueError, struct.error, OverflowError, MemoryError) as error:
        raise PayloadError(f"it cannot be decoded: {error}") from None
    if not wave.samples.shape[1]:
        raise PayloadError("it has no samples; leave it out")
    if not np.isfinite(wave.samples).all():
        raise PayloadError("it has NaN or infinite samples; leave it out, or make it again")
    return wave


def _sndfile(data: bytes) -> Wave:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples = file.read(dtype="float32", always_2d=True)
            promised, rate = file.frames, file.samplerate
    except soundfile.SoundFileError as error:
        raise PayloadError(f"it cannot be decoded: {error}") from None
    if promised != len(samples):
        raise PayloadError(f"it was cut off: {promised} samples promised, {len(samples)} there; copy it again")
    samples *= np.float32(32768)
    return Wave(np.ascontiguousarray(samples.T), rate)


# --- wav --------------------------------------------------------------------------------------------------------------


class RiffHeader(NamedTuple):
    fmt: bytes
    block: int  # bytes of a sample of all channels
    size: int  # bytes of samples
    open_ended: bool  # `size` is not known
    to_the_end: bool  # the samples may go on to the end of the file


def riff_header(stream: BinaryIO) -> RiffHeader:
    """What stands between the magic word and the samples, where the stream is left."""
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
    open_ended = size >= _STREAMING or (size == 0 and riff_size + 8 != header)
    return RiffHeader(fmt, _block_size(fmt), size, open_ended, open_ended or size == 0)


def _decode_riff(stream: BinaryIO, in_archive: bool) -> Wave:
    header = riff_header(stream)
    if header.open_ended and in_archive:
        raise PayloadError(f"{_NO_LENGTH}, as an archive of waves needs")
    to_the_end = header.to_the_end and not in_archive
    data = stream.read() if to_the_end else _promised(stream, header.size, header.block)
    if len(data) % header.block:
        raise PayloadError("it was cut off within a sample; copy it again")
    fmt = header.fmt
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", fmt[:16])
    if code == _PCM and bits == 16:
        samples = np.frombuffer(data, "<i2").reshape(-1, channels)
        return Wave(np.ascontiguousarray(samples.T, dtype=np.int16), rate)
    head = struct.pack("<4sI4s4sI", b"RIFF", 20 + len(fmt) + len(data), b"WAVE", b"fmt ", len(fmt)) + fmt
    return _sndfile(b"".join((head, struct.pack("<4sI", b"data", len(data)), data)))


def promised_length(stream: BinaryIO, in_archive: bool = False) -> tuple[int, int]:
    """(samples, rate in Hz) that the header of the wave at the stream's place promises; flac and sphere are decoded.

    In an archive the samples are passed over. Raises PayloadError as `decode` does, and on a wav header that does not
    say how long it is.
    """
    magic = stream.read(4)
    if magic != b"RIFF":
        wave = _decode(magic, stream, in_archive)
        return wave.samples.shape[1], wave.rate
    try:
        header = riff_header(stream)
    except struct.error as error:
        raise PayloadError(f"it cannot be decoded: {error}") from None
    if header.open_ended or not header.size:
        raise PayloadError(f"{_NO_LENGTH}; --read-entire-file=true counts the samples")
    if in_archive:
        _promised(stream, header.size, header.block)
    return header.size // header.block, struct.unpack("<I", header.fmt[4:8])[0]


def pcm16_header(stream: BinaryIO) -> tuple[int, int, int] | None:
    """(channels, rate in Hz, samples) of 16-bit wav after its magic word, the stream left where the samples begin.

    None for other encodings and for a header that does not say how long it is. Raises PayloadError as `decode` does.
    """
    header = riff_header(stream)
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", header.fmt[:16])
    if (code, bits) != (_PCM, 16) or header.open_ended or not header.size:
        return None
    return channels, rate, header.size // header.block


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


def _promised(stream: BinaryIO, size: int, block: int) -> bytearray:
    data, left = bytearray(), size
    while left and (part := stream.read(min(left, _CHUNK))):
        data += part
        left -= len(part)
    if left:
        there = (size - left) // block
        raise PayloadError(f"it was cut off: {size // block} samples promised, {there} there; copy it again")
    return data


# --- flac and sphere --------------------------------------------------------------------------------------------------


def _decode_flac(data: bytes) -> Wave:
    if len(data) < 42:
        raise PayloadError("it was cut off within the header; copy it again")
    if not int.from_bytes(data[21:26], "big") & 0xFFFFFFFFF:  # its writer wrote to a pipe, and could not go back
        raise PayloadError("its header does not say how many samples it has; decode it: `flac -dc FILE |`")
    return _sndfile(data)


def _decode_sphere(data: bytes) -> Wave:
    fields, size = sphere_header(data)
    if is_compressed(fields):
        coding = fields["sample_coding"].lower()
        raise PayloadError(f"it is a compressed sphere file ({coding}); use `sph2pipe -f wav -p -c 1 FILE |`")
    _, frame, promised = sphere_counts(fields)
    there = (len(data) - size) // frame if frame > 0 else 0
    if there < promised:
        raise PayloadError(f"it was cut off: {promised} samples promised, {there} there; copy it again")
    if promised <= 0:
        raise PayloadError("it has no samples; leave it out")
    wave = _sndfile(data[: size + promised * frame])
    return Wave(wave.samples[:, :promised], wave.rate)


def is_compressed(fields: dict[str, str]) -> bool:
    """Does a sphere header say shorten or another compression?"""
    coding = fields.get("sample_coding", "pcm").lower()
    return "," in coding or "embedded" in coding


def sphere_counts(fields: dict[str, str]) -> tuple[int, int, int]:
    """(channels, bytes of a sample of all channels, samples) by a sphere header; PayloadError where it is mute."""
    try:
        channels = int(fields.get("channel_count", "1"))
        return channels, channels * int(fields.get("sample_n_bytes", "2")), int(fields["sample_count"])
    except (KeyError, ValueError):
        raise PayloadError("its sphere header does not say how many samples it has; make it again") from None


def sphere_header(data: bytes) -> tuple[dict[str, str], int]:
    """Fields of the header that a sphere file begins with, and its length in bytes; raises PayloadError on damage."""
    try:
        size = int(data[8:16])
        lines = data[16:size].decode("ascii").partition("end_head")[0].splitlines()
    except ValueError:
        raise PayloadError("its sphere header is damaged; copy it again") from None
    words = [line.split(None, 2) for line in lines]
    return {parts[0]: parts[2].strip() for parts in words if len(parts) == 3}, size
