"""Classifier heads against their formulas in NumPy."""

import math

import numpy as np
import pytest
import torch

from vouch.nn.heads import AAMSoftmax, AMSoftmax, ASoftmax, Softmax

LABELS = torch.tensor([0, 3, 1, 1, 2])


def _hidden() -> torch.Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _cosines(head: torch.nn.Module, hidden: torch.Tensor) -> np.ndarray:
    """(batch, speakers, directions of each)"""
    weight = head.weight.detach().numpy()
    weight = weight[:, None] if weight.ndim == 2 else weight
    return np.einsum("bd,skd->bsk", _unit(hidden.numpy()), _unit(weight))


def _cross_entropy(logits: np.ndarray) -> float:
    true = logits[np.arange(len(LABELS)), LABELS.numpy()]
    return float(np.mean(np.log(np.exp(logits).sum(1)) - true))


def _with(logits: np.ndarray, true: list[float]) -> np.ndarray:
    logits = logits.copy()
    logits[np.arange(len(LABELS)), LABELS.numpy()] = true
    return logits


def test_softmax_formula():
    torch.manual_seed(4)
    head = Softmax(6, 4).double()
    loss, logits = head(_hidden(), LABELS, 0.0)
    z = _hidden().numpy() @ head.output.weight.detach().numpy().T + head.output.bias.detach().numpy()
    np.testing.assert_allclose(logits.detach().numpy(), z)
    assert loss.item() == pytest.approx(_cross_entropy(z), rel=1e-9)


@pytest.mark.parametrize(("ramp", "progress", "margin"), [(0.0, 0.0, 0.3), (0.5, 0.25, 0.15), (0.5, 0.9, 0.3)])
def test_am_softmax_formula_and_margin_ramp(ramp, progress, margin):
    torch.manual_seed(3)
    head = AMSoftmax(6, 4, scale=12.0, margin=0.3, margin_ramp=ramp).double()
    loss, logits = head(_hidden(), LABELS, progress)
    cosines = _cosines(head, _hidden())[:, :, 0]
    true = [12 * (row[y] - margin) for row, y in zip(cosines, LABELS, strict=True)]
    assert loss.item() == pytest.approx(_cross_entropy(_with(12 * cosines, true)), rel=1e-9)
    np.testing.assert_allclose(logits.detach().numpy(), 12 * cosines)


@pytest.mark.parametrize(("ramp", "progress", "margin"), [(0.0, 0.0, 0.4), (0.5, 0.25, 0.2), (0.5, 0.9, 0.4)])
@pytest.mark.parametrize("sub_centres", [1, 3])
def test_aam_softmax_formula_sub_centres_and_margin_ramp(sub_centres, ramp, progress, margin):
    torch.manual_seed(3)
    head = AAMSoftmax(6, 4, scale=12.0, margin=0.4, margin_ramp=ramp, sub_centres=sub_centres).double()
    loss, logits = head(_hidden(), LABELS, progress)
    cosines = _cosines(head, _hidden())
    assert cosines.shape[2] == sub_centres
    cosines = cosines.max(2)
    true = [12 * math.cos(math.acos(row[y]) + margin) for row, y in zip(cosines, LABELS, strict=True)]
    assert loss.item() == pytest.approx(_cross_entropy(_with(12 * cosines, true)), rel=1e-6)
    np.testing.assert_allclose(logits.detach().numpy(), 12 * cosines)


