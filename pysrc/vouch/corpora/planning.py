"""What the plans of recipes share: the table of stages, and what networks cost."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

FRAMES = 360_000  # of an hour
GPU_RATE = 5e12  # multiply-adds a second, assumed for one GPU


class Stage(NamedTuple):
    """A line of the plan: disk in GB, hours of a core and of a GPU."""

    number: int
    name: str
    reads: str
    writes: str
    disk: float
    core_hours: float
    gpu_hours: float = 0.0


def show(stages: Sequence[Stage], jobs: int) -> str:
    """The plan as a table, sorted by stage, with sums."""
    stages = sorted(stages, key=lambda stage: stage.number)
    rows = [("stage", "reads", "writes", "GB", "core h", "GPU h")]
    for stage in stages:
        gpu = f"{stage.gpu_hours:.1f}" if stage.gpu_hours else "-"
        own = f"{stage.number} {stage.name}", stage.reads, stage.writes
        rows.append((*own, f"{stage.disk:.1f}", f"{stage.core_hours:.1f}", gpu))
    disk, core, gpu_hours = (sum(stage[i] for stage in stages) for i in (4, 5, 6))
    rows.append(("all", "", "", f"{disk:.1f}", f"{core:.1f}", f"{gpu_hours:.1f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    rest = sum(stage.core_hours for stage in stages if not stage.gpu_hours)
    lines.append(
        f"With networks trained on a GPU: its hours, and {rest:.1f} of cores, {rest / jobs:.1f} h on {jobs} of them."
    )
    return "\n".join(lines) + "\n"


def compare_disk(whose: str, stages: Sequence[Stage], folder: Path) -> None:
    """Print what a run needs and what is free in its folder; warn where it is too little."""
    free, wanted = shutil.disk_usage(folder).free / 1e9, sum(stage.disk for stage in stages)
    print(f"{whose}: the run needs about {wanted:.1f} GB; {free:.1f} GB are free in {folder}")
    if free < wanted:
        advice = "choose another --out, or free some"
        print(f"{whose}: warning: that is {wanted - free:.1f} GB too few; {advice}", file=sys.stderr)


def network_costs(
    config: dict[str, Any], dim: int, recordings: float, embedded_frames: float, core_rate: float
) -> tuple:
    """(core hours of the training, GPU hours of it, core hours of the embeddings) of a resolved network system on
    features of `dim` dims: recordings of an epoch, voiced frames to embed, multiply-adds a second of a core.

    A training is either on cores or on a GPU: both are given. Its passes over each chunk are one forward and two
    backward; with an adversary of both domains, in a game once for each update of the network; with two encoders, of
    each (the decoder is not counted).
    """
    from vouch.nn.complexity import complexity
    from vouch.system import build_network

    frames = 300
    products = complexity(build_network(config, dim), dim, frames)[1] / frames
    training, objective = config["training"], config["objective"]
    chunk = (training["min_frames"] + training["max_frames"]) / 2
    seen = training["epochs"] * recordings * training["sampler"].get("samples_per_utterance", 1) * chunk
    both = 6 if objective.get("rest") == "encoder" else 3
    passes = {"danse": 6 if objective.get("weight", 1) else 3, "gan": 14, "seef_aldr": both}.get(objective["type"], 3)
    total = products * seen * passes
    return total / core_rate / 3600, total / GPU_RATE / 3600, products * embedded_frames / core_rate / 3600
