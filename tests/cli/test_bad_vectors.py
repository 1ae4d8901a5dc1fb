"""Empty tables and vectors that are no numbers: one line that names them, and no output, for every tool on vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.plda import write_plda
from vouch.io.tables import TableWriter, write_matrix, write_vector

TOOLS = [
    ["ivector-mean", "ark:in", "out"],
    ["ivector-mean", "ark:spk2utt", "ark:in", "ark:out"],
    ["ivector-subtract-global-mean", "ark:in", "ark:out"],
    ["ivector-subtract-global-mean", "mean", "ark:in", "ark:out"],
    ["ivector-normalize-length", "ark:in", "ark:out"],
    ["transform-vec", "lda", "ark:in", "ark:out"],
    ["ivector-transform", "lda", "ark:in", "ark:out"],
    ["ivector-compute-lda", "--dim=1", "ark:in", "ark:utt2spk", "out"],
    ["ivector-compute-plda", "ark:spk2utt", "ark:in", "out"],
    ["ivector-adapt-plda", "plda", "ark:in", "out"],
    ["ivector-plda-scoring", "plda", "ark:in", "ark:in", "trials", "out"],
    ["ivector-compute-dot-products", "trials", "ark:in", "ark:in", "out"],
]
NAMES = [f"{words[0]}-{len(words)}" for words in TOOLS]
KEYS = ["a1", "a2", "b1", "b2"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("spk2utt").write_text("a a1 a2\nb b1 b2\n")
    Path("utt2spk").write_text("".join(f"{key} {key[0]}\n" for key in KEYS))
    Path("trials").write_text("a1 b1\n")
    write_vector("mean", np.zeros(3))
    write_matrix("lda", np.eye(3)[:2])
    write_plda("plda", np.zeros(3), np.eye(3), np.array([3.0, 2.0, 1.0]))
    return tmp_path


def refused(words: list[str], capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> str:
    assert main(words) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert not Path("out").exists()
    assert not recwarn.list
    return errors[0]


@pytest.mark.parametrize("words", TOOLS, ids=NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38], ids=["nan", "inf", "huge"])
def test_a_vector_that_is_no_number(words, value, here, capsys, recwarn):
    with TableWriter("ark:in", "vector") as writer:
        for place, key in enumerate(KEYS):
            writer.write(key, np.array([value if key == "b1" else place, 1.0, place % 2], np.float32))
    assert "b1" in refused(words, capsys, recwarn)


@pytest.mark.parametrize("words", TOOLS, ids=NAMES)
def test_an_empty_table(words, here, capsys, recwarn):
    Path("in").write_bytes(b"")
    assert "in" in refused(words, capsys, recwarn)
