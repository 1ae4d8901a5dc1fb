"""The memory that a training is said to need."""

import pytest
import torch
from torch import nn

from vouch.nn.heads import Softmax
from vouch.objectives.base import Optimizer
from vouch.objectives.supervised import Supervised
from vouch.training.averaging import ExponentialAverage
from vouch.training.estimate import training_memory
from vouch.training.options import TrainingOptions


class _TwoLayers(nn.Module):
    """Affine to 100 values a frame, ReLU, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.affine = nn.Linear(10, 100)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.affine(features).relu().mean(1)


@pytest.mark.parametrize(
    ("optimizer", "averaging", "copies"),
    [
        ({"type": "adam"}, {}, 4),  # parameters, gradients, two moments
        ({"type": "sgd"}, {}, 3),
        ({"type": "sgd", "momentum": 0.0}, {"averaging": ExponentialAverage()}, 3),
        ({"type": "rmsprop"}, {}, 4),
    ],
)
def test_parameters_and_what_the_backward_pass_wants(optimizer, averaging, copies):
    objective = Supervised(_TwoLayers(), Softmax(100, 5), Optimizer(**optimizer))
    options = TrainingOptions(min_frames=200, max_frames=300, **averaging)
    memory = training_memory(objective, 10, options, 64)
    assert memory.parameters == copies * 4 * (10 * 100 + 100 + 100 * 5 + 5)
    # The affine layer keeps its input and the ReLU its output; the head's few values come to less than 1 %.
    assert memory.activations == pytest.approx(64 * 300 * (10 + 100) * 4, rel=0.01)
