"""The adversarial objectives: their losses by the formulas, and each gradient only where the equation says."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from vouch.objectives.base import Batch
from vouch.objectives.domain_losses import DOMAIN_LOSSES
from vouch.objectives.updates import Updater
from vouch.system import build_objective, resolve

SPEAKERS, DIM = 4, 5
PARTS = ("embedding", "classifier", "discriminator")


def _objective(type: str, **changes):
    entry = {
        "type": type,
        "head": {"type": "am_softmax", "scale": 10, "margin": 0.2},
        "optimizer": {"type": "sgd", "learning_rate": 0.1, "momentum": 0.0},
        "discriminator_optimizer": {"type": "sgd", "learning_rate": 0.1, "momentum": 0.0},
        "discriminator": {"hidden_dim": 7, "hidden_layers": 1},
        "pretraining": 0.25,
        **changes,
    }
    network = {
        "backbone": {"type": "resnet1d", "channels": 6},
        "pooling": {"type": "attentive_statistics", "hidden_dim": 4},
        "trunk_layers": 1,
        "trunk_dim": 8,
        "embedding_dim": 6,
        "hidden_dim": 0,
        "activation": "elu",
    }
    torch.manual_seed(0)
    config = resolve({"network": network, "objective": entry, "training": {"min_frames": 30}}, "x.yaml")
    return build_objective(config, DIM, SPEAKERS)


def _batch(progress: float = 0.5, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(6, 20, DIM, generator=generator)
    target = torch.randn(5, 20, DIM, generator=generator) + 1
    return Batch(features, torch.tensor([0, 1, 2, 3, 0, 1]), ["u"] * 6, progress, target)


def _numbers(objective) -> dict[str, torch.Tensor]:
    return {
        name: torch.cat([p.detach().flatten() for group in o.param_groups for p in group["params"]])
        for name, o in objective.optimizers().items()
    }


class _Recorder(Updater):
    """An Updater that notes which networks each of its steps moved, and by how much."""

    def __init__(self, objective, batch_size: int, scaler) -> None:
        super().__init__(objective.optimizers(), batch_size, scaler)
        self.objective, self.moved, self.ways = objective, {}, {}

    def step(self, name, loss, *optimizers) -> None:
        before = _numbers(self.objective)
        super().step(name, loss, *optimizers)
        after = _numbers(self.objective)
        self.moved[name] = [part for part in PARTS if not before[part].equal(after[part])]
        self.ways[name] = {part: before[part] - after[part] for part in PARTS}


def _update(objective, batch: Batch, scaler=None) -> _Recorder:
    updater = _Recorder(objective, len(batch.labels), scaler)
    updater.begin(len(batch.labels))
    updater.figures = objective.update(batch, updater)
    updater.finish()
    assert not updater.skipped
    return updater


GAMES = [*DOMAIN_LOSSES, "auxiliary"]


@pytest.mark.parametrize("speaker_head", ["source", "both"])
@pytest.mark.parametrize("loss", GAMES)
def test_each_update_moves_its_own_networks_only(loss, speaker_head):
    objective = _objective("gan", loss=loss, discriminator_steps=2, speaker_head=speaker_head)
    updater = _update(objective, _batch())
    assert updater.moved == {
        "task": ["embedding", "classifier"],
        "adversarial": ["embedding"],
        "discriminator": ["discriminator"],
        "discriminator 2": ["discriminator"],
    }
    wanted = {"loss", "accuracy", "spread", "adversarial_loss", "discriminator_loss", "discriminator_accuracy"}
    assert set(updater.figures) == wanted and all(math.isfinite(v) for v in updater.figures.values())


def test_the_order_of_the_updates_is_an_option():
    objective = _objective("gan", order="discriminator adversarial task")
    assert list(_update(objective, _batch()).moved) == ["discriminator", "adversarial", "task"]


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.log1p(np.exp(-x))


Z_S, Z_T = np.array([0.3, -1.2, 2.0, 0.1]), np.array([-0.7, 0.9, 0.4, -2.2])
FORMULAS = {  # name: what the discriminator descends, what the embedding network descends
    "vanilla": (
        -_log_sigmoid(Z_S).mean() - np.log(1 - 1 / (1 + np.exp(-Z_T))).mean(),
        -_log_sigmoid(Z_T).mean(),
    ),
    "least_squares": (0.5 * np.mean((Z_S - 1) ** 2) + 0.5 * np.mean(Z_T**2), 0.5 * np.mean((Z_T - 1) ** 2)),
    "relativistic": (-_log_sigmoid(Z_S - Z_T).mean(), -_log_sigmoid(Z_T - Z_S).mean()),
    "relativistic_average": (
        -_log_sigmoid(Z_S - Z_T.mean()).mean() - np.log(1 - 1 / (1 + np.exp(-(Z_T - Z_S.mean())))).mean(),
        -_log_sigmoid(Z_T - Z_S.mean()).mean() - np.log(1 - 1 / (1 + np.exp(-(Z_S - Z_T.mean())))).mean(),
    ),
}


@pytest.mark.parametrize("name", DOMAIN_LOSSES)
def test_losses_of_domain_logits(name):
    found = [loss(torch.tensor(Z_S), torch.tensor(Z_T)).item() for loss in DOMAIN_LOSSES[name][:2]]
    np.testing.assert_allclose(found, FORMULAS[name], rtol=1e-12)


@pytest.mark.parametrize("speaker_head", ["source", "both"])
def test_the_auxiliary_game(speaker_head):
    objective = _objective("gan", loss="auxiliary", speaker_head=speaker_head).eval()
    batch = _batch()
    with torch.no_grad():
        source, target = objective.domains(batch)
    hidden = [nn.functional.elu(objective.discriminator.hidden[0](x)).detach().numpy() for x in (source, target)]

    def layer(module: nn.Linear, x: np.ndarray) -> np.ndarray:
        return x @ module.weight.detach().numpy().T + module.bias.detach().numpy()

    (z_s, z_t), (c_s, c_t) = (
        [layer(part, h) for h in hidden] for part in (objective.discriminator.domain, objective.discriminator.speaker)
    )
    log_c = [c - np.log(np.exp(c).sum(1, keepdims=True)) for c in (c_s, c_t)]
    likelihood_s = _log_sigmoid(z_s).mean() + _log_sigmoid(-z_t).mean()
    likelihood_c = log_c[0][np.arange(6), batch.labels].mean()
    embedding = layer(objective.network.embedding, target.numpy())
    norm = objective.network.segment
    embedding = (embedding - norm.running_mean.numpy()) / np.sqrt(norm.running_var.numpy() + norm.eps)
    directions = objective.head.weight.detach().numpy()
    cosines = embedding @ directions.T / np.linalg.norm(embedding, axis=1, keepdims=True)
    decisions = (cosines / np.linalg.norm(directions, axis=1)).argmax(1)
    if speaker_head == "both":
        likelihood_c += log_c[1][np.arange(5), decisions].mean()
        expected = likelihood_s - likelihood_c
    else:
        expected = -_log_sigmoid(z_t).mean() - likelihood_c
    discriminator, accuracy = objective.discriminator_loss(source, target, batch.labels)
    assert discriminator.item() == pytest.approx(-(likelihood_s + likelihood_c), rel=1e-5)
    assert objective.embedding_loss(source, target, batch.labels).item() == pytest.approx(expected, rel=1e-5)
    assert accuracy.item() == pytest.approx(((z_s > 0).mean() + (z_t <= 0).mean()) / 2)


def _gradients(objective, loss: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    found = {}
    for name, optimizer in objective.optimizers().items():
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        given = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        found[name] = torch.cat(
            [torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, given, strict=True)]
        )
    return found


def test_gradient_reversal_is_the_difference_of_the_losses():
    weight, progress = 0.7, 0.5
    objective, other = _objective("danse", weight=weight), _objective("danse", weight=weight)
    batch = _batch(progress)
    before = _numbers(objective)
    updater = _update(objective, batch)
    assert updater.moved == {"task and domain": list(PARTS)}
    source, target = other.domains(batch)
    task, _ = other.task_loss(source, batch, 1 / 3)
    logits, _ = other.discriminator(torch.cat([source, target]))
    probability = logits.sigmoid()
    domain = -probability[:6].log().mean() - (1 - probability[6:]).log().mean()
    of_task, of_domain = _gradients(other, task), _gradients(other, domain)
    ramp = 2 / (1 + math.exp(-10 / 3)) - 1  # a third of what follows the pre-training is behind
    expected = {
        "embedding": of_task["embedding"] - weight * ramp * of_domain["embedding"],
        "classifier": of_task["classifier"],
        "discriminator": of_domain["discriminator"],
    }
    for name, gradient in expected.items():
        torch.testing.assert_close((before[name] - _numbers(objective)[name]) / 0.1, gradient, rtol=1e-3, atol=1e-5)
    assert of_domain["classifier"].abs().max() == 0 and of_domain["embedding"].abs().max() > 1e-3
    assert updater.figures["adversarial_loss"].item() == pytest.approx(-domain.item(), rel=1e-4)


@pytest.mark.parametrize("schedule", ["constant", "sigmoid"])
@pytest.mark.parametrize("loss", GAMES)
def test_each_player_descends_its_own_loss(loss, schedule):
    def gan(order: str):
        return _objective("gan", loss=loss, weight=0.7, weight_schedule=schedule, order=order)

    ramp = 1.0 if schedule == "constant" else 2 / (1 + math.exp(-10 / 3)) - 1
    batch = _batch()
    other = gan("adversarial discriminator task")
    domains = other.domains(batch)
    expected = _gradients(other, other.embedding_loss(*domains, batch.labels))["embedding"]
    way = _update(gan("adversarial discriminator task"), batch).ways["adversarial"]["embedding"]
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(way / 0.1, 0.7 * ramp * expected, rtol=1e-3, atol=1e-5)
    loss_of_discriminator, _ = other.discriminator_loss(*domains, batch.labels)
    expected = _gradients(other, loss_of_discriminator)["discriminator"]
    way = _update(gan("discriminator adversarial task"), batch).ways["discriminator"]["discriminator"]
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(way / 0.1, expected, rtol=1e-3, atol=1e-5)


def test_speakers_of_the_target_are_guessed_without_a_trace():
    for speaker_head in ("source", "both"):
        objective = _objective("gan", loss="auxiliary", speaker_head=speaker_head)
        _update(objective, _batch())
        assert objective.network.segment.num_batches_tracked == 1  # by the task
        assert objective.network.segment.training


@pytest.mark.parametrize("loss", ["danse", *GAMES])
def test_precisions_agree(loss):
    """16-bit matrix products move the networks almost the same way; scaled losses, one scale each, exactly so."""
    figures, ways = [], []
    for precision in ("float32", "bfloat16", "scaled"):
        objective = _objective("danse") if loss == "danse" else _objective("gan", loss=loss)
        before = _numbers(objective)
        scaler = partial(torch.amp.GradScaler, "cpu", init_scale=1024.0) if precision == "scaled" else None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            updater = _update(objective, _batch(), scaler)
        figures.append([value.item() for value in updater.figures.values()])
        after = _numbers(objective)
        ways.append(torch.cat([before[part] - after[part] for part in PARTS]))
        assert all(value.dtype == torch.float32 for value in after.values())
    assert torch.nn.functional.cosine_similarity(ways[0], ways[1], 0) > 0.95
    np.testing.assert_allclose(figures[1], figures[0], rtol=0.05, atol=0.2)
    torch.testing.assert_close(ways[2], ways[0], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(figures[2], figures[0], rtol=1e-6)
    assert set(updater.state_dict()) == set(updater.moved)  # a scaler for every loss


@pytest.mark.parametrize("type", ["danse", "gan"])
def test_pretraining_is_cross_entropy_without_an_adversary(type):
    objective = _objective(type, pretraining=0.25)
    batch = _batch(0.2)
    source, _ = objective.domains(batch)
    embedding = objective.network.segment(objective.network.embedding(source))
    directions = objective.head.weight
    cosines = nn.functional.normalize(embedding) @ nn.functional.normalize(directions).T
    expected = -(10 * cosines).log_softmax(1)[torch.arange(6), batch.labels].mean()
    updater = _update(objective, batch)
    assert updater.moved == {"task": ["embedding", "classifier"]}
    assert updater.figures["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert "discriminator_loss" in _update(objective, _batch(0.25)).figures


@pytest.mark.parametrize("type", ["danse", "gan"])
def test_with_weight_0_the_target_is_not_looked_at(type):
    ends = []
    for seed in (0, 1):
        objective = _objective(type, weight=0.0)
        batch = _batch()._replace(target=_batch(seed=seed).target if seed else None)
        for progress in (0.1, 0.6):
            assert _update(objective, batch._replace(progress=progress)).moved == {"task": ["embedding", "classifier"]}
        ends.append(torch.cat([value.flatten().double() for value in objective.state_dict().values()]))
    assert ends[0].equal(ends[1])


@pytest.mark.parametrize("type", ["danse", "gan"])
def test_an_adversary_makes_the_domains_alike_and_without_one_they_stay_apart(type):
    rates = {"optimizer": 0.02, "discriminator_optimizer": 0.3}  # the discriminator keeps up with the embedding network
    rates = {name: {"type": "sgd", "learning_rate": rate, "momentum": 0.0} for name, rate in rates.items()}

    def distance(objective) -> float:
        """Of the domains' means in standard deviations, along the direction between them."""
        with torch.no_grad():
            batches = [_batch(seed=9000 + number) for number in range(12)]
            source, target = (torch.cat(parts) for parts in zip(*map(objective.domains, batches), strict=True))
            if not len(target):
                target = torch.cat([objective.network.trunk(batch.target, None) for batch in batches])
        difference = source.mean(0) - target.mean(0)
        direction = difference / difference.norm()
        return (difference.norm() / ((source @ direction).std() + (target @ direction).std())).item()

    def apart(weight: float) -> float:
        """The mean distance at the end of a training, three times 20 steps apart: a game goes up and down."""
        objective, found = _objective(type, weight=weight, pretraining=0.0, **rates), []
        for step in range(150):
            _update(objective.train(), _batch(0.9, seed=step))
            if step in (109, 129, 149):
                found.append(distance(objective.eval()))
        return np.mean(found)

    assert apart({"danse": 2.0, "gan": 1.0}[type]) < 0.5 * apart(0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "wasserstein"}, "loss 'wasserstein', want vanilla"),
        ({"order": "task task adversarial"}, "order wants task, adversarial, discriminator once each"),
        ({"weight": -1.0}, "weight wants 0 or more"),
        ({"weight_schedule": "cosine"}, "want constant or sigmoid"),
        ({"speaker_head": "target"}, "want source or both"),
        ({"discriminator": {"hidden_dim": 0}}, "hidden_dim of a discriminator wants 1 or more"),
        ({"discriminator": {"width": 3}}, r"unknown key 'objective.discriminator.width'"),
        ({"discriminator_optimizer": {"type": "lion"}}, "objective.discriminator_optimizer: optimizer type 'lion'"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(Exception, match=message):
        _objective("gan", **changes)


@pytest.mark.parametrize(
    ("loss", "middle"),
    [("vanilla", 0.0), ("least_squares", 0.5), ("relativistic", 7.0), ("relativistic_average", -3.0)],
)
def test_the_accuracy_of_a_discriminator_is_about_what_its_loss_asks_for(loss, middle):
    above, below = torch.tensor([0.1, 0.2, 0.2]) + middle, torch.tensor([-0.1, -0.2]) + middle
    accuracy = DOMAIN_LOSSES[loss].accuracy
    assert accuracy(above, below) == 1 and accuracy(below, above) == 0
    assert accuracy(torch.cat([above, below[:1]]), below) == 0.5 * (3 / 4 + 1)
