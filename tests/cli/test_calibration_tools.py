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
    ("slope 1\noffset 2\n", "a b 1\n", "model has not the three lines"),
    ("slope 1\noffset 2\nprior 0.1\nslope 3\n", "a b 1\n", "model has not the three lines"),
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
