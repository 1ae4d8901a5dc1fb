#!/usr/bin/env python3
"""What each stage of the recipe reads, writes and costs: disk, hours of processor cores and of a GPU.

usage: plan.py [options] CORPORA            before anything is there: sizes of corpora.yaml, or published ones
       plan.py [options] --sources FILE     after stage 0: what it found (sources.tsv)

The arithmetic: hours of audio over the rates below, which tests/benchmarks/recipe_rates.py measured on one core;
networks by their multiply-adds, three times those of the forward pass in training. GPU hours are by an assumed rate:
no GPU was measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

from corpora.catalogue import CATALOGUE, EVALUATION, SRE, SWITCHBOARD, UNLABELLED
from corpora.locations import Planned, missing_lines, planned_corpora
from vouch.corpora.planning import FRAMES, Stage, compare_disk, network_costs, show
from vouch.errors import VouchError

CONF = Path(__file__).resolve().parent.parent / "conf"
VOICED = 0.55  # share of telephone speech that the VAD keeps: two sides of a call, each silent while the other talks
FEATURE_BYTES = 23 + 0.5  # of a frame, one byte a value, and its VAD decision
TRAINING_BYTES = 2 * 23  # of a voiced frame, two bytes a value
POSTERIOR_BYTES = 1 + 5 * 8  # of a voiced frame while an extractor is trained: a few Gaussians each, five assumed
DIM = 23
HEADERS_RATE = 2e5  # files an hour
# hours of audio in an hour of one core: tests/benchmarks/recipe_rates.py, 2026-11-22
FEATURE_RATE = 1 / (1 / 2300 + 1 / 10800)  # MFCC, VAD
AUGMENT_RATE = 1 / (0.75 / 2000 + 0.25 / 980)  # MFCC of three noisy copies and a reverberated one
TRAINING_FEATS_RATE = 4800.0
CORE_RATE = 37e9  # multiply-adds a second of a network, one core
# i-vectors of 2048 Gaussians, 60 dims, 600-d: seconds of a core for a frame, and for a recording
UBM_FRAME, POSTERIORS_FRAME, EXTRACTOR_RECORDING, IVECTOR_RECORDING = 68e-6, 36e-6, 0.124, 0.070
SCORES_RATE, RESULTS_RATE = 3e8, 1.3e8  # trials an hour; of the second two million took 55 s, 2026-11-22
TRIALS = 1_986_728  # of SRE16's evaluation
BACKENDS = 7  # of the recipe, one of them with normalised scores
SCORE_BYTES = 3 * 32  # of a trial: raw, calibrated, and by language


class Amounts(NamedTuple):
    """Recordings and hours of the parts."""

    train: Planned
    backend: Planned
    adapt: Planned
    evaluation: Planned
    trials: int


def fail(message: str) -> NoReturn:
    sys.exit(f"plan.py: error: {message}")


def amounts_of(sizes: dict[str, Planned], trials: int) -> Amounts:
    def total(*parts: str) -> Planned:
        own = [size for number, size in sizes.items() if CATALOGUE[number].part in parts]
        return Planned(sum(size.recordings for size in own), sum(size.hours for size in own))

    backend = total(SRE) if total(SRE).recordings else total(SWITCHBOARD)
    return Amounts(total(SRE, SWITCHBOARD), backend, total(UNLABELLED), total(EVALUATION), trials)


def read_sources(path: Path) -> dict[str, Planned]:
    """The sizes that stage 0 wrote."""
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {row[0]: Planned(int(row[2]), float(row[4]) / 3600) for row in rows}


def count_trials(folder: Path) -> int:
    """The trials that stage 0 wrote."""
    return sum(sum(1 for _ in path.open("rb")) for path in folder.glob("sre16_*_test/trials"))


def plan(amounts: Amounts, systems: list[str], conf: Path, num_copies: int) -> list[Stage]:
    train, backend, adapt, evaluation, trials = amounts
    copies = min(num_copies, 4 * train.recordings)
    copied = copies * train.hours / max(train.recordings, 1)
    clean = train.hours + adapt.hours + evaluation.hours
    augmented, files = train.hours + copied, sum(part.recordings for part in (train, adapt, evaluation))
    configs = {system: read_system(conf / f"{system}.yaml") for system in systems}
    adversarial = [name for name, c in configs.items() if c.get("objective", {}).get("type") in ("danse", "gan")]
    if adversarial and not adapt.recordings:
        print(f"plan.py: {' '.join(adversarial)} want LDC2016E46, which is not given: run.sh will refuse them")
    more = 2 * adapt.hours if adversarial else 0.0  # the unlabelled speech and as many copies
    ivectors = [config for config in configs.values() if config["kind"] == "ivector"]
    network_hours = augmented + more if len(ivectors) < len(configs) else 0.0
    feature_gb = FRAMES * FEATURE_BYTES / 1e9
    kept_gb = FRAMES * VOICED / 1e9
    read, copied_gb = f"{copied + more / 2:,.0f} h, {copies:,} copies", (copied + more / 2) * feature_gb
    prepared = len(ivectors) * (train.hours + adapt.hours)
    ivector_gb = (train.hours + adapt.hours) * kept_gb * sum(2 * _frontend_dim(config) for config in ivectors)
    prepared_gb = network_hours * kept_gb * TRAINING_BYTES + ivector_gb
    stages = [
        Stage(0, "data", "the corpora's tables and headers", "data/corpora", 0.2, files / HEADERS_RATE),
        Stage(1, "features", f"{clean:,.0f} h", "data/mfcc/{train,...}", clean * feature_gb, clean / FEATURE_RATE),
        Stage(2, "augment", read, "data/mfcc/train_aug", copied_gb, (copied + more / 2) / AUGMENT_RATE),
        Stage(
            3,
            "training",
            f"{network_hours + prepared:,.0f} h",
            "data/mfcc/train_aug_nosil, ...",
            prepared_gb,
            (network_hours + prepared) / TRAINING_FEATS_RATE,
        ),
    ]
    each = 1 + copies / max(train.recordings, 1)
    embedded = Planned(  # the backend's recordings and their copies, and what is unlabelled and evaluated
        round(each * backend.recordings) + adapt.recordings + evaluation.recordings,
        each * backend.hours + adapt.hours + evaluation.hours,
    )
    vectors = embedded.recordings
    for system, config in configs.items():
        core, gpu, extraction, dim = costs_of(config, amounts, augmented, embedded)
        folder, gigabytes = f"exp/{system}/embeddings", vectors * dim * 4 / 1e9
        model_gb = 0.3 + (train.hours * kept_gb * POSTERIOR_BYTES if config["kind"] == "ivector" else 0.0)
        stages.append(Stage(4, f"train {system}", "data/mfcc/train_*", f"exp/{system}", model_gb, core, gpu))
        stages.append(Stage(5, f"embed {system}", f"{embedded.hours:,.0f} h", folder, gigabytes, extraction))
    scores = len(systems) * BACKENDS * trials
    hours = scores / SCORES_RATE
    stages.append(Stage(6, "backends", f"{vectors:,} vectors a system", "exp/*/backend", 0.1, 0.05 * len(systems)))
    stages.append(Stage(7, "scores", f"{trials:,} trials", "exp/*/scores", scores * SCORE_BYTES / 1e9, hours))
    stages.append(Stage(8, "calibrate", "the development trials", "exp/*/calibration", 0.0, hours / 4))
    stages.append(Stage(9, "results", "scores", "results", 0.01, scores / RESULTS_RATE))
    return stages


def read_system(path: Path) -> dict:
    from vouch.io.config import read_config
    from vouch.system import resolve

    if not path.is_file():
        raise VouchError(f"there is no system '{path.stem}': {path} is missing")
    return resolve(read_config(path), str(path))


def _frontend_dim(config: dict) -> int:
    front = config["frontend"]
    return (front["num_ceps"] or DIM) * (front["delta_order"] + 1)


def costs_of(config: dict, amounts: Amounts, augmented: float, embedded: Planned) -> tuple[float, float, float, int]:
    """(core hours of the training, GPU hours, core hours of the embeddings, dims of an embedding) of a system.

    A network's training is either on cores or on a GPU: both are given.
    """
    if config["kind"] == "ivector":
        ubm, extractor = config["ubm"], config["extractor"]
        passes = (ubm["diagonal_iterations"] + ubm["full_iterations"]) / ubm["subsample"]
        size = ubm["gaussians"] / 2048  # others are taken to cost in proportion
        frames = FRAMES * VOICED / 3600 * size
        hours = passes * (amounts.adapt.hours or amounts.train.hours) * frames * UBM_FRAME
        hours += amounts.train.hours * frames * POSTERIORS_FRAME
        size *= (extractor["dim"] / 600) ** 2
        hours += extractor["iterations"] * amounts.train.recordings / 3600 * EXTRACTOR_RECORDING * size
        extraction = embedded.hours * frames * POSTERIORS_FRAME + embedded.recordings / 3600 * IVECTOR_RECORDING * size
        return hours, 0.0, extraction, extractor["dim"]
    recordings = amounts.train.recordings * augmented / max(amounts.train.hours, 1e-9)
    costs = network_costs(config, DIM, recordings, embedded.hours * FRAMES * VOICED, CORE_RATE)
    return *costs, config["network"]["embedding_dim"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = fail
    parser.add_argument("corpora", type=Path, nargs="?", help="YAML file or folder")
    parser.add_argument("--sources", type=Path, help="sources.tsv of stage 0")
    parser.add_argument("--systems", default="xvector", help="names of YAML files")
    parser.add_argument("--conf", type=Path, default=CONF, help="their folder")
    parser.add_argument("--num-copies", type=int, default=128000)
    parser.add_argument("--jobs", type=int, default=1, help="cores that work at once")
    parser.add_argument("--disk", type=Path, help="folder whose free space is compared")
    options = parser.parse_args()
    if (options.corpora is None) == (options.sources is None):
        fail("want CORPORA or --sources FILE, one of them")
    if options.sources:
        sizes, trials = read_sources(options.sources), count_trials(options.sources.parent)
    else:
        sizes = planned_corpora(options.corpora)
        trials = TRIALS if any(CATALOGUE[number].part == EVALUATION for number in sizes) else 0
        print(missing_lines("plan.py", sizes), end="")
        absent = [number for number, size in sizes.items() if not size.exists]
        if absent:
            print(f"plan.py: {len(absent)} of these corpora are not where {options.corpora} says: {', '.join(absent)}")
    amounts = amounts_of(sizes, trials)
    if not amounts.train.recordings:
        fail("no labelled corpus is given that a system could be trained on")
    stages = plan(amounts, options.systems.split(), options.conf, options.num_copies)
    print(show(stages, max(options.jobs, 1)), end="")
    if options.disk:
        compare_disk("plan.py", stages, options.disk)


if __name__ == "__main__":
    try:
        main()
    except VouchError as error:
        fail(str(error))
