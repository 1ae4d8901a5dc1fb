"""What compute-mfcc-feats and compute-fbank-feats share: their options, and a table of waves to one of features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.io.audio import Wave
    from vouch.io.tables import TableWriter
    from vouch.signal.features import FeatureExtractor

WINDOWS = ("hamming", "hanning", "povey", "rectangular", "sine", "blackman")


def feature_options(tool: str, what: str, use_energy: bool) -> ToolOptions:
    """The options of both tools; `what` the features are, and whether they have the energy by default."""
    about = (
        f"Computes {what} features as Kaldi does. A recording that cannot be read is reported and left out; a sample "
        "rate or a number of channels that does not fit the options stops the tool, and nothing is written. Command "
        "pipes of `vouch wav-reverberate`, `wav-speed` and `wav-cut` are computed inside, without starting a process."
    )
    parser = ToolOptions(tool, "[options] WAV_RSPECIFIER FEATS_WSPECIFIER", about, (2, 2))
    parser.add("sample-frequency", 16000.0, "Hz; that of the recordings, unless a change is allowed", single=True)
    parser.add("frame-length", 25.0, "milliseconds", single=True)
    parser.add("frame-shift", 10.0, "milliseconds", single=True)
    parser.add("dither", 1.0, "deviation of noise added to each frame, in 16-bit steps; 0 for none", single=True)
    parser.add("preemphasis-coefficient", 0.97, "pre-emphasis", single=True)
    parser.add("remove-dc-offset", True, "subtract the mean of each frame")
    parser.add("window-type", "povey", "window", choices=WINDOWS)
    parser.add("blackman-coeff", 0.42, "constant of the blackman window", single=True)
    parser.add("round-to-power-of-two", True, "pad frames with zeros to a power of two")
    parser.add("snip-edges", True, "only frames that lie inside; else as many as shifts, reflected at the ends")
    parser.add("allow-downsample", False, "lower a higher sample rate to --sample-frequency")
    parser.add("allow-upsample", False, "raise a lower sample rate to --sample-frequency")
    parser.add("num-mel-bins", 23, "number of mel filters")
    parser.add("low-freq", 20.0, "lower end of the filters, Hz", single=True)
    parser.add("high-freq", 0.0, "upper end of the filters, Hz; 0 or less counts from half the rate", single=True)
    parser.add("vtln-low", 100.0, "lower knot of the warping of frequencies, Hz", single=True)
    parser.add("vtln-high", -500.0, "its upper knot, Hz; below 0 counts from half the rate", single=True)
    parser.add("vtln-warp", 1.0, "warp factor of all utterances; not with --vtln-map", single=True)
    parser.add("vtln-map", "", "table of the warp factor of each utterance, or with --utt2spk of each speaker")
    parser.add("utt2spk", "", "table of the speaker of each utterance, for --vtln-map")
    parser.add("debug-mel", False, "log the mel filters: the first bin of the spectrum under each, and its weights")
    parser.add("use-energy", use_energy, "have the log energy as first column")
    parser.add("energy-floor", 0.0, "floor of the energy (not its logarithm); 0 for none", single=True)
    parser.add("raw-energy", True, "take the energy before pre-emphasis and window")
    parser.add("htk-compat", False, "energy or C0 last, and C0 times the square root of 2")
    parser.add("channel", -1, "channel to take, 0 or 1; -1 wants mono")
    parser.add("subtract-mean", False, "subtract the mean of each utterance")
    parser.add("min-duration", 0.0, "leave out shorter utterances, seconds", single=True)
    parser.add("output-format", "kaldi", "format of the table", choices=("kaldi",))
    parser.add("write-utt2dur", "", "wspecifier for durations in seconds, e.g. ark,t:utt2dur")
    parser.add("write-num-frames", "", "wspecifier for numbers of frames, e.g. ark,t:utt2num_frames")
    parser.add("compression-method", 0, "1 to 7: compress as copy-feats does; 0: do not")
    parser.add("segments", "", "file of segments to cut from the recordings: UTTERANCE RECORDING START END")
    parser.add("device", "cpu", "where to compute", choices=("cpu", "cuda"))
    parser.add("seed", 0, "seed of the dither, with the utterance")
    parser.add("allow-pipes", True, "run the commands that wav.scp may hold")
    return parser


def shared_options(options: SimpleNamespace) -> dict[str, object]:
    """The arguments of SpectrumOptions."""
    from vouch.signal.features import SpectrumOptions
    from vouch.signal.frames import FrameOptions

    values = vars(options)
    frame = FrameOptions(**{name: values[name] for name in FrameOptions.__dataclass_fields__})
    return {"frame": frame} | {name: values[name] for name in SpectrumOptions.__dataclass_fields__ if name != "frame"}


def checked_device(device: str) -> str:
    """The device, ready to use. Raises VouchError where there is no GPU."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise VouchError("--device=cuda, but torch sees no GPU; use --device=cpu")
    return device


