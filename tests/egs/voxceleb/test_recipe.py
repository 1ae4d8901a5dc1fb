"""The recipe of VoxCeleb on a miniature, from stage 0 to results, by both ways of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_runs import ROOT, refused, succeed

from voxceleb import miniature

RECIPE = ROOT / "egs" / "voxceleb" / "v1"
SYSTEMS = ("asp", "resnet34", "resnet34_online", "resnet34_lm")
FUSION = "asp+resnet34"
BACKENDS = ("cosine", "plda", "cosine_snorm", "plda_snorm", "cosine_snorm_qmf")


class Run:
    """A finished run, in a folder with a space in its name, from another working directory."""

    def __init__(self, folder: Path) -> None:
        self.corpora, self.out = folder / "both corpora", folder / "my run"
        miniature.make(self.corpora)
        self.before = state(self.corpora)
        (folder / "lists").mkdir()
        for name in ("veri_test.txt", "veri_test2.txt"):
            (folder / "lists" / name).write_bytes((self.corpora / "voxceleb1" / name).read_bytes())
        self.command = ["bash", RECIPE / "run.sh", "--voxceleb1", self.corpora / "voxceleb1"]
        self.command += ["--voxceleb2", self.corpora / "voxceleb2", "--lists", folder / "lists"]
        self.command += [
            "--musan",
            self.corpora / "musan",
            "--rirs",
            self.corpora / "RIRS_NOISES",
            "--num-copies",
            "100",
        ]
        self.command += ["--conf", RECIPE / "conf/mini", "--systems", " ".join(SYSTEMS), "--fusions", FUSION]
        self.command += ["--calibration-trials", "400", "--out", self.out, "--nj", "2", "--device", "cpu"]
        self.said = succeed(*self.command, limit=900)

    def rows(self) -> list[dict[str, str]]:
        header, *rows = [line.split("\t") for line in (self.out / "results/results.tsv").read_text().splitlines()]
        return [dict(zip(header, row, strict=True)) for row in rows]


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("voxceleb recipe"))


def test_every_system_and_backend_has_its_rows(run: Run) -> None:
    rows = {(row["system"], row["backend"], row["trials"]): row for row in run.rows()}
    for system in (*SYSTEMS, f"fusion:{FUSION}"):
        for backend in BACKENDS:
            for name, least in (("vox1_O", 100), ("vox1_O_clean", 50)):
                row = rows.pop((system, backend, name))
                assert int(row["targets"]) > least / 10 and int(row["nontargets"]) > least
                assert 0 <= float(row["minDCF05"]) <= float(row["minDCF01"]) + 1e-9 <= 1.001
    assert {row["source"].split(",")[0] for row in rows.values()} == {"published"}
    assert {key[2] for key in rows} == {"vox1_O", "vox1_O_clean"}


def test_tested_speakers_are_not_trained_on(run: Run) -> None:
    tested = {word.split("-")[0] for line in lines(run.out / "data/corpora/test/trials") for word in line.split()[:2]}
    for system in SYSTEMS:
        trained = {speaker.removeprefix("sp0.9-") for speaker in lines(run.out / f"exp/{system}/speakers.txt")}
        assert trained and not trained & tested


def test_the_two_ways_have_the_same_speakers(run: Run) -> None:
    archives, waveforms = (set(lines(run.out / f"exp/{name}/speakers.txt")) for name in ("resnet34", "resnet34_online"))
    assert archives == waveforms


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_nothing_is_written_into_the_corpora(run: Run) -> None:
    assert state(run.corpora) == run.before


def test_a_second_call_repeats_no_work(run: Run) -> None:
    kept = ["data/*/*/feats.scp", "exp/*/final.pt", "exp/*/embeddings/*/embedding.1.ark"]
    before = {path: path.stat().st_mtime_ns for pattern in kept for path in run.out.glob(pattern)}
    succeed(*run.command, "--stop-stage", "6")
    assert before and before == {path: path.stat().st_mtime_ns for path in before}


def test_what_is_refused(run: Run, tmp_path: Path) -> None:
    assert "--voxceleb1 and --voxceleb2 are needed" in refused("bash", RECIPE / "run.sh", "--out", tmp_path)
    assert "there is no folder '/nowhere'" in refused(*run.command, "--musan", "/nowhere")
    assert "--top 'x' is not a number" in refused(*run.command, "--top", "x")
    lonely = refused(*run.command, "--systems", "resnet34_lm", "--fusions", "", "--out", tmp_path / "out")
    assert "starts from resnet34, which is not before it in --systems" in lonely


def test_help() -> None:
    said = succeed("bash", RECIPE / "run.sh", "--help")
    assert "--voxceleb1 DIR" in said and "9 results" in said
