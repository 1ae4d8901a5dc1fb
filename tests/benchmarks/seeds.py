"""Systems with several training seeds on the same trials: `python tests/benchmarks/seeds.py --help`.

Trains conf's systems with training.seed 0, 1, ... on the data that `run.sh --out DATA --stop-stage 4` made, scores them
by stages 6 to 9, and prints mean EER with the 95 % interval of the mean over seeds (Student's t), the differences of
each system to the one named before its colon (paired by seed, with their interval), minutes of training, and the
probes of systems with two embeddings. What is finished is not done again; --report only prints. With --further, the
trials of corpora that `run.sh --out FURTHER --stop-stage 2` made (each without the others' speakers) join: rows "all".

    bash run.sh --systems "asp_fbank seef_asp" --out DATA --stop-stage 4
    python tests/benchmarks/seeds.py --data DATA --conf conf/mini --systems "asp_fbank asp_fbank:seef_asp" --work WORK
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"source": ("enroll", "test", "mean.vec"), "target": ("adapt_enroll", "adapt_test", "mean_adapt.vec")}
BACKENDS = ("cosine", "plda")


def shell(script: str, log: Path) -> bool:
    """Run a script in the toolkit's environment on one core; its output goes to the log."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = f"set -euo pipefail; cd {ROOT}; . ./path.sh; {script}"
    with open(log, "a") as stream:
        done = subprocess.run(
            ["bash", "-c", whole], stdout=stream, stderr=subprocess.STDOUT, env=environment, check=False
        )
    if done.returncode:
        print(f"failed: {log}", file=sys.stderr, flush=True)
    return done.returncode == 0


def run(name: str, options: argparse.Namespace) -> bool:
    """Train and evaluate SYSTEM-SEED in WORK/SYSTEM-SEED."""
    system, seed = name.rsplit("-", 1)
    out, conf = options.work / name, options.work / "conf"
    out.mkdir(parents=True, exist_ok=True)
    (conf / f"{name}.yaml").write_text(f"base: {options.conf.resolve()}/{system}.yaml\ntraining: {{seed: {seed}}}\n")
    if not (out / "data").exists():
        (out / "data").symlink_to((options.data / "data").resolve())
    whole = f"bash run.sh --stage 5 --systems {name} --conf {conf} --nj 1 --device {options.device} --out {out}"
    if not (out / "done").exists():
        if not shell(whole, out / "log"):
            return False
        (out / "done").touch()
    model = out / "exp" / name
    kind = yaml.safe_load((model / "config.yaml").read_text())["features"]
    for list_name, (enroll, test, mean) in PARTS.items() if options.further else ():
        if not (options.data / "data" / test).is_dir() or (out / f"all.{list_name}.plda.tsv").exists():
            continue
        for number, further in enumerate(options.further):
            own, data = out / f"further{number}", further / "data"
            extract = f"steps/extract_embeddings.sh --nj 1 --device {options.device} {model} {data}/{kind}"
            score = f"steps/score.sh --backends '{' '.join(BACKENDS)}' {model}/backend {model}/backend/{mean}"
            commands = [f"{extract}/{part} {own}/{part}" for part in (enroll, test)]
            commands.append(f"{score} {own}/{enroll} {own}/{test} {data}/{test} {own}/scores {list_name}")
            if not shell("; ".join(commands), out / "log"):
                return False
        if not all(evaluate_together(out, name, list_name, test, backend, options) for backend in BACKENDS):
            return False
    return True


def evaluate_together(
    out: Path, name: str, list_name: str, test: str, backend: str, options: argparse.Namespace
) -> bool:
    """The EER of all further corpora's trials, names told apart by the corpus."""
    base = out / f"all.{list_name}"
    for what in ("trials", "scores"):
        with open(f"{base}.{what}", "w") as stream:
            for number, further in enumerate(options.further):
                scores = out / f"further{number}/scores/{list_name}/{backend}.scores"
                path = further / "data" / test / "trials" if what == "trials" else scores
                for line in path.read_text().splitlines():
                    model, segment, last = line.split()
                    stream.write(f"{number}_{model} {number}_{segment} {last}\n")
    command = f"vouch evaluate --system={name} --backend={backend} --trials-name=all_{list_name}"
    return shell(f"{command} {base}.trials {base}.scores {base}.{backend}.tsv", out / "log")


def rows(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with open(path) as stream:
            yield from csv.DictReader(stream, delimiter="\t")


def figures(out: Path, name: str) -> dict[tuple[str, ...], float]:
    """(what, ...) -> value of one training: EER by trials and backend, minutes, values of probes."""
    found: dict[tuple[str, ...], float] = {}
    for path in (out / "results/results.tsv", *out.glob("all.*.tsv")):
        for row in rows(path):
            if row["backend"] in BACKENDS:
                found["EER", row["trials"], row["backend"]] = float(row["EER"])
    for log in (out / "exp" / name / "log").glob("train_*.log"):
        seconds = [int(number) for number in re.findall(r"elapsed time (\d+) seconds", log.read_text())]
        if seconds:
            found["minutes", "", ""] = sum(seconds) / 60
    for suffix in ("", "_train"):
        for row in rows(out / f"results/probe_{name}{suffix}.tsv"):
            found["probe", row["property"] + suffix.replace("_", ", "), row["embeddings"]] = float(row["value"])
    return found


def interval(values: list[float]) -> str:
    """Mean and half the 95 % interval of the mean."""
    count = len(values)
    half = stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5 if count > 1 else np.nan
    return f"{np.mean(values):.3f} ± {half:.3f}" + f" ({' '.join(f'{value:.3g}' for value in values)})"


def report(options: argparse.Namespace) -> None:
    """Print what is there: a line for each figure of a system, and of its difference to the one before its colon."""
    for entry in options.systems.split():
        base, _, system = entry.rpartition(":")
        found = {
            who: [figures(options.work / f"{who}-{seed}", f"{who}-{seed}") for seed in range(options.seeds)]
            for who in (system, base)
            if who
        }
        for key in sorted({key for each in found[system] for key in each}):
            own = [each[key] for each in found[system] if key in each]
            line = f"{system:20s} {' '.join(key):40s} {interval(own)}"
            if base and key[0] == "EER":
                pairs = [(a[key], b[key]) for a, b in zip(*found.values(), strict=True) if key in a and key in b]
                if len(pairs) > 1:
                    line += f"; to {base} {interval([a - b for a, b in pairs])}"
            print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="OUT of run.sh, stages 1 to 4 done")
    parser.add_argument("--conf", type=Path, required=True, help="settings folder of the systems")
    parser.add_argument("--systems", required=True, help="'SYSTEM BASE:SYSTEM ...', BASE: compare with it")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, each on one core")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--further", type=Path, nargs="*", default=[], help="OUT of run.sh, stages 1 and 2 done")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    options.work, options.further = options.work.resolve(), [path.resolve() for path in options.further]
    if not options.report:
        (options.work / "conf").mkdir(parents=True, exist_ok=True)
        for path in options.conf.glob("*.conf"):
            shutil.copy(path, options.work / "conf")
        systems = [entry.rpartition(":")[2] for entry in options.systems.split()]
        names = [f"{system}-{seed}" for seed in range(options.seeds) for system in systems]
        with ThreadPoolExecutor(options.jobs) as pool_of_jobs:
            if not all(pool_of_jobs.map(lambda name: run(name, options), names)):
                sys.exit("some failed; call again when it is mended")
    report(options)


if __name__ == "__main__":
    main()
