"""The recipe of VoxCeleb on a miniature, from stage 0 to results, by both ways of training."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recipe_runs import ROOT, refused, succeed

from vouch.cli.scoring import load_vectors
from vouch.io.tables import read_vector
from voxceleb import miniature

RECIPE = ROOT / "egs" / "voxceleb" / "v1"
SYSTEMS = ("asp", "resnet34", "resnet34_online", "resnet34_lm")
FUSION = "asp+resnet34"
TRIALS_O = "data/corpora/test/trials_O"
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
        for backend in BACKENDS[:-1] if system.startswith("fusion") else BACKENDS:  # what is fused is no ratio
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


def test_scores_are_those_of_their_definitions(run: Run) -> None:
    """Cosine centred on the training mean, and adaptive s-norm (Matejka et al. 2017): the highest cohort scores of each
    side; a cohort of other speakers than the calibration's."""
    model = run.out / "exp/resnet34"
    embeddings, cohort = (vectors(model / f"embeddings/{part}/embedding.scp") for part in ("test", "cohort"))
    mean = read_vector(str(model / "backend/mean.vec"))

    def unit(vector: np.ndarray) -> np.ndarray:
        return (vector - mean) / np.linalg.norm(vector - mean)

    cohort_units = np.stack([unit(vector) for vector in cohort.values()])
    raw, normalised = (scores(model / f"scores/vox1_O/{name}.scores") for name in ("cosine", "cosine_snorm"))
    assert set(raw) == set(normalised) == {tuple(line.split()[:2]) for line in lines(run.out / TRIALS_O)}
    for (first, second), score in list(raw.items())[::7]:
        sides = unit(embeddings[first]), unit(embeddings[second])
        expected = float(sides[0] @ sides[1])
        assert abs(score - expected) < 1e-5
        highest = [np.sort(cohort_units @ side)[-300:] for side in sides]
        expected = np.mean([(expected - own.mean()) / own.std() for own in highest])
        assert abs(normalised[first, second] - expected) < 1e-3 * max(1, abs(expected))
    trials = lines(run.out / "data/calibration/trials")
    calibrating = {word.split("-")[0] for trial in trials for word in trial.split()[:2]}
    assert len(calibrating) == 8 and len(cohort) > 8 and not calibrating & set(cohort)


def vectors(scp: Path) -> dict[str, np.ndarray]:
    rows, values = load_vectors(f"scp:{scp}", None)
    return {name: values[row].astype(float) for name, row in rows.items()}


def scores(path: Path) -> dict[tuple[str, str], float]:
    return {(first, second): float(score) for first, second, score in map(str.split, lines(path))}


def test_its_models_verify(run: Run) -> None:
    """A training speaker's recordings, by the folder that the recipe leaves: score and log likelihood ratio."""
    entries = [line.split(" ", 1) for line in lines(run.out / "data/corpora/train/wav.scp")]
    wavs = [path for utterance, path in entries if utterance.startswith(entries[0][0].split("-")[0])]
    for backend in ("cosine", "plda"):
        said = succeed("vouch", "verify", f"--model={run.out}/exp/resnet34", f"--backend={backend}", wavs[0], wavs[1])
        score, ratio = (line.split() for line in said.splitlines() if line.split()[0] in ("score", "llr"))
        calibration = dict(line.split() for line in lines(run.out / f"exp/resnet34/calibration/{backend}"))
        expected = float(calibration["slope"]) * float(score[1]) + float(calibration["offset"])
        assert abs(float(ratio[1]) - expected) < 1e-4 * max(1, abs(expected))


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
    (tmp_path / "wide.yaml").write_text(f"base: {RECIPE}/conf/mini/resnet34_lm.yaml\nnetwork: {{embedding_dim: 48}}\n")
    (tmp_path / "resnet34.yaml").write_text(f"base: {RECIPE}/conf/mini/resnet34.yaml\n")
    other = ["--systems", "resnet34 wide", "--conf", tmp_path, "--fusions", ""]
    assert "has other features or another network" in refused(*run.command, *other, "--out", tmp_path / "out")


def test_lists_by_their_published_names(run: Run, tmp_path: Path) -> None:
    """A published name alone is the file beside VoxCeleb1; a path with spaces is quoted."""
    command = ["bash", RECIPE / "local/prepare_data.sh", "--voxceleb1", run.corpora / "voxceleb1"]
    command += ["--voxceleb2", run.corpora / "voxceleb2", "--lists"]
    succeed(*command, f"veri_test2.txt '{run.corpora}/voxceleb1/veri_test.txt'", tmp_path)
    assert {path.name for path in (tmp_path / "test").glob("trials_*")} == {"trials_O", "trials_O_clean"}


def test_a_network_that_knows_a_tested_speaker_is_not_scored(run: Run) -> None:
    """As after a training with fewer lists."""
    known = run.out / "exp/asp/speakers.txt"
    before = known.read_text()
    tested = lines(run.out / TRIALS_O)[0].split("-")[0]
    known.write_text(before + f"{tested}\n")
    try:
        error = refused(*run.command, "--stage", "6", "--systems", "asp", "--fusions", "")
    finally:
        known.write_text(before)
    assert f"exp/asp was trained on {tested}, a speaker of the trials" in error


@pytest.fixture
def plan() -> Callable[..., dict[str, list[str]]]:
    """Calls the dry run; the cells of its rows by stage."""

    def call(*options: str) -> dict[str, list[str]]:
        said = succeed("bash", RECIPE / "run.sh", "--dry-run", "true", *options)
        rows = [re.split(r"  +", line) for line in said.splitlines()]
        return {row[0]: row[1:] for row in rows if re.match(r"\d ", row[0])}

    return call


def test_the_plan_follows_the_lists(plan: Callable[..., dict[str, list[str]]]) -> None:
    """Kaldi's combined set where list O alone is tested, VoxCeleb2 where E is; the corpora need not be there."""
    systems = ("--systems", "asp", "--voxceleb1", "/nowhere")
    small = plan(*systems, "--lists", "/nowhere/veri_test.txt")
    large = plan(*systems, "--lists", "/nowhere/veri_test.txt /nowhere/list_test_all.txt")
    assert small["8 scores"][0] == "37,720 trials" and large["8 scores"][0] == "1,171,000 trials"
    assert small["7 backends"][0].split()[0] == "146,460" and large["7 backends"][0].split()[0] == "122,240"
    assert float(large["1 mfcc"][2]) == round((1_128_246 + 153_516) * 7.9 * 100 * 30.5 / 1e9, 1)


def test_the_plan_knows_the_ways_of_training(plan: Callable[..., dict[str, list[str]]]) -> None:
    archives, waveforms = plan("--systems", "resnet34"), plan("--systems", "resnet34_online", "--decode-to", "/nowhere")
    assert "2 augment fbank" in archives and "0 decode" not in archives
    assert not {"2 augment fbank", "3 training fbank"} & set(waveforms) and "0 decode" in waveforms
    chunks = waveforms["4 waveforms of resnet34_online"]
    assert chunks[0] == f"{40 * 3 * 1_128_246 / 1e6:,.1f} M chunks"
    tuned = plan("--systems", "resnet34 resnet34_lm")
    hours = [float(tuned[stage][-1]) for stage in ("4 train resnet34", "5 fine-tune resnet34_lm")]
    assert hours[1] == pytest.approx(hours[0] * 5 / 40 * 600 / 300, rel=0.01)


def test_help() -> None:
    said = succeed("bash", RECIPE / "run.sh", "--help")
    assert "--voxceleb1 DIR" in said and "9 results" in said
