"""Tools on recordings: segments, durations, copies, channels and stretches, reverberation and noise, speed, made rooms
and noises, augmented data directories."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.augmentation import augment_data_dir
from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.cli.wave_commands import WaveCache, change_speed, in_process_commands, reverberate
from vouch.cli.wave_cut import cut
from vouch.errors import VouchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np


__all__ = [
    "augment_data_dir",
    "extract_segments",
    "make_noises",
    "make_rooms",
    "wav_copy",
    "wav_cut",
    "wav_reverberate",
    "wav_speed",
    "wav_to_duration",
]

FOLDERS = ("noise", "music")


def extract_segments(argv: list[str]) -> None:
    """Segments of recordings (Kaldi, extract-segments)."""
    parser = ToolOptions(
        "extract-segments",
        "[options] WAV_RSPECIFIER SEGMENTS_FILE WAV_WSPECIFIER",
        "Cuts recordings into segments, in the order of the lines SEGMENT RECORDING START END [CHANNEL] of a file; "
        "times are in seconds, an END of -1 is that of the recording. What cannot be cut is warned of and left out. A "
        "recording is read once when its segments stand together.",
        (3, 3),
    )
    parser.add("min-segment-length", 0.1, "leave out shorter segments, seconds", single=True)
    parser.add("max-overshoot", 0.5, "cut at the end what ends at most so much after it, seconds", single=True)
    options, (wav_rspecifier, segments_file, wav_wspecifier) = parser.parse(argv)
    from vouch.io.segments import cut_segment, is_empty, parse_segment
    from vouch.io.tables import read_token_lines
    from vouch.io.wave_tables import WaveWriter, open_waves

    lines = done = 0
    with open_waves(wav_rspecifier, in_process_commands()) as waves, WaveWriter(wav_wspecifier) as writer:
        for fields in read_token_lines(segments_file, (0, None)):
            lines += 1
            where = f"{segments_file}:{lines}"
            try:
                segment = parse_segment(fields, where)
            except VouchError as error:
                warn(f"left out: {error}")
                continue
            if is_empty(segment):
                warn(f"{where}: left out: segment {segment.name} is empty: {segment.start:g} to {segment.end:g} s")
                continue
            if segment.recording not in waves:
                warn(f"Could not find recording {segment.recording}, skipping segment {segment.name}")
                continue
            piece = cut_segment(waves[segment.recording], segment, options.min_segment_length, options.max_overshoot)
            if isinstance(piece, str):
                warn(f"{where}: left out: segment {segment.name} {piece}")
                continue
            if len(piece.samples) > 1:
                raise VouchError(
                    f"{where}: recording {segment.recording} has {len(piece.samples)} channels; name one in a fifth "
                    "field of the line"
                )
            writer.write(segment.name, piece)
            done += 1
    log(f"Successfully processed {done} lines out of {lines} in the segments file.")


def wav_to_duration(argv: list[str]) -> int:
    """Duration of recordings in seconds (Kaldi, wav-to-duration)."""
    parser = ToolOptions(
        "wav-to-duration",
        "[options] WAV_RSPECIFIER DURATION_WSPECIFIER",
        "Writes the duration in seconds of every recording of a table, by default that which its header promises.",
        (2, 2),
    )
    parser.add("read-entire-file", False, "count the samples that are there, else believe the header")
    options, (wav_rspecifier, duration_wspecifier) = parser.parse(argv)
    import numpy as np

    from vouch.io.tables import TableWriter

    done, total, least, most = 0, 0.0, math.inf, 0.0
    with TableWriter(duration_wspecifier, "float") as writer:
        for key, samples, rate in _lengths(wav_rspecifier, options.read_entire_file):
            duration = float(np.float32(samples) / np.float32(rate))
            writer.write(key, duration)
            done, total = done + 1, total + duration
            least, most = min(least, duration), max(most, duration)
    log(f"Printed duration for {done} audio files.")
    if done:
        log(f"Mean duration was {total / done:.6g}, min and max durations were {least:.6g}, {most:.6g}")
    return 0 if done else 1


def _lengths(rspecifier: str, entire: bool) -> Iterator[tuple[str, int, int]]:
    """(key, samples, rate) of every recording."""
    from vouch.io.audio import read_waves
    from vouch.io.wave_tables import read_wave_lengths

    if entire:
        for key, wave in read_waves(rspecifier, commands=in_process_commands(), on_skip=warn):
            yield key, wave.samples.shape[1], wave.rate
    else:
        for key, (samples, rate) in read_wave_lengths(rspecifier, warn):
            yield key, samples, rate


def wav_copy(argv: list[str]) -> int:
    """Copy one recording, or a table of them (Kaldi, wav-copy)."""
    parser = ToolOptions(
        "wav-copy",
        "(WAV_RSPECIFIER WAV_WSPECIFIER | WAV_IN WAV_OUT)",
        "Copies recordings as 16-bit wav, from a table to a table or from a file to a file, e.g. of an archive: "
        "vouch wav-copy wav.ark:1234 -",
        (2, 2),
    )
    _, (source, target) = parser.parse(argv)
    from vouch.io.audio import read_wave, read_waves, write_wave
    from vouch.io.specifiers import is_table
    from vouch.io.wave_tables import WaveWriter

    if is_table(source) != is_table(target):
        raise VouchError(f"'{source}' and '{target}': both must be tables (ark:, scp:) or both files")
    if not is_table(source):
        write_wave(target, read_wave(source, commands=in_process_commands()))
        return 0
    done = 0
    with WaveWriter(target) as writer:
        for key, wave in read_waves(source, commands=in_process_commands(), on_skip=warn):
            writer.write(key, wave)
            done += 1
    log(f"Copied {done} wave files")
    return 0 if done else 1


def wav_reverberate(argv: list[str]) -> None:
    """Reverberation and additive noise for one recording (Kaldi, wav-reverberate)."""
    _run(reverberate, argv)


def wav_speed(argv: list[str]) -> None:
    """One recording faster or slower (sox, speed)."""
    _run(change_speed, argv)


def wav_cut(argv: list[str]) -> None:
    """One channel of one recording, from one time to another, at another sample rate (sph2pipe -c; sox, trim, rate)."""
    _run(cut, argv)


def _run(command: Callable, argv: list[str]) -> None:
    wave, output = command(argv, None, WaveCache())
    from vouch.io.audio import write_wave

    write_wave(output, wave)


def make_rooms(argv: list[str]) -> None:
    """Room impulse responses in OUT_DIR/wav and their list OUT_DIR/rirs.scp."""
    parser = ToolOptions(
        "make-rooms",
        "[options] OUT_DIR",
        "Makes impulse responses of random shoebox rooms by the image-source method: OUT_DIR/wav and OUT_DIR/rirs.scp, "
        "which is written last. Small rooms have sides of 1 to 10 m, medium 10 to 30 m, large 30 to 50 m; all are 2 to "
        "5 m high, their walls absorb 0.2 to 0.8 of the energy, and source and microphone are at most 5 m apart.",
        (1, 1),
    )
    parser.add("num", 200, "number of rooms")
    parser.add("kind", "small", "size of the rooms", choices=("small", "medium", "large"))
    parser.add("sample-frequency", 16000, "Hz")
    parser.add("seed", 0, "seed of the rooms")
    options, (name,) = parser.parse(argv)
    _check(options.num, options.sample_frequency, options.seed)
    from vouch.signal.rooms import draw_room, room_impulse_response

    def response(number: int) -> np.ndarray:
        rng = _generator(options.seed, options.kind, number)
        return room_impulse_response(draw_room(options.kind, rng), options.sample_frequency)

    _write_recordings(Path(name), "rirs.scp", f"room-{options.kind}", options.num, options.sample_frequency, response)
    log(f"Made {options.num} {options.kind} rooms in {name}")


def make_noises(argv: list[str]) -> None:
    """Generated noises and music in OUT_DIR/noise and OUT_DIR/music."""
    parser = ToolOptions(
        "make-noises",
        "[options] OUT_DIR",
        "Makes noises (coloured, hum, clicks, bursts, machines, in turn) and pieces of music for augmentation where no "
        "recorded ones are at hand: OUT_DIR/noise and OUT_DIR/music, each with wav and a wav.scp, written last.",
        (1, 1),
    )
    parser.add("num", 100, "number of recordings in each folder")
    parser.add("duration", 10.0, "length of a recording of music in seconds; noises have 0.1 to 1 times that")
    parser.add("sample-frequency", 16000, "Hz")
    parser.add("seed", 0, "seed of the noises")
    options, (name,) = parser.parse(argv)
    _check(options.num, options.sample_frequency, options.seed)
    if not 1 <= options.duration <= 3600:
        raise VouchError(f"--duration must be from 1 to 3600 seconds, not {options.duration:g}")
    from vouch.signal.noises import NOISES, music

    rate = options.sample_frequency
    kinds = list(NOISES.values())

    def noise(number: int) -> np.ndarray:
        rng = _generator(options.seed, "noise", number)
        size = int(rng.uniform(0.1, 1.0) * options.duration * rate)
        return kinds[number % len(kinds)](size, rate, rng)

    def piece(number: int) -> np.ndarray:
        return music(int(options.duration * rate), rate, _generator(options.seed, "music", number))

    for folder, make in zip(FOLDERS, (noise, piece), strict=True):
        _write_recordings(Path(name) / folder, "wav.scp", folder, options.num, rate, make)
    log(f"Made {options.num} noises and {options.num} pieces of music in {name}")


def _check(num: int, rate: int, seed: int) -> None:
    if num < 1 or not 1000 <= rate <= 192_000 or seed < 0:
        raise VouchError(
            f"want --num >= 1, --sample-frequency from 1000 to 192000 Hz and --seed >= 0, not {num}, {rate}, {seed}"
        )


def _generator(seed: int, what: str, number: int) -> np.random.Generator:
    import zlib

    import numpy as np

    return np.random.default_rng([seed, zlib.crc32(what.encode()), number])


def _write_recordings(
    out: Path, scp: str, prefix: str, count: int, rate: int, make: Callable[[int], np.ndarray]
) -> None:
    """Write make(0 … count−1), each (samples,) of peak 1, to out/wav, and their list; the list is there only when all
    are."""
    import numpy as np

    from vouch.io.audio import Wave, write_wave
    from vouch.io.streams import open_output

    (out / "wav").mkdir(parents=True, exist_ok=True)
    (out / scp).unlink(missing_ok=True)
    lines = []
    for number in range(count):
        key = f"{prefix}-{number:06d}"
        path = out / "wav" / f"{key}.wav"
        samples = np.float32(0.95 * 32767) * make(number).astype(np.float32)
        write_wave(str(path), Wave(samples[None], rate))
        lines.append(f"{key} {path}\n")
    with open_output(str(out / scp)) as stream:
        stream.write("".join(lines).encode())
