"""MFCC and filter banks against Kaldi's outputs, and what batching must not change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import soundfile

from vouch.errors import VouchError
from vouch.signal.engine_numpy import BLOCK, normal_quantiles
from vouch.signal.features import Fbank, FbankOptions, FeatureExtractor, Mfcc, MfccOptions
from vouch.signal.frames import FrameOptions
from vouch.signal.resample import resample_waveform

LIMITS = {8000: (1e-3, 1e-3, 1e-3), 16000: (2e-2, 5e-4, 5e-3)}  # maximum, rms, 99.9 % quantile


def read(path: Path) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(path, dtype="int16")
    return samples.astype(np.float32), rate


def make(command: str) -> FeatureExtractor:
    """The extractor of a Kaldi command line."""
    extractor, options = (Mfcc, MfccOptions) if "mfcc" in command.split()[0] else (Fbank, FbankOptions)
    frame, other = {}, {}
    for name, value in re.findall(r"--([\w-]+)=(\S+)", command):
        name = name.replace("-", "_")
        defaults = FrameOptions() if hasattr(FrameOptions(), name) else options()
        if hasattr(defaults, name):
            kind = type(getattr(defaults, name))
            (frame if isinstance(defaults, FrameOptions) else other)[name] = (
                value == "true" if kind is bool else kind(value)
            )
    return extractor(options(frame=FrameOptions(**frame), **other))


def check(pairs: list[tuple[np.ndarray, np.ndarray]], rate: int) -> None:
    """The errors of all utterances together stay below the limits of the rate."""
    for ours, kaldi in pairs:
        assert ours.shape == kaldi.shape and ours.dtype == np.float32
    error = np.abs(np.concatenate([(ours - kaldi).ravel() for ours, kaldi in pairs]))
    found = error.max(), np.sqrt(np.mean(error**2)), np.quantile(error, 0.999)
    assert all(value <= limit for value, limit in zip(found, LIMITS[rate], strict=True)), found


def compare(golden: Path, command: str, file: str, prefix: str = "") -> None:
    arrays = np.load(golden / file)
    extractor = make(command)
    keys = [key for key in arrays.files if key.startswith(prefix)]
    assert keys
    warp = re.search(r"--vtln-warp=(\S+)", command)
    pairs = []
    for key in keys:
        samples, rate = read(golden / "audio" / f"{key.rpartition('/')[2]}.wav")
        samples = resample_waveform(samples, rate, int(extractor.options.frame.sample_frequency))
        features = extractor(samples, key, float(warp[1]) if warp else 1.0)
        if "--subtract-mean=true" in command:
            features -= features.mean(axis=0)
        if "use-log-fbank=false" in command:  # linear energies: relative errors
            features, scale = features / arrays[key].max(), arrays[key].max()
            pairs.append((features, arrays[key] / scale))
        else:
            pairs.append((features, arrays[key]))
    check(pairs, rate if "downsample" not in command else 8000)


MFCC_FILES = [
    "mfcc_sre16v2_8k",
    "mfcc_voxv2_16k",
    "mfcc_default_snip_8k",
    "mfcc_default_snip_16k",
    "mfcc_sre16v1_8k",
    "mfcc_sre08v1_8k",
    "mfcc_voxv1_16k",
    "mfcc_sre16v2_edge",
    "mfcc_default_snip_edge",
]


@pytest.mark.parametrize("number", range(len(MFCC_FILES)), ids=MFCC_FILES)
def test_mfcc_of_the_recipes(golden: Path, number: int) -> None:
    command = json.loads((golden / "commands.json").read_text())["mfcc"][number]
    compare(golden, command, f"mfcc/{MFCC_FILES[number]}.npz")


def test_every_mfcc_option(golden: Path) -> None:
    commands = json.loads((golden / "commands.json").read_text())["mfcc"][len(MFCC_FILES) : -1]
    compared = 0
    for command in commands:
        variant = re.search(r"ark:mfcc_o_(\S+)\.ark", command)[1]
        compare(golden, command, "mfcc/mfcc_options_8k.npz", variant + "/")
        compared += 1
    assert compared == 20


def test_downsampling_is_kaldis(golden: Path) -> None:
    command = json.loads((golden / "commands.json").read_text())["mfcc"][-1]
    compare(golden, command, "mfcc/mfcc_allow_downsample_16k_to_8k.npz")


def test_every_fbank_command(golden: Path) -> None:
    short = {"hs": "hamming_snip", "pn": "povey_nosnip"}
    for command in json.loads((golden / "commands.json").read_text())["fbank"]:
        name = re.search(r"ark:fbank_(\S+)\.ark", command)[1]
        kind, _, variant = name.partition("_")
        if kind == "o":
            compare(golden, command, "fbank/fbank23_options_8k.npz", variant + "/")
            continue
        bins = {"8k": 40, "16k": 80}[kind]
        if variant in short:
            compare(golden, command, f"fbank/fbank{bins}_{kind}_{short[variant]}.npz")
        else:
            compare(golden, command, f"fbank/fbank{bins}_{kind}_variants.npz", variant + "/")


SYNTHETIC = {
    "mfcc_sre16v2": "mfcc 8k --sample-frequency=8000 --low-freq=20 --high-freq=3700 --num-ceps=23 --snip-edges=false",
    "mfcc_voxcelebv2": "mfcc 16k --high-freq=7600 --num-mel-bins=30 --num-ceps=30 --snip-edges=false",
    "mfcc_default_snip_8k": "mfcc 8k --sample-frequency=8000",
    "fbank80_16k_hamming_snip": "fbank 16k --num-mel-bins=80 --window-type=hamming",
    "fbank40_8k_energy": "fbank 8k --sample-frequency=8000 --num-mel-bins=40 --use-energy=true --snip-edges=false",
}


@pytest.mark.parametrize("key", SYNTHETIC)
def test_made_signals(synthetic: Path, key: str) -> None:
    kind, rate, options = SYNTHETIC[key].split(" ", 2)
    samples, hertz = read(synthetic / f"syn{rate}.wav")
    features = make(f"{kind} {options} --dither=0")(samples)
    check([(features, np.load(synthetic / "features.npz")[key])], hertz)


def noise(seconds: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(int(8000 * seconds)) * 1000).astype(np.float32)


@pytest.mark.parametrize("dither", [0.0, 1.0])
@pytest.mark.parametrize("snip_edges", [True, False])
def test_features_do_not_depend_on_what_was_computed_before(dither: float, snip_edges: bool) -> None:
    """Bit for bit: after other utterances, shorter and longer than a block, or by a new extractor."""
    frame = FrameOptions(sample_frequency=8000, dither=dither, snip_edges=snip_edges)
    extractor = Mfcc(MfccOptions(frame=frame))
    seconds = [0.01, 3.0, 2.5 * BLOCK / 100 + 0.123, 0.3, 1.7, 11.0, 0.7]
    utterances = [(f"u{i}", noise(length, i)) for i, length in enumerate(seconds)]
    together = [extractor(samples, utterance) for utterance, samples in utterances]
    for (utterance, samples), features in zip(reversed(utterances), reversed(together), strict=True):
        assert len(features) == frame.num_frames(len(samples))
        assert np.array_equal(features, extractor(samples, utterance))
        assert np.array_equal(features, Mfcc(MfccOptions(frame=frame))(samples, utterance))


def test_integers_and_floats_are_the_same_signal() -> None:
    extractor = Fbank(FbankOptions(frame=FrameOptions(dither=1.0)))
    samples = noise(3, 0).astype(np.int16)
    assert np.array_equal(extractor(samples, "a"), extractor(samples.astype(np.float32), "a"))


def test_blocks_join_without_a_seam() -> None:
    """Frames around a block boundary are those of the same samples cut out of the signal."""
    extractor = Mfcc(MfccOptions(frame=FrameOptions(sample_frequency=8000, dither=0.0)))
    samples = noise(BLOCK / 100 + 2, 0)
    whole = extractor(samples)
    part = extractor(samples[(BLOCK - 10) * 80 :])
    np.testing.assert_allclose(whole[BLOCK - 10 : BLOCK + 10], part[:20], atol=1e-4)


@pytest.mark.parametrize(
    "make_options",
    [
        lambda frame: MfccOptions(frame=frame),
        lambda frame: MfccOptions(frame=frame, htk_compat=True, raw_energy=False, energy_floor=1.0),
        lambda frame: FbankOptions(frame=frame, use_energy=True, num_mel_bins=80),
        lambda frame: FbankOptions(frame=frame, use_energy=True, htk_compat=True, use_power=False, use_log_fbank=False),
    ],
)
def test_the_engine_for_gpus_computes_the_same(make_options: Callable) -> None:
    """Run by torch on the processor; its dither is another, of the same size."""
    samples = noise(3, 0)
    for dither in (0.0, 1.0):
        options = make_options(FrameOptions(dither=dither, snip_edges=False))
        kind = Mfcc if isinstance(options, MfccOptions) else Fbank
        ours, theirs = kind(options)(samples, "a"), kind(options, device="torch-cpu")(samples, "a")
        limit = 0.2 if dither else 1e-3
        scale = 1.0 if getattr(options, "use_log_fbank", True) else ours.max()
        assert np.abs(ours - theirs).max() / scale < limit
        assert np.array_equal(theirs, kind(options, device="torch-cpu")(samples, "a"))


def test_the_noise_is_normal() -> None:
    values = normal_quantiles()
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert np.mean(values**power) == pytest.approx(moment, abs=2e-3)
    normal = NormalDist()
    for value in values[[100, 9000, 40000, 65000]]:
        assert (values < value).mean() == pytest.approx(normal.cdf(value), abs=1e-5)


def test_dither_is_noise_of_its_size_seeded_by_utterance() -> None:
    """On silence the energy is that of `window_size` normal samples less their mean; each frame has its own noise."""
    frame = FrameOptions(sample_frequency=8000, dither=3.0)
    extractor = Mfcc(MfccOptions(frame=frame), seed=5)
    silence = np.zeros(80_000, np.float32)
    features = extractor(silence, "a")
    assert np.array_equal(features, Mfcc(MfccOptions(frame=frame), seed=5)(silence, "a"))
    assert not np.array_equal(features, extractor(silence, "b"))
    assert not np.array_equal(features, Mfcc(MfccOptions(frame=frame), seed=6)(silence, "a"))
    power = np.exp(features[:, 0].astype(float)) / (frame.window_size - 1)
    assert np.mean(power) == pytest.approx(9.0, rel=0.02)
    # chi-square of 199 degrees: relative deviation sqrt(2/199); overlapping frames of one noise would correlate
    assert np.std(power) == pytest.approx(9.0 * np.sqrt(2 / 199), rel=0.1)
    assert abs(np.corrcoef(power[:-1], power[1:])[0, 1]) < 0.1


def test_digital_silence_is_the_log_of_float_epsilon() -> None:
    features = Fbank(FbankOptions(frame=FrameOptions(dither=0.0), use_energy=True))(np.zeros(16000, np.float32))
    np.testing.assert_allclose(features, -15.9424, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"num_ceps": 24},
        {"num_mel_bins": 200, "num_ceps": 13},
        {"low_freq": 5000.0},
        {"high_freq": 9000.0},
        {"frame": FrameOptions(window_type="kaiser")},
    ],
)
def test_impossible_options_are_refused(change: dict) -> None:
    with pytest.raises(VouchError, match="--"):
        Mfcc(MfccOptions(**({"frame": FrameOptions(sample_frequency=8000)} | change)))
