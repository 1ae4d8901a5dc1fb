#!/usr/bin/env python3
"""The rates that the plans of egs/*/v1/local/plan.py count with: hours of audio in an hour of one core.

usage: python tests/benchmarks/recipe_rates.py [--recipe sre16|voxceleb] [--hours 1] [--runs 3]

sre16: synthetic mu-law calls of five minutes with two sides at 8 kHz, read as the recipe reads them (`vouch wav-cut` in
wav.scp), MFCC. voxceleb: 16-bit wav of eight seconds at 16 kHz, MFCC and filter banks. Whole processes, one thread,
medians, seconds of the processor. Then trainings of networks, for voxceleb the workers of one on waveforms and for
sre16 i-vectors of 2048 Gaussians, 60 dims and 600-d with random models; the same seconds, within one process.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ratios import ROOT, alternate, apart, measure, vouch

SPEAKERS = 4
GAUSSIANS, DIMS, IVECTOR_DIM = 2048, 60, 600


class Recipe(NamedTuple):
    """Of a recipe: Hz, seconds of a file, channels and coding, settings, kinds of features, networks and dims."""

    rate: int
    seconds: int
    channels: int
    subtype: str
    conf: Path
    kinds: tuple[str, ...]
    networks: dict[str, int]


RECIPES = {
    "sre16": Recipe(8000, 300, 2, "ULAW", ROOT / "conf", ("mfcc",), {"xvector": 23}),
    "voxceleb": Recipe(
        16000,
        8,
        1,
        "PCM_16",
        ROOT / "egs/voxceleb/v1/conf",
        ("mfcc", "fbank"),
        {"asp": 30, "resnet34": 81, "ecapa": 81},
    ),
}


def make_audio(folder: Path, recipe: Recipe, files: int) -> None:
    """Files of noise with pauses, a data directory, and noises to add."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    entries, speakers = [], []
    rate, channels = recipe.rate, recipe.channels
    for number in range(files):
        loud = np.repeat(rng.random((recipe.seconds * 2, channels)) < 0.55, rate // 2, axis=0)
        samples = rng.standard_normal(loud.shape) * np.where(loud, 0.08, 0.001)
        path = folder / f"a_{number}.wav"  # mu-law, as sphere: libsndfile reads both alike
        soundfile.write(path, samples, rate, subtype=recipe.subtype)
        for channel in range(1, channels + 1):
            name = f"s{(2 * number + channel) % SPEAKERS}-{number:04d}-{channel}"
            cut = f"vouch wav-cut --channel={channel} {path} - |" if channels > 1 else str(path)
            entries.append(f"{name} {cut}\n")
            speakers.append(f"{name} {name.split('-')[0]}\n")
    data = folder / "data"
    data.mkdir()
    (data / "wav.scp").write_text("".join(sorted(entries)))
    (data / "utt2spk").write_text("".join(sorted(speakers)))
    (folder / "noise").mkdir()
    (folder / "room").mkdir()
    decay = np.exp(-np.arange(rate // 2) / (rate / 20)) * rng.standard_normal(rate // 2) * 0.2
    soundfile.write(folder / "room" / "r.wav", decay, rate)
    soundfile.write(folder / "noise" / "n.wav", rng.standard_normal(rate * 10) * 0.05, rate)


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


def time_network(conf: Path, system: str, dim: int) -> None:
    """Print the multiply-adds a second of a system's training, counted as in the plans."""
    import time

    import torch

    from vouch.io.config import read_config
    from vouch.nn.complexity import complexity
    from vouch.objectives.base import Batch
    from vouch.objectives.updates import Updater
    from vouch.system import build_objective, resolve

    torch.set_num_threads(1)
    path, chunks = conf / f"{system}.yaml", 32
    config = resolve(read_config(path), str(path))
    objective = build_objective(config, dim, 6000)
    updater, features = Updater(objective.optimizers(), chunks), torch.randn(chunks, 300, dim)
    objective.train()

    def step() -> None:
        updater.begin(chunks)
        objective.update(Batch(features, torch.randint(6000, (chunks,)), [""] * chunks, 0.5), updater)
        updater.finish()

    step()
    started = time.process_time()
    for _ in range(3):
        step()
    products = 3 * 3 * chunks * complexity(objective.network, dim, 300)[1]
    print(f"{system + ', training':20s} {products / (time.process_time() - started) / 1e9:8.1f} G products a second")


def time_chunks(folder: Path, conf: Path) -> None:
    """Print how many chunks of 300 frames a worker of a training on waveforms makes, augmented and at three speeds."""
    import time

    import numpy as np

    from vouch.cli.waveform_data import open_waveforms
    from vouch.training.source_options import WaveformOptions

    noise, rooms, chunks = str(folder / "noise"), str(folder / "room"), 128
    options = WaveformOptions(
        feature_config=str(conf / "fbank.conf"),
        vad_config=str(conf / "vad.conf"),
        cmn_config=str(ROOT / "conf/cmn.conf"),
        share=0.6,
        speeds=[0.9, 1.1],
        babble=True,
        noise=noise,
        music=noise,
        rirs=rooms,
    )
    source = open_waveforms(folder / "data", "fbank", options, 0).source
    utterances = np.random.default_rng(0).integers(len(source), size=(11, chunks))
    starts = np.zeros(chunks, np.int64)
    for batch, chosen in enumerate(utterances):
        if batch == 1:
            started = time.process_time()
        source.read_chunks(chosen, starts, 300, (0, batch))
    print(
        f"waveforms            {chunks * (len(utterances) - 1) / (time.process_time() - started):8.0f} chunks a second"
    )


def time_features(folder: Path, recipe: Recipe, kind: str, hours: float, runs: int) -> None:
    """Print the rates of the steps from wave to training features, of one kind."""
    data, conf, tool = folder / "data", recipe.conf, " ".join(vouch())
    defaults = ROOT / "conf"
    compute = [f"compute-{kind}-feats", f"--config={conf / f'{kind}.conf'}", "--compression-method=1"]
    features = vouch(*compute, f"scp:{data / 'wav.scp'}", f"ark,scp:{folder / 'f.ark'},{folder / 'f.scp'}")
    measure([*features[:4], f"--write-utt2dur=ark,t:{data / 'utt2dur'}", *features[4:]])
    added = folder / f"added_{kind}"
    added.mkdir()
    for what, option in (("noise", f"--noises={folder / 'noise'}"), ("reverb", f"--rirs={folder / 'room'}")):
        measure(vouch("augment-data-dir", f"--type={what}", option, str(data), str(added / what)))
    vad = vouch(
        "compute-vad", f"--config={defaults / 'vad.conf'}", f"scp:{folder / 'f.scp'}", f"ark:{folder / 'v.ark'}"
    )
    measure(vad)
    contestants = {
        kind: vouch(*compute, f"scp:{data / 'wav.scp'}", f"ark:{folder / 'g.ark'}"),
        "VAD": vad,
        "noisy copies": vouch(*compute, f"scp:{added / 'noise/wav.scp'}", f"ark:{folder / 'g.ark'}"),
        "reverberated copies": vouch(*compute, f"scp:{added / 'reverb/wav.scp'}", f"ark:{folder / 'g.ark'}"),
        "training features": [
            "bash",
            "-c",
            f"{tool} apply-cmvn-sliding --config={defaults / 'cmn.conf'} scp:{folder / 'f.scp'} ark:- | "
            f"{tool} select-voiced-frames ark:- ark:{folder / 'v.ark'} ark:- | "
            f"{tool} copy-feats --compress=true --compression-method=3 ark:- ark:{folder / 'g.ark'}",
        ],
    }
    for what, usage in alternate(contestants, runs).items():
        print(f"{what:20s} {hours * 3600 / usage.cpu:8.0f} hours an hour")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="sre16")
    parser.add_argument("--hours", type=float, default=1.0, help="of audio")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    recipe = RECIPES[options.recipe]
    files = max(1, round(options.hours * 3600 / recipe.seconds / recipe.channels))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(make_audio, folder, recipe, files)
        for kind in recipe.kinds:
            time_features(folder, recipe, kind, files * recipe.channels * recipe.seconds / 3600, options.runs)
        if options.recipe == "voxceleb":
            apart(time_chunks, folder, recipe.conf)
    for system, dim in recipe.networks.items():
        apart(time_network, recipe.conf, system, dim)
    if options.recipe == "sre16":
        apart(time_ivectors)


if __name__ == "__main__":
    main()