def test_aam_softmax_falls_with_the_angle_up_to_the_opposite():
    head = AAMSoftmax(2, 2, scale=10.0, margin=0.5).double()
    head.weight.data.copy_(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    angles = torch.linspace(0, math.pi, 60, dtype=torch.float64)
    hidden = torch.stack([angles.cos(), -angles.sin()], 1)
    losses = torch.stack([head(row[None], torch.tensor([0]), 1.0)[0] for row in hidden])
    true = -(losses.exp() - 1).log() + 10 * hidden[:, 1]  # the true speaker's logit, got back from the loss
    assert (true.diff() < 0).all()
    beyond = math.pi - 0.2  # theta + m above pi: cos - m sin m
    row = torch.tensor([[math.cos(beyond), -math.sin(beyond)]], dtype=torch.float64)
    logits = np.array([10 * (math.cos(beyond) - 0.5 * math.sin(0.5)), -10 * math.sin(beyond)])
    expected = math.log(np.exp(logits).sum()) - logits[0]
    assert head(row, torch.tensor([0]), 1.0)[0].item() == pytest.approx(expected, rel=1e-9)


def test_only_the_nearest_sub_centre_learns():
    torch.manual_seed(3)
    head = AAMSoftmax(6, 4, sub_centres=3).double()
    head(_hidden()[:1], LABELS[:1], 0.0)[0].backward()
    nearest = _cosines(head, _hidden())[0].argmax(1)
    moved = head.weight.grad.abs().sum(2) > 0
    assert moved.sum() == 4 and all(moved[speaker, k] for speaker, k in enumerate(nearest))


@pytest.mark.parametrize(
    ("ramp", "progress", "annealing"),
    [(0.0, 0.0, 2.0), (0.5, 0.0, 800.0), (0.5, 0.25, 40.0), (0.5, 0.5, 2.0), (0.5, 1.0, 2.0)],
)
@pytest.mark.parametrize("margin", [2, 4])
def test_a_softmax_formula_and_annealing(margin, ramp, progress, annealing):
    torch.manual_seed(3)
    head = ASoftmax(6, 4, margin=margin, lambda_max=800.0, lambda_min=2.0, margin_ramp=ramp).double()
    # angles in all four quarters
    spread = head.weight.detach()[LABELS, 0]
    side = torch.linalg.qr(torch.cat([spread[:1], _hidden()[:1]]).T)[0].T[1]
    hidden = torch.stack(
        [
            math.cos(a) * w / w.norm() + math.sin(a) * side
            for a, w in zip((0.3, 1.0, 1.8, 2.4, 2.9), spread, strict=True)
        ]
    )
    hidden = hidden * torch.tensor([[1.0], [2.0], [0.5], [3.0], [1.5]])
    loss, logits = head(hidden, LABELS, progress)
    cosines, norms = _cosines(head, hidden)[:, :, 0], np.linalg.norm(hidden.numpy(), axis=1)
    true = []
    for row, norm, y in zip(cosines, norms, LABELS, strict=True):
        theta = math.acos(row[y])
        k = int(theta * margin / math.pi)
        psi = (-1) ** k * math.cos(margin * theta) - 2 * k
        true.append(norm * (annealing * row[y] + psi) / (1 + annealing))
    expected = _cross_entropy(_with(norms[:, None] * cosines, true))
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(logits.detach().numpy(), norms[:, None] * cosines)


@pytest.mark.parametrize("head", [ASoftmax, AMSoftmax, AAMSoftmax])
def test_gradients_are_those_of_finite_differences(head):
    torch.manual_seed(3)
    module = head(6, 4).double()
    hidden = _hidden().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x, LABELS, 0.7)[0], (hidden,))


@pytest.mark.parametrize("head", [ASoftmax, AMSoftmax, AAMSoftmax])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_vector_on_its_speakers_direction_has_a_finite_gradient(head, sign):
    module = head(6, 4)
    hidden = sign * module.weight.detach().reshape(4, 6)[LABELS].clone()
    hidden.requires_grad_()
    module(hidden, LABELS, 1.0)[0].backward()
    assert torch.isfinite(hidden.grad).all() and torch.isfinite(module.weight.grad).all()


def test_values_that_make_no_head():
    with pytest.raises(ValueError, match="sub_centres wants 1 or more"):
        AAMSoftmax(6, 4, sub_centres=0)
    for head in (AMSoftmax, AAMSoftmax):
        for wrong in ({"scale": -3.0}, {"margin": -0.3}, {"margin": 2.0}):
            with pytest.raises(ValueError, match="of the head, want more than 0, and 0 to below"):
                head(6, 4, **wrong)
    with pytest.raises(ValueError, match="lambda_min 0"):
        ASoftmax(6, 4, lambda_min=0.0)
