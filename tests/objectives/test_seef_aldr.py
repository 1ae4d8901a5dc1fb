"""SEEF-ALDR: its losses by their formulas, each of them moving what the docstring says, and the ablations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vouch.errors import VouchError
from vouch.objectives.base import Batch
from vouch.objectives.updates import Updater
from vouch.system import build_objective, resolve
from vouch.training.estimate import training_memory
from vouch.training.options import TrainingOptions

SPEAKERS, DIM, CHUNKS, FRAMES = 4, 11, 6, 21


def config(training: dict | None = None, **changes) -> dict:
    entry = {
        "type": "seef_aldr",
        "head": {"type": "softmax"},
        "optimizer": {"type": "sgd", "learning_rate": 0.05, "momentum": 0.0},
        "adversary_optimizer": {"type": "sgd", "learning_rate": 0.05, "momentum": 0.0},
        "adversary": {"hidden_dim": 7, "hidden_layers": 1},
        "decoder": {"channels": 8, "frames": 2},
        **changes,
    }
    network = {
        "backbone": {"type": "resnet34", "channels": 2},
        "pooling": {"type": "statistics"},
        "embedding_dim": 6,
        "hidden_dim": 0,
    }
    return resolve(
        {"network": network, "objective": entry, "training": {"min_frames": 30, **(training or {})}}, "x.yaml"
    )


def built(**changes):
    torch.manual_seed(0)
    return build_objective(config(**changes), DIM, SPEAKERS)


def batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(CHUNKS, FRAMES, DIM, generator=generator)
    return Batch(features, torch.tensor([0, 1, 2, 3, 0, 1]), ["u"] * CHUNKS, 0.5)


def parts(objective) -> dict[str, torch.Tensor]:
    """The parameters of each part, as one vector."""
    names = {"purifying": "network", "eliminating": "eliminating", "head": "head", "decoder": "decoder"}
    names["adversary"] = "adversary"
    modules = {name: getattr(objective, attribute) for name, attribute in names.items()}
    return {
        name: torch.cat([p.detach().flatten() for p in module.parameters()])
        for name, module in modules.items()
        if module is not None
    }


def moved(objective, steps: int = 1, scaler=None) -> tuple[set[str], dict[str, torch.Tensor]]:
    before = parts(objective)
    updater = Updater(objective.optimizers(), CHUNKS, scaler)
    objective.train()
    for _ in range(steps):
        updater.begin(CHUNKS)
        figures = objective.update(batch(), updater)
        updater.finish()
        assert not updater.skipped
    after = parts(objective)
    return {name for name in before if not before[name].equal(after[name])}, figures


ALL = {"purifying", "eliminating", "head", "decoder", "adversary"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ALL),
        ({"adversary_form": "reversal"}, ALL),
        ({"loss_adv_s": False}, ALL - {"adversary"}),
        ({"loss_adv_e": False}, ALL),
        ({"rest": "random"}, {"purifying", "head", "decoder"}),
        ({"rest": "none"}, {"purifying", "head", "decoder"}),
        ({"reconstruction_weight": 0.0, "adversarial_weight": 0.0}, {"purifying", "head", "adversary"}),
        ({"reconstruction_weight": 0.0, "loss_adv_e": False}, {"purifying", "head", "adversary"}),
    ],
)
def test_which_parts_move(changes: dict, expected: set[str]) -> None:
    assert moved(built(**changes))[0] == expected


def test_the_adversary_learns_and_the_encoder_is_pushed_in_turns() -> None:
    """On its own turn the adversary descends; on the other E_e is pushed, and the adversary rests."""
    objective = built(adversary_form="alternating", reconstruction_weight=0.0)
    assert moved(objective)[0] == {"purifying", "head", "adversary"}
    assert moved(objective)[0] == {"purifying", "head", "eliminating"}
    assert moved(objective)[0] == {"purifying", "head", "adversary"}


def test_the_turn_is_saved() -> None:
    objective = built(adversary_form="alternating", reconstruction_weight=0.0)
    moved(objective)
    again = built(adversary_form="alternating", reconstruction_weight=0.0)
    again.load_state_dict(objective.state_dict())
    assert moved(again)[0] == {"purifying", "head", "eliminating"}


def test_parts_of_an_accumulated_batch_are_one_turn() -> None:
    objective = built(adversary_form="alternating")
    updater, whole = Updater(objective.optimizers(), 2 * CHUNKS), batch()
    for last in (False, True):
        updater.begin(CHUNKS, last=last)
        objective.update(whole, updater)
    updater.finish()
    assert int(objective.turn) == 1


def test_the_eliminated_embedding_tells_the_order_of_parts() -> None:
    """Chunks of two halves, and the halves exchanged: pooling over all frames hardly sees it, that of parts does."""
    halves = torch.randn(2, CHUNKS, 80, DIM, generator=torch.Generator().manual_seed(3))
    halves[1] *= 3  # one is louder
    orders = [torch.cat(order, 1) for order in ((halves[0], halves[1]), (halves[1], halves[0]))]
    distances = {}
    for time_parts in (1, 2):
        objective = built(time_parts=time_parts).eval()
        first, second = (objective.encode(features, None)[1] for features in orders)
        distances[time_parts] = float(((first - second).norm() / first.norm()).detach())
        assert objective.encode(orders[0], None)[0].shape == first.shape
    assert distances[2] > 4 * distances[1], distances


@pytest.mark.parametrize("form", ["uniform", "alternating", "reversal"])
def test_its_memory_is_estimated(form: str) -> None:
    options = TrainingOptions(min_frames=30, max_frames=40)
    objective = built(adversary_form=form)
    memory = training_memory(objective, DIM, options, 8)
    assert memory.parameters == 2 * 4 * sum(p.numel() for p in objective.parameters())  # they and gradients
    assert memory.activations > 2 * training_memory(built(rest="none"), DIM, options, 4).activations


def test_losses_are_their_formulas() -> None:
    """By NumPy, from the embeddings: the reconstruction error, the adversary's cross entropy."""
    objective = built(optimizer={"type": "sgd", "learning_rate": 1e-9, "momentum": 0.0})
    _, figures = moved(objective)
    whole = batch()
    purified, rest = objective.encode(whole.features, None)
    rebuilt = objective.decoder(torch.cat([purified, rest], 1), FRAMES).detach().numpy()
    error = np.mean((rebuilt.astype(float) - whole.features.numpy()) ** 2)
    assert float(figures["reconstruction_loss"]) == pytest.approx(error, rel=1e-4)
    weights = [p.detach().numpy().astype(float) for p in objective.adversary.parameters()]
    vectors = rest.detach().numpy().astype(float)
    vectors = (vectors - vectors.mean(0)) / np.sqrt(vectors.var(0) + 1e-5)
    logits = np.maximum(vectors @ weights[0].T + weights[1], 0) @ weights[2].T + weights[3]
    log_sums = np.log(np.exp(logits).sum(1))
    cross_entropy = np.mean(log_sums - logits[np.arange(CHUNKS), whole.labels])
    assert float(figures["adversary_loss"]) == pytest.approx(cross_entropy, rel=1e-4)


