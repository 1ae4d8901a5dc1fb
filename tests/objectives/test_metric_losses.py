"""Each metric loss against loops over its equation, finite differences, and what holds for all of them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vouch.nn.constraints import constrain_after_steps
from vouch.objectives.metric_losses import AngularPrototypical, GE2EContrast, GE2ESoftmax, Prototypical
from vouch.objectives.pair_losses import Contrastive, Triplet
from vouch.system import COMPONENTS

LOSSES = {
    "ge2e_softmax": GE2ESoftmax(4.0),
    "ge2e_contrast": GE2EContrast(4.0, -1.0),
    "prototypical": Prototypical(),
    "angular_prototypical": AngularPrototypical(4.0),
    "triplet": Triplet(0.3),
    "triplet, hard": Triplet(0.3, "hard"),
    "contrastive": Contrastive(1.2),
}
LABELS = [7, 2, 7, 9, 2, 2, 9, 7, 2, 9, 9]  # speakers with three and four chunks, mixed


def _batch(seed: int = 0, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    centres = {label: generator.normal(size=5) for label in sorted(set(LABELS))}
    embeddings = [centres[label] + noise * generator.normal(size=5) for label in LABELS]
    return torch.from_numpy(np.array(embeddings)), torch.tensor(LABELS)


def _cos(a: np.ndarray, b: np.ndarray) -> float:
    return a @ b / math.sqrt((a @ a) * (b @ b))


def _utterances(embeddings: np.ndarray, labels: np.ndarray) -> dict[int, list[np.ndarray]]:
    return {label: [e for e, y in zip(embeddings, labels, strict=True) if y == label] for label in sorted(set(labels))}


def _sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _log_softmax_loss(scores: dict[int, float], own: int) -> float:
    return -math.log(math.exp(scores[own]) / sum(math.exp(s) for s in scores.values()))


def _ge2e(speakers: dict[int, list[np.ndarray]], contrast: bool, w: float, b: float) -> tuple[float, float]:
    losses, right = [], []
    speakers = {j: [x / np.sqrt(x @ x) for x in own] for j, own in speakers.items()}
    for j, own in speakers.items():
        for i, e in enumerate(own):
            scores = {}
            for k, others in speakers.items():
                chosen = [x for m, x in enumerate(others) if k != j or m != i]
                scores[k] = w * _cos(e, sum(chosen) / len(chosen)) + b
            if contrast:
                rival = max(_sigma(s) for k, s in scores.items() if k != j)
                losses.append(1 - _sigma(scores[j]) + rival)
            else:
                losses.append(_log_softmax_loss(scores, j))
            right.append(max(scores, key=scores.get) == j)
    return np.mean(losses), np.mean(right)


def _prototypes(speakers: dict[int, list[np.ndarray]], score) -> tuple[float, float]:
    losses, right = [], []
    for j, own in speakers.items():
        scores = {k: score(own[-1], sum(x[:-1]) / (len(x) - 1)) for k, x in speakers.items()}
        losses.append(_log_softmax_loss(scores, j))
        right.append(max(scores, key=scores.get) == j)
    return np.mean(losses), np.mean(right)


def _triplets(speakers: dict[int, list[np.ndarray]], margin: float, mining: str) -> tuple[float, float]:
    losses, right = [], []
    units = [(j, x / np.sqrt(x @ x)) for j, own in speakers.items() for x in own]
    for a, (j, anchor) in enumerate(units):
        distances = [float(np.sum((anchor - x) ** 2)) for _, x in units]
        negatives = [distances[n] for n, (k, _) in enumerate(units) if k != j]
        for p, (k, _) in enumerate(units):
            if k == j and p != a:
                further = [d for d in negatives if d > distances[p]]
                semi_hard = min(further) if further else max(negatives)
                chosen = min(negatives) if mining == "hard" else semi_hard
                losses.append(max(0.0, distances[p] - chosen + margin))
                right.append(distances[p] < min(negatives))
    return np.mean(losses), np.mean(right)


def _contrastive(speakers: dict[int, list[np.ndarray]], margin: float) -> tuple[float, float]:
    drawn, pushed, right = [], [], []
    units = [(j, x / np.sqrt(x @ x)) for j, own in speakers.items() for x in own]
    for a, (j, anchor) in enumerate(units):
        nearest = min(math.dist(anchor, x) for k, x in units if k != j)
        pushed.append(0.5 * max(0.0, margin - nearest) ** 2)
        for p, (k, x) in enumerate(units):
            if k == j and p != a:
                drawn.append(0.5 * math.dist(anchor, x) ** 2)
                right.append(math.dist(anchor, x) < nearest)
    return np.mean(drawn) + np.mean(pushed), np.mean(right)


FORMULAS = {
    "ge2e_softmax": lambda s: _ge2e(s, False, 4.0, -5.0),
    "ge2e_contrast": lambda s: _ge2e(s, True, 4.0, -1.0),
    "prototypical": lambda s: _prototypes(s, lambda q, c: -np.sum((q - c) ** 2)),
    "angular_prototypical": lambda s: _prototypes(s, lambda q, c: 4.0 * _cos(q, c) - 5.0),
    "triplet": lambda s: _triplets(s, 0.3, "semi_hard"),
    "triplet, hard": lambda s: _triplets(s, 0.3, "hard"),
    "contrastive": lambda s: _contrastive(s, 1.2),
}


def _double(name: str) -> nn.Module:
    return LOSSES[name].double()


def test_all_losses_are_here():
    assert {type(loss) for loss in LOSSES.values()} == set(COMPONENTS["loss"].values())
    for name, loss in LOSSES.items():
        assert type(loss) is COMPONENTS["loss"][name.split(",")[0]]


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_their_equations(name, noise):
    for seed in range(3):
        embeddings, labels = _batch(seed, noise)
        loss, accuracy = _double(name)(embeddings, labels)
        expected = FORMULAS[name](_utterances(embeddings.numpy(), labels.tolist()))
        np.testing.assert_allclose([loss.item(), accuracy.item()], expected, rtol=1e-10, atol=1e-12)
        assert noise < 3 or accuracy < 1  # a figure that says something


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_differences(name):
    embeddings, labels = _batch(4)
    loss = _double(name)
    embeddings.requires_grad_()
    assert torch.autograd.gradcheck(lambda e, *_: loss(e, labels)[0], (embeddings, *loss.parameters()))


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_a_batch_and_the_names_of_speakers_have_no_effect(name):
    embeddings, labels = _batch(5)
    before = _double(name)(embeddings, labels)
    order = np.random.default_rng(0).permutation(len(labels))
    if "prototypical" in name:  # the last chunk of a speaker stays the last
        for label in set(LABELS):
            places = np.flatnonzero(labels.numpy()[order] == label)
            order[places] = np.sort(order[places])
    after = _double(name)(embeddings[order], 100 - labels[order])
    assert (np.diff(order) < 0).any() and labels.tolist() != labels[order].tolist()
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("labels", [[1, 1, 2, 2, 3], [1, 1, 1, 1, 1], [1, 2, 3, 4, 5]])
def test_a_batch_without_pairs_is_refused(name, labels):
    with pytest.raises(ValueError, match="two speakers or more in a batch, and two chunks or more of each; use .*spea"):
        LOSSES[name](torch.randn(5, 4), torch.tensor(labels))


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "prototypical"])
def test_lengths_of_embeddings_have_no_effect_where_angles_count(name):
    embeddings, labels = _batch(6)
    if name == "angular_prototypical":  # a prototype is a mean of embeddings as they are: one length for all
        lengths = torch.full((len(labels), 1), 3.0, dtype=torch.float64)
    else:
        lengths = torch.linspace(0.2, 4.0, len(labels), dtype=torch.float64)[:, None]
    loss = _double(name)
    torch.testing.assert_close(loss(embeddings * lengths, labels), loss(embeddings, labels), rtol=1e-12, atol=1e-12)


def test_the_own_centroid_is_without_the_chunk_itself():
    """Two speakers of two chunks each in opposite directions: with itself every chunk would lie on its own centroid's
    side, without it on the other speaker's."""
    embeddings = torch.tensor([[1.0, 0.1], [-1.0, 0.1], [1.0, -0.1], [-1.0, -0.1]])
    for loss in (GE2ESoftmax(), GE2EContrast()):
        assert loss(embeddings, torch.tensor([0, 0, 1, 1]))[1] == 0


