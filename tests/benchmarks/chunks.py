#!/usr/bin/env python3
"""Random chunks of feature archives beside kaldiio, which reads whole matrices.

usage: python tests/benchmarks/chunks.py [--utterances 500] [--frames 3000] [--dims 30] [--length 300] [--runs 5]

Archives of two bytes a value (kTwoByteAuto) in the page cache; batches of 64 chunks (64, length, dims) float32 of
random utterances at random starts; one process with one thread each, in turn, medians; chunks a second of the
processor. Exits 1 below 20,000 chunks/s, or below 10 times kaldiio.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from ratios import alternate, apart

RATE_BAR, RATIO_BAR, BATCH = 20_000, 10.0, 64


def make_archive(folder: Path, utterances: int, frames: int, dims: int) -> None:
    import numpy as np

    from vouch.io.tables import TableWriter

    rng = np.random.default_rng(0)
    with TableWriter(f"ark,scp:{folder}/feats.ark,{folder}/feats.scp", "matrix", 3) as writer:
        for i in range(utterances):
            writer.write(f"utt{i:06d}", rng.standard_normal((frames, dims), dtype=np.float32))


def run_reader(who: str, scp: str, frames: int, length: int, seconds: float = 2.0) -> None:
    """Read batches for so many seconds of the processor, and print the chunks a second."""
    import numpy as np

    if who == "vouch":
        from vouch.io.feature_archive import FeatureArchive

        archive = FeatureArchive(scp)
        count = len(archive)

        def read(utterances: np.ndarray, starts: np.ndarray) -> np.ndarray:
            return archive.read_chunks(utterances, starts, length)
    else:
        import kaldiio

        names = [line.split()[1] for line in Path(scp).read_text().splitlines()]
        count = len(names)

        def read(utterances: np.ndarray, starts: np.ndarray) -> np.ndarray:
            chosen = zip(utterances.tolist(), starts.tolist(), strict=True)
            return np.stack([kaldiio.load_mat(names[u])[s : s + length] for u, s in chosen])

    rng = np.random.default_rng(1)
    batches, start = 0, 0.0
    for number in range(1 << 30):
        if number == 10:  # the first ones warm up
            start = time.process_time()
        batch = read(rng.integers(0, count, BATCH), rng.integers(0, frames - length + 1, BATCH))
        if batch.shape[:2] != (BATCH, length) or batch.dtype != np.float32:
            sys.exit(f"{who} gave {batch.dtype} {batch.shape}")
        batches += number >= 10
        if start and time.process_time() - start > seconds:
            break
    print(batches * BATCH / (time.process_time() - start))


def main() -> int:
    if sys.argv[1:2] == ["--reader"]:
        run_reader(*sys.argv[2:4], *map(int, sys.argv[4:6]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=500)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--dims", type=int, default=30)
    parser.add_argument("--length", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        apart(make_archive, Path(name), options.utterances, options.frames, options.dims)
        arguments = [f"{name}/feats.scp", str(options.frames), str(options.length)]
        contestants = {
            who: [sys.executable, __file__, "--reader", who, *arguments] for who in ("vouch", "kaldiio, whole matrices")
        }
        rates: dict[str, list[float]] = {who: [] for who in contestants}
        for _ in range(options.runs):
            for who, usage in alternate(contestants, 1).items():
                rates[who].append(float(usage.output))
    medians = {who: sorted(values)[len(values) // 2] for who, values in rates.items()}
    ours, theirs = medians.values()
    for who, rate in medians.items():
        print(f"{who:28s} {rate:10,.0f} chunks/s of {options.length} frames x {options.dims} dims")
    print(f"ratio {ours / theirs:.1f} (asked: {RATIO_BAR:g}, and {RATE_BAR:,} chunks/s)")
    return 0 if ours >= RATE_BAR and ours >= RATIO_BAR * theirs else 1


if __name__ == "__main__":
    sys.exit(main())
