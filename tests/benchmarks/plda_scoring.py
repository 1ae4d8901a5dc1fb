#!/usr/bin/env python3
"""Time and memory of ivector-plda-scoring and ivector-compute-dot-products beside a straightforward NumPy form.

usage: python tests/benchmarks/plda_scoring.py [--models 2000] [--tests 500] [--dim 150] [--runs 5] [--large 10000000]

Every model with every test segment, text trials in and text scores out; whole processes, one thread, medians of
alternating runs, seconds of the processor. Kaldi's tool scored 138,000 trials a second where a NumPy form like that of
this file (kaldiio, one matrix product, one formatted line a trial) did 672,000 for dot products: its ratio to that
form, 0.205, is the bridge to machines without Kaldi. Exits 1 when PLDA scoring is less than 4 times as fast as Kaldi by
this bridge, or when --large trials take 2 GB or more.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

from ratios import alternate, apart, measure, vouch

KALDI_SHARE = 138_000 / 672_000  # Kaldi's PLDA scoring, in trials a second of the NumPy form on the same machine
FACTOR, MEMORY_BAR = 4.0, 2000  # MB


def make_inputs(folder: Path, models: int, tests: int, dim: int) -> None:
    """A model, text archives of vectors, and all trials."""
    import numpy as np

    from vouch.io.plda import write_plda
    from vouch.io.tables import TableWriter

    rng = np.random.default_rng(0)
    write_plda(
        str(folder / "plda"), rng.standard_normal(dim), rng.standard_normal((dim, dim)), np.sort(rng.random(dim))[::-1]
    )
    for name, keys in zip(("enroll", "test"), names(models, tests), strict=True):
        with TableWriter(f"ark,t:{folder}/{name}.ark", "vector") as writer:
            for key in keys:
                writer.write(key, rng.standard_normal(dim).astype(np.float32))
    write_trials(folder / "trials", models, tests, models * tests)


def names(models: int, tests: int) -> tuple[list[str], list[str]]:
    return [f"spk{i:05d}" for i in range(models)], [f"id{i // 5:05d}-utt{i % 5:03d}" for i in range(tests)]


def write_trials(path: Path, models: int, tests: int, count: int) -> None:
    """`count` trials: every model with every test, again and again."""
    first, second = names(models, tests)
    with path.open("w") as file:
        for model in itertools.cycle(first):
            file.write("".join(f"{model} {test}\n" for test in second[:count]))
            count -= tests
            if count <= 0:
                return


def run_numpy(folder: str) -> None:
    """Dot products: all vectors read, one matrix product, a line formatted for each trial."""
    import kaldiio
    import numpy as np

    sides = [dict(kaldiio.load_ark(f"{folder}/{name}.ark")) for name in ("enroll", "test")]
    rows, cols = ({key: row for row, key in enumerate(side)} for side in sides)
    scores = np.stack(list(sides[0].values())) @ np.stack(list(sides[1].values())).T
    with open(f"{folder}/trials") as trials, open(f"{folder}/numpy.scores", "w") as out:
        for line in trials:
            model, test = line.split()
            out.write(f"{model} {test} {scores[rows[model], cols[test]]:.7g}\n")


def main() -> int:
    if sys.argv[1:2] == ["--peer"]:
        run_numpy(sys.argv[2])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--tests", type=int, default=500)
    parser.add_argument("--dim", type=int, default=150)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large", type=int, default=10_000_000, help="trials of the run whose memory is measured")
    options = parser.parse_args()
    trials = options.models * options.tests
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(make_inputs, folder, options.models, options.tests, options.dim)
        vectors = [f"ark:{folder}/enroll.ark", f"ark:{folder}/test.ark"]
        plda = vouch(
            "ivector-plda-scoring", str(folder / "plda"), *vectors, str(folder / "trials"), str(folder / "plda.scores")
        )
        contestants = {
            "ivector-plda-scoring": plda,
            "ivector-compute-dot-products": vouch(
                "ivector-compute-dot-products", str(folder / "trials"), *vectors, str(folder / "dot.scores")
            ),
            "NumPy and kaldiio, dot products": [sys.executable, __file__, "--peer", str(folder)],
        }
        taken = alternate(contestants, options.runs)
        peer = taken["NumPy and kaldiio, dot products"].cpu
        print(
            f"{trials} trials{'':26s} {'CPU s':>7s} {'trials/s':>10s} {'MB':>6s}  times Kaldi's PLDA scoring (bridge)"
        )
        for name, usage in taken.items():
            ratio = peer / usage.cpu / KALDI_SHARE
            print(f"{name:40s} {usage.cpu:7.2f} {trials / usage.cpu:10,.0f} {usage.memory:6.0f}  {ratio:.1f}")
        ratio = peer / taken["ivector-plda-scoring"].cpu / KALDI_SHARE
        large = None
        if options.large:
            apart(write_trials, folder / "trials", options.models, options.tests, options.large)
            large = measure(plda)
            rate = options.large / large.cpu
            print(f"{options.large:,} trials: {large.cpu:.1f} s, {rate:,.0f} trials/s, {large.memory:.0f} MB")
    return 0 if ratio >= FACTOR and (large is None or large.memory < MEMORY_BAR) else 1


if __name__ == "__main__":
    sys.exit(main())