@pytest.mark.parametrize("form", ["uniform", "reversal"])
def test_what_the_eliminating_encoder_descends(form: str) -> None:
    """Its step is that of the gradient of: reconstruction + weight x (mean over speakers of -log p, or log p of the
    true one), with the adversary as it is then."""
    weight, rate = 0.7, 1e-3
    changes = {"adversary_form": form, "adversarial_weight": weight, "reconstruction_weight": 0.3}
    optimizers = {"type": "sgd", "learning_rate": rate, "momentum": 0.0}
    objective = built(optimizer=optimizers, adversary_optimizer={**optimizers, "learning_rate": 1e-9}, **changes)
    twin = built(optimizer=optimizers, adversary_optimizer={**optimizers, "learning_rate": 1e-9}, **changes)
    twin.train()
    whole = batch()
    purified, rest = twin.encode(whole.features, None)
    rebuilt = twin.decoder(torch.cat([purified, rest], 1), FRAMES)
    standard = (rest - rest.mean(0)) / (rest.var(0, unbiased=False) + 1e-5).sqrt()
    probabilities = twin.adversary(standard).log_softmax(1)
    if form == "uniform":
        forgotten = -probabilities.mean(1).mean()
    else:
        forgotten = probabilities[torch.arange(CHUNKS), whole.labels].mean()
    total = 0.3 * (rebuilt - whole.features).square().mean() + weight * forgotten
    parameters = list(twin.eliminating.parameters())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)  # batch norm behind the embedding is idle
    gradient = torch.cat(
        [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for p, g in zip(parameters, gradients, strict=True)
        ]
    )
    before = parts(objective)["eliminating"]
    moved(objective)
    step = (before - parts(objective)["eliminating"]) / rate
    assert torch.allclose(step, gradient, atol=2e-3 * float(gradient.abs().max()))


