"""Cross entropy and the cosine to the speaker's centre: the formula, its gradients, two optimizers, precisions."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vouch.errors import VouchError
from vouch.objectives.base import Batch, Objective
from vouch.objectives.updates import Updater
from vouch.system import build_objective, resolve

DIM, SPEAKERS = 9, 5


SGD = {"type": "sgd", "learning_rate": 0.1, "momentum": 0.0}


def _objective(type: str = "joint_centre", **changes) -> Objective:
    entry = {"type": type, "head": {"type": "softmax"}, "optimizer": SGD, **changes}
    if type == "joint_centre":
        entry = {"centre_optimizer": {**SGD, "learning_rate": 0.01}, **entry}
    network = {
        "backbone": {"type": "cnn5", "channels": 2, "dropout": 0.0},
        "pooling": {"type": "mean"},
        "embedding_dim": 6,
        "hidden_dim": 4,
    }
    config = resolve({"network": network, "objective": entry}, "x.yaml")
    torch.manual_seed(0)
    return build_objective(config, DIM, SPEAKERS)


def _parameters(objective: Objective) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in objective.parameters()])


def _batch() -> Batch:
    features = torch.randn(6, 30, DIM, generator=torch.Generator().manual_seed(1))
    return Batch(features, torch.tensor([0, 1, 2, 3, 0, 1]), [""] * 6, 0.5)


def _update(objective: Objective, batch: Batch, scaler=None, parts: int = 1) -> dict[str, float]:
    updater = Updater(objective.optimizers(), len(batch.labels), scaler)
    size = len(batch.labels) // parts
    for part in range(parts):
        rows = slice(part * size, (part + 1) * size)
        updater.begin(size, last=part == parts - 1)
        figures = objective.update(batch._replace(features=batch.features[rows], labels=batch.labels[rows]), updater)
    updater.finish()
    assert not updater.skipped
    return {name: value.item() for name, value in figures.items()}


def _forward(objective: Objective, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings and logits of a training step, which leaves no trace in batch norm's running statistics."""
    embeddings = objective.network.embed(batch.features, None)
    return embeddings, objective.head.output(objective.network.segment(embeddings))


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_the_loss_is_its_formula(weight):
    objective, batch = _objective(weight=weight), _batch()
    with torch.no_grad():
        embeddings, logits = (value.double().numpy() for value in _forward(objective, batch))
    centres = objective.centres.weight.detach().double().numpy()
    losses = []
    for z, outputs, speaker in zip(embeddings, logits, batch.labels.tolist(), strict=True):
        centre = centres[speaker]
        entropy = -math.log(np.exp(outputs[speaker]) / np.exp(outputs).sum())
        losses.append((entropy, 1 - z @ centre / math.sqrt((z @ z) * (centre @ centre))))
    entropy, distance = np.mean(losses, 0)
    figures = _update(_objective(weight=weight), batch)
    expected = {"loss": entropy + weight * distance, "speaker_loss": entropy, "centre_distance": distance}
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-6)


def test_centres_descend_the_penalty_at_their_own_rate():
    objective, batch = _objective(weight=2.0), _batch()
    before = objective.centres.weight.detach().clone()
    with torch.no_grad():
        embeddings, _ = _forward(objective, batch)

    def penalty(centres: np.ndarray) -> float:
        z, own = embeddings.double().numpy(), centres[batch.labels.numpy()]
        cosines = (z * own).sum(1) / np.linalg.norm(z, axis=1) / np.linalg.norm(own, axis=1)
        return 2.0 * float(np.mean(1 - cosines))

    centres, step = before.double().numpy(), 1e-6
    gradient = np.zeros_like(centres)
    for place in np.ndindex(*centres.shape):
        ahead, behind = centres.copy(), centres.copy()
        ahead[place] += step
        behind[place] -= step
        gradient[place] = (penalty(ahead) - penalty(behind)) / (2 * step)
    _update(objective, batch)
    moved = (objective.centres.weight.detach() - before).double().numpy()
    np.testing.assert_allclose(moved, -0.01 * gradient, atol=1e-7)
    assert (moved[4] == 0).all() and np.abs(moved[:4]).max() > 1e-4  # speaker 4 is not in the batch


def test_weight_0_is_supervised_training():
    objective, supervised = _objective(weight=0.0), _objective("supervised")
    centres = objective.centres.weight.detach().clone()
    _update(objective, _batch())
    _update(supervised, _batch())
    for name, value in supervised.state_dict().items():
        torch.testing.assert_close(objective.state_dict()[name], value)
    assert objective.centres.weight.equal(centres)


def test_precisions_agree():
    ways, losses = [], []
    for precision in ("float32", "bfloat16", "scaled"):
        objective = _objective()
        before = _parameters(objective)
        scaler = (lambda: torch.amp.GradScaler("cpu", init_scale=1024.0)) if precision == "scaled" else None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            losses.append(_update(objective, _batch(), scaler)["loss"])
        ways.append(_parameters(objective) - before)
        assert all(p.dtype == torch.float32 for p in objective.parameters())
    assert nn.functional.cosine_similarity(ways[0], ways[1], 0) > 0.95
    torch.testing.assert_close(ways[2], ways[0], rtol=1e-4, atol=1e-7)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_accumulated_parts_add_up():
    objective, whole, batch = _objective().eval(), _objective().eval(), _batch()  # batch norm sees a part at a time
    _update(objective, batch, parts=3)
    _update(whole, batch)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(objective.state_dict()[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": -1.0}, "these values make no network: weight -1.0 of the centres, want 0 or more"),
        ({"centre_optimizer": {"type": "lion"}}, "objective.centre_optimizer: optimizer type 'lion'"),
        ({"centres": 3}, "unknown key 'objective.centres'; known: head, optimizer, centre_optimizer, weight"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(VouchError, match=message):
        _objective(**changes)
