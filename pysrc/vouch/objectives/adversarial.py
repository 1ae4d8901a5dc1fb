"""What the domain-adversarial objectives have in common: networks, optimizers, the task, what is watched."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.nn.discriminator import Discriminator
from vouch.objectives.base import Batch, Optimizer
from vouch.objectives.supervised import SpeakerClassifier
from vouch.objectives.updates import Updater


@dataclass
class DiscriminatorOptions:
    """The `discriminator` entry: hidden_dim and hidden_layers of the network that tells the domains apart."""

    hidden_dim: int = 256
    hidden_layers: int = 2


class Adversarial(SpeakerClassifier):
    """Speaker embeddings whose domain a discriminator cannot tell.

    Three networks. E, the embedding network up to its trunk, is what the adversary works on; the classifier C is the
    embedding layer (64 dims in the papers, the embedding that is scored), what follows it, and the head; the
    discriminator D sees E's output. E and C have optimizers of one kind (SGD, 0.001 in the papers), D its own
    (RMSprop, 0.003).

    Source: Bhattacharya et al., 1811.03055 and 1811.03063. Left open there, and our choice: E sees the source's and the
    target's chunks as one batch in every update, so that batch normalisation has statistics of both, as at test; the
    pre-training (by cross entropy: the head without its margin, and no adversary) takes a share `pretraining` of the
    training, and margin ramps and the adversary's schedule begin after it; weight (of the adversarial loss), 1;
    weight_schedule, constant, or the sigmoid ramp 2 / (1 + e^(-10 p)) - 1 of Ganin & Lempitsky (1409.7495), section
    3.1, p being the share of the training after the pre-training that is behind.

    With weight 0 the networks do not see the target: this is training on the source alone. It differs from a small
    weight in the statistics of batch normalisation, too. (The domain probe still looks at the held-out target.)
    """

    wants_target = True

    def __init__(
        self,
        network: nn.Module,
        head: nn.Module,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        discriminator: Discriminator,
        weight: float,
        weight_schedule: str,
        pretraining: float,
    ) -> None:
        super().__init__(network, head)
        if weight < 0 or not 0 <= pretraining < 1:
            raise ValueError("weight wants 0 or more, pretraining a share of the training, 0 to below 1")
        if weight_schedule not in ("constant", "sigmoid"):
            raise ValueError(f"weight_schedule '{weight_schedule}', want constant or sigmoid")
        self.discriminator = discriminator
        self.weight, self.weight_schedule, self.pretraining = weight, weight_schedule, pretraining
        self._optimizer, self._discriminator_optimizer = optimizer, discriminator_optimizer

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        network = self.network
        return {
            "embedding": self._optimizer.build(network.backbone, network.pooling, network.norm, network.layers),
            "classifier": self._optimizer.build(network.embedding, network.segment, self.head),
            "discriminator": self._discriminator_optimizer.build(self.discriminator),
        }

    def compiled(self) -> Iterable[nn.Module]:
        return self.network.backbone, self.network.pooling, self.discriminator

    def update(self, batch: Batch, updater: Updater) -> dict[str, Tensor]:
        progress = (batch.progress - self.pretraining) / (1 - self.pretraining)
        if progress < 0 or self.weight == 0:
            return self._task(batch, updater, max(progress, 0.0), plain=progress < 0)
        return self.play(batch, updater, progress, self._weight_at(progress))

    @abstractmethod
    def play(self, batch: Batch, updater: Updater, progress: float, weight: float) -> dict[str, Tensor]:
        """The updates of a step with an adversary; progress in [0, 1) since the pre-training."""

    def _weight_at(self, progress: float) -> float:
        ramp = 2 / (1 + math.exp(-10 * progress)) - 1 if self.weight_schedule == "sigmoid" else 1.0
        return self.weight * ramp

    def _task(self, batch: Batch, updater: Updater, progress: float, plain: bool = False) -> dict[str, Tensor]:
        """Move E and C by the speakers' loss; `plain`: without the head's margin."""
        source, _ = self.domains(batch)
        loss, figures = self.task_loss(source, batch, progress, plain)
        updater.step("task", loss, "embedding", "classifier")
        return figures

    def domains(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """E of the source's chunks (batch, trunk_dim) and of the target's (target_batch, trunk_dim)."""
        if self.weight == 0 or batch.target is None:
            source = self.network.trunk(batch.features, None).float()
            return source, source[:0]
        both = self.network.trunk(torch.cat([batch.features, batch.target]), None).float()
        return both[: len(batch.features)], both[len(batch.features) :]

    def task_loss(
        self, source: Tensor, batch: Batch, progress: float, plain: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The speakers' loss of E's output (batch, trunk_dim), and the figures to log."""
        embedding = self.network.embedding(source)
        loss, logits = self.classify(self.network.segment(embedding), batch.labels, progress)
        if plain:
            loss = functional.cross_entropy(logits, batch.labels)
        spread = functional.normalize(embedding.detach().float()).std(0, unbiased=False).norm()
        accuracy = (logits.argmax(1) == batch.labels).float().mean()
        return loss, {"loss": loss.detach(), "accuracy": accuracy, "spread": spread}
