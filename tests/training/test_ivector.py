"""`vouch train-ivector-system`: jobs, interruptions, what it leaves, what it refuses; and the embeddings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.gmm import read_diag_gmm, read_full_gmm
from vouch.io.ivector_extractor import read_ivector_extractor
from vouch.io.tables import TableWriter, read_table
from vouch.training import ivector

YAML = """
kind: ivector
frontend: {num_ceps: 2, delta_order: 1}
ubm: {gaussians: 6, start_gaussians: 3, start_frames: 900, start_iterations: 4, diagonal_iterations: 2,
  full_iterations: 2, subsample: 2, selected: 4}
extractor: {dim: 3, iterations: 2}
backend: {lda_dim: 2}
"""
UTTERANCES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A training data directory, x.yaml, and a model trained on it in one process."""
    path = tmp_path_factory.mktemp("ivector")
    write_data(path / "data", 0)
    (path / "x.yaml").write_text(YAML)
    assert train(path, "model") == 0
    return path


def write_data(data: Path, seed: int) -> None:
    data.mkdir()
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 4)) * 3
    lengths = rng.integers(40, 160, UTTERANCES)
    with TableWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp", "matrix", 3) as writer:
        for i, frames in enumerate(lengths):
            speaker = np.random.default_rng(i // 4).normal(size=4) * 0.7
            frames_here = centres[rng.integers(6, size=frames)] + speaker + rng.normal(size=(frames, 4))
            writer.write(f"u{i:02d}", frames_here.astype(np.float32))
    (data / "utt2num_frames").write_text("".join(f"u{i:02d} {n}\n" for i, n in enumerate(lengths)))


def train(folder: Path, model: str, *options: str, data: str = "data", yaml: str = "x.yaml") -> int:
    words = ["--device=cpu", *options, str(folder / yaml), str(folder / data), str(folder / model)]
    return main(["train-ivector-system", *words])


def models(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("final.dubm", "final.ubm", "final.ie")]


def test_what_a_training_leaves(folder):
    left = {path.name for path in (folder / "model").iterdir()}
    assert left == {
        "config.yaml",
        "features.sha256",
        "train.jsonl",
        "final.dubm",
        "final.ubm",
        "final.ie",
        ".lock",
    }
    assert read_diag_gmm(str(folder / "model/final.dubm"))[2].shape == (6, 4)
    assert read_full_gmm(str(folder / "model/final.ubm"))[3].shape == (6, 4, 4)
    assert read_ivector_extractor(str(folder / "model/final.ie")).projections.shape == (6, 4, 3)


def test_the_course_of_the_training(folder):
    lines = [json.loads(line) for line in (folder / "model/train.jsonl").read_text().splitlines()]
    names = ["start-1", "diagonal-1", "diagonal-2", "full-1", "full-2", "posteriors-1", "extractor-1", "extractor-2"]
    assert [line["pass"] for line in lines] == names and [line["step"] for line in lines] == list(range(1, 9))
    full = [line["log_likelihood"] for line in lines if line["pass"].startswith("full")]
    assert full[1] > full[0] > lines[2]["log_likelihood"] - 0.05
    assert lines[-1]["auxf"] > lines[-2]["auxf"]


def test_a_finished_training_is_left_as_it_is(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in (folder / "model").iterdir() if path.name != ".lock"}
    assert train(folder, "model") == 0
    assert "final.ie is there already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before


class Killed(BaseException):
    """As kill -9: nothing runs after it."""


@pytest.mark.parametrize("pass_name", ["start-1", "diagonal-2", "full-1", "full-2", "posteriors-1", "extractor-2"])
@pytest.mark.parametrize("where", ["accumulate", "estimate"])
def test_a_killed_training_goes_on_to_the_same_models(folder, tmp_path, monkeypatch, pass_name, where):
    original = getattr(ivector.IvectorTraining, where)

    def killed(self, one, *rest):
        if one.name == pass_name:
            raise Killed
        return original(self, one, *rest)

    model = str(tmp_path / "model")
    with monkeypatch.context() as patched:
        patched.setattr(ivector.IvectorTraining, where, killed)
        with pytest.raises(Killed):
            train(folder, model)
    assert train(folder, model) == 0
    assert models(Path(model)) == models(folder / "model")
    assert (tmp_path / "model/train.jsonl").read_text() == (folder / "model/train.jsonl").read_text()


def test_jobs_make_the_same_models(folder, tmp_path, capsys):
    model = str(tmp_path / "model")
    assert train(folder, model, "--do=begin") == 0
    for name in capsys.readouterr().out.split():
        for job in "123":
            shared = f"--pass={name}", "--num-jobs=3"
            assert train(folder, model, "--do=accumulate", f"--job={job}", *shared) == 0
        assert train(folder, model, "--do=estimate", *shared) == 0
    found, wanted = (read_ivector_extractor(f"{m}/final.ie") for m in (model, folder / "model"))
    np.testing.assert_allclose(found.projections, wanted.projections, rtol=1e-2, atol=1e-3)
    assert {p.name for p in Path(model).iterdir()} == {p.name for p in (folder / "model").iterdir()}


def test_the_ubm_may_be_of_other_speech(folder, tmp_path, capsys):
    (tmp_path / "x.yaml").write_text(YAML)
    (tmp_path / "data").symlink_to(folder / "data")
    write_data(tmp_path / "other", 5)
    assert train(tmp_path, "theirs", data="other") == 0
    option = f"--ubm-data={tmp_path}/other"
    assert train(tmp_path, "both", option) == 0
    ubm, extractor = ("final.dubm", "final.ubm"), tmp_path / "both" / "final.ie"
    assert all((tmp_path / "both" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes() for name in ubm)
    assert extractor.read_bytes() not in (models(folder / "model")[2], models(tmp_path / "theirs")[2])
    capsys.readouterr()
    assert train(tmp_path, "jobs", "--do=begin", option) == 0
    for name in capsys.readouterr().out.split():
        for job in () if name == "start-1" else (1, 2):
            share = (f"--pass={name}", f"--job={job}", "--num-jobs=2")
            assert train(tmp_path, "jobs", "--do=accumulate", *share, option) == 0
        assert train(tmp_path, "jobs", "--do=estimate", f"--pass={name}", "--num-jobs=2", option) == 0
    found, wanted = (read_ivector_extractor(str(tmp_path / model / "final.ie")) for model in ("jobs", "both"))
    np.testing.assert_allclose(found.projections, wanted.projections, rtol=1e-2, atol=1e-3)
    assert train(tmp_path, "both") == 1
    assert "was begun on other features" in capsys.readouterr().err


def test_ivectors_tell_speakers_apart(folder, tmp_path):
    out = f"ark:{tmp_path}/i.ark"
    words = ["--device=cpu", str(folder / "model"), f"scp:{folder}/data/feats.scp", out]
    assert main(["extract-embeddings", *words]) == 0
    vectors = dict(read_table(out, "vector"))
    assert len(vectors) == UTTERANCES and all(v.shape == (3,) for v in vectors.values())
    groups = np.array(list(vectors.values())).reshape(-1, 4, 3)
    within, between = groups.var(axis=1).mean(), groups.mean(axis=1).var(axis=0).mean()
    assert between > 2 * within


def refused(capsys, code: int) -> str:
    assert code == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    return line


def test_what_is_refused(folder, tmp_path, capsys):
    (folder / "y.yaml").write_text(YAML.replace("dim: 3", "dim: 4"))
    assert "extractor.dim was 3, now 4" in refused(capsys, train(folder, "model", yaml="y.yaml"))
    (folder / "z.yaml").write_text(YAML.replace("num_ceps: 2", "num_ceps: 3"))
    assert "has 4 dims a frame, the configuration's frontend makes 6" in refused(
        capsys, train(folder, "m2", yaml="z.yaml")
    )
    write_data(folder / "other", 9)
    assert "was begun on other features" in refused(capsys, train(folder, "model", data="other"))
    assert "--pass=full-9: there is none" in refused(capsys, train(folder, "model", "--do=estimate", "--pass=full-9"))
    assert "--job=3 of --num-jobs=2" in refused(capsys, train(folder, "model", "--job=3", "--num-jobs=2"))


def test_a_truncated_model_is_named(folder, tmp_path, capsys):
    for path in (folder / "model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "final.ie").write_bytes((folder / "model/final.ie").read_bytes()[:-200])
    words = [str(tmp_path), f"scp:{folder}/data/feats.scp", f"ark:{tmp_path}/out.ark"]
    assert "final.ie" in refused(capsys, main(["extract-embeddings", *words]))
    assert not (tmp_path / "out.ark").exists()


def test_a_missing_share_of_the_statistics_is_named(folder, tmp_path, capsys):
    model = str(tmp_path / "model")
    assert train(folder, model, "--do=begin") == 0
    assert train(folder, model, "--do=estimate", "--pass=start-1") == 0
    capsys.readouterr()
    line = refused(capsys, train(folder, model, "--do=estimate", "--pass=diagonal-1", "--num-jobs=2"))
    assert "diagonal-1.1.npz" in line and "run its job again" in line
