"""The interface between the training engine and what is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Batch(NamedTuple):
    """features (batch, frames, dims), labels (batch,), the utterances' ids, progress = share of training done; target
    (target_batch, frames, dims): chunks of the other domain, without labels, for objectives that adapt to it."""

    features: Tensor
    labels: Tensor
    utterances: list[str]
    progress: float
    target: Tensor | None = None


class Objective(nn.Module, ABC):
    """Owns its networks, its optimizers and the order of its updates; the engine knows nothing else about it."""

    @abstractmethod
    def update(self, batch: Batch, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """One training step: all its updates. Returns the figures to log, `loss` among them."""

    @abstractmethod
    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features (batch, frames, dims), lengths (batch,) -> (batch, embedding_dim); padding has no effect."""

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Its optimizers by name, for checkpoints and learning-rate schedules."""


class Optimizer:
    """The `optimizer` entry of a system's YAML: which optimizer, with which rate.

    Arguments: type (sgd or adam; adam is AdamW), learning_rate (its peak), momentum (sgd only), weight_decay (not on
    biases and batch-norm parameters), clip_norm (largest norm of the gradient; 0: none).
    """

    def __init__(
        self,
        type: str = "adam",
        learning_rate: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
    ) -> None:
        if type not in ("sgd", "adam"):
            raise ValueError(f"optimizer type '{type}', want sgd or adam")
        if not (learning_rate > 0 and 0 <= momentum < 1 and weight_decay >= 0 and clip_norm >= 0):
            raise ValueError("learning_rate wants to be above 0, momentum 0 to below 1, the others 0 or more")
        self.type, self.learning_rate, self.momentum = type, learning_rate, momentum
        self.weight_decay, self.clip_norm = weight_decay, clip_norm

    def build(self, *modules: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the modules' parameters."""
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        if self.type == "sgd":
            return torch.optim.SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=self.momentum > 0)
        return torch.optim.AdamW(groups, lr=self.learning_rate)

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor, scaler: torch.amp.GradScaler) -> None:
        """Back-propagate the loss and move the optimizer's parameters."""
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        if self.clip_norm > 0:
            scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        scaler.step(optimizer)
        scaler.update()
