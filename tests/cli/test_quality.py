"""measure-quality: what is measured, and what does not fit together."""

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.tables import read_table


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(5, 4))
    cohort = generator.normal(size=(20, 4))
    for name, rows in (("embeddings", embeddings), ("units", unit(embeddings)), ("cohort", unit(cohort))):
        lines = [f"u{i}  [ {' '.join(f'{value:.6f}' for value in row)} ]\n" for i, row in enumerate(rows)]
        (tmp_path / name).write_text("".join(lines))
    (tmp_path / "utt2dur").write_text("".join(f"u{i} {i + 1.5}\n" for i in range(6)))
    return tmp_path, embeddings, cohort


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measure(folder, *options) -> int:
    tables = [f"ark:{folder}/{name}" for name in ("embeddings", "units", "cohort")]
    return main(["measure-quality", *options, f"{folder}/utt2dur", *tables, f"ark:{folder}/out"])


def test_the_measures(folder):
    folder, embeddings, cohort = folder
    assert measure(folder, "--top=3") == 0
    for key, quality in read_table(f"ark:{folder}/out", "vector"):
        i = int(key[1:])
        cosines = unit(cohort) @ unit(embeddings)[i]
        wanted = [np.log(i + 1.5), np.linalg.norm(embeddings[i]), np.sort(cosines)[-3:].mean()]
        np.testing.assert_allclose(quality, wanted, atol=1e-5)


@pytest.mark.parametrize("name, text, message", [
    ("utt2dur", "u0 1\n", "u1 of ark:"),
    ("utt2dur", "u0 0\n", "utt2dur:1: u0 lasts 0 s"),
    ("units", "u0  [ 1 0 0 0 ]\n", "is not in ark:"),
    ("cohort", "a  [ 1 0 0 0 ]\nb  [ 1 0 0 0 ]\n", "are all equal"),
])  # fmt: skip
def test_tables_that_do_not_fit(folder, capsys, name, text, message):
    (folder[0] / name).write_text(text)
    assert measure(folder[0]) == 1
    assert message in capsys.readouterr().err
    assert not (folder[0] / "out").exists()