def test_the_hardest_negative_is_taken():
    angles = torch.tensor([0.0, 0.4, 1.0, 2.0, 0.6, 2.9], dtype=torch.float64)
    unit = torch.stack([angles.cos(), angles.sin()], 1).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])

    def squared(a: float, b: float) -> float:
        return 2 - 2 * math.cos(a - b)

    nearest = [squared(0, 0.6), squared(0.4, 0.6), squared(1.0, 0.6), squared(2.0, 2.9), squared(0.6, 0.4)]
    nearest.append(squared(2.9, 2.0))
    within = [squared(0, 0.4)] * 2 + [squared(1.0, 2.0)] * 2 + [squared(0.6, 2.9)] * 2
    hard = np.mean([max(0.0, p - n + 0.5) for p, n in zip(within, nearest, strict=True)])
    further = [squared(0, 0.6), squared(0.4, 1.0), squared(1.0, 2.9), squared(2.0, 0.6), squared(2.9, 0.4)]
    semi_hard = [*further[:4], squared(0.6, 2.0), further[4]]  # nothing is further from 0.6 than 2.9: the furthest
    semi_hard = np.mean([max(0.0, p - n + 0.5) for p, n in zip(within, semi_hard, strict=True)])
    assert Triplet(0.5, "hard")(unit, labels)[0].item() == pytest.approx(hard)
    assert Triplet(0.5, "semi_hard")(unit, labels)[0].item() == pytest.approx(semi_hard)
    push = np.mean([max(0.0, 0.8 - math.sqrt(n)) ** 2 for n in nearest])
    loss, _ = Contrastive(0.8)(unit, labels)
    assert loss.item() == pytest.approx(0.5 * (np.mean(within) + push))


