#!/usr/bin/env python3
"""What each stage of the recipe reads, writes and costs: disk, hours of processor cores and of a GPU.

usage: plan.py [options]                    before anything is there: the published sizes of VoxCeleb1 and 2
       plan.py [options] --sources FILE     after stage 0: what it found (sources.tsv)

Before stage 0 the audio counts as wav or flac. The arithmetic: hours of audio over the rates below, which
tests/benchmarks/recipe_rates.py measured on one core; networks by their multiply-adds, three times those of the
forward pass in training. GPU hours are by an assumed rate: no GPU was measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

from vouch.corpora.planning import FRAMES, Stage, compare_disk, network_costs, show
from vouch.errors import VouchError
from vox.lists import NAMES, planned_names

CONF = Path(__file__).resolve().parent.parent / "conf"
SECONDS = 7.9  # of an utterance: 2,442 h of VoxCeleb2 in 1,128,246 utterances, VoxCeleb1's 352 h in 153,516 are 8.2
VOICED = 0.9
DIMS = {"mfcc": 30, "fbank": 81}  # filter banks with the energy
HEADERS_RATE = 6e7  # files an hour, many threads
DECODE_RATE = 300.0  # hours of m4a an hour of one core, assumed: ffmpeg is not ours
WAV_GB = 3600 * 16000 * 2 / 1e9  # of an hour
# hours of audio in an hour of one core: tests/benchmarks/recipe_rates.py --recipe voxceleb, 2026-11-22
FEATURE_RATE = {"mfcc": 1 / (1 / 1690 + 1 / 10120), "fbank": 1 / (1 / 1096 + 1 / 4030)}  # features, VAD
AUGMENT_RATE = {"mfcc": 1 / (0.75 / 1331 + 0.25 / 673), "fbank": 1 / (0.75 / 968 + 0.25 / 562)}  # noises, rooms
TRAINING_FEATS_RATE = {"mfcc": 3882.0, "fbank": 1682.0}
CORE_RATE = 40e9  # multiply-adds a second of a network, one core: 37 (ecapa), 41 (asp), 52 (resnet34)
CHUNKS_RATE = 243 * 3600  # chunks of waveforms that one worker of a training makes in an hour, from wav
SCORES_RATE, RESULTS_RATE = 9.2e7, 2.7e8  # trials an hour: 1.16 million of 145,000 utterances in 256-d, 2026-11-22
BACKENDS, SCORE_BYTES = 5, 2 * 90  # of a trial: in the union of the lists, and in its own


class Amounts(NamedTuple):
    """Utterances to train on, their speakers, utterances to test, trials: in the union of the lists, and in each; and
    whether ffmpeg reads the utterances every time."""

    train: int
    speakers: int
    test: int
    trials: int
    listed: int
    piped: bool = False


# VoxCeleb2 dev and test, and the 1,211 speakers of VoxCeleb1 that list O leaves; or without them, where E or H are used
WITH_VOX1 = Amounts(1_276_888, 7_323, 4_874, 37_720, 75_331)
VOX2_ALONE = Amounts(1_128_246, 6_112, 153_516, 1_171_000, 2_340_000)


def fail(message: str) -> NoReturn:
    sys.exit(f"plan.py: error: {message}")


def read_folder(folder: Path) -> Amounts:
    """What stage 0 wrote."""

    def count(path: Path) -> int:
        return sum(1 for _ in path.open("rb")) if path.is_file() else 0

    train, test = folder / "train", folder / "test"
    piped = any(" ffmpeg " in line for line in (train / "wav.scp").open(errors="surrogateescape"))
    trials, listed = count(test / "trials"), sum(map(count, test.glob("trials_*")))
    return Amounts(count(train / "utt2spk"), count(train / "spk2utt"), count(test / "utt2spk"), trials, listed, piped)


def plan(amounts: Amounts, configs: dict[str, dict], num_copies: int, backend_utts: int, decoded: bool) -> list[Stage]:
    hours = amounts.train * SECONDS / 3600
    test_hours = amounts.test * SECONDS / 3600
    backend = min(amounts.train, amounts.speakers * backend_utts)
    backend_hours = backend * SECONDS / 3600
    copied = min(num_copies, 4 * amounts.train) * SECONDS / 3600
    reading = 1 / DECODE_RATE if amounts.piped else 0.0
    stages = [
        Stage(0, "data", f"{amounts.train + amounts.test:,} headers", "data/corpora", 0.6, amounts.train / HEADERS_RATE)
    ]
    if decoded:
        packed = min(amounts.train, VOX2_ALONE.train) * SECONDS / 3600
        stages.append(Stage(0, "decode", f"{packed:,.0f} h of m4a", "wav", packed * WAV_GB, packed / DECODE_RATE))
    for kind in sorted({config["features"] for config in configs.values()}):
        own = [config for config in configs.values() if config["features"] == kind]
        archives = any(config["training"]["source"]["type"] == "features" for config in own)
        gigabytes = FRAMES * (DIMS[kind] + 0.5) / 1e9
        clean = test_hours + (hours if archives else backend_hours)
        where = f"data/{kind}"
        cost = clean * (1 / FEATURE_RATE[kind] + reading)
        stages.append(Stage(1, kind, f"{clean:,.0f} h", where, clean * gigabytes, cost))
        if archives:
            cost = copied * (1 / AUGMENT_RATE[kind] + reading)
            stages.append(
                Stage(2, f"augment {kind}", f"{copied:,.0f} h", f"{where}/train_aug", copied * gigabytes, cost)
            )
            kept = (hours + copied) * FRAMES * VOICED * 2 * DIMS[kind] / 1e9
            cost = (hours + copied) / TRAINING_FEATS_RATE[kind]
            name = f"{where}/train_aug_nosil"
            stages.append(Stage(3, f"training {kind}", f"{hours + copied:,.0f} h", name, kept, cost))
    embedded = backend + amounts.test
    for system, config in configs.items():
        archives = config["training"]["source"]["type"] == "features"
        speeds = 1 + len(config["training"]["source"].get("speeds", []))
        seen = amounts.train * (hours + copied) / hours if archives else amounts.train * speeds
        frames = embedded * SECONDS * FRAMES / 3600 * VOICED
        core, gpu, extraction = network_costs(config, DIMS[config["features"]], seen, frames, CORE_RATE)
        number, what = (5, "fine-tune") if config["start"] else (4, "train")
        reads = f"data/{config['features']}/train_aug_nosil" if archives else "recordings"
        if not archives:
            chunks = config["training"]["epochs"] * seen * config["training"]["sampler"].get("samples_per_utterance", 1)
            what_for, reading = f"waveforms of {system}", f"{chunks / 1e6:,.1f} M chunks"
            stages.append(Stage(number, what_for, reading, "-", 0.0, chunks / CHUNKS_RATE))
        stages.append(Stage(number, f"{what} {system}", reads, f"exp/{system}", 0.3, core, gpu))
        size = embedded * config["network"]["embedding_dim"] * 4 / 1e9
        stages.append(
            Stage(6, f"embed {system}", f"{embedded:,} utterances", f"exp/{system}/embeddings", size, extraction)
        )
    scores = len(configs) * BACKENDS * amounts.trials
    stages.append(Stage(7, "backends", f"{backend:,} vectors a system", "exp/*/backend", 0.1, 0.05 * len(configs)))
    stages.append(
        Stage(
            8, "scores", f"{amounts.trials:,} trials", "exp/*/scores", scores * SCORE_BYTES / 1e9, scores / SCORES_RATE
        )
    )
    results = len(configs) * BACKENDS * amounts.listed / RESULTS_RATE
    stages.append(Stage(9, "results", f"{amounts.listed:,} trials of lists", "results", 0.01, results))
    return stages


def read_system(path: Path) -> dict:
    from vouch.io.config import read_config
    from vouch.system import resolve

    if not path.is_file():
        raise VouchError(f"there is no system '{path.stem}': {path} is missing")
    config = resolve(read_config(path), str(path))
    if config["kind"] != "network":
        raise VouchError(f"{path} is of kind {config['kind']}; the plan knows networks")
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = fail
    parser.add_argument("--sources", type=Path, help="sources.tsv of stage 0")
    parser.add_argument("--lists", default="", help="those of the run; O alone leaves VoxCeleb1's other speakers")
    parser.add_argument("--systems", default="resnet34", help="names of YAML files")
    parser.add_argument("--conf", type=Path, default=CONF, help="their folder")
    parser.add_argument("--num-copies", type=int, default=1_000_000)
    parser.add_argument("--backend-utts", type=int, default=20)
    parser.add_argument("--decode", action="store_true", help="m4a is decoded once")
    parser.add_argument("--jobs", type=int, default=1, help="cores that work at once")
    parser.add_argument("--disk", type=Path, help="folder whose free space is compared")
    options = parser.parse_args()
    if options.sources:
        amounts = read_folder(options.sources.parent)
    else:
        names = planned_names(options.lists)
        amounts = WITH_VOX1 if names and names <= {"O", "O_clean"} else VOX2_ALONE
        unknown = sorted(names - set(NAMES.values()))
        if unknown:
            print(f"plan.py: {', '.join(unknown)}: no published list; planned as if it had the speakers of E and H")
    configs = {system: read_system(options.conf / f"{system}.yaml") for system in options.systems.split()}
    stages = plan(amounts, configs, options.num_copies, options.backend_utts, options.decode)
    print(show(stages, max(options.jobs, 1)), end="")
    if options.disk:
        compare_disk("plan.py", stages, options.disk)


if __name__ == "__main__":
    try:
        main()
    except VouchError as error:
        fail(str(error))