def extract(extractor: FeatureExtractor, options: SimpleNamespace, wav_rspecifier: str, feats_wspecifier: str) -> None:
    """Write the features of all readable utterances; VouchError when there is none."""
    from vouch.io.tables import TableWriter

    if options.debug_mel:
        _log_filters(extractor.mel_filters(options.vtln_warp))
    source = _Utterances(options, wav_rspecifier)
    done = 0
    with ExitStack() as stack:
        warps = stack.enter_context(_Warps(options))
        lengths = side_writer(stack, options.write_num_frames, "int32")
        durations = side_writer(stack, options.write_utt2dur, "float")
        # Closed first, so that the others are not left beside features that could not be written.
        feats = stack.enter_context(TableWriter(feats_wspecifier, compression_method=options.compression_method))
        for utterance, samples, duration in source:
            warp = warps.of(utterance)
            if warp is None:
                warn(f"left out: no entry of --vtln-map for utterance '{utterance}' or its speaker")
                continue
            features = extractor(samples, utterance, warp)
            if not len(features):
                warn(f"{utterance} is too short for one frame; its features are empty")
            elif options.subtract_mean:
                features -= features.mean(axis=0)
            feats.write(utterance, features)
            if lengths:
                lengths.write(utterance, len(features))
            if durations:
                durations.write(utterance, duration)
            done += 1
        if not done:
            raise VouchError(f"none of the {source.seen} utterances of {wav_rspecifier} gave features; see above")
    log(f"Done {done} out of {source.seen} utterances, failed {source.seen - done}")


def _log_filters(weights: np.ndarray) -> None:
    """The bins of the spectrum under each filter of `weights` (bins, filters), as Kaldi's --debug-mel shows them."""
    for number, column in enumerate(weights.T):
        used = column.nonzero()[0]
        values = " ".join(f"{weight:.6g}" for weight in column[used[0] : used[-1] + 1])
        log(f"bin {number}, offset = {used[0]}, vec = [ {values} ]")


class _Warps:
    """The VTLN warp factor of each utterance: of --vtln-map, by way of --utt2spk where it is given, or --vtln-warp."""

    def __init__(self, options: SimpleNamespace) -> None:
        if options.utt2spk and not options.vtln_map:
            raise VouchError("--utt2spk says whose warp factor an utterance has; give --vtln-map with it")
        self._options, self._stack = options, ExitStack()
        self._map = self._speakers = None

    def __enter__(self) -> _Warps:
        from vouch.io.tables import open_table

        with self._stack as stack:
            if self._options.vtln_map:
                self._map = stack.enter_context(open_table(self._options.vtln_map, "float"))
            if self._options.utt2spk:
                self._speakers = stack.enter_context(open_table(self._options.utt2spk, "tokens"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._stack.__exit__(*error)

    def of(self, utterance: str) -> float | None:
        """The factor, None where the map has none. Raises VouchError on an utterance without a speaker."""
        if self._map is None:
            return self._options.vtln_warp
        owner = utterance if self._speakers is None else self._speakers[utterance][0]
        if owner not in self._map:
            return None
        import numpy as np

        return float(np.float32(self._map[owner]))  # Kaldi keeps it in single precision


def side_writer(stack: ExitStack, wspecifier: str, kind: str) -> TableWriter | None:
    """A writer that ends with the stack; None for an empty wspecifier."""
    from vouch.io.tables import TableWriter

    return stack.enter_context(TableWriter(wspecifier, kind)) if wspecifier else None


class _Utterances:
    """Iterates over (utterance, samples (n,) at the wanted rate, duration in seconds) and counts them."""

    def __init__(self, options: SimpleNamespace, wav_rspecifier: str) -> None:
        self._options, self._rspecifier = options, wav_rspecifier
        self.seen = 0

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, float]]:
        from vouch.cli.wave_commands import in_process_commands
        from vouch.io.audio import read_waves

        options = self._options
        waves = read_waves(
            _permissive(self._rspecifier),
            options.segments,
            allow_pipes=options.allow_pipes,
            commands=in_process_commands(options.allow_pipes),
            on_skip=self._skip,
            as_stored=True,
        )
        for utterance, wave in waves:
            duration = wave.samples.shape[1] / wave.rate
            if duration < options.min_duration:
                self._skip(f"utterance '{utterance}' is shorter than --min-duration ({duration:.3f} s)")
                continue
            samples = self._channel(utterance, wave)
            if samples is None:
                continue
            samples = self._at_rate(utterance, samples, wave.rate)
            self.seen += 1
            yield utterance, samples, duration

    def _skip(self, message: str) -> None:
        warn(f"left out: {message}")
        self.seen += 1

    def _channel(self, utterance: str, wave: Wave) -> np.ndarray | None:
        channels, wanted = len(wave.samples), self._options.channel
        if wanted == -1:
            if channels > 1:
                raise VouchError(f"utterance '{utterance}' has {channels} channels; choose one with --channel=0 or 1")
            return wave.samples[0]
        if not 0 <= wanted < channels:
            self._skip(f"utterance '{utterance}' has {channels} channels, and no channel {wanted}; check --channel")
            return None
        return wave.samples[wanted]

    def _at_rate(self, utterance: str, samples: np.ndarray, rate: int) -> np.ndarray:
        options, wanted = self._options, self._options.sample_frequency
        if rate == wanted:
            return samples
        remedy = "downsample" if rate > wanted else "upsample"
        if not (options.allow_downsample if rate > wanted else options.allow_upsample):
            raise VouchError(
                f"utterance '{utterance}' has {rate} Hz, but --sample-frequency={wanted:g}: take a configuration "
                f"for {rate} Hz (run.sh: --conf; conf/small is for 16000), or put --allow-{remedy}=true into this one"
            )
        from vouch.signal.resample import resample_waveform

        return resample_waveform(samples.astype("float32"), rate, int(wanted))


def _permissive(rspecifier: str) -> str:
    """The same table with the option `p`: recordings that cannot be read are passed over and told of."""
    kind, colon, name = rspecifier.partition(":")
    return f"{kind},p:{name}" if colon and "scp" in kind.split(",") else rspecifier
