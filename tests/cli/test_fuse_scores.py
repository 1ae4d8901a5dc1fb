"""fuse-scores: pairs, not lines; one error line and no output."""

import numpy as np
import pytest

from vouch.cli import main

PAIRS = [(f"m{model}", f"t{test}") for model in range(3) for test in range(4)]


@pytest.fixture
def scored(tmp_path):
    """trials (labels in half of them) and two score files in other orders; (folder, scores (2, trials))."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(2, len(PAIRS))).round(5)
    labels = [" target" if i % 2 else "" for i in range(len(PAIRS))]
    (tmp_path / "trials").write_text("".join(f"{m} {t}{label}\n" for (m, t), label in zip(PAIRS, labels, strict=True)))
    for name, values in zip("ab", scores, strict=True):
        lines = [f"{m} {t} {value}\n" for (m, t), value in zip(PAIRS, values, strict=True)]
        (tmp_path / name).write_text("".join(generator.permutation(lines)))
    return tmp_path, scores


def fuse(folder, *options) -> int:
    return main(["fuse-scores", *options, f"{folder}/trials", f"{folder}/a", f"{folder}/b", f"{folder}/fused"])


def test_mean_of_normalised_scores_in_the_order_of_the_trials(scored):
    folder, scores = scored
    assert fuse(folder, "--weights=3,1") == 0
    lines = [line.split() for line in (folder / "fused").read_text().splitlines()]
    assert [tuple(line[:2]) for line in lines] == PAIRS
    wanted = 0.75 * (scores[0] - scores[0].mean()) / scores[0].std()
    wanted += 0.25 * (scores[1] - scores[1].mean()) / scores[1].std()
    np.testing.assert_allclose([float(line[2]) for line in lines], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("m1 t2 ", "m1 t9 "), "no trial 'm1 t9'"),
        (lambda text: "".join(line for line in text.splitlines(True) if "m1 t2" not in line), "m1 t2"),
        (lambda text: text + "m0 t0 1\n", "comes twice"),
        (lambda text: "".join(f"{line.rsplit(' ', 1)[0]} 2\n" for line in text.splitlines()), "all scores of"),
        (lambda text: "".join(f"{line.rsplit(' ', 1)[0]} inf\n" for line in text.splitlines()), "not finite"),
        (lambda text: text.replace("m1 t2 ", "m1 t2 x"), "is not a number"),
    ],
)
def test_bad_scores_are_refused(scored, capsys, damage, message):
    folder, _ = scored
    (folder / "b").write_text(damage((folder / "b").read_text()))
    assert fuse(folder) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(errors) == 1 and message in errors[0] and f"{folder}/b" in errors[0]
    assert not (folder / "fused").exists()


@pytest.mark.parametrize("weights", ["1", "1,2,3", "1,0", "1,x", "1,inf"])
def test_bad_weights_are_refused(scored, capsys, weights):
    assert fuse(scored[0], f"--weights={weights}") == 1
    assert "want 2 numbers above 0" in capsys.readouterr().err


def test_weights_learnt_from_development_trials(scored, capsys):
    folder, scores = scored
    (folder / "dev").write_text("".join(f"m{i} t{i} {'target' if i % 2 else 'nontarget'}\n" for i in range(400)))
    generator = np.random.default_rng(1)
    for name, gap in (("da", 3.0), ("db", 0.0)):
        values = generator.normal(size=400) + gap * (np.arange(400) % 2)
        (folder / name).write_text("".join(f"m{i} t{i} {value}\n" for i, value in enumerate(values)))
    options = (f"--development-trials={folder}/dev", f"--development-scores={folder}/da,{folder}/db")
    assert fuse(folder, *options) == 0
    weights = [float(word) for word in capsys.readouterr().err.split("learnt weights ")[1].split(" and")[0].split()]
    assert weights[0] > 2 * abs(weights[1])
    fused = np.array([float(line.split()[2]) for line in (folder / "fused").read_text().splitlines()])
    difference = fused - np.array(weights) @ scores
    np.testing.assert_allclose(difference, difference[0], atol=5e-3)  # the offset
    for wrong in (options[:1], (*options, "--weights=1,2"), (options[0], f"--development-scores={folder}/da")):
        assert fuse(folder, *wrong) == 1
