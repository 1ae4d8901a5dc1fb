"""normalise-scores after either scoring tool, against a loop over the trials; one error line and no output."""

import numpy as np
import pytest

from vouch.backend.plda import Plda
from vouch.cli import main
from vouch.io.plda import write_plda
from vouch.io.tables import TableWriter

SIZES = {"enroll": 5, "test": 8, "cohort": 40}
TRIALS = [(model, test) for model in range(5) for test in range(8) if (model + test) % 3]


def write_table(path, name, vectors) -> None:
    with TableWriter(f"ark:{path}", "vector") as writer:
        for i, vector in enumerate(vectors):
            writer.write(f"{name}{i}", vector)


@pytest.fixture
def tables(tmp_path):
    """Archives of vectors of length 1, a PLDA model, num_utts and trials; (folder, vectors by name, model)."""
    generator = np.random.default_rng(0)
    vectors = {}
    for name, size in SIZES.items():
        values = generator.normal(size=(size, 6))
        vectors[name] = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
        write_table(tmp_path / f"{name}.ark", name, vectors[name])
    plda = Plda(0.1 * generator.normal(size=6), generator.normal(size=(6, 6)), np.array([9.0, 5, 2, 1, 0.5, 0.2]))
    write_plda(f"{tmp_path}/plda", plda.mean, plda.transform, plda.psi)
    (tmp_path / "num_utts").write_text("".join(f"enroll{i} {1 + i % 3}\n" for i in range(5)))
    (tmp_path / "trials").write_text("".join(f"enroll{model} test{test}\n" for model, test in TRIALS))
    return tmp_path, vectors, plda


def sources(folder) -> list[str]:
    return [f"ark:{folder}/enroll.ark", f"ark:{folder}/test.ark"]


def normalise(folder, *options) -> int:
    return main(["normalise-scores", *options, *sources(folder), f"ark:{folder}/cohort.ark", f"{folder}/scores",
                 f"{folder}/normal"])  # fmt: skip


def cosine(folder) -> None:
    assert main(["ivector-compute-dot-products", f"{folder}/trials", *sources(folder), f"{folder}/scores"]) == 0


def check(folder, scores, with_cohort, cohort_with, top) -> None:
    """The output against a loop; all scores (models, tests), models with the cohort, and the cohort with tests."""
    lines = [line.split() for line in (folder / "normal").read_text().splitlines()]
    assert [line[:2] for line in lines] == [[f"enroll{model}", f"test{test}"] for model, test in TRIALS]
    for (model, test), line in zip(TRIALS, lines, strict=True):
        sides = sorted(with_cohort[model])[-top:], sorted(cohort_with[:, test])[-top:]
        wanted = sum((scores[model, test] - np.mean(side)) / np.std(side) for side in sides) / 2
        assert float(line[2]) == pytest.approx(wanted, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("top", [2, 11, 300])
def test_cosine(tables, capsys, top):
    folder, vectors, _ = tables
    cosine(folder)
    assert normalise(folder, f"--top={top}") == 0
    assert ("40 vectors, fewer than --top=300" in capsys.readouterr().err) == (top == 300)
    enroll, test, cohort = (vectors[name].astype(float) for name in SIZES)
    check(folder, enroll @ test.T, enroll @ cohort.T, cohort @ test.T, top)


@pytest.mark.parametrize(("options", "normalized", "simple"), [
    ([], True, False), (["--normalize-length=false"], False, False), (["--simple-length-normalization"], True, True),
])  # fmt: skip
def test_plda(tables, options, normalized, simple):
    folder, vectors, plda = tables
    options = [*options, f"--num-utts=ark:{folder}/num_utts"]
    line = ["ivector-plda-scoring", *options, f"{folder}/plda", *sources(folder), f"{folder}/trials"]
    assert main([*line, f"{folder}/scores"]) == 0
    assert normalise(folder, "--top=11", f"--plda={folder}/plda", *options) == 0
    counts = np.array([1 + i % 3 for i in range(5)])
    enroll, test, cohort = (
        plda.transform_vectors(vectors[name], number, normalized, simple)
        for name, number in (("enroll", counts), ("test", 1), ("cohort", 1))
    )
    check(
        folder,
        plda.log_likelihood_ratio(enroll, counts, test),
        plda.log_likelihood_ratio(enroll, counts, cohort),
        plda.log_likelihood_ratio(cohort, 1, test),
        11,
    )


@pytest.mark.parametrize(("options", "file", "text", "says"), [
    (["--top=1"], None, "", "--top=1: want 2 or more"),
    (["--num-utts=ark:x"], None, "", "--num-utts is for scores of PLDA"),
    ([], "scores", "enroll0 test0 1\nenroll9 test0 1\n", "scores:2: enroll9 has no vector in ark:"),
    ([], "scores", "enroll0 test9 1\n", "scores:1: test9 has no vector in ark:"),
    ([], "scores", "enroll0 test0 inf\n", "scores:1: the score is not finite"),
    ([], "scores", "enroll0 test0\n", "scores:1: 2 fields"),
    ([], "scores", "", "has no scores"),
    ([], "cohort.ark", "a  [ 1 0 0 0 0 0 ]\nb  [ 1 0 0 0 0 0 ]\n", "the highest scores of enroll0 with the cohort"),
    ([], "cohort.ark", "a  [ 1 0 0 0 0 0 ]\n", "the highest scores of enroll0 with the cohort"),
    ([], "cohort.ark", "a  [ 1 0 ]\nb  [ 0 1 ]\n", "dimensions, want 2"),
    ([], "cohort.ark", "a  [ 1 0 0 0 0 nan ]\n", "the vector of a has NaN"),
])  # fmt: skip
def test_refusals(tables, capsys, options, file, text, says):
    folder, _, _ = tables
    cosine(folder)
    if file:
        (folder / file).write_text(text)
    capsys.readouterr()
    assert normalise(folder, *options) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(errors) == 1 and says in errors[0]
    assert not (folder / "normal").exists()
