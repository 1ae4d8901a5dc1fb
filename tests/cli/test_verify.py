"""`vouch verify`: the scores of steps/score.sh, log likelihood ratios by a calibration, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from model_examples import speech, write_backend, write_model, write_speech
from recipe_runs import ROOT, succeed

from vouch.backend.plda import Plda
from vouch.backend.verification import cosine_score, plda_score
from vouch.cli import main
from vouch.errors import VouchError
from vouch.io.tables import TableWriter, read_table, write_matrix, write_vector

BACKENDS = ("cosine", "cosine_adapt", "plda", "plda_adapt", "plda_coral", "plda_coral_plus")

WITH_QUALITIES = "slope 1\noffset 0\nprior 0.1\nqualities 1 2\n"


@pytest.fixture
def model(tmp_path):
    model = write_model(tmp_path / "model")
    write_backend(model)
    return model


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("speech")
    return [write_speech(folder / f"{i}.wav", speech(i)) for i in (0, 1, 5)]


def verify(capsys, model, *words: str) -> dict[str, float]:
    capsys.readouterr()
    assert main(["verify", f"--model={model}", *map(str, words)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {name: float(value) for name, value in lines}


def refused(capsys, *words: object) -> str:
    capsys.readouterr()
    assert main(["verify", *map(str, words)]) == 1
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if ": error: " in line]
    assert len(lines) == 1 and not said.out
    return lines[0]


@pytest.mark.parametrize("adapted", [False, True])
def test_scores_are_those_of_the_recipe(tmp_path, recordings, capsys, adapted):
    """Of a model of one recording and of one of two, by every backend; with another domain on its mean."""
    model = write_model(tmp_path / "model")
    write_backend(model, adapted)
    assert main(["embed", f"--model={model}", f"--out=ark:{tmp_path}/utterances", *recordings]) == 0
    first, second, test = dict(read_table(f"ark:{tmp_path}/utterances", "vector")).values()
    for part in ("enroll", "test", "data"):
        (tmp_path / part).mkdir()
    with TableWriter(f"ark,scp:{tmp_path}/enroll/e.ark,{tmp_path}/enroll/spk_embedding.scp", "vector") as writer:
        writer.write("one", first)
        writer.write("two", (first + second) / 2)
    (tmp_path / "enroll" / "num_utts").write_text("one 1\ntwo 2\n")
    with TableWriter(f"ark,scp:{tmp_path}/test/e.ark,{tmp_path}/test/embedding.scp", "vector") as writer:
        writer.write("t", test)
    (tmp_path / "data" / "trials").write_text("one t target\ntwo t nontarget\n")
    names, mean = (BACKENDS, "mean_adapt.vec") if adapted else (("cosine", "plda"), "mean.vec")
    folders = (tmp_path / part for part in ("enroll", "test", "data", "scores"))
    words = ["--backends", " ".join(names), model / "backend", model / "backend" / mean, *folders, "list"]
    succeed("bash", ROOT / "steps/score.sh", *words)
    for name in names:
        lines = (tmp_path / "scores" / "list" / f"{name}.scores").read_text().splitlines()
        wanted = {line.split()[0]: float(line.split()[2]) for line in lines}
        enrolled = {"one": recordings[:1], "two": recordings[:2]}
        for key, files in enrolled.items():
            found = verify(capsys, model, f"--backend={name}", *files, recordings[2])
            assert found == {"score": pytest.approx(wanted[key], rel=1e-4, abs=1e-5)}


def test_the_domain_decides_what_is_subtracted(tmp_path, recordings, capsys):
    model = write_model(tmp_path / "model")
    write_backend(model, adapted=True)
    of = {
        (name, domain): verify(capsys, model, f"--backend={name}", f"--domain={domain}", *recordings[:2])["score"]
        for name in ("cosine", "cosine_adapt", "plda")
        for domain in ("auto", "source", "target")
    }
    assert of["cosine", "auto"] == of["cosine", "source"] == of["cosine", "target"] == of["cosine_adapt", "source"]
    assert of["plda", "auto"] == of["plda", "target"] != of["plda", "source"]
    assert of["cosine_adapt", "auto"] == of["cosine_adapt", "target"] != of["cosine", "auto"]


def test_a_recording_against_itself_has_cosine_1(model, recordings, capsys):
    assert verify(capsys, model, recordings[0], recordings[0])["score"] == pytest.approx(1, abs=1e-6)


def test_a_calibration_gives_log_likelihood_ratios(model, recordings, capsys):
    (model / "calibration").mkdir()
    (model / "calibration" / "plda").write_text("slope 0.25\noffset -3.5\nprior 0.01\n")
    found = verify(capsys, model, "--backend=plda", *recordings[:2])
    assert found["llr"] == pytest.approx(0.25 * found["score"] - 3.5, rel=1e-5)
    assert list(verify(capsys, model, *recordings[:2])) == ["score"]  # that of PLDA is not cosine's


@pytest.mark.parametrize(
    ("damage", "words", "message"),
    [
        (None, ["--backend=pldaa"], "--backend takes one of cosine, plda"),
        (None, ["--backend=plda_adapt"], "there is no {}/backend/plda_adapt: the backend is made by run.sh --stage 7"),
        (None, ["--backend=cosine_adapt"], "there is no {}/backend/mean_adapt.vec"),
        (None, ["--domain=target", "--backend=plda"], "there is no {}/backend/mean_adapt.vec"),
        (lambda m: (m / "backend/mean.vec").unlink(), [], "there is no {}/backend/mean.vec"),
        (lambda m: write_vector(str(m / "backend/mean.vec"), np.zeros(5)), [], "mean.vec has 5 values, the embeddings"),
        (lambda m: write_matrix(str(m / "backend/lda.mat"), np.ones((4, 9))), ["--backend=plda"], "lda.mat is 4 x 9"),
        (lambda m: write_matrix(str(m / "backend/lda.mat"), np.ones((3, 6))), ["--backend=plda"], "lda.mat is 3 x 6"),
        (lambda m: (m / "backend/plda").write_bytes(b"\0B<Plda> "), ["--backend=plda"], "{}/backend/plda"),
        (lambda m: (m / "calibration/cosine").write_text("slope 1\n"), [], "{}/calibration/cosine has not the lines"),
        (lambda m: (m / "calibration/cosine").write_text(WITH_QUALITIES), [], "cosine wants the quality of recordings"),
    ],
)
def test_models_that_cannot_score(model, recordings, capsys, damage, words, message):
    (model / "calibration").mkdir()
    if damage:
        damage(model)
    assert message.format(model) in refused(capsys, f"--model={model}", *words, *recordings[:2])


def test_recordings_that_are_refused(model, recordings, tmp_path, capsys):
    silent = write_speech(tmp_path / "silent.wav", np.zeros(16_000))
    assert f"{silent}: none of its 100 frames is voiced" in refused(capsys, f"--model={model}", recordings[0], silent)
    assert "got 1 arguments, want 2 or more" in refused(capsys, f"--model={model}", recordings[0])


def test_an_embedding_at_the_mean_has_no_direction():
    plda = Plda(np.zeros(3), np.eye(3), np.ones(3))
    with pytest.raises(VouchError, match="equals the mean"):
        cosine_score(np.array([[1.0, 2, 3], [3, 2, 1]]), np.ones(3), np.full(3, 2.0))
    with pytest.raises(VouchError, match="equals the mean"):
        plda_score(np.ones((1, 3)), np.zeros(3), np.zeros(3), np.eye(3), plda)


def test_the_last_column_of_an_affine_lda_is_its_offset():
    generator = np.random.default_rng(0)
    enrollment, test, lda, offset = (generator.normal(size=s) for s in ((2, 3), (3,), (3, 3), (3, 1)))
    plda = Plda(np.zeros(3), np.eye(3), np.ones(3))
    found = plda_score(enrollment, test, np.zeros(3), np.hstack([lda, offset]), plda)
    shift = np.linalg.solve(lda, offset[:, 0])
    assert found == pytest.approx(plda_score(enrollment, test, -shift, lda, plda))
