"""Gradient reversal: one loss for all networks, whose gradient the embedding network sees reversed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vouch.nn.discriminator import Discriminator
from vouch.objectives.adversarial import Adversarial, DiscriminatorOptions
from vouch.objectives.base import Batch, Optimizer
from vouch.objectives.domain_losses import DOMAIN_LOSSES
from vouch.objectives.updates import Updater


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


def reverse_gradient(values: Tensor, weight: float) -> Tensor:
    """The values; their gradient is multiplied by -weight. Ganin & Lempitsky (1409.7495), equations 7 and 8."""
    return _Reversal.apply(values, weight)


class Danse(Adversarial):
    """Domain-adversarial neural speaker embeddings: E descends the task loss and ascends the discriminator's.

    One update a step: C and D descend L_task and L_D; E descends L_task - weight L_D, by gradient reversal.
    L_D = -mean log D(E(x_s)) - mean log(1 - D(E(x_t))). Source: Bhattacharya et al., 1811.03055 (L_advE = -L_advD).

    Arguments: as Adversarial's.
    """

    def __init__(
        self,
        network: nn.Module,
        head: nn.Module,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        discriminator: DiscriminatorOptions,
        weight: float = 1.0,
        weight_schedule: str = "sigmoid",
        pretraining: float = 0.3,
    ) -> None:
        critic = Discriminator(network.trunk_dim, discriminator.hidden_dim, discriminator.hidden_layers)
        critic.to(network.embedding.weight.device)
        super().__init__(
            network, head, optimizer, discriminator_optimizer, critic, weight, weight_schedule, pretraining
        )

    def play(self, batch: Batch, updater: Updater, progress: float, weight: float) -> dict[str, Tensor]:
        source, target = self.domains(batch)
        loss, figures = self.task_loss(source, batch, progress)
        reversed_logits, _ = self.discriminator(reverse_gradient(torch.cat([source, target]), weight))
        logits = reversed_logits.float().split([len(source), len(target)])
        game = DOMAIN_LOSSES["vanilla"]
        domain_loss = game.discriminator(*logits)
        updater.step("task and domain", loss + domain_loss, "embedding", "classifier", "discriminator")
        return {
            **figures,
            "discriminator_loss": domain_loss.detach(),
            "discriminator_accuracy": game.accuracy(*logits).detach(),
            "adversarial_loss": -domain_loss.detach(),
        }
