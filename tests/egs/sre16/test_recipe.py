"""The recipe of SRE16 on the miniature of its corpora, from stage 0 to results."""

from __future__ import annotations

import os
import re
from pathlib import Path

import miniature
import pytest
from recipe_runs import ROOT, call, refused, succeed

RECIPE = ROOT / "egs" / "sre16" / "v1"
SYSTEMS = ("ivector", "xvector", "asp", "danse", "gan", "lsgan", "relgan", "auxgan")
FUSION = "fusion:auxgan+lsgan+relgan"
BACKENDS = ("cosine", "cosine_adapt", "plda", "plda_adapt", "plda_adapt_snorm", "plda_coral", "plda_coral_plus")
LISTS = ("sre16", "sre16_tgl", "sre16_yue")


class Run:
    """A finished run with all its systems, in a folder with a space in its name, from another working directory."""

    def __init__(self, folder: Path) -> None:
        self.corpora, self.out = folder / "the corpora", folder / "my run"
        miniature.make(self.corpora)
        self.before = state(self.corpora)
        self.command = ["bash", RECIPE / "run.sh", "--corpora", self.corpora / "corpora.yaml", "--num-copies", "100"]
        self.command += ["--conf", RECIPE / "conf/mini", "--out", self.out, "--nj", "2", "--device", "cpu"]
        self.said = succeed(*self.command, limit=900)

    def rows(self) -> list[dict[str, str]]:
        header, *rows = [line.split("\t") for line in (self.out / "results/results.tsv").read_text().splitlines()]
        return [dict(zip(header, row, strict=True)) for row in rows]


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("sre16 recipe"))


def test_every_system_and_backend_has_its_rows(run: Run) -> None:
    rows = {(row["system"], row["backend"], row["trials"]): row for row in run.rows()}
    for system in (*SYSTEMS, FUSION):
        for backend in BACKENDS:
            pooled, *parts = (rows.pop((system, backend, name)) for name in LISTS)
            assert int(pooled["targets"]) == sum(int(part["targets"]) for part in parts) > 20
            assert 0 < float(pooled["minCprimary"]) <= 1.01 and 0 <= float(pooled["eqEER"]) <= 75
            assert pooled["source"] == "-"
    assert {row["source"].split(",")[0] for row in rows.values()} == {"published"}
    assert {row["EER"] for row in rows.values()} >= {"8.57", "12.98"}


def test_the_pooled_eer_is_that_of_the_scores(run: Run) -> None:
    trials = [line.split() for line in (run.out / "data/corpora/sre16_eval_test/trials").read_text().splitlines()]
    lines = (run.out / "exp/ivector/scores/sre16/plda.scores").read_text().splitlines()
    scores = {tuple(line.split()[:2]): float(line.split()[2]) for line in lines}
    targets = sorted(scores[model, test] for model, test, label in trials if label == "target")
    nontargets = [scores[model, test] for model, test, label in trials if label == "nontarget"]
    gaps = [
        (abs(i / len(targets) - sum(s >= t for s in nontargets) / len(nontargets)), i) for i, t in enumerate(targets)
    ]
    [eer] = [r["EER"] for r in run.rows() if (r["system"], r["backend"], r["trials"]) == ("ivector", "plda", "sre16")]
    assert abs(float(eer) - 100 * min(gaps)[1] / len(targets)) < 100 * 2 / len(targets)


def test_noises_and_rooms_are_those_of_musan_and_rirs_noises(run: Run) -> None:
    pipes = (run.out / "data/mfcc/train_aug/wav.scp").read_text().splitlines()
    for folder in ("musan/noise/", "musan/music/", "musan/speech/", "RIRS_NOISES/simulated_rirs/"):
        assert any(f"{run.corpora}/{folder}" in pipe for pipe in pipes), folder


