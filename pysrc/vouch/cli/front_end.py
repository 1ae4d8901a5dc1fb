"""What a network sees of a recording: the settings files of features, voice activity and normalisation, applied."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from vouch.cli.extraction import feature_options, shared_options
from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError
from vouch.io.audio import read_wave
from vouch.signal.cmvn import sliding_cmvn
from vouch.signal.features import Fbank, FbankOptions, FeatureExtractor, Mfcc, MfccOptions
from vouch.signal.resample import resample_waveform
from vouch.signal.vad import compute_vad, select_voiced

SETTINGS = ("features.conf", "vad.conf", "cmn.conf")  # of a model directory
_RATES = (1000, 192_000)


def feature_extractor(kind: str, config: str) -> tuple[FeatureExtractor, SimpleNamespace]:
    """The extractor of mfcc or fbank by a file of options of the tool, and all its options."""
    parser = feature_options(f"compute-{kind}-feats", kind, use_energy=kind == "mfcc")
    if kind == "mfcc":
        parser.add("num-ceps", 13, "")
        parser.add("cepstral-lifter", 22.0, "", single=True)
    else:
        parser.add("use-log-fbank", True, "")
        parser.add("use-power", True, "")
    given, _ = parser.parse(["--print-args=false", f"--config={config}", "-", "-"])
    if kind == "mfcc":
        own = {"num_ceps": given.num_ceps, "cepstral_lifter": given.cepstral_lifter}
        return Mfcc(MfccOptions(**shared_options(given), **own)), given
    own = {"use_log_fbank": given.use_log_fbank, "use_power": given.use_power}
    return Fbank(FbankOptions(**shared_options(given), **own)), given


def cmn_options(config: str) -> dict[str, Any]:
    """The arguments of vouch.signal.cmvn.sliding_cmvn by a file of options of apply-cmvn-sliding."""
    parser = ToolOptions("apply-cmvn-sliding", "", "", (0, 0))
    parser.add("center", False, "")
    parser.add("cmn-window", 600, "")
    parser.add("min-cmn-window", 100, "")
    parser.add("norm-vars", False, "")
    given, _ = parser.parse(["--print-args=false", f"--config={config}"])
    return {
        "window": given.cmn_window,
        "min_window": given.min_cmn_window,
        "normalize_variance": given.norm_vars,
        "center": given.center,
    }


def vad_options(config: str) -> dict[str, Any]:
    """The arguments of vouch.signal.vad.compute_vad by a file of options of compute-vad."""
    parser = ToolOptions("compute-vad", "", "", (0, 0))
    parser.add("vad-energy-threshold", 5.0, "", single=True)
    parser.add("vad-energy-mean-scale", 0.5, "", single=True)
    parser.add("vad-frames-context", 0, "")
    parser.add("vad-proportion-threshold", 0.6, "", single=True)
    given, _ = parser.parse(["--print-args=false", f"--config={config}"])
    return {
        "energy_threshold": given.vad_energy_threshold,
        "energy_mean_scale": given.vad_energy_mean_scale,
        "frames_context": given.vad_frames_context,
        "proportion_threshold": given.vad_proportion_threshold,
    }


class FrontEnd:
    """Recordings to the frames that a network takes, by features.conf, vad.conf and cmn.conf of its folder.

    The frames are those of steps/make_feats.sh --compress false, compute_vad.sh and extract_embeddings.sh, but for the
    dither: its generator has the same seed for every recording, so that a recording decides by what it holds, not by
    its name. Raises VouchError on settings that are missing, wrong, or make features of other than `dim` dims.

    Arguments: folder, kind (mfcc or fbank), dim (of the features that the network takes), channel (0 is the first; -1:
    that of features.conf, or else the only one), allow_pipes (run recordings that are commands).
    """

    def __init__(self, folder: Path, kind: str, dim: int, channel: int = -1, allow_pipes: bool = True) -> None:
        for name in SETTINGS:
            if not (folder / name).is_file():
                raise VouchError(
                    f"there is no {folder / name}: run.sh puts it there at the stage of the training (--systems "
                    f"{folder.name}), or copy the file that the training's features were made with"
                )
        features, vad, cmn = (str(folder / name) for name in SETTINGS)
        self._extractor, self._options = feature_extractor(kind, features)
        self._vad, self._cmn = vad_options(vad), cmn_options(cmn)
        if self._extractor.dim != dim:
            raise VouchError(
                f"{features} makes features of {self._extractor.dim} dims, {folder}/final.pt takes {dim}; copy the file"
                f" that the training's features were made with"
            )
        if self._options.vtln_map:
            raise VouchError(f"{features}: --vtln-map wants the speakers of a table; a single recording has none")
        self._channel = self._options.channel if channel == -1 else channel
        self._allow_pipes = allow_pipes
        self.rate = int(self._options.sample_frequency)  # Hz

    def __call__(self, name: str) -> np.ndarray:
        """The voiced frames (frames, dims) of a recording, normalised. One of another sample rate is resampled, and a
        line says so.

        Raises VouchError on a recording that cannot be read, a channel that is not there, and silence.
        """
        wave = read_wave(name, allow_pipes=self._allow_pipes, as_stored=True)
        samples = self._resampled(name, self._of_channel(name, wave.samples), wave.rate)
        with np.errstate(over="ignore", invalid="ignore"):  # the outcome is looked at
            features = self._extractor(samples, vtln_warp=self._options.vtln_warp)
        duration = wave.samples.shape[1] / wave.rate
        if not len(features):
            raise VouchError(f"{name} lasts {duration:.3g} s, less than a frame; record more speech")
        if not np.isfinite(features).all():
            raise VouchError(
                f"{name}: its features are not finite; its samples may be too large: scale them to 16 bits"
            )
        if self._options.subtract_mean:
            features -= features.mean(axis=0)
        voiced = compute_vad(features[:, 0], **self._vad)
        frames = select_voiced(sliding_cmvn(features, **self._cmn).features, voiced)
        log(f"{name}: {duration:.2f} s, {len(frames)} of {len(features)} frames are voiced")
        if not len(frames):
            raise VouchError(
                f"{name}: none of its {len(features)} frames is voiced: it is silent, or noise of one level"
            )
        return frames

    def _of_channel(self, name: str, samples: np.ndarray) -> np.ndarray:
        channels, wanted = len(samples), self._channel
        if wanted == -1 and channels > 1:
            raise VouchError(f"{name} has {channels} channels; choose one with --channel=0 to {channels - 1}")
        if wanted >= channels:
            raise VouchError(f"{name} has {channels} channels, and no channel {wanted} (0 is the first)")
        return samples[max(wanted, 0)]

    def _resampled(self, name: str, samples: np.ndarray, rate: int) -> np.ndarray:
        if rate == self.rate:
            return samples
        if not _RATES[0] <= rate <= _RATES[1]:
            raise VouchError(f"{name} has {rate} Hz; want {_RATES[0]} to {_RATES[1]}")
        log(f"{name}: resampled from {rate} to {self.rate} Hz, the rate of this model")
        high = self._options.high_freq
        high = high if high > 0 else self.rate / 2 + high
        if rate / 2 < high:
            warn(
                f"{name} has nothing above {rate / 2:g} Hz, and this model listens up to {high:g} Hz: expect more "
                f"errors than on recordings of {self.rate} Hz"
            )
        return resample_waveform(samples.astype(np.float32), rate, self.rate)
