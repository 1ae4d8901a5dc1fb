"""`vouch wav-cut` as a function from arguments to a wave: a channel and a stretch of a recording, at another rate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from vouch.cli.log import warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from vouch.cli.wave_commands import WaveCache
    from vouch.io.audio import Wave
    from vouch.io.wave_stretch import Place

TO_THE_END = -1.0


def cut(argv: list[str], stdin: Wave | None, cache: WaveCache) -> tuple[Wave, str]:
    """What `vouch wav-cut` with these arguments writes, and where to; `stdin` stands for its input `-`.

    Raises VouchError on a channel that is not there, a stretch that is empty or begins after the recording's end, and
    recordings that cannot be read.
    """
    options, (source, output) = _options().parse(argv)
    _check(options)
    from vouch.io.audio import Wave, to_int16
    from vouch.io.wave_stretch import read_place
    from vouch.signal.resample import resample_rational

    place = _place(options, source)
    if source == "-" and stdin is not None:
        channel, first, count = place(len(stdin.samples), stdin.rate, stdin.samples.shape[1])
        samples, rate = stdin.samples[channel, first : first + count], stdin.rate
    else:
        samples, rate = read_place(source, place, cache.read)
    wanted = options.sample_frequency or rate
    samples = resample_rational(samples, wanted, rate)
    return Wave(to_int16(samples[None]).astype("float32"), wanted), output


def _options() -> ToolOptions:
    parser = ToolOptions(
        "wav-cut",
        "[options] WAV_IN WAV_OUT",
        "Takes one channel of a recording and a stretch of it, and changes the sample rate. Channels count from 1, as "
        "those of sph2pipe and sox do (--input-wave-channel of wav-reverberate, a tool of Kaldi's, counts from 0). Of "
        "a wav or flac file only the stretch is read. The output has 16 bits.",
        (2, 2),
    )
    parser.add("channel", 1, "channel to take, 1 is the first")
    parser.add("start", 0.0, "where the stretch begins, seconds")
    parser.add("end", TO_THE_END, "where it ends, seconds; -1 or (with a warning) a later time: the recording's end")
    parser.add("sample-frequency", 0, "Hz of the output; 0: that of the recording")
    return parser


def _check(options: SimpleNamespace) -> None:
    if options.channel < 1:
        raise VouchError(f"--channel={options.channel}: channels count from 1")
    if options.sample_frequency and not 1000 <= options.sample_frequency <= 192_000:
        raise VouchError(f"--sample-frequency={options.sample_frequency} is not from 1000 to 192000 Hz, nor 0")
    if not 0 <= options.start < float("inf"):
        raise VouchError(f"--start={options.start:g} is not a time in the recording; give 0 or more seconds")
    if options.end != TO_THE_END and not options.start < options.end < float("inf"):
        raise VouchError(f"--end={options.end:g} is not after --start={options.start:g}; give a later time, or -1")


def _place(options: SimpleNamespace, name: str) -> Place:
    """Where the stretch lies in the recording of this name: times are rounded to the nearest sample."""

    def place(channels: int, rate: int, samples: int) -> tuple[int, int, int]:
        if options.channel > channels:
            has = "one channel" if channels == 1 else f"{channels} channels"
            raise VouchError(f"{name} has {has}, and no channel {options.channel}; check --channel (1 is the first)")
        first = round(options.start * rate)
        stop = samples if options.end == TO_THE_END else round(options.end * rate)
        if first >= samples:
            raise VouchError(
                f"{name} ends at {samples / rate:g} s, before --start={options.start:g}; nothing was written"
            )
        if stop > samples:
            warn(f"{name} ends at {samples / rate:g} s, before --end={options.end:g}; it is taken to its end")
            stop = samples
        if stop <= first:
            raise VouchError(f"{name}: no sample lies between --start={options.start:g} and --end={options.end:g}")
        return options.channel - 1, first, stop - first

    return place
