"""The metric objective: its batches, several processes, precisions, held-out speech, what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn

from vouch.errors import VouchError
from vouch.objectives.base import Batch, Objective
from vouch.objectives.updates import Updater
from vouch.system import COMPONENTS, build_objective, resolve
from vouch.training.distributed import Processes
from vouch.training.estimate import training_memory
from vouch.training.options import TrainingOptions
from vouch.training.validation import HeldOut

DIM, SIZES = 4, (4, 6)  # of the batch's parts of two processes
LABELS = [3, 3, 0, 0, 5, 5, 5, 2, 2, 2]


class _Network(nn.Module):
    """Without batch norm: an embedding does not depend on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.pooling = nn.Linear(DIM, 8), nn.Linear(8, 6)

    def embed(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        return self.pooling(self.backbone(features).tanh().mean(1))


def _config(loss: dict | None = None, **changes) -> dict:
    training = {
        "min_frames": 20,
        "max_frames": 30,
        "batch_size": 10,
        "sampler": {"type": "speaker_balanced", "speakers": 5, "utterances": 2},
        **changes.pop("training", {}),
    }
    network = {
        "backbone": {"type": "tdnn", "channels": 8, "pooled_channels": 12},
        "pooling": {"type": "statistics"},
        "embedding_dim": 6,
        "hidden_dim": 0,
        **changes.pop("network", {}),
    }
    objective = {
        "type": "metric",
        "loss": loss or {"type": "ge2e_softmax"},
        "optimizer": {"type": "sgd", "learning_rate": 0.1, "momentum": 0.0},
        **changes,
    }
    return resolve({"network": network, "objective": objective, "training": training}, "x.yaml")


def _plain(name: str) -> Objective:
    """An objective whose chunks meet in the loss alone."""
    torch.manual_seed(0)
    objective = build_objective(_config({"type": name}), DIM, 6)
    objective.network = _Network()
    return objective


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor(LABELS)
    features = torch.randn(len(labels), 9, DIM, generator=generator) + 0.3 * labels[:, None, None]
    return Batch(features, labels, [""] * len(labels), 0.5)


def _step(objective: Objective, batch: Batch, size: int, **options) -> tuple[torch.Tensor, dict[str, float]]:
    """The way that all parameters go in one step, and the figures."""
    before = nn.utils.parameters_to_vector(objective.parameters()).detach().clone()
    updater = Updater(objective.optimizers(), size, **options)
    updater.begin(len(batch.labels))
    figures = objective.update(batch, updater)
    updater.finish()
    assert not updater.skipped
    after = nn.utils.parameters_to_vector(objective.parameters()).detach()
    return after - before, {name: value.item() for name, value in figures.items()}


def _part(batch: Batch, rows: slice) -> Batch:
    return batch._replace(features=batch.features[rows], labels=batch.labels[rows], utterances=batch.utterances[rows])


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    rows = (slice(0, SIZES[0]), slice(SIZES[0], None))[rank]
    found = {}
    for name in COMPONENTS["loss"]:
        found[name] = _step(_plain(name), _part(_batch(), rows), sum(SIZES), reduce=distributed.all_reduce)
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_have_the_loss_and_the_gradient_of_the_whole_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name in COMPONENTS["loss"]:
        way, figures = _step(_plain(name), _batch(), sum(SIZES))
        assert way.abs().max() > 1e-3 and figures["loss"] > 0.01
        for share in shares:
            torch.testing.assert_close(share[name][0], way, rtol=1e-4, atol=1e-6)
            assert share[name][1] == pytest.approx(figures, rel=1e-5)


@pytest.mark.parametrize("name", COMPONENTS["loss"])
def test_precisions_agree(name):
    """16-bit matrix products in the network move it almost the same way; a scaled loss exactly so."""
    ways, figures = [], []
    for precision in ("float32", "bfloat16", "scaled"):
        objective = _plain(name)
        scaler = (lambda: torch.amp.GradScaler("cpu", init_scale=1024.0)) if precision == "scaled" else None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            way, found = _step(objective, _batch(), len(LABELS), scaler=scaler)
        ways.append(way)
        figures.append(found["loss"])
        assert all(p.dtype == torch.float32 for p in objective.parameters())
    assert nn.functional.cosine_similarity(ways[0], ways[1], 0) > 0.98
    torch.testing.assert_close(ways[2], ways[0], rtol=1e-4, atol=1e-7)
    assert figures[1] == pytest.approx(figures[0], rel=0.05) and figures[2] == pytest.approx(figures[0], rel=1e-6)


def test_the_loss_is_computed_in_32_bits_behind_the_network():
    objective, batch = _plain("ge2e_softmax"), _batch()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        embeddings = objective.network.embed(batch.features, None)
    assert embeddings.dtype == torch.bfloat16
    expected, _ = objective.loss(embeddings.float(), batch.labels)
    with torch.autocast("cpu", torch.bfloat16):
        _, figures = _step(objective, batch, len(LABELS))
    assert figures["loss"] == expected.item()


def test_speakers_are_learnt_and_a_collapse_would_be_seen():
    objective = build_objective(_config(optimizer={"type": "adam", "learning_rate": 0.01}), DIM, 6)
    updater, figures = Updater(objective.optimizers(), 12), {}
    generator = torch.Generator().manual_seed(0)
    manners = torch.randn(4, 1, DIM, generator=generator)
    for _ in range(60):
        labels = torch.arange(4).repeat(3)
        features = manners[labels] + torch.randn(12, 25, DIM, generator=generator)
        updater.begin(12)
        figures = objective.update(Batch(features, labels, [""] * 12, 0.5), updater)
        updater.finish()
    assert figures["loss"] < 0.1 and figures["accuracy"] == 1 and figures["spread"] > 0.5
    assert objective.network.segment.num_batches_tracked == 0  # what is behind the embedding has no part in it
    with torch.no_grad():
        for parameter in objective.network.embedding.parameters():
            parameter.fill_(1.0)
    assert _step(objective, Batch(features, labels, [""] * 12, 0.5), 12)[1]["spread"] < 1e-3


class _Stored:
    def __init__(self, features: np.ndarray) -> None:
        self.keys, self.features = [str(i) for i in range(len(features))], features

    def read_chunks(self, indices, starts, length, place=None) -> np.ndarray:
        return np.stack([self.features[i][s : s + length] for i, s in zip(indices, starts, strict=True)])


def test_held_out_speech_has_an_eer_alone():
    objective = _plain("triplet")
    features = np.random.default_rng(0).normal(size=(8, 30, DIM)).astype(np.float32)
    labels, places, frames = np.arange(8) % 2, np.arange(8), np.full(8, 30)
    features += labels[:, None, None]
    held_out = HeldOut(_Stored(features), places, labels, places, frames, 30, 20)
    figures = held_out.evaluate(objective, torch.device("cpu"), "float32", Processes())
    assert set(figures) == {"eer"} and 0 <= figures["eer"] < 50


def test_memory_is_estimated_on_batches_that_the_loss_takes():
    objective = _plain("ge2e_softmax")
    options = TrainingOptions(batch_size=8, min_frames=20, max_frames=400)
    small, large = (training_memory(objective, DIM, options, chunks) for chunks in (8, 80))
    # input and output of the first layer, its tanh, of 400 frames; the rest comes to little
    assert small.activations == pytest.approx(8 * 400 * (DIM + 8) * 4, rel=0.1)
    assert large.activations == pytest.approx(10 * small.activations, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"sampler": {"type": "random"}}}, r"training.sampler: objective metric compares .* 2 or more"),
        (
            {"training": {"sampler": {"type": "speaker_balanced", "speakers": 10, "utterances": 1}}},
            r"want \{type: speaker_balanced, speakers: P, utterances: K\} with 2 or more of each",
        ),
        ({"training": {"sampler": {"type": "speaker_balanced", "speakers": 1, "utterances": 10}}}, "2 or more of each"),
        ({"training": {"accumulate": 2}}, r"accumulate 2: objective metric compares all chunks .* set it to 1"),
        ({"training": {"held_out": {"criterion": "loss"}}}, "criterion loss wants a classifier, .* want eer"),
        ({"training": {"held_out": {"criterion": "accuracy"}}}, "criterion accuracy wants a classifier, .* want eer"),
        ({"network": {"hidden_dim": 8}}, "network.hidden_dim is of a layer behind the embedding, .* set it to 0"),
        (
            {"loss": {"type": "ge2e"}},
            r"objective.loss.type: there is no loss 'ge2e'; known: ge2e_softmax, ge2e_contrast",
        ),
        ({"loss": {"type": "triplet", "margins": 1}}, r"unknown key 'objective.loss.margins'; did you mean 'margin'"),
        ({"loss": {"type": "triplet", "margin": -1}}, "these values make no network: margin -1.0 of the loss"),
        ({"head": {"type": "softmax"}}, "unknown key 'objective.head'"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(VouchError, match=message) as caught:
        _config(**changes)
    assert "\n" not in str(caught.value)
