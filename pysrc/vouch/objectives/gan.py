"""Speaker embeddings by adversarial games: updates of the embedding network and of the discriminator alternate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.nn.discriminator import Discriminator
from vouch.objectives.adversarial import Adversarial, DiscriminatorOptions
from vouch.objectives.base import Batch, Optimizer
from vouch.objectives.domain_losses import DOMAIN_LOSSES
from vouch.objectives.updates import Updater

_UPDATES = ("task", "adversarial", "discriminator")
_SPEAKER_HEADS = ("source", "both")


class Gan(Adversarial):
    """E and D play a game of three updates a step: E and C descend the task loss; E alone descends its adversarial
    loss, with D as it is; D alone descends its own, with E as it is.

    Losses (vouch.objectives.domain_losses): vanilla, least_squares (LSGAN), relativistic, relativistic_average
    (RelGAN), and auxiliary (AuxGAN, Odena et al. 2017, 1610.09585): D also says which of the source's speakers it
    sees. With L_s = mean log P(source | x_s) + mean log P(target | x_t) and L_c = mean log P(speaker | x_s), D ascends
    L_s + L_c. Of `speaker_head: source`, for the target has no labels, E descends -mean log P(source | x_t) - L_c;
    of `speaker_head: both` it is the original objective: L_c has mean log P(c | x_t), too, c being what the
    classifier C makes of x_t (ours: some class must stand for the unknown one), and E descends L_s - L_c.

    Source: Bhattacharya et al., 1811.03063. Left open there: where D's update stands (`order`; here last), how many
    there are (`discriminator_steps`, all on the same batch; here one), the weight of the adversarial loss (1), whether
    RelGAN is plain or average, and the form of AuxGAN. Both updates of E are by one optimizer, which keeps one set of
    moments and decays the weights twice a step. The average form of RelGAN compares with means over a part of the
    batch, so that it depends a little on training.accumulate and on the number of processes.

    Arguments: as Adversarial's; loss, order (the names task, adversarial, discriminator), discriminator_steps,
    speaker_head (of loss auxiliary).
    """

    def __init__(
        self,
        network: nn.Module,
        head: nn.Module,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        discriminator: DiscriminatorOptions,
        num_speakers: int,
        loss: str = "vanilla",
        weight: float = 1.0,
        weight_schedule: str = "constant",
        pretraining: float = 0.3,
        order: str = "task adversarial discriminator",
        discriminator_steps: int = 1,
        speaker_head: str = "source",
    ) -> None:
        if loss not in (*DOMAIN_LOSSES, "auxiliary"):
            raise ValueError(f"loss '{loss}', want {', '.join(DOMAIN_LOSSES)} or auxiliary")
        if sorted(order.split()) != sorted(_UPDATES) or discriminator_steps < 1:
            raise ValueError(f"order wants {', '.join(_UPDATES)} once each, discriminator_steps 1 or more")
        if speaker_head not in _SPEAKER_HEADS:
            raise ValueError(f"speaker_head '{speaker_head}', want source or both")
        critic = Discriminator(
            network.trunk_dim,
            discriminator.hidden_dim,
            discriminator.hidden_layers,
            num_speakers if loss == "auxiliary" else 0,
        )
        critic.to(network.embedding.weight.device)
        super().__init__(
            network, head, optimizer, discriminator_optimizer, critic, weight, weight_schedule, pretraining
        )
        self._auxiliary, self._both = loss == "auxiliary", speaker_head == "both"
        self._loss = DOMAIN_LOSSES["vanilla" if self._auxiliary else loss]
        self._order, self._steps = order.split(), discriminator_steps

    def play(self, batch: Batch, updater: Updater, progress: float, weight: float) -> dict[str, Tensor]:
        figures: dict[str, Tensor] = {}
        for name in self._order:
            if name == "task":
                figures.update(self._task(batch, updater, progress))
            elif name == "adversarial":
                figures.update(self._adversarial(batch, updater, weight))
            else:
                figures.update(self._discriminator(batch, updater))
        return figures

    def _adversarial(self, batch: Batch, updater: Updater, weight: float) -> dict[str, Tensor]:
        loss = self.embedding_loss(*self.domains(batch), batch.labels)
        updater.step("adversarial", weight * loss, "embedding")
        return {"adversarial_loss": loss.detach()}

    def _discriminator(self, batch: Batch, updater: Updater) -> dict[str, Tensor]:
        with torch.no_grad():
            source, target = self.domains(batch)
        figures: dict[str, Tensor] = {}
        for step in range(self._steps):
            loss, accuracy = self.discriminator_loss(source, target, batch.labels)
            updater.step(f"discriminator {step + 1}" if step else "discriminator", loss, "discriminator")
            figures = figures or {"discriminator_loss": loss.detach(), "discriminator_accuracy": accuracy}
        return figures

    def discriminator_loss(self, source: Tensor, target: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What D descends, of E's output (batch, trunk_dim) and (target_batch, trunk_dim), and its accuracy."""
        logits, speakers = self._judge(source, target)
        loss = self._loss.discriminator(*logits)
        if self._auxiliary:
            loss = loss - self._speaker_likelihood(speakers, target, labels)
        return loss, self._loss.accuracy(*logits).detach()

    def embedding_loss(self, source: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """What E descends, of the same."""
        logits, speakers = self._judge(source, target)
        if not self._auxiliary:
            return self._loss.embedding(*logits)
        likelihood = self._speaker_likelihood(speakers, target, labels)
        if self._both:
            return -self._loss.discriminator(*logits) - likelihood
        return self._loss.embedding(*logits) - likelihood

    def _judge(self, source: Tensor, target: Tensor) -> tuple[list[Tensor], list[Tensor] | None]:
        """D's domain logits of source and target, and its speaker logits of both."""
        sizes = [len(source), len(target)]
        logits, speakers = self.discriminator(torch.cat([source, target]))
        return list(logits.float().split(sizes)), None if speakers is None else list(speakers.float().split(sizes))

    def _speaker_likelihood(self, speakers: list[Tensor] | None, target: Tensor, labels: Tensor) -> Tensor:
        """L_c."""
        assert speakers is not None
        likelihood = -functional.cross_entropy(speakers[0], labels)
        if not self._both:
            return likelihood
        segment = self.network.segment
        training = segment.training
        segment.eval()  # its statistics are those of the source
        with torch.no_grad():
            hidden = segment(self.network.embedding(target))
            _, logits = self.classify(hidden, torch.zeros(len(target), dtype=torch.long, device=target.device), 1.0)
        segment.train(training)
        return likelihood - functional.cross_entropy(speakers[1], logits.argmax(1))
