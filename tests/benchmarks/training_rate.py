#!/usr/bin/env python3
"""Steps a second of a training that reads its chunks from disk, over those of the same training fed with one tensor.

usage: python tests/benchmarks/training_rate.py [--config FILE] [--batch-size 64] [--workers 0] [--threads 2]
                                                [--rounds 6] [--device cpu] [--dims 30]

The engine's own loop (vouch.training.engine) with chunks of 300 frames of archives of 30 s utterances in the page
cache; beside it with a sampler and a source that give the same batch, made before, every time. Short trainings of 40
steps by turns in one process; the median time from one update to the next, the first ten left out. Without --config a
small x-vector (128 wide). Exits 1 when the ratio of the rates is below 0.95.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from chunks import make_archive
from ratios import ROOT, apart

BAR, STEPS, LEFT_OUT = 0.95, 40, 10
UTTERANCES, SPEAKERS, FRAMES, LENGTH = 300, 100, 3000, 300
SMALL = {
    "network": {
        "backbone": {"type": "tdnn", "channels": 128, "pooled_channels": 384},
        "pooling": {"type": "statistics"},
        "embedding_dim": 128,
        "hidden_dim": 128,
    },
    "objective": {"type": "supervised", "head": {"type": "softmax"}, "optimizer": {"type": "adam", "clip_norm": 5.0}},
}


class FirstSteps:
    """A sampler of 40 batches an epoch."""

    group, batches_per_epoch = 1, STEPS

    def __init__(self, sampler) -> None:
        self.sampler = sampler

    def batch(self, epoch, position, length=None):
        return self.sampler.batch(*divmod(position, self.sampler.batches_per_epoch))


class Repeated:
    """Sampler and source at once: the same batch every time."""

    group, batches_per_epoch = 1, STEPS

    def __init__(self, sampler, archive) -> None:
        self.keys, self.chunks = archive.keys, sampler.batch(0, 0)
        self.tensor = archive.read_chunks(*self.chunks)

    def batch(self, epoch, position, length=None):
        return self.chunks

    def read_chunks(self, indices, starts, length, place=None):
        return self.tensor


def rates(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Steps a second of either training."""
    import numpy as np
    import torch

    from vouch.cli.threads import keep_freed_memory
    from vouch.io.config import read_config
    from vouch.io.feature_archive import FeatureArchive
    from vouch.system import build_objective, build_sampler, resolve, training_options
    from vouch.training.engine import Trainer

    keep_freed_memory()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    config = resolve(read_config(options.config) if options.config else SMALL, options.config or "SMALL")
    config["training"].update(
        epochs=1, batch_size=options.batch_size, min_frames=LENGTH, max_frames=LENGTH, workers=options.workers
    )
    labels = np.arange(UTTERANCES) % SPEAKERS
    archive = FeatureArchive(folder / "feats.scp")
    sampler = build_sampler(config, np.full(UTTERANCES, FRAMES), labels)
    repeated = Repeated(sampler, archive)
    objective = build_objective(config, options.dims, SPEAKERS, device)
    times: list[float] = []
    update = objective.update

    def timed_update(batch, updater):
        times.append(time.perf_counter())
        return update(batch, updater)

    objective.update = timed_update
    steps: dict[str, list[float]] = {"chunks from archives": [], "one batch in memory": []}
    for _ in range(options.rounds):
        for name, (from_source, choice) in zip(
            steps, ((archive, FirstSteps(sampler)), (repeated, repeated)), strict=True
        ):
            times.clear()
            run = training_options(config)
            Trainer(objective, from_source, labels, choice, run, folder, {}, device).run(report=lambda line: None)
            steps[name] += np.diff(times)[LEFT_OUT:].tolist()
    return {name: 1 / statistics.median(taken) for name, taken in steps.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="", help="YAML of a system; its sampler is taken too")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dims", type=int, default=30)
    options = parser.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")  # as vouch train
    sys.path.insert(0, str(ROOT / "pysrc"))
    with tempfile.TemporaryDirectory() as name:
        apart(make_archive, Path(name), UTTERANCES, FRAMES, options.dims)
        found = rates(options, Path(name))
    for name, rate in found.items():
        print(f"{name:24s} {rate:8.2f} steps/s")
    ours, synthetic = found.values()
    print(f"ratio {ours / synthetic:.3f} (asked: {BAR})")
    return 0 if ours >= BAR * synthetic else 1


if __name__ == "__main__":
    sys.exit(main())
