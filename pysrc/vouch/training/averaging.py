"""Which weights a training ends with: the last (or best) ones, a running average, or the mean of several epochs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Plain:
    """The weights as they are after an epoch."""


class ExponentialAverage:
    """A running average of the weights, w <- w + (1 - d) (weights - w) after every step.

    d = min(decay, (1 + t) / (10 + t)) at the t-th step, so that the first random weights are soon forgotten (the
    custom; Tarvainen & Valpola 2017, 1703.01780, section 3, have a smaller d in the beginning). Batch norm's running
    statistics are averaged as the weights are. Held-out figures are those of the average.

    Arguments: decay (d).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay {decay} is not between 0 and 1")
        self.decay = decay


class CheckpointAverage:
    """The mean of the weights after several epochs: the best by the held-out criterion, else the last ones.

    Batch norm's running statistics are averaged as the weights are (Izmailov et al. 2018, 1803.05407, would estimate
    them anew, which costs a pass over the data).

    Arguments: number (of epochs).
    """

    def __init__(self, number: int = 5) -> None:
        if number < 1:
            raise ValueError(f"number {number}, want 1 or more")
        self.number = number


class RunningAverage:
    """Holds the exponential average of a module's state."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._own = module.state_dict()  # shares memory with the module
        self.average = {name: value.clone() for name, value in self._own.items()}
        self._moving = [name for name, value in self._own.items() if value.is_floating_point()]
        self._fixed = [name for name, value in self._own.items() if not value.is_floating_point()]

    def update(self) -> None:
        """The module has moved."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        averages = [self.average[name] for name in self._moving]
        torch._foreach_lerp_(averages, [self._own[name] for name in self._moving], 1 - decay)
        for name in self._fixed:  # batch norm's counters
            self.average[name].copy_(self._own[name])

    def swap(self) -> None:
        """Exchange the module's weights and the average; a second call restores them."""
        for name, value in self._own.items():
            weights = value.clone()
            value.copy_(self.average[name])
            self.average[name].copy_(weights)

    def state_dict(self) -> dict:
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        for name, value in state["average"].items():
            self.average[name].copy_(value)


def mean_state(states: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts, summed in float64; counters are those of the first."""
    sums: dict[str, Tensor] = {}
    first: dict[str, Tensor] = {}
    number = 0
    for state in states:
        number += 1
        for name, value in state.items():
            if not value.is_floating_point():
                sums.setdefault(name, value)
            elif name in sums:
                sums[name] += value
            else:
                first[name], sums[name] = value, value.double()
    return {name: (value / number).to(first[name].dtype) if name in first else value for name, value in sums.items()}
