"""Classifier heads against their formulas in NumPy."""

import numpy as np
import pytest
import torch

from vouch.nn.heads import AMSoftmax, Softmax


def _am_softmax(hidden: np.ndarray, weight: np.ndarray, labels: np.ndarray, s: float, m: float) -> float:
    cos = (hidden / np.linalg.norm(hidden, axis=1, keepdims=True)) @ (
        weight / np.linalg.norm(weight, axis=1, keepdims=True)
    ).T
    total = 0.0
    for row, y in zip(cos, labels, strict=True):
        true = np.exp(s * (row[y] - m))
        others = sum(np.exp(s * c) for j, c in enumerate(row) if j != y)
        total -= np.log(true / (true + others))
    return total / len(labels)


@pytest.mark.parametrize(("ramp", "progress", "margin"), [(0.0, 0.0, 0.3), (0.5, 0.25, 0.15), (0.5, 0.9, 0.3)])
def test_am_softmax_formula_and_margin_ramp(ramp, progress, margin):
    torch.manual_seed(3)
    head = AMSoftmax(6, 4, scale=12.0, margin=0.3, margin_ramp=ramp).double()
    hidden, labels = torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    loss, logits = head(hidden, labels, progress)
    expected = _am_softmax(hidden.numpy(), head.weight.detach().numpy(), labels.numpy(), 12.0, margin)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    without_margin = _am_softmax(hidden.numpy(), head.weight.detach().numpy(), labels.numpy(), 12.0, 0.0)
    assert torch.nn.functional.cross_entropy(logits, labels).item() == pytest.approx(without_margin, rel=1e-9)


def test_softmax_formula():
    torch.manual_seed(4)
    head = Softmax(6, 4).double()
    hidden, labels = torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    loss, logits = head(hidden, labels, 0.0)
    z = hidden.numpy() @ head.output.weight.detach().numpy().T + head.output.bias.detach().numpy()
    np.testing.assert_allclose(logits.detach().numpy(), z)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert loss.item() == pytest.approx(-np.log(p[np.arange(5), labels.numpy()]).mean(), rel=1e-9)
