"""train-calibration and calibrate-scores: the file between them, pairs not lines, one error line and no output."""

import numpy as np
import pytest

from vouch.cli import main


@pytest.fixture
def scored(tmp_path):
    """2000 trials, and 5 x llr + 3 as scores in another order; (folder, llr of every trial)."""
    generator = np.random.default_rng(0)
    is_target = np.arange(2000) % 4 == 0
    ratios = generator.normal(np.where(is_target, 4, -4), np.sqrt(8))
    pairs = [f"m{i // 50} t{i}" for i in range(2000)]
    labels = np.where(is_target, "target", "nontarget")
    (tmp_path / "trials").write_text("".join(f"{p} {x}\n" for p, x in zip(pairs, labels, strict=True)))
    lines = [f"{p} {5 * x + 3:.6f}\n" for p, x in zip(pairs, ratios, strict=True)]
    (tmp_path / "scores").write_text("".join(generator.permutation(lines)))
    return tmp_path, dict(zip(pairs, ratios, strict=True))


def train(folder, *options) -> int:
    return main(["train-calibration", *options, f"{folder}/trials", f"{folder}/scores", f"{folder}/model"])


def apply(folder, scores="scores") -> int:
    return main(["calibrate-scores", f"{folder}/model", f"{folder}/{scores}", f"{folder}/calibrated"])


