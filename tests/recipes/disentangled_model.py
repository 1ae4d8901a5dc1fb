"""A small SEEF-ALDR model with random networks, for the tests of the tools and of the step that show what it holds."""

from __future__ import annotations

from pathlib import Path

import torch

from vouch.io import checkpoints
from vouch.io.config import write_config
from vouch.system import build_objective, resolve

DIM, SPEAKERS = 11, ["a", "b", "c"]


def make_model(folder: Path, **changes) -> Path:
    """A model directory with random networks, as a training leaves it."""
    config = {
        "network": {
            "backbone": {"type": "resnet34", "channels": 2},
            "pooling": {"type": "statistics"},
            "embedding_dim": 6,
            "hidden_dim": 0,
        },
        "objective": {
            "type": "seef_aldr",
            "head": {"type": "softmax"},
            "optimizer": {},
            "adversary_optimizer": {},
            "adversary": {"hidden_dim": 4},
            "decoder": {"channels": 8},
            **changes,
        },
        "features": "fbank",
        "training": {"min_frames": 30},
    }
    config = resolve(config, "x.yaml")
    torch.manual_seed(0)
    objective = build_objective(config, DIM, len(SPEAKERS))
    folder.mkdir()
    content = {"networks": objective.state_dict(), "config": config, "feature_dim": DIM, "speakers": SPEAKERS}
    checkpoints.save(folder / "final.pt", content)
    write_config(folder / "config.yaml", config)
    (folder / "speakers.txt").write_text("".join(f"{speaker}\n" for speaker in SPEAKERS))
    return folder
