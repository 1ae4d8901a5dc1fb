"""`vouch train` on recordings: features and noises are made while it runs."""

import json
import re

import numpy as np
import pytest
import torch

from vouch.cli import main
from vouch.io.audio import Wave, write_wave
from vouch.io.tables import TableWriter

YAML = """
features: {features}
network:
  backbone: {{type: tdnn, channels: 8, pooled_channels: 12}}
  pooling: {{type: statistics}}
  embedding_dim: 6
objective: {{type: supervised, head: {{type: softmax}}, optimizer: {{type: adam}}}}
training:
  epochs: 1
  batch_size: 8
  min_frames: 40
  max_frames: 60
  workers: {workers}
  source:
    type: waveforms
    feature_config: {folder}/features.conf
    cmn_config: {folder}/cmn.conf
    vad_config: {folder}/vad.conf
    noise: {folder}/noises
    babble: true
    speeds: [0.9]
"""


@pytest.fixture
def folder(tmp_path):
    """Recordings of three speakers, two noises, and the options of the features."""
    generator = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    (tmp_path / "noises").mkdir()
    for i in range(2):
        write_wave(str(tmp_path / "noises" / f"{i}.wav"), Wave(generator.normal(size=(1, 5000)) * 500, 8000))
    names = [f"s{i // 2}-u{i}" for i in range(6)]
    for name in names:
        write_wave(str(tmp_path / f"{name}.wav"), Wave(generator.normal(size=(1, 9000)) * 2000, 8000))
    (tmp_path / "data" / "wav.scp").write_text("".join(f"{name} {tmp_path}/{name}.wav\n" for name in names))
    (tmp_path / "data" / "utt2spk").write_text("".join(f"{name} {name[:2]}\n" for name in names))
    (tmp_path / "features.conf").write_text("--sample-frequency=8000\n--snip-edges=false\n")
    (tmp_path / "cmn.conf").write_text("--center=true\n--cmn-window=300\n")
    (tmp_path / "vad.conf").write_text("--vad-energy-threshold=5.5\n")
    return tmp_path


def _train(folder, model: str, features: str = "mfcc", workers: int = 0) -> list[str]:
    (folder / "x.yaml").write_text(YAML.format(folder=folder, features=features, workers=workers))
    return ["train", "--device=cpu", str(folder / "x.yaml"), str(folder / "data"), str(folder / model)]


def test_training_on_recordings_is_the_same_with_workers(folder):
    for workers in (0, 2):
        assert main(_train(folder, f"model{workers}", workers=workers)) == 0
    lines = [json.loads((folder / f"model{w}" / "train.jsonl").read_text().splitlines()[-1]) for w in (0, 2)]
    assert np.isfinite(lines[0]["loss"]) and lines[0]["loss"] == lines[1]["loss"]
    speakers = (folder / "model0" / "speakers.txt").read_text().split()
    assert speakers == ["s0", "s1", "s2", "sp0.9-s0", "sp0.9-s1", "sp0.9-s2"]
    saved = torch.load(folder / "model0" / "final.pt", weights_only=True)
    assert saved["feature_dim"] == 13 and saved["config"]["training"]["source"]["share"] == 0.6


def test_filter_banks_and_decisions_of_the_recordings(folder, capsys):
    with TableWriter(f"ark,scp:{folder}/vad.ark,{folder}/data/vad.scp", "vector") as writer:
        for i in range(6):
            writer.write(f"s{i // 2}-u{i}", np.ones(112, np.float32))
    assert main(_train(folder, "model", "fbank")) == 0
    assert "12 utterances" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "data" / "segments").write_text("x"), "source type waveforms takes no segments"),
        (lambda f: (f / "data" / "utt2spk").write_text("s0-u0 s0\n"), "wav.scp and utt2spk list other utterances"),
        (
            lambda f: (f / "features.conf").write_text("--sample-frequency=16000\n"),
            "utterance '.*wav has 8000 Hz, the configuration",
        ),
        (lambda f: (f / "cmn.conf").write_text("--norm-vars=true\n"), "normalises means only"),
        (lambda f: [n.unlink() for n in (f / "noises").iterdir()], "training.source.noise=.*noises has no recordings"),
    ],
)
def test_data_that_does_not_fit(folder, capsys, break_it, message):
    break_it(folder)
    assert main(_train(folder, "model")) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert re.search(message, line), line
