"""`vouch export-onnx`: every backbone and pooling gives PyTorch's embeddings at any length, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import pytest
import torch
from model_examples import DIM, write_model

from vouch.cli import main, model_export
from vouch.cli.trained_model import open_network

# A small form of every backbone; a pooling with each, and the other poolings with the first.
NETWORKS = [
    ({"type": "tdnn", "channels": 16, "pooled_channels": 24}, "mean"),
    ({"type": "tdnn", "channels": 16, "pooled_channels": 24}, "attention"),
    ({"type": "tdnn", "channels": 16, "pooled_channels": 24}, "ghostvlad"),
    ({"type": "etdnn", "channels": 16, "pooled_channels": 24}, "attentive_statistics"),
    ({"type": "ftdnn", "channels": 16, "bottleneck": 8, "pooled_channels": 24}, "lde"),
    ({"type": "resnet34", "channels": 4}, "statistics"),
    ({"type": "resnet1d", "channels": 16, "stride": 2}, "netvlad"),
    ({"type": "cnn5", "channels": 4}, "mean"),
    (
        {"type": "ecapa_tdnn", "channels": 16, "scale": 4, "bottleneck": 8, "pooled_channels": 24},
        "channel_attentive_statistics",
    ),
]


def export(model, out) -> int:
    return main(["export-onnx", f"--model={model}", str(out)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("onnx") / "model")


@pytest.mark.parametrize(("backbone", "pooling"), NETWORKS, ids=[f"{b['type']}-{p}" for b, p in NETWORKS])
def test_embeddings_are_those_of_pytorch_at_any_length(tmp_path, capsys, backbone, pooling):
    model = write_model(tmp_path / "model", backbone=backbone, pooling=pooling)
    assert export(model, tmp_path / "x.onnx") == 0
    said = capsys.readouterr().err
    assert said.count("ONNX and PyTorch differ by") == 4 and "WARNING" not in said
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("features", ["batch", "frames", 20])]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("embedding", ["batch", DIM])]
    network, _ = open_network(model, torch.device("cpu"))
    generator = np.random.default_rng(0)
    for batch, frames in ((1, 33), (5, 34), (1, 711), (2, 2500)):
        features = generator.normal(size=(batch, frames, 20)).astype(np.float32)
        with torch.inference_mode():
            wanted = network.embed(torch.from_numpy(features), torch.full((batch,), frames)).numpy()
        (found,) = session.run(None, {"features": features})
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * abs(wanted).max())


def test_the_file_tells_nothing_of_this_machine(model, tmp_path, root):
    assert export(model, tmp_path / "x.onnx") == 0
    content = (tmp_path / "x.onnx").read_bytes()
    assert str(root).encode() not in content and b".py" not in content


def test_a_file_that_is_not_the_network_is_not_written(model, tmp_path, capsys, monkeypatch):
    whole = model_export._onnx
    other = write_model(tmp_path / "other", pooling="mean")
    network, _ = open_network(other, torch.device("cpu"))
    monkeypatch.setattr(model_export, "_onnx", lambda _, dim: whole(network, dim))
    assert export(model, tmp_path / "x.onnx") == 1
    assert "error: the ONNX file is not the network" in capsys.readouterr().err
    assert not list(tmp_path.glob("x.onnx*"))


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(model, tmp_path, capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert export(model, tmp_path / "x.onnx") == 1
    assert f"there is no package {package}, which the export wants: {sys.executable} -m pip" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_onnxruntime_it_is_written_and_said_to_be_unchecked(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export(model, tmp_path / "x.onnx") == 0
    assert "WARNING the file was not checked: there is no package onnxruntime" in capsys.readouterr().err
    assert (tmp_path / "x.onnx").stat().st_size > 0


def test_models_that_are_refused(tmp_path, capsys):
    assert main(["export-onnx", str(tmp_path / "x.onnx")]) == 1
    assert "--model is needed" in capsys.readouterr().err
    assert export(tmp_path, tmp_path / "x.onnx") == 1
    assert "final.pt; train the system first" in capsys.readouterr().err
