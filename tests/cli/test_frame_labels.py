"""compute-vad-from-frame-likes and merge-vads: the rule frame by frame, maps, what does not fit."""

from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.tables import TableWriter, read_table

RNG = np.random.default_rng(9)


def table(path: Path, values: dict[str, np.ndarray]) -> str:
    with TableWriter(f"ark:{path}", "vector") as writer:
        for key, vector in values.items():
            writer.write(key, np.asarray(vector, np.float32))
    return f"ark:{path}"


def out(tmp_path: Path) -> dict[str, list[float]]:
    return {key: vector.tolist() for key, vector in read_table(f"ark:{tmp_path}/out", "vector")}


def test_the_likeliest_class(tmp_path: Path) -> None:
    likes = [RNG.normal(size=30).astype(np.float32) for _ in range(3)]
    names = [table(tmp_path / f"l{i}", {"a": vector}) for i, vector in enumerate(likes)]
    assert main(["compute-vad-from-frame-likes", *names, f"ark:{tmp_path}/out"]) == 0
    assert out(tmp_path)["a"] == [max(range(3), key=lambda c, t=t: likes[c][t]) for t in range(30)]
    (tmp_path / "map").write_text("# music is no speech\n2 0  # the third\n\n0 5\n")
    options = [f"--map={tmp_path}/map", "--priors=0.7,0.2,0.1"]
    assert main(["compute-vad-from-frame-likes", *options, *names, f"ark:{tmp_path}/out"]) == 0
    weighted = np.stack(likes) + np.log([[0.7], [0.2], [0.1]])
    assert out(tmp_path)["a"] == [[5, 1, 0][c] for c in weighted.argmax(axis=0)]


def test_the_first_of_equals(tmp_path: Path) -> None:
    names = [table(tmp_path / f"l{i}", {"a": [1, 2]}) for i in range(2)]
    assert main(["compute-vad-from-frame-likes", *names, f"ark:{tmp_path}/out"]) == 0
    assert out(tmp_path)["a"] == [0, 0]


def test_utterances_that_do_not_fit_are_left_out(tmp_path: Path, capfd) -> None:
    names = [
        table(tmp_path / "one", {"a": [1, 2], "b": [1], "c": [], "d": [1, 2]}),
        table(tmp_path / "two", {"a": [2, 1], "c": [], "d": [1, 2, 3]}),
    ]
    assert main(["compute-vad-from-frame-likes", *names, f"ark:{tmp_path}/out"]) == 0
    assert out(tmp_path) == {"a": [1, 0]}
    assert "processed 1 utterances successfully; 3 had errors" in capfd.readouterr().err


@pytest.mark.parametrize(
    "options, said",
    [
        (["--priors=1"], "want 2 numbers"),
        (["--priors=1,x"], "separated by commas"),
        (["--priors=1,0"], "above 0"),
        (["--map={}/map"], "no class 7"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, capfd, options: list[str], said: str) -> None:
    (tmp_path / "map").write_text("7 1\n")
    names = [table(tmp_path / f"l{i}", {"a": [1, 2]}) for i in range(2)]
    words = [option.format(tmp_path) for option in options]
    assert main(["compute-vad-from-frame-likes", *words, *names, f"ark:{tmp_path}/out"]) == 1
    assert said in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_merge(tmp_path: Path, capfd) -> None:
    one = table(tmp_path / "one", {"a": [0, 0, 1, 1], "b": [1], "c": [1, 1], "e": []})
    two = table(tmp_path / "two", {"a": [0, 1, 0, 1], "c": [1], "e": []})
    assert main(["merge-vads", one, two, f"ark:{tmp_path}/out"]) == 0
    assert out(tmp_path) == {"a": [0, 0, 0, 1], "e": []}
    assert "processed 2 utterances successfully; 2 had errors" in capfd.readouterr().err
    (tmp_path / "map").write_text("0 0 9\n0 1 8\n1 0 7\n1 1 6 # all four\n")
    assert main(["merge-vads", f"--map={tmp_path}/map", one, two, f"ark:{tmp_path}/out"]) == 0
    assert out(tmp_path)["a"] == [9, 8, 7, 6]


def test_merge_without_a_label(tmp_path: Path, capfd) -> None:
    one, two = table(tmp_path / "one", {"a": [0, 2]}), table(tmp_path / "two", {"a": [0, 1]})
    assert main(["merge-vads", one, two, f"ark:{tmp_path}/out"]) == 1
    assert "the labels 2 and 1" in capfd.readouterr().err and not (tmp_path / "out").exists()
    (tmp_path / "map").write_text("0 0\n")
    assert main(["merge-vads", f"--map={tmp_path}/map", one, two, f"ark:{tmp_path}/out"]) == 1
    assert "map:1: want 3 whole numbers" in capfd.readouterr().err
