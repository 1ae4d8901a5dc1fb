"""compute-min-dcf against Kaldi's sid/compute_min_dcf.py: printed lines, ties, options."""

import json
from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main

COSTS = ("--c-miss", "1", "--c-fa", "1")


def run(capfd, *words: str) -> tuple[int, str, str]:
    code = main(["compute-min-dcf", *words])
    out, err = capfd.readouterr()
    return code, out, err.strip().splitlines()[-1]


def write(tmp_path: Path, rows: list[tuple[float, str]]) -> tuple[str, str]:
    """Scores and trials files of (score, label) rows."""
    scores, trials = tmp_path / "scores", tmp_path / "trials"
    scores.write_text("".join(f"m t{i} {score!r}\n" for i, (score, _) in enumerate(rows)))
    trials.write_text("".join(f"m t{i} {label}\n" for i, (_, label) in reversed(list(enumerate(rows)))))
    return str(scores), str(trials)


def test_kaldis_score_sets(golden, tmp_path: Path, capfd) -> None:
    sets = json.loads((golden / "metrics" / "score_sets.json").read_text())
    scores = np.load(golden / "backend" / "scores.npz")
    trials = [line.split()[:2] for line in (golden / "backend" / "trials").read_text().splitlines()]
    assert sets
    for name, expected in sets.items():
        lines = [f"{a} {b} {value:.7g}\n" for (a, b), value in zip(trials, scores[name].tolist(), strict=True)]
        (tmp_path / "scores").write_text("".join(lines))
        for prior in ("0.01", "0.005", "0.001"):
            code, out, said = run(capfd, "--p-target", prior, *COSTS, f"{tmp_path}/scores", f"{golden}/backend/trials")
            assert (code, float(out)) == (0, expected[f"mindcf_{prior}"])
            assert said == expected[f"mindcf_{prior}_stderr"].strip()


def test_kaldis_edge_cases(golden, tmp_path: Path, capfd) -> None:
    cases = json.loads((golden / "metrics" / "edge_cases.json").read_text())
    assert cases
    for case in cases.values():
        files = write(tmp_path, [(v, "target") for v in case["target"]] + [(v, "nontarget") for v in case["nontarget"]])
        for prior in ("0.01", "0.005", "0.001", "0.5"):
            code, out, said = run(capfd, f"--p-target={prior}", *files)
            assert (code, float(out), said) == (0, case[f"mindcf_{prior}"], case[f"mindcf_{prior}_stderr"].strip())


def slowly(rows: list[tuple[float, str]], prior: float, c_miss: float, c_fa: float) -> tuple[float, float]:
    """The rule, threshold by threshold."""
    ranked = sorted(rows, key=lambda row: row[0])
    targets = sum(label == "target" for _, label in rows)
    best = (float("inf"), 0.0)
    for place, (score, _) in enumerate(ranked):
        rejected = [label for _, label in ranked[: place + 1]]
        misses = rejected.count("target")
        false_alarms = len(rows) - targets - (len(rejected) - misses)
        cost = c_miss * misses / targets * prior + c_fa * false_alarms / (len(rows) - targets) * (1 - prior)
        if cost < best[0] - 1e-12:
            best = cost, score
    return best[0] / min(c_miss * prior, c_fa * (1 - prior)), best[1]


@pytest.mark.parametrize("seed", range(4))
def test_the_rule(tmp_path: Path, capfd, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        (round(float(rng.normal(label == "target")), 1), label) for label in rng.choice(["target", "nontarget"], 80)
    ]
    files = write(tmp_path, rows)
    code, out, said = run(capfd, "--p-target=0.3", "--c-miss=2", "--c-fa=0.5", *files)
    cost, threshold = slowly(rows, 0.3, 2, 0.5)
    assert (code, out) == (0, f"{cost:.4f}\n")
    assert said == f"minDCF is {cost:.4f} at threshold {threshold:.4f} (p-target=0.3, c-miss=2.0,c-fa=0.5)"


def test_ties_go_by_the_order_of_the_scores(tmp_path: Path, capfd) -> None:
    first = run(capfd, "--p-target=0.5", *write(tmp_path, [(1.0, "nontarget"), (1.0, "target"), (0.0, "nontarget")]))
    second = run(capfd, "--p-target=0.5", *write(tmp_path, [(1.0, "target"), (1.0, "nontarget"), (0.0, "nontarget")]))
    assert (first[1], second[1]) == ("0.0000\n", "0.5000\n")


@pytest.mark.parametrize(
    "scores, trials, options, said",
    [
        ("a b 1\n", "a c target\n", [], "scores:1: the trial 'a b'"),
        ("a b one\n", "a b target\n", [], "scores:1"),
        ("a b nan\n", "a b target\n", [], "NaN"),
        ("a b\n", "a b target\n", [], "2 fields"),
        ("a b 1\n", "a b target\n", [], "no nontarget scores"),
        ("a b 1\nc d 2\n", "a b target\nc d nontarget\n", ["--p-target=1"], "0 < P < 1"),
        ("a b 1\nc d 2\n", "a b target\nc d nontarget\n", ["--c-fa=0"], "costs above 0"),
    ],
)
def test_bad_input(tmp_path: Path, capfd, scores: str, trials: str, options: list[str], said: str) -> None:
    (tmp_path / "scores").write_text(scores)
    (tmp_path / "trials").write_text(trials)
    code, out, message = run(capfd, *options, f"{tmp_path}/scores", f"{tmp_path}/trials")
    assert (code, out) == (1, "") and said in message
