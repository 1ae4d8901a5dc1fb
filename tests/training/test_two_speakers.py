"""Two synthetic speakers; every network, pooling, head and metric loss that conf/ uses, and those that it leaves out:
the loss falls below 0.2 within seconds."""

from __future__ import annotations

import copy
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vouch.io.config import read_config
from vouch.objectives.base import Batch
from vouch.objectives.updates import Updater
from vouch.signal.cmvn import sliding_cmvn
from vouch.signal.features import Fbank, FbankOptions, Mfcc, MfccOptions
from vouch.signal.frames import FrameOptions
from vouch.synthesis.phones import LANGUAGE_A
from vouch.synthesis.speaker import Spread, draw_manner, draw_speaker
from vouch.synthesis.tract import RATE
from vouch.synthesis.utterance import speak
from vouch.system import build_objective, resolve

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = {
    f"{path.parent.name}/{path.stem}": config
    for path in sorted(ROOT.glob("conf/**/*.yaml"))
    if (config := resolve(read_config(path), str(path)))["kind"] == "network"
}
RAMP = 20  # steps over which margins grow
# sizes at which two speakers are learnt in a second or two
SMALL: dict[str, dict[str, Any]] = {
    "tdnn": {"channels": 32, "pooled_channels": 48},
    "etdnn": {"channels": 32, "pooled_channels": 48},
    "ftdnn": {"channels": 32, "bottleneck": 16, "pooled_channels": 48},
    "resnet34": {"channels": 4},
    "resnet50": {"channels": 4},
    "resnet1d": {"channels": 24},
    "ecapa_tdnn": {"channels": 32, "pooled_channels": 48, "scale": 4, "bottleneck": 8},
    "cnn5": {"channels": 4, "dropout": 0.0},
}


def _parts(config: dict[str, Any]) -> tuple[str, str, str]:
    """Of backbone, pooling, and head or metric loss."""
    network, objective = config["network"], config["objective"]
    return network["backbone"]["type"], network["pooling"]["type"], objective.get("head", objective.get("loss"))["type"]


USED = sorted({_parts(config) for config in SYSTEMS.values() if "head" in config["objective"]})
OTHERS = [
    ("etdnn", "statistics", "a_softmax"),
    ("ftdnn", "lde", "softmax"),
    ("resnet34", "ghostvlad", "am_softmax"),
]


@cache
def _speech(kind: str) -> torch.Tensor:
    """(2 speakers x 6 utterances, frames, dims): features of 2.5 s, mean-normalised as the recipe does."""
    frame, spread = FrameOptions(sample_frequency=float(RATE), dither=0.0), Spread()
    if kind == "mfcc":
        extract: Any = Mfcc(MfccOptions(frame=frame, num_ceps=23, high_freq=3700.0))
    else:
        extract = Fbank(FbankOptions(frame=frame, num_mel_bins=40, high_freq=3700.0, use_energy=True))
    rng = np.random.default_rng(1)
    features = []
    for gender in "mf":
        speaker = draw_speaker(gender, spread, rng)
        for _ in range(6):
            samples = speak(speaker, draw_manner(spread, rng), LANGUAGE_A, 2.5, spread, rng)
            values = extract(1000 * samples / samples.std())
            features.append(sliding_cmvn(values, window=300, center=True).features)
    return torch.from_numpy(np.stack(features))


def _train(config: dict[str, Any], steps: int = 300, chunks: int = 12, frames: int = 64) -> float:
    """Train by the configuration's objective until the mean loss of five steps, the margin ramp being over, is below
    0.2; that mean, or the last one. The unlabelled domain of an adversarial one has the same speech with other spectra.
    """
    torch.manual_seed(1)
    speech = _speech(config["features"])
    labels = torch.arange(2).repeat_interleave(6)
    objective = build_objective(config, speech.shape[2], 2).train()
    updater = Updater(objective.optimizers(), chunks)
    losses: list[float] = []
    for step in range(steps):
        which = torch.randint(len(speech), (chunks,))
        if objective.wants_groups:
            which = which % 6 + 6 * (torch.arange(chunks) % 2)  # as many of each speaker
        starts = torch.randint(speech.shape[1] - frames, (chunks,))
        features = torch.stack([speech[u, s : s + frames] for u, s in zip(which, starts, strict=True)])
        updater.begin(chunks)
        target = features.flip(0) + torch.linspace(-2, 2, speech.shape[2]) if objective.wants_target else None
        figures = objective.update(Batch(features, labels[which], [], min(step / RAMP, 1.0), target), updater)
        updater.finish()
        losses.append(figures["loss"].item())
        if step >= RAMP + 5 and np.mean(losses[-5:]) < 0.2:
            break
    return float(np.mean(losses[-5:]))


def _config(parts: tuple[str, str, str]) -> dict[str, Any]:
    """The first system of conf/ with these parts, or a plain one, at small sizes."""
    config = copy.deepcopy(next((c for c in SYSTEMS.values() if _parts(c) == parts), SYSTEMS["conf/xvector"]))
    return _small(config, parts)


def _small(config: dict[str, Any], parts: tuple[str, str, str]) -> dict[str, Any]:
    backbone, pooling, head = parts
    if _parts(config) != parts:
        config["features"] = "fbank" if backbone.startswith("resnet34") else "mfcc"
        config["network"]["pooling"] = {"type": pooling}
        config["objective"]["head"] = {"type": head}
    config["network"]["backbone"] = {"type": backbone, **SMALL[backbone]}
    config["network"]["embedding_dim"] = 32
    config["network"]["trunk_dim"] = 32
    config["network"]["hidden_dim"] = min(config["network"]["hidden_dim"], 32)
    if "margin_ramp" in config["objective"].get("head", {}):
        config["objective"]["head"]["margin_ramp"] = 1.0
    config["objective"]["optimizer"] = {"type": "adam", "learning_rate": 2e-3, "clip_norm": 5.0}
    config["backend"] = {}
    return resolve(config, "small.yaml")


def test_every_combination_of_conf_is_here():
    assert {"average", "attention", "statistics", "attentive", "xvector", "asp", "resnet34", "ecapa"} <= {
        Path(name).name for name in SYSTEMS
    }
    assert len(USED) >= 7 and not set(OTHERS) & set(USED)


@pytest.mark.parametrize("parts", USED + OTHERS, ids="-".join)
def test_two_speakers_are_learnt(parts):
    started = time.monotonic()
    loss = _train(_config(parts))
    assert loss < 0.2
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("system", ["danse", "gan", "lsgan", "relgan", "auxgan"])
def test_two_speakers_are_learnt_in_every_game(system):
    config = copy.deepcopy(SYSTEMS[f"conf/{system}"])
    assert _train(_small(config, _parts(config))) < 0.2


@pytest.mark.parametrize(
    "system", ["ge2e", "ge2e_contrast", "prototypical", "angular_prototypical", "triplet", "contrastive"]
)
def test_two_speakers_are_learnt_by_every_metric_loss(system):
    config = copy.deepcopy(SYSTEMS[f"conf/{system}"])
    assert _train(_small(config, _parts(config))) < 0.2