def test_backends_do_not_learn_from_switchboard(run: Run) -> None:
    speakers = {
        line.split()[1] for line in (run.out / "exp/xvector/embeddings/train_backend/utt2spk").read_text().splitlines()
    }
    trained = set((run.out / "exp/xvector/speakers.txt").read_text().split())
    assert not any(speaker.startswith("sw_") for speaker in speakers)
    assert any(speaker.startswith("sw_") for speaker in trained)


def test_nothing_is_written_into_the_corpora(run: Run) -> None:
    assert state(run.corpora) == run.before


def test_a_second_call_repeats_no_work(run: Run) -> None:
    kept = ["data/mfcc/*/feats.scp", "exp/*/final.*", "exp/*/embeddings/*/embedding.scp"]
    before = {path: path.stat().st_mtime_ns for pattern in kept for path in run.out.glob(pattern)}
    succeed(*run.command, "--stop-stage", "5")
    assert before and before == {path: path.stat().st_mtime_ns for path in before}


def test_a_last_stage_from_another_folder(run: Run, tmp_path: Path) -> None:
    results = (run.out / "results/EER").read_bytes()
    (run.out / "results/EER").unlink()
    done = call(*run.command, "--stage", "9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (run.out / "results/EER").read_bytes() == results


def test_the_plan(run: Run, tmp_path: Path) -> None:
    (tmp_path / "corpora.yaml").write_text(
        "LDC2017S06: {recordings: 1000, hours: 100}\nLDC2016E46:\nR149_0_1: /nowhere\n"
    )
    command = [RECIPE / "run.sh", "--corpora", tmp_path, "--dry-run", "true", "--systems", "xvector", "--fusions", ""]
    said = succeed("bash", *command, "--out", tmp_path / "none")
    stages = re.findall(r"^(\d) (\w+)", said, re.M)
    assert {number for number, _ in stages} == set("0123456789")
    assert not (tmp_path / "none").exists()
    (tmp_path / "corpora.yaml").write_text("LDC2017S06: {recordings: 2000, hours: 200}\nR149_0_1: /nowhere\n")
    twice = succeed("bash", *command, "--out", tmp_path / "none")

    def core_hours(text: str, stage: str) -> float:
        [line] = [line for line in text.splitlines() if line.startswith(stage)]
        return float(line.split()[-2])

    assert core_hours(twice, "4 train xvector") == pytest.approx(2 * core_hours(said, "4 train xvector"), rel=0.02)


def test_what_is_refused(run: Run, tmp_path: Path) -> None:
    assert "--corpora is needed" in refused("bash", RECIPE / "run.sh", "--out", tmp_path)
    assert "did you mean LDC2017S06" in refused(
        "bash", RECIPE / "run.sh", "--out", tmp_path, "--corpora", wrong(tmp_path)
    )
    assert "there is no system 'xvektor'" in refused(*run.command, "--systems", "xvektor")
    without = tmp_path / "some"
    without.mkdir()
    for name in ("LDC2017S06", "R149_0_1"):
        os.symlink(run.corpora / name, without / name)
    command = [
        "bash",
        RECIPE / "run.sh",
        "--corpora",
        without,
        "--out",
        tmp_path / "out",
        "--conf",
        RECIPE / "conf/mini",
    ]
    assert "want the unlabelled speech of LDC2016E46" in refused(*command)
    said = succeed(*command, "--systems", "ivector", "--fusions", "", "--num-copies", "20")
    assert "actual costs are left out" in said
    header, *rows = [line.split("\t") for line in (tmp_path / "out/results/results.tsv").read_text().splitlines()]
    actual = header.index("actCprimary")  # of the published ones alone
    assert {row[actual] for row in rows if row[0] == "ivector"} == {"-"}


def wrong(folder: Path) -> Path:
    path = folder / "wrong.yaml"
    path.write_text("LDC2017S6: /x\n")
    return path


def test_help() -> None:
    said = succeed("bash", RECIPE / "run.sh", "--help")
    assert "--corpora PATH" in said and "9 results" in said
