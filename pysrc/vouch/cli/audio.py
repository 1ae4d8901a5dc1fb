"""Tools on recordings: reverberation and noise, speed, made rooms and noises, augmented data directories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.augmentation import augment_data_dir
from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.wave_commands import WaveCache, change_speed, reverberate
from vouch.errors import VouchError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

__all__ = ["augment_data_dir", "make_noises", "make_rooms", "wav_reverberate", "wav_speed"]

FOLDERS = ("noise", "music")


def wav_reverberate(argv: list[str]) -> None:
    """Reverberation and additive noise for one recording (Kaldi, wav-reverberate)."""
    _run(reverberate, argv)


def wav_speed(argv: list[str]) -> None:
    """One recording faster or slower (sox, speed)."""
    _run(change_speed, argv)


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