def error_of(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1
    return lines[0]


def test_ratios_come_back(scored, capsys):
    folder, ratios = scored
    assert train(folder, "--prior=0.5") == 0 and apply(folder) == 0
    assert "WARNING" not in capsys.readouterr().err
    lines = [line.split() for line in (folder / "calibrated").read_text().splitlines()]
    before = [line.split()[:2] for line in (folder / "scores").read_text().splitlines()]
    assert [line[:2] for line in lines] == before
    got = np.array([float(score) for _, _, score in lines])
    wanted = np.array([ratios[f"{model} {test}"] for model, test, _ in lines])
    slope, offset = np.polyfit(wanted, got, 1)
    assert slope == pytest.approx(1, abs=0.15) and offset == pytest.approx(0, abs=0.5)
    np.testing.assert_allclose(got, slope * wanted + offset, atol=1e-4)


def test_several_at_once_are_as_one_by_one(scored, capsys):
    folder, _ = scored
    lines = [line.split() for line in (folder / "scores").read_text().splitlines()]
    (folder / "other").write_text("".join(f"{model} {test} {2 * float(score)}\n" for model, test, score in lines))
    files = [f"{folder}/{name}" for name in ("scores", "a", "other", "b")]
    assert main(["train-calibration", f"{folder}/trials", *files]) == 0 and train(folder) == 0
    assert (folder / "a").read_text() == (folder / "model").read_text()
    slope_a, slope_b = (float((folder / name).read_text().split()[1]) for name in "ab")
    assert slope_a == pytest.approx(2 * slope_b, rel=1e-3)
    assert main(["train-calibration", f"{folder}/trials", *files[:3]]) == 1
    assert "the scores of no calibration" in error_of(capsys)


def test_the_model_is_three_lines_of_text(scored):
    folder, _ = scored
    assert train(folder) == 0
    lines = [line.split() for line in (folder / "model").read_text().splitlines()]
    assert [key for key, _ in lines] == ["slope", "offset", "prior"] and lines[2][1] == "0.01"
    (folder / "model").write_text("slope 2\noffset -1.5\nprior 0.5\n")
    (folder / "few").write_text("a b 1\nc d -0.25\n")
    assert apply(folder, "few") == 0
    assert (folder / "calibrated").read_text() == "a b 0.5\nc d -2\n"


def test_warnings(scored, capsys):
    folder, _ = scored
    text = (folder / "trials").read_text()
    swapped = text.replace(" nontarget", " x").replace(" target", " nontarget").replace(" x", " target")
    (folder / "trials").write_text(swapped)
    assert train(folder) == 0
    assert "lower for targets than for nontargets" in capsys.readouterr().err
    (folder / "trials").write_text("a b target\na c nontarget\n")
    (folder / "scores").write_text("a b 2\na c 1\n")
    assert train(folder) == 0
    assert "the slope is arbitrary" in capsys.readouterr().err


@pytest.mark.parametrize(("file", "change", "says"), [
    ("scores", lambda text: text.split("\n", 1)[1], "has no score"),
    ("trials", lambda text: text.split("\n", 1)[1], "no trial 'm0 t0'"),
    ("trials", lambda text: text.replace(" nontarget", " target"), "2000 target and 0 nontarget trials"),
    ("trials", lambda text: text.replace(" target", ""), "trials:1"),
    ("scores", lambda text: text.rsplit(" ", 1)[0] + " inf\n", "has a score that is not finite"),
    ("scores", lambda text: text.rsplit(" ", 1)[0] + " nan\n", "the score is NaN"),
    ("scores", lambda text: "".join(f"{x.rsplit(' ', 1)[0]} 2\n" for x in text.splitlines()), "all scores are equal"),
])  # fmt: skip
def test_bad_development_trials_are_refused(scored, capsys, file, change, says):
    folder, _ = scored
    (folder / file).write_text(change((folder / file).read_text()))
    assert train(folder) == 1
    assert says in error_of(capsys)
    assert not (folder / "model").exists()


@pytest.mark.parametrize("prior", ["0", "1", "-2", "nan"])
def test_bad_priors_are_refused(scored, capsys, prior):
    assert train(scored[0], f"--prior={prior}") == 1
    assert f"--prior={prior}: want" in error_of(capsys)


@pytest.mark.parametrize(("model", "scores", "says"), [
    ("slope 1\noffset 2\n", "a b 1\n", "model has not the lines"),
    ("slope 1\noffset 2\nprior 0.1\nslope 3\n", "a b 1\n", "model has not the lines"),
    ("slope one\noffset 2\nprior 0.1\n", "a b 1\n", "no finite numbers"),
    ("slope inf\noffset 2\nprior 0.1\n", "a b 1\n", "no finite numbers"),
    ("slope 1\noffset 2\nprior 0.1\n", "a b 1\na c -inf\n", "few:2: the score is not finite"),
    ("slope 1\noffset 2\nprior 0.1\n", "a b 1\na c\n", "few:2: 2 fields, want 3"),
    ("slope 1\noffset 2\nprior 0.1\n", "", "few has no scores"),
])  # fmt: skip
def test_bad_models_and_scores_are_refused(tmp_path, capsys, model, scores, says):
    (tmp_path / "model").write_text(model)
    (tmp_path / "few").write_text(scores)
    assert apply(tmp_path, "few") == 1
    assert says in error_of(capsys)
    assert not (tmp_path / "calibrated").exists()


@pytest.fixture
def measured(scored):
    """Qualities of both sides as text archives: models' and tests' in a row of two measures."""
    folder, ratios = scored
    generator = np.random.default_rng(1)
    for name, column in (("models", 0), ("tests", 1)):
        keys = sorted({pair.split()[column] for pair in ratios})
        rows = [
            f"{key}  [ {a:.5f} {b:.5f} ]\n"
            for key, (a, b) in zip(keys, generator.normal(size=(len(keys), 2)), strict=True)
        ]
        (folder / name).write_text("".join(rows))
    return folder


def qualities_of(folder, name) -> dict[str, np.ndarray]:
    lines = [line.split() for line in (folder / name).read_text().splitlines()]
    return {key: np.array(values[1:-1], dtype=float) for key, *values in lines}


def test_calibration_with_qualities(measured):
    folder = measured
    tables = [f"--enrollment-qualities=ark:{folder}/models", f"--test-qualities=ark:{folder}/tests"]
    assert train(folder, *tables) == 0
    lines = [line.split() for line in (folder / "model").read_text().splitlines()]
    assert [line[0] for line in lines] == ["slope", "offset", "prior", "qualities"]
    slope, offset, weights = float(lines[0][1]), float(lines[1][1]), np.array(lines[3][1:], dtype=float)
    assert len(weights) == 4
    assert main(["calibrate-scores", *tables, *(f"{folder}/{name}" for name in ("model", "scores", "calibrated"))]) == 0
    models, tests = qualities_of(folder, "models"), qualities_of(folder, "tests")
    scores = [line.split() for line in (folder / "scores").read_text().splitlines()]
    for (model, test, score), line in zip(scores, (folder / "calibrated").read_text().splitlines(), strict=True):
        pair = np.concatenate([np.minimum(models[model], tests[test]), np.maximum(models[model], tests[test])])
        assert float(line.split()[2]) == pytest.approx(slope * float(score) + offset + weights @ pair, abs=1e-3)


def test_qualities_that_do_not_fit(measured, capsys):
    folder = measured
    tables = [f"--enrollment-qualities=ark:{folder}/models", f"--test-qualities=ark:{folder}/tests"]
    assert train(folder, tables[0]) == 1
    assert "give both, or none" in error_of(capsys)
    assert train(folder, *tables) == 0 and apply(folder) == 1
    assert "was learnt with qualities; give" in error_of(capsys)
    assert train(folder) == 0
    capsys.readouterr()
    words = ["calibrate-scores", *tables, *(f"{folder}/{name}" for name in ("model", "scores", "calibrated"))]
    assert main(words) == 1
    assert "was learnt without qualities; leave out" in error_of(capsys)
    (folder / "tests").write_text("t0  [ 1 2 ]\n")
    assert train(folder, *tables) == 1
    assert "has no qualities in ark:" in error_of(capsys)
