"""fgmm-gselect and the info tools: the densities by scipy, chains of selections, messages."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from vouch.cli import main
from vouch.io.gmm import write_diag_gmm, write_full_gmm
from vouch.io.tables import TableWriter, read_table

GAUSSIANS, DIMS = 7, 3
RNG = np.random.default_rng(8)
WEIGHTS = RNG.dirichlet(np.ones(GAUSSIANS))
MEANS = RNG.normal(size=(GAUSSIANS, DIMS))
FACTORS = RNG.normal(size=(GAUSSIANS, DIMS, DIMS))
COVARIANCES = FACTORS @ FACTORS.transpose(0, 2, 1) + 0.5 * np.eye(DIMS)
FEATURES = {key: RNG.normal(size=(frames, DIMS)).astype(np.float32) for key, frames in (("a", 12), ("b", 5))}


def scores(features: np.ndarray) -> np.ndarray:
    densities = [multivariate_normal(m, c) for m, c in zip(MEANS, COVARIANCES, strict=True)]
    return np.stack([density.logpdf(features) for density in densities], axis=1) + np.log(WEIGHTS)


@pytest.fixture
def work(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    inverse = np.linalg.inv(COVARIANCES)
    gconsts = (
        np.log(WEIGHTS)
        - 0.5 * DIMS * np.log(2 * np.pi)
        + 0.5 * np.linalg.slogdet(inverse)[1]
        - 0.5 * np.einsum("gd,gde,ge->g", MEANS, inverse, MEANS)
    )
    write_full_gmm("full", WEIGHTS, gconsts, np.einsum("gde,ge->gd", inverse, MEANS), inverse)
    variances = np.diagonal(COVARIANCES, axis1=1, axis2=2)
    gconsts = np.log(WEIGHTS) - 0.5 * (np.log(2 * np.pi * variances) + MEANS**2 / variances).sum(axis=1)
    write_diag_gmm("diag", WEIGHTS, gconsts, MEANS / variances, 1 / variances)
    with TableWriter("ark:f") as writer:
        for key, features in FEATURES.items():
            writer.write(key, features)
    return tmp_path


def selections(name: str) -> dict[str, list[list[int]]]:
    return {
        key: [s.indices[a:b].tolist() for a, b in zip(s.offsets[:-1], s.offsets[1:], strict=True)]
        for key, s in read_table(f"ark:{name}", "gselect")
    }


def test_the_best_by_the_full_covariances(work: Path, capfd) -> None:
    assert main(["fgmm-gselect", "--n=3", "--write-likes=ark:likes", "full", "ark:f", "ark:out"]) == 0
    found, likes, total = selections("out"), dict(read_table("ark:likes", "float")), 0.0
    for key, features in FEATURES.items():
        expected = scores(features.astype(float))
        best = np.argsort(-expected, axis=1)[:, :3]
        assert found[key] == best.tolist()
        like = logsumexp(np.take_along_axis(expected, best, axis=1), axis=1).sum()
        assert likes[key] == pytest.approx(like, rel=1e-4)
        total += like
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("LOG Done 2 files, 0 with errors, average UBM log-likelihood is ")
    assert float(line.split()[-4]) == pytest.approx(total / 17, rel=1e-4) and line.endswith(" over 17 frames.")


def test_a_selection_of_a_selection(work: Path) -> None:
    assert main(["gmm-gselect", "--n=4", "diag", "ark:f", "ark:first"]) == 0
    assert main(["fgmm-gselect", "--gselect=ark,s,cs:first", "--n=2", "full", "ark:f", "ark:out"]) == 0
    first, second = selections("first"), selections("out")
    for key, features in FEATURES.items():
        for row, among, chosen in zip(scores(features.astype(float)), first[key], second[key], strict=True):
            assert chosen == sorted(among, key=lambda g, row=row: -row[g])[:2]


def test_the_frame_likelihoods_of_such_a_selection(work: Path) -> None:
    """As sid/gender_id.sh goes on."""
    assert main(["fgmm-gselect", "--n=2", "full", "ark:f", "ark:g"]) == 0
    options = ["--average=true", "--gselect=ark,s,cs:g"]
    assert main(["fgmm-global-get-frame-likes", *options, "full", "ark:f", "ark:likes"]) == 0
    found = dict(read_table("ark:likes", "float"))
    for key, features in FEATURES.items():
        best = np.sort(scores(features.astype(float)), axis=1)[:, -2:]
        assert found[key] == pytest.approx(logsumexp(best, axis=1).mean(), rel=1e-4)


def test_sizes(work: Path, capfd) -> None:
    for tool, model in (("gmm-global-info", "diag"), ("fgmm-global-info", "full")):
        assert main([tool, "--print-args=false", model]) == 0
        assert capfd.readouterr().out == f"number of gaussians {GAUSSIANS}\nfeature dimension {DIMS}\n"


@pytest.mark.parametrize(
    "words, said",
    [
        (["fgmm-gselect", "--n=0", "full", "ark:f", "ark:out"], "--n=0"),
        (["fgmm-gselect", "diag", "ark:f", "ark:out"], "diag is not"),
        (["fgmm-global-info", "diag"], "diag is not"),
        (["fgmm-gselect", "full", "ark:wide", "ark:out"], "has 4 dims, the model 3"),
    ],
)
def test_bad_input(work: Path, capfd, words: list[str], said: str) -> None:
    with TableWriter("ark:wide") as writer:
        writer.write("a", np.ones((2, 4)))
    assert main(words) == 1
    assert said in capfd.readouterr().err and not Path("out").exists()


def test_more_than_there_are(work: Path, capfd) -> None:
    assert main(["fgmm-gselect", "full", "ark:f", "ark:out"]) == 0
    assert "only has 7" in capfd.readouterr().err
    assert all(sorted(row) == list(range(GAUSSIANS)) for rows in selections("out").values() for row in rows)
