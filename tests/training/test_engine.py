"""The engine: it learns, it is deterministic, it resumes bit for bit, it refuses what does not fit."""

import json

import numpy as np
import pytest
import torch

from vouch.errors import VouchError
from vouch.io import checkpoints
from vouch.nn.embedding import EmbeddingNetwork
from vouch.nn.heads import AMSoftmax
from vouch.nn.pooling import AttentiveStatisticsPooling
from vouch.nn.tdnn import TDNN
from vouch.objectives.base import Optimizer
from vouch.objectives.supervised import Supervised
from vouch.training.engine import Trainer, TrainingOptions


class _Source:
    """Two speakers whose frames differ in level and in variance, drowned in noise."""

    def __init__(self, utterances: int = 8) -> None:
        generator = np.random.default_rng(0)
        self.keys = [f"utt{i}" for i in range(utterances)]
        self.labels = np.arange(utterances) % 2
        self.features = [(generator.normal(size=(70, 5)) * (1 + y) + y).astype(np.float32) for y in self.labels]

    def read_chunks(self, indices: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        return np.stack([self.features[i][s : s + length] for i, s in zip(indices, starts, strict=True)])


def _trainer(folder, source=None, channels: int = 8, **changes) -> Trainer:
    source = source or _Source()
    options = {"epochs": 3, "batch_size": 4, "min_frames": 30, "max_frames": 50, "samples_per_utterance": 2, "seed": 1}
    torch.manual_seed(1)
    network = EmbeddingNetwork(TDNN(5, channels, 12), AttentiveStatisticsPooling(12, 6), 6, 6, dropout=0.1)
    objective = Supervised(
        network, AMSoftmax(6, 2, scale=10.0, margin=0.1), Optimizer(learning_rate=0.02, clip_norm=1.0)
    )
    folder.mkdir(exist_ok=True)
    frames = np.array([len(f) for f in source.features])
    run = TrainingOptions(**{**options, **changes})
    return Trainer(objective, source, source.labels, frames, run, folder, {"speakers": ["a", "b"]}, torch.device("cpu"))


def _parameters(trainer: Trainer) -> torch.Tensor:
    return torch.cat([v.flatten().float() for v in trainer.objective.state_dict().values()])


def test_two_speakers_are_learnt_and_random_labels_are_not(tmp_path):
    trainer = _trainer(tmp_path / "true", epochs=40)
    trainer.run()
    lines = [json.loads(line) for line in (tmp_path / "true" / "train.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.2 and lines[-1]["accuracy"] > 0.95
    source = _Source(64)
    source.labels = np.random.default_rng(1).permutation(source.labels)  # the control: labels that mean nothing
    trainer = _trainer(tmp_path / "random", source, epochs=2)
    trainer.run()
    lines = [json.loads(line) for line in (tmp_path / "random" / "train.jsonl").read_text().splitlines()]
    assert lines[-1]["accuracy"] < 0.8


def test_a_killed_training_ends_as_the_uninterrupted_one(tmp_path):
    whole = _trainer(tmp_path / "whole")
    whole.run()

    cut = _trainer(tmp_path / "cut", checkpoint_minutes=0.0)  # a checkpoint at every step
    update, steps = cut.objective.update, iter(range(5))

    def dies_in_the_sixth_step(batch, scaler):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return update(batch, scaler)

    cut.objective.update = dies_in_the_sixth_step
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    with open(tmp_path / "cut" / "train.jsonl", "a") as log:
        log.write('{"step": 99, "loss": 0}\n{"half a li')  # what a killed process may leave

    again = _trainer(tmp_path / "cut")
    assert again.resume() and again.step == 5
    again.run()
    assert again.step == whole.step
    assert _parameters(again).equal(_parameters(whole))
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "train.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == whole.step


def test_the_seed_decides_everything(tmp_path):
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer = _trainer(tmp_path / name, seed=seed, epochs=1)
        trainer.run()
        runs.append(_parameters(trainer))
    assert runs[0].equal(runs[1]) and not runs[0].equal(runs[2])


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    _trainer(tmp_path, epochs=1).run()
    with pytest.raises(
        VouchError, match=r"last.pt is of another architecture: .* \(8, 5, 5\) there, \(16, 5, 5\) here"
    ):
        _trainer(tmp_path, channels=16).resume()


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_broken_checkpoint_is_named(tmp_path, damage):
    _trainer(tmp_path, epochs=1).run()
    path = tmp_path / "checkpoints" / "last.pt"
    content = {"cut": path.read_bytes()[:500], "text": b"hello there", "empty": b""}[damage]
    path.write_bytes(content)
    with pytest.raises(VouchError, match=r"last.pt is not a checkpoint of vouch"):
        _trainer(tmp_path).resume()


def test_a_loss_that_is_not_finite_names_the_utterances(tmp_path):
    source = _Source()
    source.features[3][10:60] = np.nan
    with pytest.raises(VouchError, match=r"the loss is nan at step \d+, in the batch of utt"):
        _trainer(tmp_path, source).run()


def test_speakers_are_compared_with_speakers_txt(tmp_path):
    path = tmp_path / "speakers.txt"
    checkpoints.write_speakers(path, ["a", "b", "c"])
    checkpoints.check_speakers(path, ["a", "b", "c"], "data/train")
    with pytest.raises(VouchError, match=r"speaker 2 is 'b', in data/train 'x'"):
        checkpoints.check_speakers(path, ["a", "x", "c"], "data/train")
    with pytest.raises(VouchError, match=r"it has 3 speakers, data/train has 2"):
        checkpoints.check_speakers(path, ["a", "b"], "data/train")
