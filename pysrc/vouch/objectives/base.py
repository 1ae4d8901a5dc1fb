"""The interface between the training engine and what is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vouch.nn.constraints import constrain_after_steps
from vouch.objectives.updates import Updater


class Batch(NamedTuple):
    """features (batch, frames, dims), labels (batch,), the utterances' ids, progress = share of training done.

    target: features (target_batch, frames, dims) of unlabelled chunks of another domain, where the sampler is paired.
    """

    features: Tensor
    labels: Tensor
    utterances: list[str]
    progress: float
    target: Tensor | None = None


class Objective(nn.Module, ABC):
    """Owns its networks, what optimizes them and the order of its updates; the engine knows nothing else about it."""

    wants_target = False  # does it train on unlabelled chunks of another domain, too?
    wants_groups = False  # does it compare the chunks of a batch, two or more of each of its speakers?
    classifies = True  # does it tell the training speakers apart, so that `evaluate` has a loss and an accuracy?

    @abstractmethod
    def update(self, batch: Batch, updater: Updater) -> dict[str, Tensor]:
        """One training step: `updater.step(name, loss, optimizers)` for each of its losses, which are means over the
        batch. Returns the figures to log, scalars on the device, `loss` among them; no .item(), which would wait for
        the device."""

    @abstractmethod
    def evaluate(self, features: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Of held-out utterances, in eval mode: features (batch, frames, dims), lengths (batch,), labels (batch,) ->
        embeddings (batch, embedding_dim) and `loss` (without a margin) and `accuracy` of each, (batch,); {} where
        it does not classify: losses that compare the chunks of a batch are not of an utterance."""

    @abstractmethod
    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features (batch, frames, dims), lengths (batch,) -> (batch, embedding_dim); padding has no effect."""

    def compiled(self) -> Iterable[nn.Module]:
        """The modules that training calls, for torch.compile."""
        return self.children()

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """New optimizers of its networks, by name; for a training, which keeps them. (A trained model needs none.)"""


class Optimizer:
    """The `optimizer` entry of a system's YAML: which optimizer, with which rate.

    Arguments: type (sgd with Nesterov's momentum; adam, which is AdamW; rmsprop), learning_rate (its peak), momentum
    (not of adam), weight_decay (not on biases and batch-norm parameters), clip_norm (largest norm of the gradient; 0:
    none).
    """

    def __init__(
        self,
        type: str = "adam",
        learning_rate: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
    ) -> None:
        if type not in ("sgd", "adam", "rmsprop"):
            raise ValueError(f"optimizer type '{type}', want sgd, adam or rmsprop")
        if not learning_rate > 0:
            raise ValueError(f"learning_rate {learning_rate}, want more than 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum {momentum}, want 0 to below 1")
        if not (weight_decay >= 0 and clip_norm >= 0):
            raise ValueError(f"weight_decay {weight_decay} and clip_norm {clip_norm}, want 0 or more")
        self.type, self.learning_rate, self.momentum = type, learning_rate, momentum
        self.weight_decay, self.clip_norm = weight_decay, clip_norm

    def build(self, *modules: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the modules' parameters, which are on their device already.

        Its updates are fused (one pass over the parameters) where torch has that. The Updater reads `clip_norm` from
        the parameter groups. Modules with constraints are constrained after every step.
        """
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        groups = [{**group, "clip_norm": self.clip_norm} for group in groups if group["params"]]
        if self.type == "sgd":
            nesterov = self.momentum > 0
            optimizer = torch.optim.SGD(
                groups, lr=self.learning_rate, momentum=self.momentum, nesterov=nesterov, fused=True
            )
        elif self.type == "rmsprop":
            optimizer = torch.optim.RMSprop(groups, lr=self.learning_rate, momentum=self.momentum)
        else:
            optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)
        constrain_after_steps(optimizer, modules)
        return optimizer
