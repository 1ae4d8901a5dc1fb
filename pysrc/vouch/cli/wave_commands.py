"""`vouch wav-reverberate`, `wav-speed` and `wav-cut` as functions from arguments to a wave.

The tools call them, and feature extraction does, which so computes the pipes of a wav.scp without starting a process
for each utterance.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vouch.cli.options import ToolOptions
from vouch.cli.wave_cut import cut
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.io.audio import Wave
    from vouch.signal.reverberation import AdditiveSignal

CACHE_BYTES = 256 << 20


Command = Callable[[list[str], "Wave | None"], "Wave"]


def in_process_commands(allow_pipes: bool = True) -> dict[str, Command]:
    """The `commands` of vouch.io.audio.read_wave; they share a cache of the noises and impulse responses read last."""
    return WaveCache(allow_pipes).commands


class WaveCache:
    """Recordings by name and sample rate, those used last; at most `most_bytes` of them.

    commands: these tools as functions that read through this cache.
    """

    def __init__(self, allow_pipes: bool = True, most_bytes: int = CACHE_BYTES) -> None:
        self._allow_pipes, self._most_bytes, self._bytes = allow_pipes, most_bytes, 0
        self._waves: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self.commands: dict[str, Command] = {
            "wav-reverberate": partial(_inside, reverberate, self),
            "wav-speed": partial(_inside, change_speed, self),
            "wav-cut": partial(_inside, cut, self),
        }

    def read(self, rxfilename: str) -> Wave:
        """One recording, not kept."""
        from vouch.io.audio import read_wave

        return read_wave(rxfilename, allow_pipes=self._allow_pipes, commands=self.commands)

    def samples(self, rxfilename: str, rate: int) -> np.ndarray:
        """Samples (channels, n) of a recording at `rate` Hz, resampled where its own rate is another."""
        key = rxfilename, rate
        samples = self._waves.pop(key, None)
        if samples is None:
            from vouch.signal.resample import resample_rational

            wave = self.read(rxfilename)
            samples = resample_rational(wave.samples, rate, wave.rate)
            if rxfilename.endswith("|") or samples.nbytes > self._most_bytes:
                return samples
            self._bytes += samples.nbytes
        self._waves[key] = samples
        while self._bytes > self._most_bytes:
            self._bytes -= self._waves.popitem(last=False)[1].nbytes
        return samples


def _inside(
    command: Callable[[list[str], Wave | None, WaveCache], tuple[Wave, str]],
    cache: WaveCache,
    argv: list[str],
    stdin: Wave | None,
) -> Wave:
    """A command of a pipe: it must write to standard output, and gives what would be read from there."""
    wave, output = command(["--print-args=false", *argv], stdin, cache)
    if output != "-":
        raise VouchError(f"a command in a pipe must write to '-', not to '{output}'")
    return wave


def reverberate(argv: list[str], stdin: Wave | None, cache: WaveCache) -> tuple[Wave, str]:
    """What `vouch wav-reverberate` with these arguments writes, and where to; `stdin` stands for its input `-`.

    Raises VouchError on wrong options, unreadable or empty recordings and channels that are not there.
    """
    options, (source, output) = _reverberate_options().parse(argv)
    from vouch.io.audio import Wave, to_int16

    wave = _input(source, stdin, cache)
    samples = _channel(wave.samples, options.input_wave_channel, source, "--input-wave-channel")
    responses = _responses(options, wave.rate, cache)
    channels = [
        _reverberate_channel(options, samples, wave.rate, response, channel, cache)
        for channel, response in enumerate(responses)
    ]
    import numpy as np

    return Wave(to_int16(np.stack(channels)).astype(np.float32), wave.rate), output


def change_speed(argv: list[str], stdin: Wave | None, cache: WaveCache) -> tuple[Wave, str]:
    """What `vouch wav-speed` with these arguments writes, and where to; `stdin` stands for its input `-`."""
    parser = ToolOptions(
        "wav-speed",
        "[options] WAV_IN WAV_OUT",
        "Plays a recording faster or slower, as sox's effect speed: the length is divided, the pitch multiplied by the "
        "factor, and the sample rate stays. The output has 16 bits.",
        (2, 2),
    )
    parser.add("factor", 1.0, "1.1 is faster, 0.9 slower")
    options, (source, output) = parser.parse(argv)
    from vouch.io.audio import Wave, to_int16
    from vouch.signal import resample

    wave = _input(source, stdin, cache)
    return Wave(to_int16(resample.change_speed(wave.samples, options.factor)).astype("float32"), wave.rate), output


def _reverberate_options() -> ToolOptions:
    parser = ToolOptions(
        "wav-reverberate",
        "[options] WAV_IN WAV_OUT",
        "Puts a recording into a room and adds noises, as Kaldi's tool does. Responses and noises of another sample "
        "rate are resampled to that of the recording. The output has 16 bits; louder samples are clipped.",
        (2, 2),
    )
    parser.add("impulse-response", "", "recording of the room's impulse response")
    parser.add("additive-signals", "", "recordings to add, separated by commas")
    parser.add("snrs", "", "signal-to-noise ratio in dB of each of them, separated by commas")
    parser.add("start-times", "", "where each of them starts, in seconds, separated by commas")
    parser.add("repeat-additive-signals", False, "repeat or cut them to the length of the recording first")
    parser.add("multi-channel-output", False, "an output channel for each channel of the response")
    parser.add("input-wave-channel", 0, "channel of the recording to use")
    parser.add("rir-channel", 0, "channel of the response; not with --multi-channel-output")
    parser.add("noise-channel", 0, "channel of the noises; not with --multi-channel-output")
    parser.add("shift-output", True, "take away the delay of the response's peak, and keep the length")
    parser.add("normalize-output", True, "scale to the power of the input")
    parser.add("volume", 0.0, "above 0: scale by this instead of normalizing", single=True)
    parser.add("duration", 0.0, "above 0: cut or repeat the output to this length, seconds", single=True)
    return parser


def _input(source: str, stdin: Wave | None, cache: WaveCache) -> Wave:
    return stdin if source == "-" and stdin is not None else cache.read(source)


def _channel(samples: np.ndarray, channel: int, name: str, option: str) -> np.ndarray:
    if not 0 <= channel < len(samples):
        raise VouchError(f"{name} has {len(samples)} channels, and no channel {channel}; check {option}")
    return samples[channel]


def _responses(options: SimpleNamespace, rate: int, cache: WaveCache) -> list[np.ndarray | None]:
    """The impulse response of each output channel; None is no room."""
    name = options.impulse_response
    if not name:
        if options.multi_channel_output:
            raise VouchError("--multi-channel-output takes its channels from --impulse-response; give one")
        return [None]
    samples = cache.samples(name, rate)
    return (
        list(samples)
        if options.multi_channel_output
        else [_channel(samples, options.rir_channel, name, "--rir-channel")]
    )


def _reverberate_channel(
    options: SimpleNamespace,
    samples: np.ndarray,
    rate: int,
    response: np.ndarray | None,
    channel: int,
    cache: WaveCache,
) -> np.ndarray:
    from vouch.signal import reverberation

    return reverberation.reverberate(
        samples,
        rate,
        response,
        _additive_signals(options, rate, channel, cache),
        shift_output=options.shift_output,
        normalize_output=options.normalize_output,
        volume=options.volume,
        duration=options.duration,
    )


def _additive_signals(options: SimpleNamespace, rate: int, channel: int, cache: WaveCache) -> list[AdditiveSignal]:
    from vouch.signal.reverberation import AdditiveSignal

    names = [name for name in options.additive_signals.split(",") if name]
    snrs, starts = _numbers(options.snrs, "--snrs"), _numbers(options.start_times, "--start-times")
    if not len(names) == len(snrs) == len(starts):
        raise VouchError(
            f"--additive-signals has {len(names)} entries, --snrs {len(snrs)} and --start-times {len(starts)}; "
            "give as many of each"
        )
    which, option = (
        (channel, "--multi-channel-output")
        if options.multi_channel_output
        else (
            options.noise_channel,
            "--noise-channel",
        )
    )
    return [
        AdditiveSignal(
            _channel(cache.samples(name, rate), which, name, option), snr, start, options.repeat_additive_signals
        )
        for name, snr, start in zip(names, snrs, starts, strict=True)
    ]


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",") if number]
    except ValueError:
        raise VouchError(f"{option} takes numbers separated by commas, not '{text}'") from None