@pytest.mark.parametrize("name", LOSSES)
def test_chunks_in_one_place_have_finite_gradients(name):
    embeddings = torch.ones(6, 4, requires_grad=True)
    loss, _ = LOSSES[name].float()(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
    loss.backward()
    assert loss.isfinite() and embeddings.grad.isfinite().all()


@pytest.mark.parametrize("kind", [GE2ESoftmax, GE2EContrast, AngularPrototypical])
def test_the_scale_stays_positive_and_can_grow_again(kind):
    loss = kind(scale=0.5)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0)
    constrain_after_steps(optimizer, [loss])
    for way in (1.0, 1.0, -1.0):
        loss.scale.grad = torch.tensor(way)
        optimizer.step()
        assert loss.scale > 0
    assert loss.scale.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", [GE2ESoftmax, GE2EContrast, AngularPrototypical])
def test_the_gradient_of_scale_and_offset_is_multiplied(kind):
    embeddings, labels = _batch(7)
    found = []
    for factor in (1.0, 0.01):
        loss, own = kind(gradient_factor=factor), embeddings.float().requires_grad_()
        value, _ = loss(own, labels)
        value.backward()
        found.append((value.detach(), own.grad, torch.stack([p.grad for p in loss.parameters()])))
    assert found[0][0] == found[1][0] and found[0][1].equal(found[1][1])
    torch.testing.assert_close(0.01 * found[0][2], found[1][2])
    assert found[0][2].abs().min() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GE2ESoftmax(0.0), "scale 0.0 and gradient_factor 1.0 of the loss, want above 0"),
        (lambda: GE2EContrast(gradient_factor=-1.0), "gradient_factor -1.0"),
        (lambda: AngularPrototypical(-3.0), "scale -3.0"),
        (lambda: Triplet(4.0), "margin 4.0 of the loss, want above 0 and below 4"),
        (lambda: Triplet(0.2, "soft"), "mining 'soft', want hard or semi_hard"),
        (lambda: Contrastive(0.0), "margin 0.0 of the loss, want above 0 and below 2"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
