"""What the tests of embed, verify and the exports share: a model directory with random weights, and speech for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vouch.io import checkpoints
from vouch.io.audio import Wave, write_wave
from vouch.io.config import write_config
from vouch.io.plda import write_plda
from vouch.io.tables import write_matrix, write_vector
from vouch.signal.resample import resample_rational
from vouch.synthesis.corpus import plan, synthesise
from vouch.synthesis.speaker import Spread
from vouch.system import build_objective, resolve

RATE, DIM = 16_000, 6  # of the recordings in Hz, of the embeddings
SPEAKERS = ["ann-of-the-training", "bob-of-the-training"]
FEATURES = {
    "mfcc": "--sample-frequency=16000\n--num-mel-bins=24\n--num-ceps=20\n--high-freq=7600\n--snip-edges=false\n",
    "fbank": "--sample-frequency=16000\n--num-mel-bins=19\n--use-energy=true\n--snip-edges=false\n",
}


def write_model(
    folder: Path, kind: str = "mfcc", dither: float = 0, backbone: dict | None = None, pooling: str = "statistics"
) -> Path:
    """A model directory as run.sh --stage 5 leaves it, for 20-d features of 16 kHz speech."""
    parts = {"backbone": backbone or {"type": "tdnn", "channels": 16, "pooled_channels": 24}}
    network = {**parts, "pooling": {"type": pooling}, "embedding_dim": DIM, "hidden_dim": 8}
    objective = {"type": "supervised", "head": {"type": "softmax"}, "optimizer": {"type": "adam"}}
    config = resolve({"features": kind, "network": network, "objective": objective}, "x.yaml")
    torch.manual_seed(0)
    trained = build_objective(config, 20, 2)
    for part in trained.modules():  # as a training leaves them
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    folder.mkdir()
    saved = {"networks": trained.state_dict(), "config": config, "feature_dim": 20, "speakers": SPEAKERS}
    checkpoints.save(folder / "final.pt", saved)
    checkpoints.write_speakers(folder / "speakers.txt", SPEAKERS)
    write_config(folder / "config.yaml", config)
    (folder / "features.conf").write_text(f"{FEATURES[kind]}--dither={dither}\n")
    (folder / "vad.conf").write_text("--vad-energy-threshold=5.5\n--vad-frames-context=2\n")
    (folder / "cmn.conf").write_text("--center=true\n--cmn-window=100\n")
    return folder


def write_backend(model: Path, adapted: bool = False) -> None:
    """mean.vec, lda.mat and plda of 4 dims in model/backend; with `adapted` also what stands for another domain."""
    generator = np.random.default_rng(1)
    backend = model / "backend"
    backend.mkdir()
    write_matrix(str(backend / "lda.mat"), generator.normal(size=(4, DIM)).astype(np.float32))
    for mean, names in {"mean": ["plda"], "mean_adapt": ["plda_adapt", "plda_coral", "plda_coral_plus"]}.items():
        if mean == "mean" or adapted:
            write_vector(str(backend / f"{mean}.vec"), generator.normal(size=DIM).astype(np.float32), binary=False)
            for name in names:
                arrays = generator.normal(size=4), generator.normal(size=(4, 4)), generator.uniform(0.5, 3, size=4)
                write_plda(str(backend / name), *arrays)


def speech(number: int, rate: int = RATE) -> np.ndarray:
    """(samples,) of one utterance of the embedded corpus, in the 16-bit range."""
    samples = synthesise(plan(0, 0.05)[number], 0, Spread()).astype(np.float32)
    return resample_rational(samples * np.float32(20_000 / abs(samples).max()), rate, RATE)


def write_speech(path: Path, *channels: np.ndarray, rate: int = RATE) -> str:
    """A wav file of these channels (samples,); its name."""
    write_wave(str(path), Wave(np.stack(channels), rate))
    return str(path)
