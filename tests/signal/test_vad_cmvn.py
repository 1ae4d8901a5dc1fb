"""Energy VAD, selection and sliding CMVN against Kaldi's outputs and against the definitions written out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.signal import cmvn
from vouch.signal.cmvn import sliding_cmvn
from vouch.signal.vad import compute_vad, select_voiced

VAD_INPUT = {
    "sre16v2_8k": "mfcc_sre16v2_8k",
    "sre16v1_8k": "mfcc_sre16v1_8k",
    "voxv2_16k": "mfcc_voxv2_16k",
    "tool_default_8k": "mfcc_sre16v2_8k",
    "mean_scale_0_8k": "mfcc_sre16v2_8k",
    "sre16v2_edge": "mfcc_sre16v2_edge",
    "sre16v1_edge": "mfcc_sre16v2_edge",
}
CMVN_FILES = [
    "center_w300_8k",
    "center_w300_16k",
    "center_w300_normvars_8k",
    "left_w300_8k",
    "left_w150_min40_normvars_8k",
    "center_w101_8k",
    "tool_default_8k",
    "center_w300_normvars_edge",
]
CMVN_INPUT = {"8k": "mfcc_sre16v2_8k", "16k": "mfcc_voxv2_16k", "edge": "mfcc_sre16v2_edge"}
CMVN_NAMES = {"norm-vars": "normalize_variance", "cmn-window": "window", "min-cmn-window": "min_window"}


@pytest.mark.parametrize("number, variant", list(enumerate(VAD_INPUT)))
def test_vad_is_kaldis(golden: Path, number: int, variant: str) -> None:
    command = json.loads((golden / "commands.json").read_text())["vad"][number]
    options = {
        name.replace("-", "_"): (int if "context" in name else float)(value)
        for name, value in re.findall(r"--vad-([\w-]+)=(\S+)", command)
    }
    decisions, features = np.load(golden / "vad/vad.npz"), np.load(golden / f"mfcc/{VAD_INPUT[variant]}.npz")
    for utterance in features.files:
        ours = compute_vad(features[utterance][:, 0], **options)
        assert np.array_equal(ours, decisions[f"{variant}/{utterance}"]), utterance


def test_selection_is_kaldis(golden: Path) -> None:
    features, vad = np.load(golden / "cmvn/cmvn_center_w300_8k.npz"), np.load(golden / "vad/vad.npz")
    selected = np.load(golden / "voiced/voiced_sre16v2_8k.npz")
    for utterance in selected.files:
        ours = select_voiced(features[utterance], vad[f"sre16v2_8k/{utterance}"])
        assert np.array_equal(ours, selected[utterance])


@pytest.mark.parametrize("number, name", list(enumerate(CMVN_FILES)))
def test_cmvn_is_kaldis(golden: Path, number: int, name: str) -> None:
    command = json.loads((golden / "commands.json").read_text())["cmvn"][number]
    options = {
        CMVN_NAMES.get(option, option): value == "true" if value.isalpha() else int(value)
        for option, value in re.findall(r"--([\w-]+)=(\S+)", command)
    }
    wanted = np.load(golden / f"cmvn/cmvn_{name}.npz")
    features = np.load(golden / f"mfcc/{CMVN_INPUT[name.rpartition('_')[2]]}.npz")
    for utterance in wanted.files:
        ours = sliding_cmvn(features[utterance], **options).features
        np.testing.assert_allclose(ours, wanted[utterance], atol=2e-5, rtol=0)


def test_made_signals(synthetic: Path) -> None:
    arrays = np.load(synthetic / "features.npz")
    features = arrays["mfcc_sre16v2"]
    assert np.array_equal(compute_vad(features[:, 0], 5.5, 0.5, 2, 0.12), arrays["vad_sre16v2"])
    centred = sliding_cmvn(features, 300, center=True).features
    np.testing.assert_allclose(centred, arrays["cmvn_w300"], atol=2e-5)
    scaled = sliding_cmvn(features, 60, center=True, normalize_variance=True).features
    np.testing.assert_allclose(scaled, arrays["cmvn_w60_vars"], atol=2e-5)


def window_of(t: int, frames: int, window: int, min_window: int, center: bool) -> tuple[int, int]:
    """First and one past the last frame of a window, frame by frame."""
    if center:
        start = t - window // 2
        end = start + window
        if start < 0:
            start, end = 0, window
    else:
        start, end = max(t - window, 0), max(t + 1, min_window)
    if end > frames:
        start, end = max(start - (end - frames), 0), frames
    return start, end


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("frames, window, min_window", [(1, 5, 3), (7, 30, 10), (50, 7, 3), (95, 20, 10), (95, 1, 1)])
def test_cmvn_by_the_definition_also_across_chunks(
    monkeypatch: pytest.MonkeyPatch, center: bool, frames: int, window: int, min_window: int
) -> None:
    monkeypatch.setattr(cmvn, "CHUNK", 16)
    features = (np.random.default_rng(0).standard_normal((frames, 3)) * 3 + [0, 100, -1000]).astype(np.float32)
    ours = sliding_cmvn(features, window, min_window, True, center)
    for t in range(frames):
        start, end = window_of(t, frames, window, min_window, center)
        part = features[start:end].astype(float)
        deviation = np.sqrt(np.maximum(part.var(axis=0), 1e-10))
        wanted = (features[t] - part.mean(axis=0)) / deviation if end - start > 1 else np.zeros(3)
        np.testing.assert_allclose(ours.features[t], wanted, atol=1e-5)


def test_cmvn_counts_floored_variances() -> None:
    features = np.ones((20, 3), np.float32)
    features[:, 1] = np.arange(20)
    result = sliding_cmvn(features, 5, center=True, normalize_variance=True)
    assert np.array_equal(result.floored, np.full(20, 2))
    assert np.all(result.features[:, [0, 2]] == 0)


def test_cmvn_stays_exact_in_a_long_file_with_an_offset() -> None:
    features = (np.random.default_rng(1).standard_normal((60_000, 2)) + 1e4).astype(np.float32)
    ours = sliding_cmvn(features, 300, center=True, normalize_variance=True).features
    part = features[50_000 - 150 : 50_000 + 150].astype(float)
    np.testing.assert_allclose(ours[50_000], (features[50_000] - part.mean(0)) / part.std(0), atol=1e-6)


def test_vad_context_shrinks_at_the_ends() -> None:
    energy = np.array([10, 0, 0, 0, 0, 10], np.float32)
    # one loud of three voters is 1/3, of two at the end 1/2
    vad = compute_vad(energy, energy_threshold=5, energy_mean_scale=0, frames_context=1, proportion_threshold=0.4)
    assert vad.tolist() == [1, 0, 0, 0, 0, 1]
    # 3 of 5 are exactly the proportion 0.6 (in float32), which is enough; the threshold itself is not loud
    edge = np.array([6, 5, 6, 5, 6], np.float32)
    assert compute_vad(edge, 5, 0, 2, 0.6)[2] == 1
    assert compute_vad(np.full(4, 5, np.float32), 5, 0).tolist() == [0, 0, 0, 0]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(VouchError, match="proportion"):
        compute_vad(np.zeros(3, np.float32), proportion_threshold=1.0)
    with pytest.raises(VouchError, match="3 frames.*2 VAD"):
        select_voiced(np.zeros((3, 2)), np.ones(2))
    with pytest.raises(VouchError, match="0 or 1"):
        select_voiced(np.zeros((2, 2)), np.array([0.5, 1]))
    with pytest.raises(VouchError, match="--cmn-window"):
        sliding_cmvn(np.zeros((3, 2)), window=0)
