"""The semi-orthogonal step, and that optimizer steps end with it."""

import numpy as np
import pytest
import torch

from vouch.nn.constraints import constrain_after_steps, semi_orthogonal_step
from vouch.nn.ftdnn import FTDNN
from vouch.objectives.base import Optimizer


@pytest.mark.parametrize(("spread", "speed"), [(0.01, 1 / 8), (0.2, 1 / 16), (0.9, 1 / 32)])
@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_a_step_is_kaldis(shape, spread, speed):
    generator = np.random.default_rng(1)
    u, _, v = np.linalg.svd(generator.normal(size=shape), full_matrices=False)
    values = 3.0 * (1 + spread * np.array([-1.0, -0.3, 0.3, 1.0]))
    m = u * values @ v
    weight = torch.tensor(m).reshape(shape[0], shape[1] // 2, 2)
    semi_orthogonal_step(weight)
    wide = m if shape[0] < shape[1] else m.T
    p = wide @ wide.T
    scale_square = np.trace(p @ p) / np.trace(p)
    ratio = np.trace(p @ p) * 4 / np.trace(p) ** 2
    assert speed == 0.125 / (1 if ratio <= 1.02 else 2 if ratio <= 1.1 else 4)
    moved = wide - 4 * speed / scale_square * (p - scale_square * np.eye(4)) @ wide
    expected = moved if shape[0] < shape[1] else moved.T
    np.testing.assert_allclose(weight.reshape(shape).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_steps_lead_to_orthogonal_rows_of_one_length():
    torch.manual_seed(1)
    weight = torch.randn(16, 40)
    for _ in range(30):
        semi_orthogonal_step(weight)
    p = weight @ weight.T
    torch.testing.assert_close(p, p[0, 0] * torch.eye(16), rtol=1e-4, atol=1e-4 * p[0, 0].item())


def test_every_optimizer_step_constrains_the_factors():
    torch.manual_seed(1)
    network = FTDNN(5, 16, 4, 8)
    optimizer = Optimizer(type="sgd", learning_rate=0.05, momentum=0.0).build(network)

    def error() -> float:
        ratios = []
        for layer in network.factorised:
            values = torch.linalg.svdvals(layer.factor.weight.detach().flatten(1))
            ratios.append((values.max() / values.min()).item())
        return max(ratios) - 1

    assert error() > 0.1
    for _ in range(30):
        optimizer.zero_grad()
        network(torch.randn(4, 40, 5), None)[0].square().mean().backward()
        optimizer.step()
    assert error() < 0.02


def test_networks_without_constraints_leave_the_optimizer_alone():
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    constrain_after_steps(optimizer, [layer])
    assert not optimizer._optimizer_step_post_hooks
