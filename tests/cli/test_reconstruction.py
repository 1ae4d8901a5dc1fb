"""`vouch plot-reconstruction` and the second embedding of a SEEF-ALDR model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from disentangled_model import DIM, SPEAKERS, make_model

from vouch.cli import main
from vouch.io import checkpoints
from vouch.io.tables import TableWriter, open_table
from vouch.system import build_objective


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


@pytest.fixture
def features(tmp_path: Path) -> str:
    generator = np.random.default_rng(0)
    with TableWriter(f"ark:{tmp_path}/f.ark", "matrix") as writer:
        for name, frames in (("one", 60), ("two", 45), ("three", 80)):
            writer.write(name, generator.normal(size=(frames, DIM)).astype(np.float32))
    return f"ark:{tmp_path}/f.ark"


def test_the_picture_and_its_errors(model: Path, features: str, tmp_path: Path, capsys) -> None:
    """The printed errors are those of the decoder's output; the identity of the other makes another picture."""
    png = tmp_path / "p.png"
    assert main(["plot-reconstruction", "--utterances=three,one", "--frames=50", str(model), features, str(png)]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().err
    saved = checkpoints.load(model / "final.pt", "networks", "config")
    objective = build_objective(saved["config"], DIM, len(SPEAKERS))
    objective.load_state_dict(saved["networks"])
    objective.eval()
    table = open_table(features)
    three, one = (torch.from_numpy(np.array(table[name][:50]))[None] for name in ("three", "one"))
    with torch.no_grad():
        lengths = torch.tensor([50])
        identities = [objective.network.embed(each, lengths) for each in (three, one)]
        rest = objective.eliminating.embed(three, lengths)
        made = [objective.decoder(torch.cat([identity, rest], 1), 50) for identity in identities]
    expected = [float((picture - three).square().mean()) for picture in made] + [float(three.square().mean())]
    line = next(line for line in said.splitlines() if "three: mean squared error" in line)
    assert [float(number) for number in re.findall(r"\d+\.\d+", line)] == pytest.approx(expected, abs=6e-4)
    assert abs(expected[0] - expected[1]) > 1e-6


def test_extraction_of_either_embedding(model: Path, features: str, tmp_path: Path) -> None:
    found = {}
    for name in ("", "purified", "eliminated"):
        out = tmp_path / f"{name}.ark"
        assert main(["extract-embeddings", f"--embedding={name}", str(model), features, f"ark:{out}"]) == 0
        found[name] = open_table(f"ark:{out}", "vector")["one"]
    assert np.array_equal(found[""], found["purified"]) and not np.allclose(found[""], found["eliminated"])
    assert np.linalg.norm(found["eliminated"]) == pytest.approx(len(found["eliminated"]) ** 0.5, rel=1e-5)
    other = make_model(tmp_path / "other", embedding="eliminated")
    assert main(["extract-embeddings", str(other), features, f"ark:{tmp_path}/o.ark"]) == 0
    assert np.array_equal(open_table(f"ark:{tmp_path}/o.ark", "vector")["one"], found["eliminated"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--utterances=one"], "want two different ones"),
        (["--utterances=one,four"], "lacks four"),
        (["--frames=0"], "the network takes 1 or more"),
    ],
)
def test_what_cannot_be_drawn(model: Path, features: str, tmp_path: Path, capsys, options, said) -> None:
    png = tmp_path / "p.png"
    assert main(["plot-reconstruction", *options, str(model), features, str(png)]) == 1
    assert said in capsys.readouterr().err and not png.exists()


def test_a_system_without_the_second_encoder(features: str, tmp_path: Path, capsys) -> None:
    folder = make_model(tmp_path / "none", rest="none")
    assert main(["plot-reconstruction", str(folder), features, str(tmp_path / "p.png")]) == 1
    assert "has no eliminated embedding" in capsys.readouterr().err
    assert main(["extract-embeddings", "--embedding=eliminated", str(folder), features, f"ark:{tmp_path}/e.ark"]) == 1
    assert "final.pt has no network of the eliminated embedding" in capsys.readouterr().err


def test_an_ablation_is_not_handed_on(tmp_path: Path, capsys) -> None:
    folder = make_model(tmp_path / "rest", embedding="eliminated", time_parts=2)
    assert main(["export-model", str(folder), str(tmp_path / "out")]) == 1
    assert "is scored by its eliminated embedding" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["double", "nan"])
def test_features_are_single_and_finite(model: Path, tmp_path: Path, capsys, damage: str) -> None:
    values = np.random.default_rng(0).normal(size=(2, 40, DIM))
    if damage == "nan":
        values[1, 3, 4] = np.nan
    with TableWriter(f"ark:{tmp_path}/f.ark", "matrix") as writer:
        for name, features in zip("ab", values, strict=True):
            writer.write(name, features)
    png = tmp_path / "p.png"
    code = main(["plot-reconstruction", str(model), f"ark:{tmp_path}/f.ark", str(png)])
    assert (code, png.exists()) == ((0, True) if damage == "double" else (1, False))
    assert ("b of" in capsys.readouterr().err) == (damage == "nan")
