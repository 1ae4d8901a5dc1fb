#!/usr/bin/env python3
"""Time and memory of normalise-scores, adaptive s-norm by cosine and by PLDA.

usage: python tests/benchmarks/score_norm.py [--models 1000] [--tests 10000] [--cohort 6000] [--dim 256]
    [--trials 600000] [--top 300] [--runs 3]

Archives of random vectors and text scores in, text scores out; whole processes, one thread, medians of alternating
runs, seconds of the processor. Exits 1 when one takes 60 s or more, or 2 GB or more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from ratios import alternate, apart, vouch

TIME_BAR, MEMORY_BAR = 60.0, 2000  # s, MB


def make_inputs(folder: Path, options: argparse.Namespace) -> None:
    """Vectors of length 1, a PLDA model, and a score for each of the trials."""
    import numpy as np

    from vouch.io.plda import write_plda
    from vouch.io.tables import TableWriter

    rng = np.random.default_rng(0)
    dim = options.dim
    write_plda(str(folder / "plda"), np.zeros(dim), rng.standard_normal((dim, dim)), np.sort(rng.random(dim))[::-1])
    for name in ("models", "tests", "cohort"):
        with TableWriter(f"ark:{folder}/{name}.ark", "vector") as writer:
            for i in range(getattr(options, name)):
                vector = rng.standard_normal(dim)
                writer.write(f"{name}{i:06d}", (vector / np.linalg.norm(vector)).astype(np.float32))
    models, tests = rng.integers(options.models, size=options.trials), rng.integers(options.tests, size=options.trials)
    with (folder / "scores").open("w") as file:
        for model, test, score in zip(models, tests, rng.standard_normal(options.trials), strict=True):
            file.write(f"models{model:06d} tests{test:06d} {score:.6g}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--tests", type=int, default=10_000)
    parser.add_argument("--cohort", type=int, default=6000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--trials", type=int, default=600_000)
    parser.add_argument("--top", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(make_inputs, folder, options)
        arguments = [f"ark:{folder}/{table}.ark" for table in ("models", "tests", "cohort")]
        arguments += [str(folder / "scores"), str(folder / "normal")]
        top = f"--top={options.top}"
        contestants = {
            "cosine": vouch("normalise-scores", top, *arguments),
            "PLDA": vouch("normalise-scores", top, f"--plda={folder}/plda", *arguments),
        }
        taken = alternate(contestants, options.runs)
    print(f"{options.trials:,} trials, {options.tests:,} tests, a cohort of {options.cohort:,}, {options.dim}-d")
    good = True
    for name, usage in taken.items():
        print(f"{name:10s} {usage.cpu:6.1f} s {usage.memory:6.0f} MB")
        good = good and usage.cpu < TIME_BAR and usage.memory < MEMORY_BAR
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
