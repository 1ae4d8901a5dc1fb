"""Training steps of each system of a settings folder: chunks a second, share of the device's peak, memory, and where
the time goes.

    python tests/benchmarks/networks.py [FOLDER] [--device cuda] [--batch N] [--frames N] [--peak TFLOPS] [--compile]

Synthetic chunks, the objective's own update. A multiply-add of the forward pass counts as 6 floating-point operations
(forward and backward). --peak: what the device can do, in 10^12 operations a second; NVIDIA's figure for bfloat16 on an
H100 or H200 is 989.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from vouch.io.config import read_config
from vouch.nn.complexity import complexity
from vouch.objectives.base import Batch, Objective
from vouch.objectives.updates import Updater
from vouch.system import build_objective, resolve

SPEAKERS = 6000


def _measure(objective: Objective, features: torch.Tensor, steps: int) -> tuple[float, str]:
    """Seconds a step, and the three operations that take most of the device's time."""
    cuda = features.is_cuda
    labels = torch.randint(SPEAKERS, (len(features),), device=features.device)
    updater = Updater(objective.optimizers(), len(features))

    def step() -> None:
        updater.begin(len(features))
        with torch.autocast(features.device.type, torch.bfloat16, enabled=cuda):
            objective.update(Batch(features, labels, [], 0.5), updater)
        updater.finish()

    def run(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            step()
        if cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / count

    run(3)
    seconds = run(steps)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiled:
        run(3)
    column = "self_device_time_total" if cuda else "self_cpu_time_total"
    operations = sorted(profiled.key_averages(), key=lambda entry: -getattr(entry, column))
    total = sum(getattr(entry, column) for entry in operations)
    shares = [f"{entry.key[:40]} {100 * getattr(entry, column) / total:.0f} %" for entry in operations[:3]]
    return seconds, ", ".join(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="conf")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak", type=float, default=989.0)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    for path in sorted(Path(given.folder).glob("*.yaml")):
        config = resolve(read_config(path), str(path))
        if config["kind"] != "network":
            continue
        dims = 41 if config["features"] == "fbank" else 23
        objective = build_objective(config, dims, SPEAKERS, given.device).train()
        parameters, multiply_adds = complexity(objective.network, dims, given.frames)
        if given.compile:
            objective.network.compile()
        if given.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        features = torch.randn(given.batch, given.frames, dims, device=given.device)
        seconds, where = _measure(objective, features, given.steps)
        line = f"{path.stem:12} {parameters / 1e6:6.2f} M parameters, {given.batch / seconds:8.1f} chunks/s"
        if given.device == "cuda":
            reached = 6 * multiply_adds * given.batch / seconds / (given.peak * 1e12)
            line += f", {100 * reached:.1f} % of the peak, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        print(f"{line}; {where}", flush=True)


if __name__ == "__main__":
    main()
