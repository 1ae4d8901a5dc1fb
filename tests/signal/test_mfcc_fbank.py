"""MFCC and filter banks against Kaldi's outputs, and what batching must not change."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vouch.errors import VouchError
from vouch.signal.features import BLOCK, Fbank, FbankOptions, FeatureExtractor, Mfcc, MfccOptions
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
    pairs = []
    for key in keys:
        samples, rate = read(golden / "audio" / f"{key.rpartition('/')[2]}.wav")
        features = extractor(resample_waveform(samples, rate, int(extractor.options.frame.sample_frequency)))
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
        if "vtln" not in variant:  # not offered
            compare(golden, command, "mfcc/mfcc_options_8k.npz", variant + "/")
            compared += 1
    assert compared == 18


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
def test_features_do_not_depend_on_the_batch(dither: float, snip_edges: bool) -> None:
    """Alone or among others, cut in blocks or not: the same features. One utterance is longer than a batch."""
    frame = FrameOptions(sample_frequency=8000, dither=dither, snip_edges=snip_edges)
    extractor = Mfcc(MfccOptions(frame=frame))
    seconds = [0.01, 3.0, 2.5 * BLOCK / 100 + 0.123, 0.3, 1.7, 11.0, 0.7]
    utterances = [(f"u{i}", noise(length, i)) for i, length in enumerate(seconds)]
    together = list(extractor.stream(iter(utterances)))
    assert [key for key, _ in together] == [key for key, _ in utterances]
    for (utterance, samples), (_, features) in zip(utterances, together, strict=True):
        assert len(features) == frame.num_frames(len(samples))
        np.testing.assert_allclose(features, extractor(samples, utterance), atol=1e-5 * 22)


def test_blocks_join_without_a_seam() -> None:
    """Frames around a block boundary are those of the same samples cut out of the signal."""
    extractor = Mfcc(MfccOptions(frame=FrameOptions(sample_frequency=8000, dither=0.0)))
    samples = noise(BLOCK / 100 + 2, 0)
    whole = extractor(samples)
    part = extractor(samples[(BLOCK - 10) * 80 :])
    np.testing.assert_allclose(whole[BLOCK - 10 : BLOCK + 10], part[:20], atol=1e-4)


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
