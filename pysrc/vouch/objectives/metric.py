"""Metric objectives: the chunks of a batch are compared with each other, without a classifier."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional

from vouch.objectives.base import Batch, Objective, Optimizer
from vouch.objectives.updates import Updater


class Metric(Objective):
    """The embedding network, trained by a loss that compares the embeddings of a batch of P speakers, K chunks each.

    The embedding is what the loss sees, as the cosine backend does. Where several processes share a batch, each
    computes the loss of the whole batch, from the embeddings of all. The losses are computed in 32 bits.

    Arguments: network (vouch.nn.embedding), loss (vouch.objectives.metric_losses), optimizer (also of what the loss
    itself trains).
    """

    wants_groups = True
    classifies = False

    def __init__(self, network: nn.Module, loss: nn.Module, optimizer: Optimizer) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self._optimizer = optimizer

    def update(self, batch: Batch, updater: Updater) -> dict[str, Tensor]:
        own = self.network.embed(batch.features, None)
        with torch.autocast(own.device.type, enabled=False):
            embeddings, labels = whole_batch(own.float(), batch.labels)
            loss, accuracy = self.loss(embeddings, labels)
        updater.step("main", loss)
        spread = functional.normalize(embeddings.detach()).std(0, unbiased=False).norm()
        return {"loss": loss.detach(), "accuracy": accuracy.detach(), "spread": spread}

    def evaluate(self, features: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.network.embed(features, lengths), {}

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        return self.network.embed(features, lengths)

    def compiled(self) -> Iterable[nn.Module]:
        return self.network.backbone, self.network.pooling

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": self._optimizer.build(self.network, self.loss)}


def whole_batch(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (own, dims) and labels (own,) of this process -> those of all processes, in the order of the ranks.

    The gradient of an embedding is the sum of what the losses of all processes say about it. The Updater weights the
    loss of each process by its share of the batch, and the shares add up to one: with the same loss in every process,
    the sum of the processes' gradients is the gradient of that loss, once.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return embeddings, labels
    counts = [torch.zeros(1, dtype=torch.long, device=labels.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.full_like(counts[0], len(labels)))
    sizes, rank = torch.cat(counts).tolist(), distributed.get_rank()
    before, behind = sum(sizes[:rank]), sum(sizes[rank + 1 :])
    everyone = functional.pad(labels, (before, behind))
    distributed.all_reduce(everyone)
    return all_reduce(functional.pad(embeddings, (0, 0, before, behind))), everyone
