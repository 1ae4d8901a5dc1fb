#!/usr/bin/env python3
"""Embeddings of utterances of 2 to 60 s beside the same network given one utterance at a time.

usage: python tests/benchmarks/extraction.py [--utterances 1000] [--config FILE] [--threads 2] [--runs 3] [--device cpu]

`vouch extract-embeddings --num-threads` and a loop over the same table with torch as it comes, that is with --threads
threads for each operation (and, to compare, with one). Whole processes, in turn, wall time, medians; the time of
starting (Python, torch, the network) is measured on two utterances and taken off. Without --config an x-vector 128 wide
of random weights. Exits 1 below 2 times (on a GPU 10 times) the loop with all threads, or where an embedding
differs by more than a relative 1e-5.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ratios import ROOT, apart, vouch

BARS, TOLERANCE, DIMS = {"cpu": 2.0, "cuda": 10.0}, 1e-5, 30
NETWORK = {
    "backbone": {"type": "tdnn", "channels": 128, "pooled_channels": 384},
    "pooling": {"type": "statistics"},
    "embedding_dim": 128,
}


def make_inputs(folder: Path, utterances: int, config_file: str) -> None:
    """A model, and a table of features with one of its first two utterances."""
    import numpy as np
    import torch

    from vouch.io import checkpoints
    from vouch.io.config import read_config
    from vouch.io.tables import TableWriter
    from vouch.system import build_objective, resolve

    objective = {"type": "supervised", "head": {"type": "softmax"}, "optimizer": {"type": "adam"}}
    config = read_config(config_file) if config_file else {"network": NETWORK, "objective": objective}
    config = resolve(config, config_file or "NETWORK")
    torch.manual_seed(0)
    networks = build_objective(config, DIMS, 2).state_dict()
    extra = {"config": config, "speakers": ["a", "b"], "feature_dim": DIMS}
    checkpoints.save(folder / "model" / "final.pt", {"networks": networks, **extra})
    checkpoints.write_speakers(folder / "model" / "speakers.txt", ["a", "b"])
    rng = np.random.default_rng(0)
    with TableWriter(f"ark,scp:{folder}/feats.ark,{folder}/feats.scp", "matrix") as writer:
        for i in range(utterances):
            writer.write(f"utt{i:05d}", rng.standard_normal((rng.integers(200, 6001), DIMS), dtype=np.float32))
    lines = (folder / "feats.scp").read_text().splitlines(keepends=True)
    (folder / "two.scp").write_text("".join(lines[:2]))


def one_at_a_time(folder: Path, scp: str, out: str, device: str) -> None:
    """The straightforward way."""
    import torch

    from vouch.io import checkpoints
    from vouch.io.tables import TableWriter, read_table
    from vouch.system import build_objective

    saved = checkpoints.load(folder / "model" / "final.pt")
    objective = build_objective(saved["config"], saved["feature_dim"], 2)
    objective.load_state_dict(saved["networks"])
    objective.to(device).eval()
    with TableWriter(f"ark:{out}", "vector") as writer, torch.inference_mode():
        for utterance, features in read_table(f"scp:{scp}"):
            lengths = torch.tensor([len(features)], device=device)
            embedding = objective.embed(torch.from_numpy(features)[None].to(device), lengths)
            writer.write(utterance, embedding[0].cpu().numpy())


def seconds(command: list[str], threads: int) -> float:
    variables = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    variables |= {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT / "pysrc")}
    start = time.perf_counter()
    done = subprocess.run(command, env=variables, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def largest_difference(folder: Path) -> float:
    """Of an embedding from that of the loop, relative to its length."""
    import numpy as np

    from vouch.io.tables import read_table

    pairs = zip(
        read_table(f"ark:{folder}/vouch.ark", "vector"), read_table(f"ark:{folder}/loop.ark", "vector"), strict=True
    )
    worst = 0.0
    for (key, ours), (other_key, theirs) in pairs:
        if key != other_key:
            sys.exit(f"{key} came where {other_key} stands in the table")
        worst = max(worst, float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)))
    return worst


def main() -> int:
    if sys.argv[1:2] == ["--loop"]:
        one_at_a_time(Path(sys.argv[2]), *sys.argv[3:6])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--config", default="", help="YAML of a system")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=tuple(BARS))
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "pysrc"))
    device, all_threads = options.device, f"one at a time, {options.threads} threads"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        apart(make_inputs, folder, options.utterances, options.config)

        def ours(scp: str) -> list[str]:
            words = [f"--num-threads={options.threads}", f"--device={device}", f"{name}/model", f"scp:{name}/{scp}"]
            return vouch("extract-embeddings", *words, f"ark:{name}/vouch.ark")

        def loop(scp: str) -> list[str]:
            return [sys.executable, __file__, "--loop", name, f"{name}/{scp}", f"{name}/loop.ark", device]

        contestants = {"vouch": (ours, options.threads), all_threads: (loop, options.threads)}
        if options.threads > 1 and device == "cpu":
            contestants["one at a time, 1 thread"] = (loop, 1)
        taken: dict[str, list[float]] = {who: [] for who in contestants}
        for _ in range(options.runs):
            for who, (command, threads) in contestants.items():
                taken[who].append(seconds(command("feats.scp"), threads) - seconds(command("two.scp"), threads))
        seconds(loop("feats.scp"), 1)
        seconds(ours("feats.scp"), options.threads)
        difference = largest_difference(folder)
    medians = {who: statistics.median(times) for who, times in taken.items()}
    for who, median in medians.items():
        print(f"{who:28s} {median:8.2f} s {options.utterances / median:8.1f} utterances/s")
    ratio = medians[all_threads] / medians["vouch"]
    print(f"ratio {ratio:.2f} (asked: {BARS[device]:g}); largest relative difference {difference:.1e}")
    return 0 if ratio >= BARS[device] and difference <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
