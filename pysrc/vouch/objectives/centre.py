"""Cross entropy and the cosine to the centre of the speaker, together."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.objectives.base import Batch, Optimizer
from vouch.objectives.supervised import SpeakerClassifier
from vouch.objectives.updates import Updater


class JointCentre(SpeakerClassifier):
    """Classify the training speakers, and draw every embedding into the direction of its speaker's centre.

    L = mean over the batch of CE(y_i, s_i) + weight (1 - cos(z_i, c_{y_i})), z the embedding. Source: Thoidis et al.,
    ICASSP 2023, of which we know that the cosine distance to the own centre is a penalty beside the cross entropy and
    that the centres are learnt by SGD with a rate of 0.01. The formula is inferred: whether the penalty has a weight or
    is divided by numbers of speakers or dims is not known (weight 1 here). Ours, too: the centres have unit length and
    random directions at the start, and the learning rate of the centres follows the training's schedule. With the mean
    over the batch a chunk turns its centre by at most rate * weight / batch size radians (1.6e-4 at 0.01, 1, 64): the
    centres stay near their random directions, and it is the embeddings that move.

    Arguments: network (vouch.nn.embedding), head (vouch.nn.heads), optimizer (of both), centre_optimizer, num_speakers,
    weight.
    """

    def __init__(
        self,
        network: nn.Module,
        head: nn.Module,
        optimizer: Optimizer,
        centre_optimizer: Optimizer,
        num_speakers: int,
        weight: float = 1.0,
    ) -> None:
        super().__init__(network, head)
        if weight < 0:
            raise ValueError(f"weight {weight} of the centres, want 0 or more")
        self.centres = nn.Embedding(num_speakers, network.embedding_dim)
        with torch.no_grad():
            self.centres.weight.copy_(functional.normalize(self.centres.weight))
        self.centres.to(network.embedding.weight.device)
        self.weight, self._optimizer, self._centre_optimizer = weight, optimizer, centre_optimizer

    def update(self, batch: Batch, updater: Updater) -> dict[str, Tensor]:
        embedding = self.network.embed(batch.features, None)
        speaker_loss, logits = self.classify(self.network.segment(embedding), batch.labels, batch.progress)
        distance = 1 - functional.cosine_similarity(embedding.float(), self.centres(batch.labels))
        loss = speaker_loss + self.weight * distance.mean()
        updater.step("main", loss, "main", "centres")
        return {
            "loss": loss.detach(),
            "accuracy": (logits.argmax(1) == batch.labels).float().mean(),
            "speaker_loss": speaker_loss.detach(),
            "centre_distance": distance.detach().mean(),
        }

    def compiled(self) -> Iterable[nn.Module]:
        return self.network.backbone, self.network.pooling, self.head

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            "main": self._optimizer.build(self.network, self.head),
            "centres": self._centre_optimizer.build(self.centres),
        }
