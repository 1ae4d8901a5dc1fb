#!/usr/bin/env python3
"""Seconds and memory of the start of a training on a list of 1.2 million utterances.

usage: python tests/benchmarks/training_start.py [--utterances 1200000] [--speakers 7000] [--runs 3]

`vouch train` of an x-vector for no epochs: all that happens before the first batch (lists, speaker map, fingerprint of
the features, held-out speech, network) and the writing of final.pt; and `vouch train --dry-run`. Whole processes of one
thread; wall time, medians, peak memory. Every line of the list points to one matrix. Exits 1 at 15 s or 2 GB.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ratios import apart, measure, vouch

SECONDS_BAR, MEMORY_BAR = 15.0, 2000  # s, MB
YAML = """
network:
  backbone: {type: tdnn, channels: 128, pooled_channels: 384}
  pooling: {type: statistics}
  embedding_dim: 128
objective: {type: supervised, head: {type: softmax}, optimizer: {type: adam}}
training:
  epochs: 0
  sampler: {type: random, samples_per_utterance: 10}
  held_out: {share: 0.01}
"""


def make_data(folder: Path, utterances: int, speakers: int) -> None:
    """feats.scp, utt2spk, utt2num_frames and utt2uniq of augmented speech: five copies of every recording."""
    import numpy as np

    from vouch.io.tables import TableWriter

    with TableWriter(f"ark,scp:{folder}/feats.ark,{folder}/one.scp", "matrix", 3) as writer:
        writer.write("x", np.random.default_rng(0).standard_normal((1000, 30), dtype=np.float32))
    where = (folder / "one.scp").read_text().split()[1]
    files = {name: (folder / name).open("w") for name in ("feats.scp", "utt2spk", "utt2num_frames", "utt2uniq")}
    for i in range(utterances):
        speaker = f"id{i * speakers // utterances:05d}"
        recording = f"{speaker}-recording{i // 5:08d}-00001"
        key = f"{recording}-{'abcde'[i % 5]}"
        files["feats.scp"].write(f"{key} {where}\n")
        files["utt2spk"].write(f"{key} {speaker}\n")
        files["utt2num_frames"].write(f"{key} 1000\n")
        files["utt2uniq"].write(f"{key} {recording}\n")
    for file in files.values():
        file.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1_200_000)
    parser.add_argument("--speakers", type=int, default=7000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(make_data, folder, options.utterances, options.speakers)
        (folder / "x.yaml").write_text(YAML)
        arguments = ["--device=cpu", str(folder / "x.yaml"), name, str(folder / "model")]
        for title, option in (("start", "--force=true"), ("dry run", "--dry-run=true")):
            seconds, memory, processor = [], [], []
            for _ in range(options.runs):
                began = time.perf_counter()
                usage = measure(vouch("train", option, *arguments))
                seconds.append(time.perf_counter() - began)
                memory.append(usage.memory)
                processor.append(usage.cpu)
            took, most = statistics.median(seconds), max(memory)
            good = good and took < SECONDS_BAR and most < MEMORY_BAR
            print(
                f"{title:8s} on {options.utterances:,} utterances: {took:5.1f} s, {statistics.median(processor):.1f} s "
                f"of the processor, {most:.0f} MB (asked: below {SECONDS_BAR:g} s and {MEMORY_BAR:,} MB)"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
