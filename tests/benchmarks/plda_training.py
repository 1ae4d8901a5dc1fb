#!/usr/bin/env python3
"""Time of ivector-compute-plda beside a straightforward NumPy form of the same EM.

usage: python tests/benchmarks/plda_training.py [--speakers 5000] [--utterances 10] [--dim 150] [--runs 5]

Vectors in a binary archive, spk2utt as text, 10 iterations; whole processes, one thread, medians of alternating runs,
seconds of the processor. Where Kaldi's tool took 1.02 s, such a NumPy form took 0.35 s for the statistics and the EM,
vectors in memory: 2.9 times what this file's form takes for them is the bridge to machines without Kaldi. Exits 1 when
the tool takes more than half of Kaldi's time by this bridge.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from ratios import apart, measure, median, vouch

KALDI = 1.02 / 0.35  # Kaldi's whole process over the EM of the NumPy form on the same machine
FACTOR = 2.0


def make_inputs(folder: Path, speakers: int, utterances: int, dim: int) -> None:
    """An archive of vectors from a two-covariance model, and its spk2utt."""
    import numpy as np

    from vouch.io.tables import TableWriter

    rng = np.random.default_rng(0)
    between, within = rng.standard_normal((2, dim, dim)) / 10
    with TableWriter(f"ark:{folder}/train.ark", "vector") as writer, (folder / "spk2utt").open("w") as spk2utt:
        for speaker in range(speakers):
            mean = between @ rng.standard_normal(dim)
            keys = [f"id{speaker:05d}-utt{number:03d}" for number in range(utterances)]
            for key in keys:
                writer.write(key, (mean + within @ rng.standard_normal(dim)).astype(np.float32))
            spk2utt.write(f"id{speaker:05d} {' '.join(keys)}\n")


def run_numpy(folder: str) -> None:
    """Statistics and EM with matrix products over all; prints the seconds of the processor that they took."""
    import time

    import kaldiio
    import numpy as np

    table = dict(kaldiio.load_ark(f"{folder}/train.ark"))
    groups = [line.split()[1:] for line in Path(folder, "spk2utt").read_text().splitlines()]
    vectors = np.stack([table[key] for keys in groups for key in keys])
    start = time.process_time()
    counts = np.array([len(keys) for keys in groups])[:, None]
    speakers = np.repeat(np.arange(len(groups)), counts[:, 0])
    data = vectors.astype(np.float64)
    means = np.add.reduceat(data, np.cumsum(counts) - counts[:, 0]) / counts
    offsets = data - means[speakers]
    scatter = offsets.T @ offsets
    means -= means.mean(axis=0)
    dim = means.shape[1]
    within = between = np.eye(dim)
    for _ in range(10):
        within_inverse, between_inverse = np.linalg.inv(within), np.linalg.inv(between)
        new_within, new_between = scatter.copy(), np.zeros((dim, dim))
        for count in np.unique(counts):
            some = means[counts[:, 0] == count]
            posterior = np.linalg.inv(between_inverse + count * within_inverse)
            speaker = some @ (count * within_inverse @ posterior)
            rest = some - speaker
            new_between += speaker.T @ speaker + len(some) * posterior
            new_within += count * (rest.T @ rest + len(some) * posterior)
        within, between = new_within / counts.sum(), new_between / len(means)
    factor = np.linalg.inv(np.linalg.cholesky(within))
    np.linalg.eigh(factor @ between @ factor.T)
    print(time.process_time() - start)


def main() -> int:
    if sys.argv[1:2] == ["--peer"]:
        run_numpy(sys.argv[2])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=5000)
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--dim", type=int, default=150)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(make_inputs, folder, options.speakers, options.utterances, options.dim)
        command = vouch("ivector-compute-plda", f"ark:{folder}/spk2utt", f"ark:{folder}/train.ark", f"{folder}/plda")
        ours, forms = [], []
        for _ in range(options.runs):
            ours.append(measure(command))
            forms.append(measure([sys.executable, __file__, "--peer", str(folder)]))
    tool, whole_form, em = median(ours), median(forms), statistics.median(float(form.output) for form in forms)
    kaldi = KALDI * em
    print(f"{options.speakers} speakers x {options.utterances} vectors of {options.dim}")
    print(f"ivector-compute-plda {tool.cpu:.2f} s, {tool.memory:.0f} MB")
    ratio = whole_form.cpu / tool.cpu
    print(f"NumPy and kaldiio    {whole_form.cpu:.2f} s ({ratio:.2f} x), of which statistics and EM {em:.2f} s")
    print(f"Kaldi by the bridge  {kaldi:.2f} s ({kaldi / tool.cpu:.1f} x)")
    return 0 if kaldi >= FACTOR * tool.cpu else 1


if __name__ == "__main__":
    sys.exit(main())