class MeanFrame(torch.nn.Module):
    """An eliminating encoder whose best answer is known: a projection of the mean frame can leave the speakers out."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.nn.Linear(DIM, 6)

    def embed(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        return self.projection(features.mean(1))


@pytest.mark.parametrize("form", ["uniform", "alternating", "reversal"])
def test_a_game_makes_speakers_unreadable_to_its_adversary(form: str) -> None:
    """Chunks of four speakers, each loud in bins of its own: without the push the adversary reads them."""
    accuracies = {}
    for pushed in (True, False):
        generator = torch.Generator().manual_seed(0)
        levels = torch.eye(SPEAKERS, DIM)[:, None]
        rates = {"optimizer": {"type": "adam", "learning_rate": 1e-3}}
        rates["adversary_optimizer"] = {"type": "adam", "learning_rate": 1e-2}
        weights = {"adversarial_weight": float(pushed), "reconstruction_weight": 0.1}
        objective = built(adversary={"hidden_dim": 32}, adversary_form=form, **rates, **weights)
        objective.eliminating = MeanFrame()
        updater, found = Updater(objective.optimizers(), 32), []
        objective.train()
        steps = 640 if pushed else 160
        for step in range(steps):
            labels = torch.randint(SPEAKERS, (32,), generator=generator)
            features = levels[labels] + torch.randn(32, FRAMES, DIM, generator=generator)
            updater.begin(32)
            figures = objective.update(Batch(features, labels, ["u"] * 32, step / steps), updater)
            updater.finish()
            found.append(float(figures["adversary_accuracy"]))
        accuracies[pushed] = np.mean(found[-60:])
    assert accuracies[True] < 0.5 and accuracies[False] > 0.9, accuracies  # chance is 0.25


class Plain(torch.nn.Module):
    """An encoder without batch norm, which among six chunks makes much of little roundings."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.pooling, self.segment = torch.nn.Linear(DIM, 8), torch.nn.Linear(8, 6), torch.nn.Identity()

    def embed(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        return self.pooling(self.backbone(features).tanh().mean(1))


@pytest.mark.parametrize("form", ["uniform", "alternating", "reversal"])
def test_precisions_agree(form: str) -> None:
    """16-bit matrix products move every part almost the same way; a scaled loss exactly so."""
    ways, found = [], []
    for precision in ("float32", "bfloat16", "scaled"):
        objective = built(adversary_form=form)
        objective.network, objective.eliminating = Plain(), Plain()
        before = parts(objective)
        scaler = (lambda: torch.amp.GradScaler("cpu", init_scale=1024.0)) if precision == "scaled" else None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            _, figures = moved(objective, steps=2, scaler=scaler)  # both turns of the alternating form
        after = parts(objective)
        assert all(value.dtype == torch.float32 for value in after.values())
        ways.append({name: after[name] - before[name] for name in ALL})
        found.append([float(figures["loss"]), float(figures["reconstruction_loss"])])
    for name in ALL:
        assert ways[0][name].abs().max() > 1e-4
        assert torch.nn.functional.cosine_similarity(ways[0][name], ways[1][name], 0) > 0.95, name
        torch.testing.assert_close(ways[2][name], ways[0][name], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found[1], found[0], rtol=0.05)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def test_the_eliminated_embedding_has_one_length() -> None:
    """Embeddings far out would hide the others from the adversary, whose inputs have variance 1."""
    objective = built().eval()
    purified, rest = objective.encode(batch().features, None)
    np.testing.assert_allclose(rest.detach().norm(dim=1), 6**0.5, rtol=1e-6)
    assert purified.detach().norm(dim=1).std() > 1e-4
    with torch.no_grad():
        for parameter in objective.eliminating.embedding.parameters():
            parameter *= 1000
    torch.testing.assert_close(objective.encode(batch().features, None)[1], rest)


def test_the_eliminated_embedding_is_not_one_for_all_chunks() -> None:
    """However small the network makes what tells chunks apart beside what they have in common."""
    objective = built()
    with torch.no_grad():
        objective.eliminating.embedding.weight *= 1e-3
        objective.eliminating.embedding.bias += 1
    objective.train()
    raw = objective.eliminating.embedding(objective.eliminating.trunk(batch().features, None))
    assert raw.std(0).mean() < 1e-2  # the means of the dims are 1
    rest = objective.encode(batch().features, None)[1].detach()
    assert rest.mean(0).norm() < 0.5 * 6**0.5 < rest.std(0).norm()
    for _ in range(100):  # in evaluation the statistics that were seen, for every chunk by itself
        objective.encode(batch().features, None)
    alone = objective.eval().encode(batch().features[:1], None)[1].detach()
    torch.testing.assert_close(alone, rest[:1], rtol=0.2, atol=0.4)


def test_embedding_names_the_encoder() -> None:
    lengths = torch.full((CHUNKS,), FRAMES)
    for name in ("purified", "eliminated"):
        objective = built(embedding=name).eval()
        encoder = objective.network if name == "purified" else objective.eliminating
        expected = encoder.embed(batch().features, lengths)
        assert torch.equal(objective.embed(batch().features, lengths), expected)


def test_random_vectors_differ_from_step_to_step() -> None:
    objective = built(rest="random").eval()
    purified = torch.zeros(2, 6)
    first, second = (objective.reconstruct(purified, None, FRAMES) for _ in range(2))
    assert first.shape == (2, FRAMES, DIM) and not torch.equal(first, second)


def test_held_out_speech_cannot_choose_what_shall_forget() -> None:
    held_out = {"held_out": {"share": 0.1}}
    assert config(held_out)["training"]["held_out"]["share"] == 0.1
    with pytest.raises(VouchError, match=r"x.yaml: training.held_out would keep the epoch whose eliminated embedding"):
        config(held_out, embedding="eliminated")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adversary_form": "other"}, "adversary_form wants uniform"),
        ({"rest": "zeros"}, "rest wants encoder"),
        ({"rest": "none", "embedding": "eliminated"}, "embedding wants purified"),
        ({"adversarial_weight": -1.0}, "want 0 or more"),
        ({"adversary_form": "reversal", "loss_adv_e": False}, "one loss"),
        ({"decoder": {"channels": 4}}, "channels of 8 or more"),
        ({"adversary": {"hidden_dims": 4}}, "objective.adversary.hidden_dims"),
        ({"adversary": {"hidden_layers": -1}}, "hidden_layers wants 0 or more"),
        ({"time_parts": 0}, "time_parts wants 1 or more"),
        ({"time_parts": 4}, "time_parts 4: want parts of 8 frames"),
    ],
)
def test_wrong_values_are_named(changes: dict, said: str) -> None:
    with pytest.raises(VouchError, match=said):
        built(**changes)
