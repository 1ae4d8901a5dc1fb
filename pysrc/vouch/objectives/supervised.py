"""Supervised training: classify the training speakers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.objectives.base import Batch, Objective, Optimizer
from vouch.objectives.updates import Updater


class SpeakerClassifier(Objective):
    """What objectives with an embedding network and a classifier head of the training speakers have in common.

    Arguments: network (vouch.nn.embedding), head (vouch.nn.heads).
    """

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head

    def classify(self, hidden: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """hidden (batch, out_dim) of the network, labels (batch,) -> loss and logits, which are not for 16 bits."""
        with torch.autocast(hidden.device.type, enabled=False):
            return self.head(hidden.float(), labels, progress)

    def evaluate(self, features: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        embedding = self.network.embed(features, lengths)
        _, logits = self.classify(self.network.segment(embedding), labels, 1.0)
        loss = functional.cross_entropy(logits, labels, reduction="none")
        return embedding, {"loss": loss, "accuracy": (logits.argmax(1) == labels).float()}

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        return self.network.embed(features, lengths)


class Supervised(SpeakerClassifier):
    """The embedding network and a classifier head, trained together on speaker labels.

    Source: Snyder et al. 2018 (softmax); Okabe et al. (1803.10963), section 4.1.2; the head decides the loss.

    Arguments: network (vouch.nn.embedding), head (vouch.nn.heads), optimizer.
    """

    def __init__(self, network: nn.Module, head: nn.Module, optimizer: Optimizer) -> None:
        super().__init__(network, head)
        self._optimizer = optimizer

    def update(self, batch: Batch, updater: Updater) -> dict[str, Tensor]:
        loss, logits = self.classify(self.network(batch.features), batch.labels, batch.progress)
        updater.step("main", loss)
        return {"loss": loss.detach(), "accuracy": (logits.argmax(1) == batch.labels).float().mean()}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": self._optimizer.build(self.network, self.head)}
