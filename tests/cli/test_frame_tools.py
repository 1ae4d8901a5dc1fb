"""add-deltas, subsample-feats and feat-to-dim as tools: tables, options, exit codes."""

from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.tables import TableWriter, read_table
from vouch.signal.deltas import add_deltas

RNG = np.random.default_rng(2)


@pytest.fixture
def feats(tmp_path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """A table of four matrices, one of them empty, one of double precision."""
    values = {key: RNG.normal(size=(frames, 4)).astype("f4") for key, frames in (("a", 7), ("b", 1), ("c", 0))}
    values["d"] = RNG.normal(size=(5, 4))
    with TableWriter(f"ark:{tmp_path}/f") as writer:
        for key, matrix in values.items():
            writer.write(key, matrix)
    return f"ark:{tmp_path}/f", values


def out(tmp_path: Path) -> dict[str, np.ndarray]:
    return dict(read_table(f"ark:{tmp_path}/out"))


def test_add_deltas(feats, tmp_path: Path, capfd) -> None:
    name, values = feats
    assert main(["add-deltas", "--delta-order=1", "--delta-window=3", "--truncate=2", name, f"ark:{tmp_path}/out"]) == 0
    found = out(tmp_path)
    assert sorted(found) == ["a", "b", "d"]
    assert "Empty feature matrix for key c" in capfd.readouterr().err
    for key, matrix in found.items():
        np.testing.assert_array_equal(matrix, add_deltas(values[key][:, :2], 1, 3))
        assert matrix.dtype == np.float32


@pytest.mark.parametrize(
    "option, said",
    [
        ("--truncate=5", "a has 4 columns, fewer than --truncate=5"),
        ("--truncate=-1", "--truncate"),
        ("--delta-window=0", "--delta-window"),
        ("--delta-order=-1", "--delta-order"),
    ],
)
def test_add_deltas_refuses(feats, tmp_path: Path, capfd, option: str, said: str) -> None:
    assert main(["add-deltas", option, feats[0], f"ark:{tmp_path}/out"]) == 1
    assert said in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_subsample(feats, tmp_path: Path, capfd) -> None:
    name, values = feats
    assert main(["subsample-feats", "--n=3", "--offset=1", name, f"ark:{tmp_path}/out"]) == 0
    found = out(tmp_path)
    assert sorted(found) == ["a", "d"]
    np.testing.assert_array_equal(found["a"], values["a"][[1, 4]])
    np.testing.assert_array_equal(found["d"], values["d"][[1, 4]].astype("f4"))
    said = capfd.readouterr().err
    assert "LOG Processed 2 feature matrices; 2 with errors." in said
    assert "LOG Processed 13 input frames and 4 output frames." in said


def test_repetition(feats, tmp_path: Path) -> None:
    name, values = feats
    assert main(["subsample-feats", "--n=-3", name, f"ark:{tmp_path}/out"]) == 0
    found = out(tmp_path)
    assert sorted(found) == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(found["a"], values["a"][np.arange(21) // 3])


def test_exit_code_when_nothing_is_left(feats, tmp_path: Path) -> None:
    assert main(["subsample-feats", "--offset=50", feats[0], f"ark:{tmp_path}/out"]) == 1


@pytest.mark.parametrize("options", [["--n=0"], ["--n=-2", "--offset=1"], ["--offset=-1"]])
def test_subsample_refuses(feats, tmp_path: Path, capfd, options: list[str]) -> None:
    assert main(["subsample-feats", *options, feats[0], f"ark:{tmp_path}/out"]) == 1
    assert "--offset" in capfd.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("n", [5, -2])
def test_kaldis_subsampling(golden, tmp_path: Path, n: int) -> None:
    source, expected = np.load(golden / "voiced/voiced_sre16v2_8k.npz"), np.load(golden / "voiced/subsample.npz")
    with TableWriter(f"ark:{tmp_path}/f") as writer:
        for key in source.files:
            writer.write(key, source[key])
    assert main(["subsample-feats", f"--n={n}", f"ark:{tmp_path}/f", f"ark:{tmp_path}/out"]) == 0
    found = out(tmp_path)
    keys = [key for key in expected.files if key.startswith(f"n{n}/")]
    assert keys
    for key in keys:
        np.testing.assert_array_equal(found[key.partition("/")[2]], expected[key])


def test_feat_to_dim(feats, tmp_path: Path, capfd) -> None:
    name, _ = feats
    assert main(["feat-to-dim", name, "-"]) == 0
    assert capfd.readouterr().out == "4\n"
    assert main(["feat-to-dim", f"ark:cat {tmp_path}/f |", f"{tmp_path}/dim"]) == 0
    assert (tmp_path / "dim").read_text() == "4\n"
    assert main(["feat-to-dim", name, f"ark,t:{tmp_path}/dims"]) == 0
    assert (tmp_path / "dims").read_text().split() == ["a", "4", "b", "4", "c", "0", "d", "4"]
    (tmp_path / "none").touch()
    assert main(["feat-to-dim", f"ark:{tmp_path}/none", "-"]) == 1
    assert "empty" in capfd.readouterr().err
