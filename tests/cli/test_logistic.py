"""logistic-regression-train, -eval and -copy: model files both ways, posteriors, scores, messages."""

import struct
from pathlib import Path

import numpy as np
import pytest

from vouch.backend.logistic import LogisticRegression
from vouch.cli import main
from vouch.io.logistic import read_logistic_regression, write_logistic_regression
from vouch.io.tables import TableWriter, read_table

RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 3, 60)
VECTORS = (2 * np.eye(3)[LABELS] + RNG.normal(size=(60, 3))).astype(np.float32)
WEIGHTS = np.array([[0.5, -1.0, 2.0], [0.25, 0.125, -3.0], [1.5, 0.75, -0.5]])
CLASSES = np.array([0, 1, 1], np.int32)


@pytest.fixture
def data(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with TableWriter("ark:x", "vector") as vectors, TableWriter("ark,t:y", "int32") as labels:
        for number, (vector, label) in enumerate(zip(VECTORS, LABELS, strict=True)):
            vectors.write(f"u{number:02d}", vector)
            labels.write(f"u{number:02d}", int(label))
    return tmp_path


def test_training(data: Path, capfd) -> None:
    with open("y", "a") as file:
        file.write("unknown 1\n")
    assert main(["logistic-regression-train", "--max-steps=30", "ark:x", "ark:y", "model"]) == 0
    said = capfd.readouterr().err
    assert "Retrieved 60 vectors with 1 missing. There were 3 class labels." in said
    assert "No vector for utterance unknown" in said
    values = [float(line.split()[-1]) for line in said.splitlines() if line.startswith("LOG Objective function is")]
    assert len(values) == 30 and values[0] == pytest.approx(-np.log(3), rel=1e-5) and values[-1] > values[0]
    weights, classes = read_logistic_regression("model")
    assert weights.shape == (3, 4) and classes.tolist() == [0, 1, 2]
    assert main(["logistic-regression-train", "--mix-up=5", "ark:x", "ark:y", "mixed"]) == 0
    assert read_logistic_regression("mixed")[0].shape == (5, 4)
    first = Path("mixed").read_bytes()
    assert main(["logistic-regression-train", "--mix-up=5", "ark:x", "ark:y", "mixed"]) == 0
    assert Path("mixed").read_bytes() == first


def test_posteriors_and_scores(data: Path, capfd) -> None:
    assert main(["logistic-regression-train", "ark:x", "ark:y", "model"]) == 0
    model = LogisticRegression(*read_logistic_regression("model"))
    expected = model.log_posteriors(VECTORS)
    assert main(["logistic-regression-eval", "model", "ark:x", "ark:post"]) == 0
    found = dict(read_table("ark:post", "vector"))
    assert list(found) == [f"u{n:02d}" for n in range(60)]
    np.testing.assert_allclose(np.stack(list(found.values())), expected, atol=1e-5)
    assert "Calculated log posteriors for 60 vectors." in capfd.readouterr().err
    assert main(["logistic-regression-eval", "--apply-log=false", "model", "ark:tac y |", "ark:x", "scores"]) == 0
    lines = [line.split() for line in Path("scores").read_text().splitlines()]
    assert [line[0] for line in lines] == [f"u{n:02d}" for n in reversed(range(60))]
    for key, label, score in lines:
        number = int(key[1:])
        assert int(label) == LABELS[number]
        assert float(score) == pytest.approx(np.exp(expected[number, LABELS[number]]), rel=1e-5)


def test_binary_files_are_kaldis_bytes(tmp_path: Path) -> None:
    write_logistic_regression(f"{tmp_path}/m", WEIGHTS, CLASSES)
    matrix = b"FM " + struct.pack("<bibi", 4, 3, 4, 3) + WEIGHTS.astype("<f4").tobytes()
    classes = struct.pack("<bi", 4, 3) + CLASSES.astype("<i4").tobytes()
    expected = b"\0B<LogisticRegression> <weights> " + matrix + b"<class> " + classes + b"</LogisticRegression> "
    assert (tmp_path / "m").read_bytes() == expected


def test_text_files_both_ways(tmp_path: Path) -> None:
    write_logistic_regression(f"{tmp_path}/m", WEIGHTS, CLASSES, binary=False)
    words = " ".join((tmp_path / "m").read_text().split())
    assert words == (
        "<LogisticRegression> <weights> [ 0.5 -1 2 0.25 0.125 -3 1.5 0.75 -0.5 ] "
        "<class> [ 0 1 1 ] </LogisticRegression>"
    )
    for source in (f"{tmp_path}/m", f"cat {tmp_path}/m |"):
        weights, classes = read_logistic_regression(source)
        np.testing.assert_array_equal(weights, WEIGHTS)
        assert classes.tolist() == [0, 1, 1]


def test_old_files_have_no_classes(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("<LogisticRegression> <weights>  [\n  1 2\n  3 4 ]\n</LogisticRegression> ")
    assert read_logistic_regression(f"{tmp_path}/m")[1].tolist() == [0, 1]


def test_copy_and_scaled_priors(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_logistic_regression("m", WEIGHTS, CLASSES)
    assert main(["logistic-regression-copy", "--binary=false", "m", "t"]) == 0
    assert main(["logistic-regression-copy", "t", "b"]) == 0
    assert Path("b").read_bytes() == Path("m").read_bytes()
    assert main(["logistic-regression-copy", "--scale-priors=echo '[ 2 0.5 ]' |", "m", "s"]) == 0
    expected = WEIGHTS.copy()
    expected[:, -1] += np.log([2, 0.5, 0.5])
    np.testing.assert_allclose(read_logistic_regression("s")[0], expected, atol=1e-6)
    assert main(["logistic-regression-copy", "--scale-priors=echo '[ 2 ]' |", "m", "n"]) == 1
    assert not Path("n").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["logistic-regression-train", "ark:x", "ark:none", "out"], "no key of ark:none"),
        (["logistic-regression-train", "ark:x", "ark:echo u00 -1 |", "out"], "class -1"),
        (["logistic-regression-train", "ark:x", "ark:echo u00 a |", "out"], "whole number"),
        (["logistic-regression-train", "ark:two", "ark:y", "out"], "has 2 values"),
        (["logistic-regression-train", "ark:nan", "ark:y", "out"], "NaN"),
        (["logistic-regression-eval", "small", "ark:x", "ark:out"], "3 dimensions, want 2"),
        (["logistic-regression-eval", "small", "ark:y", "ark:x", "out"], "wants 2"),
        (["logistic-regression-eval", "model", "ark:echo u00 7 |", "ark:x", "out"], "from 0 to 1"),
        (["logistic-regression-eval", "model", "ark:none", "ark:x", "out"], "no key of ark:none"),
        (["logistic-regression-eval", "x", "ark:x", "ark:out"], "x is not a logistic regression"),
        (["logistic-regression-eval", "cut", "ark:x", "ark:out"], "cut is not a logistic regression"),
        (["logistic-regression-eval", "odd", "ark:x", "ark:out"], "3 components, and classes for 2"),
    ],
)
def test_bad_input(data: Path, capfd, words: list[str], said: str) -> None:
    Path("none").touch()
    for name, value in (("two", [1, 2]), ("nan", [np.nan, 1, 2])):
        with TableWriter(f"ark:{name}", "vector") as writer:
            for number in range(60):
                writer.write(f"u{number:02d}", value if number == 1 else [1.0, 2.0, 3.0])
    write_logistic_regression("small", WEIGHTS, CLASSES)
    write_logistic_regression("model", np.pad(WEIGHTS, ((0, 0), (0, 1))), CLASSES)
    write_logistic_regression("odd", WEIGHTS, CLASSES[:2])
    Path("cut").write_bytes(Path("model").read_bytes()[:-30])
    assert main(words) == 1
    message = capfd.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"vouch {words[0]}: error: ") and said in message
    assert not Path("out").exists()
