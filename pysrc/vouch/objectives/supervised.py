"""Supervised training: classify the training speakers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vouch.objectives.base import Batch, Objective, Optimizer


class Supervised(Objective):
    """The embedding network and a classifier head, trained together on speaker labels.

    Source: Snyder et al. 2018 (softmax); Okabe et al. (1803.10963), section 4.1.2; the head decides the loss.

    Arguments: network (vouch.nn.embedding), head (vouch.nn.heads), optimizer.
    """

    def __init__(self, network: nn.Module, head: nn.Module, optimizer: Optimizer) -> None:
        super().__init__()
        self.network, self.head = network, head
        self._optimizer = optimizer
        self._updates = optimizer.build(network, head)

    def update(self, batch: Batch, scaler: torch.amp.GradScaler) -> dict[str, float]:
        hidden = self.network(batch.features).to(batch.features.dtype)
        with torch.autocast(hidden.device.type, enabled=False):  # logits and the loss are not for 16 bits
            loss, logits = self.head(hidden, batch.labels, batch.progress)
        self._optimizer.step(self._updates, loss, scaler)
        accuracy = (logits.argmax(1) == batch.labels).float().mean()
        return {"loss": loss.item(), "accuracy": accuracy.item()}

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        return self.network.embed(features, lengths)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": self._updates}
