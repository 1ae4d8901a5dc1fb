#!/usr/bin/env python3
"""The rates that egs/sre16/v1/local/plan.py counts with: hours of audio in an hour of one core.

usage: python tests/benchmarks/sre16_rates.py [--calls 6] [--runs 3]

Synthetic mu-law calls of five minutes with two sides, read as the recipe reads them (`vouch wav-cut` in wav.scp); whole
processes, one thread, medians, seconds of the processor. Then the training of conf/xvector.yaml, and i-vectors of 2048
Gaussians, 60 dims and 600-d i-vectors with random models; the same seconds, within one process.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from ratios import ROOT, alternate, apart, measure, vouch

RATE, SECONDS, SPEAKERS = 8000, 300, 4
GAUSSIANS, DIMS, IVECTOR_DIM = 2048, 60, 600


def make_calls(folder: Path, calls: int) -> None:
    """Sphere files of noise with pauses, a data directory, and noises to add."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    entries, speakers = [], []
    for call in range(calls):
        loud = np.repeat(rng.random((SECONDS * 2, 2)) < 0.55, RATE // 2, axis=0)
        samples = rng.standard_normal(loud.shape) * np.where(loud, 0.08, 0.001)
        path = folder / f"sw_{call}.wav"  # mu-law, as sphere: libsndfile reads both alike
        soundfile.write(path, samples, RATE, subtype="ULAW")
        for channel in (1, 2):
            name = f"s{(2 * call + channel) % SPEAKERS}-{call:03d}-{channel}"
            entries.append(f"{name} vouch wav-cut --channel={channel} {path} - |\n")
            speakers.append(f"{name} {name.split('-')[0]}\n")
    data = folder / "data"
    data.mkdir()
    (data / "wav.scp").write_text("".join(sorted(entries)))
    (data / "utt2spk").write_text("".join(sorted(speakers)))
    (folder / "noise").mkdir()
    (folder / "room").mkdir()
    decay = np.exp(-np.arange(RATE // 2) / (RATE / 20)) * rng.standard_normal(RATE // 2) * 0.2
    soundfile.write(folder / "room" / "r.wav", decay, RATE)
    soundfile.write(folder / "noise" / "n.wav", rng.standard_normal(RATE * 10) * 0.05, RATE)


def time_ivectors() -> None:
    """Print the microseconds of a frame and the seconds of a recording, of random models of full size."""
    import time

    import numpy as np
    import torch

    from vouch.gmm import batched, batched_ivector
    from vouch.gmm.extractor import init
    from vouch.gmm.full import to_diag
    from vouch.gmm.models import FullGmm

    torch.set_num_threads(1)
    rng, device = np.random.default_rng(0), torch.device("cpu")
    means = rng.standard_normal((GAUSSIANS, DIMS)) * 2
    precisions = np.broadcast_to(np.eye(DIMS), (GAUSSIANS, DIMS, DIMS)).copy()
    weights = np.full(GAUSSIANS, 1 / GAUSSIANS)
    gconsts = np.log(weights) - 0.5 * (means**2).sum(1) - DIMS / 2 * np.log(2 * np.pi)
    ubm = FullGmm(weights, gconsts, means, precisions)
    frames = 1 << 14
    features = (means[rng.integers(GAUSSIANS, size=frames)] + rng.standard_normal((frames, DIMS))).astype(np.float32)
    extractor = init(weights, means, precisions, IVECTOR_DIM, False, rng)
    posteriors = batched.Posteriors(ubm, to_diag(ubm), 20, 0.025, device)
    found = posteriors.of(features)
    many = min(8, batched_ivector.batch_utterances(extractor.projections.shape, device))
    lengths = np.full(many, frames // many)
    statistics = batched_ivector.utterance_statistics(
        features, lengths, batched.FramePosteriors(found.counts, found.indices, found.weights, 0.0), GAUSSIANS, device
    )
    step, inference = (
        batched_ivector.ExtractorEStep(extractor, device),
        batched_ivector.IvectorPosterior(extractor, device),
    )
    full = batched.FullEStep(ubm, to_diag(ubm), 20, device)

    def seconds(work: Callable[[], object], units: int) -> float:
        work()
        started = time.process_time()
        work()
        return (time.process_time() - started) / units

    print(f"UBM, a pass          {1e6 * seconds(lambda: full.of(features), frames):8.1f} us a frame")
    print(f"posteriors           {1e6 * seconds(lambda: posteriors.of(features), frames):8.1f} us a frame")
    print(f"extractor, a pass    {seconds(lambda: step.add(step.expect(*statistics)), many):8.3f} s a recording")
    print(f"i-vectors            {seconds(lambda: inference.means(*statistics), many):8.3f} s a recording")


def time_network() -> None:
    """Print the multiply-adds a second of the training of conf/xvector.yaml, counted as in the plan."""
    import time

    import torch

    from vouch.io.config import read_config
    from vouch.nn.complexity import complexity
    from vouch.objectives.base import Batch
    from vouch.objectives.updates import Updater
    from vouch.system import build_objective, resolve

    torch.set_num_threads(1)
    path = ROOT / "conf" / "xvector.yaml"
    config = resolve(read_config(path), str(path))
    objective = build_objective(config, 23, 6000)
    updater, features = Updater(objective.optimizers(), 64), torch.randn(64, 300, 23)
    objective.train()

    def step() -> None:
        updater.begin(64)
        objective.update(Batch(features, torch.randint(6000, (64,)), [""] * 64, 0.5), updater)
        updater.finish()

    step()
    started = time.process_time()
    for _ in range(3):
        step()
    products = 3 * 3 * 64 * complexity(objective.network, 23, 300)[1]
    print(f"network, training    {products / (time.process_time() - started) / 1e9:8.1f} G products a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(make_calls, folder, options.calls)
        (folder / "added").mkdir()
        hours = options.calls * 2 * SECONDS / 3600
        data, conf = folder / "data", ROOT / "conf"
        added, tool = folder / "added", " ".join(vouch())
        mfcc = ["compute-mfcc-feats", f"--config={conf / 'mfcc.conf'}", "--compression-method=1"]
        features = vouch(*mfcc, f"scp:{data / 'wav.scp'}", f"ark,scp:{folder / 'f.ark'},{folder / 'f.scp'}")
        measure([*features[:4], f"--write-utt2dur=ark,t:{data / 'utt2dur'}", *features[4:]])
        for kind, option in (("noise", f"--noises={folder / 'noise'}"), ("reverb", f"--rirs={folder / 'room'}")):
            measure(vouch("augment-data-dir", f"--type={kind}", option, str(data), str(added / kind)))
        vad = vouch(
            "compute-vad", f"--config={conf / 'vad.conf'}", f"scp:{folder / 'f.scp'}", f"ark:{folder / 'v.ark'}"
        )
        measure(vad)
        contestants = {
            "features": vouch(*mfcc, f"scp:{data / 'wav.scp'}", f"ark:{folder / 'g.ark'}"),
            "VAD": vad,
            "noisy copies": vouch(*mfcc, f"scp:{added / 'noise/wav.scp'}", f"ark:{folder / 'g.ark'}"),
            "reverberated copies": vouch(*mfcc, f"scp:{added / 'reverb/wav.scp'}", f"ark:{folder / 'g.ark'}"),
            "training features": [
                "bash",
                "-c",
                f"{tool} apply-cmvn-sliding --config={conf / 'cmn.conf'} scp:{folder / 'f.scp'} ark:- | "
                f"{tool} select-voiced-frames ark:- ark:{folder / 'v.ark'} ark:- | "
                f"{tool} copy-feats --compress=true --compression-method=3 ark:- ark:{folder / 'g.ark'}",
            ],
        }
        for what, usage in alternate(contestants, options.runs).items():
            print(f"{what:20s} {hours * 3600 / usage.cpu:8.0f} hours an hour")
    apart(time_network)
    apart(time_ivectors)


if __name__ == "__main__":
    main()
