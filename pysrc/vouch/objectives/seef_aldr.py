"""SEEF-ALDR: the identity in one embedding, all else in another, by adversarial learning of disentangled
representations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.nn.reconstruction import ChunkDecoder
from vouch.objectives.base import Batch, Optimizer
from vouch.objectives.danse import reverse_gradient
from vouch.objectives.metric import whole_batch
from vouch.objectives.supervised import SpeakerClassifier
from vouch.objectives.updates import Updater

_REST = ("encoder", "random", "none")
_ADVERSARIES = ("uniform", "alternating", "reversal")


@dataclass
class DecoderOptions:
    """The `decoder` entry: channels and frames of the first picture of vouch.nn.reconstruction.ChunkDecoder."""

    channels: int = 64
    frames: int = 5


@dataclass
class AdversaryOptions:
    """The `adversary` entry: hidden_dim and hidden_layers of the classifier that looks for the speaker in the
    eliminated embedding."""

    hidden_dim: int = 256
    hidden_layers: int = 1


class SeefAldr(SpeakerClassifier):
    """A purifying encoder E_p and an eliminating encoder E_e of the same structure, a decoder D_r, two classifiers.

    L_s      the speakers' loss of E_p's embedding, by the head                       moves E_p and the head
    L_rec    mean over frames and bins of (x - D_r(E_p(x), E_e(x)))^2                 moves E_p, E_e and D_r
    L_adv^s  cross entropy of a speaker classifier on E_e's embedding                 moves that classifier only
    L_adv^e  how much that classifier still knows, which E_e is to make it forget     moves E_e only

    Source: SEEF-ALDR (1912.02608, ACSAC 2020) has these parts and losses; its equations 1 to 8, weights and schedule
    are not public to us. `adversary_form` says which reading this is; none is to be taken for the paper's:
    uniform      L_adv^e is the cross entropy of the classifier's outputs to the uniform distribution, as in D2AE (CVPR
                 2018); the classifier learns in every step, on embeddings that are held fixed.
    alternating  the same, but the classifier learns in one step and E_e is pushed in the next.
    reversal     no uniform distribution: E_e ascends L_adv^s, by gradient reversal (Ganin & Lempitsky, 1409.7495).
    Ours, too: E_e's embedding is standardised over the batch and then a direction, of length sqrt(embedding_dim)
    (vouch.nn.embedding.UnitEmbeddingNetwork), and the classifier sees it with mean 0 and variance 1 over the batch
    (that of all processes). So neither shrinking it nor a constant helps E_e. (Without a fixed length a few embeddings
    far out help: beside them the variance leaves the classifier, and a linear probe, nothing of the others, while the
    decoder reads them as before. With the length alone, E_e over a ResNet-34 came to one direction for all chunks
    within 200 batches, by one seed of five, and stayed there: the decoder did not see what the classifier saw
    enlarged.) What is left to E_e are directions of little variance between dims that go together, which the
    classifier learns slowly: that it is fooled does not show that the speaker is gone; `vouch probe`, which whitens,
    tells.

    And `time_parts`: with 1 E_e has E_p's structure, as in the paper. A pooling over the whole chunk, though, hides the
    order of its frames, and of mean-normalised features little else is left for D_r to rebuild; with N above 1 E_e
    pools over N equal parts of the time (vouch.nn.pooling.PoolingInParts), so that its embedding tells what is when.

    The ablations of the paper's table 5: `rest` random (a random vector in E_e's place) or none (D_r sees E_p alone);
    loss_adv_s false leaves L_adv^s out, loss_adv_e false L_adv^e. `embedding` is what the system is scored by:
    purified, or eliminated.

    Arguments: network (E_p), second_network (E_e; with another `rest` neither it nor the adversary is built, and their
    keys have no meaning), head, optimizer (of encoders, head and decoder), adversary_optimizer, adversary, decoder,
    feature_dim, num_speakers, time_parts, reconstruction_weight, adversarial_weight (of L_adv^e).
    """

    def __init__(
        self,
        network: nn.Module,
        head: nn.Module,
        second_network: nn.Module,
        feature_dim: int,
        num_speakers: int,
        optimizer: Optimizer,
        adversary_optimizer: Optimizer,
        adversary: AdversaryOptions,
        decoder: DecoderOptions,
        adversary_form: str = "uniform",
        rest: str = "encoder",
        loss_adv_s: bool = True,
        loss_adv_e: bool = True,
        embedding: str = "purified",
        time_parts: int = 1,
        reconstruction_weight: float = 1.0,
        adversarial_weight: float = 1.0,
    ) -> None:
        super().__init__(network, head)
        if adversary_form not in _ADVERSARIES:
            raise ValueError(f"adversary_form wants {', '.join(_ADVERSARIES)}, not '{adversary_form}'")
        if rest not in _REST:
            raise ValueError(f"rest wants {', '.join(_REST)}, not '{rest}'")
        if embedding not in ("purified", "eliminated") or (embedding == "eliminated" and rest != "encoder"):
            raise ValueError("embedding wants purified, or, with rest encoder, eliminated")
        if time_parts < 1:
            raise ValueError(f"time_parts wants 1 or more, not {time_parts}")
        if adversary.hidden_layers < 0:
            raise ValueError(f"hidden_layers wants 0 or more, not {adversary.hidden_layers}")
        if reconstruction_weight < 0 or adversarial_weight < 0:
            raise ValueError("reconstruction_weight and adversarial_weight want 0 or more")
        if adversary_form == "reversal" and loss_adv_s != loss_adv_e:
            raise ValueError("with adversary_form reversal loss_adv_s and loss_adv_e are one loss; set them alike")
        dim, device = network.embedding_dim, network.embedding.weight.device
        self.eliminating = second_network if rest == "encoder" else None
        self.decoder = ChunkDecoder(dim if rest == "none" else 2 * dim, feature_dim, decoder.channels, decoder.frames)
        self.decoder.to(device)
        self.adversary = None if self.eliminating is None else _classifier(dim, adversary, num_speakers).to(device)
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64, device=device))  # of the alternating form
        self._form, self._rest, self._embedding = adversary_form, rest, embedding
        self._loss_adv_s, self._loss_adv_e = loss_adv_s, loss_adv_e
        self._weights = reconstruction_weight, adversarial_weight
        self._optimizer, self._adversary_optimizer = optimizer, adversary_optimizer

    def compiled(self) -> Iterable[nn.Module]:
        encoders = [self.network] if self.eliminating is None else [self.network, self.eliminating]
        return [*(part for own in encoders for part in (own.backbone, own.pooling)), self.head, self.decoder]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        modules = [self.network, self.head, self.decoder, *([] if self.eliminating is None else [self.eliminating])]
        built = {"encoders": self._optimizer.build(*modules)}
        if self._plays and self._loss_adv_s:
            built["adversary"] = self._adversary_optimizer.build(self.adversary)
        return built

    @property
    def _plays(self) -> bool:
        return self.eliminating is not None and (self._loss_adv_s or self._loss_adv_e)

    def encode(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, dims), lengths (batch,) or None -> the purified embedding (batch, embedding_dim),
        and the eliminated one, where there is an encoder of it."""
        purified = self.network.embed(features, lengths)
        return purified, None if self.eliminating is None else self.eliminating.embed(features, lengths)

    def reconstruct(self, purified: Tensor, rest: Tensor | None, frames: int) -> Tensor:
        """Both embeddings (batch, embedding_dim) -> features (batch, frames, dims), in 32 bits."""
        if self._rest == "random":
            rest = torch.randn_like(purified)
        both = purified if rest is None else torch.cat([purified, rest], 1)
        return self.decoder(both, frames).float()

    def update(self, batch: Batch, updater: Updater) -> dict[str, Tensor]:
        purified, rest = self.encode(batch.features, None)
        loss, logits = self.classify(self.network.segment(purified), batch.labels, batch.progress)
        rebuilt = self.reconstruct(purified, rest, batch.features.shape[1])
        error = (rebuilt - batch.features.float()).square().mean()
        total = loss + self._weights[0] * error
        figures = {"loss": loss.detach(), "reconstruction_loss": error.detach()}
        figures["accuracy"] = (logits.argmax(1) == batch.labels).float().mean()
        movers = ["encoders"]
        if rest is not None:
            pushed, game = self._play(rest, batch.labels, updater)
            total = total + pushed
            figures |= game
            if self._form == "reversal" and self._plays:
                movers.append("adversary")
        updater.step("encoders", total, *movers)
        return figures

    def _play(self, rest: Tensor, labels: Tensor, updater: Updater) -> tuple[Tensor, dict[str, Tensor]]:
        """What the encoders' loss has of the game, and its figures; the adversary has learnt, where it was its turn."""
        rest, labels = whole_batch(rest.float(), labels)
        if self._form == "reversal":
            logits = self._speakers_of(reverse_gradient(rest, self._weights[1]))
            lost = functional.cross_entropy(logits, labels)
            return lost * self._plays, _figures(lost, logits, labels)
        learns, pushes = self._loss_adv_s, self._loss_adv_e
        if self._form == "alternating":
            learns, pushes = learns and not self.turn % 2, pushes and bool(self.turn % 2)
            if updater.last:
                self.turn += 1
        if learns:
            updater.step("adversary", functional.cross_entropy(self._speakers_of(rest.detach()), labels))
        logits = self._speakers_of(rest)
        uniform = (torch.logsumexp(logits, 1) - logits.mean(1)).mean()
        lost = functional.cross_entropy(logits.detach(), labels)
        return uniform * (self._weights[1] if pushes else 0.0), _figures(lost, logits, labels)

    def _speakers_of(self, rest: Tensor) -> Tensor:
        """Eliminated embeddings (batch, embedding_dim) -> the adversary's logits (batch, speakers), in 32 bits."""
        with torch.autocast(rest.device.type, enabled=False):
            return self.adversary(functional.batch_norm(rest.float(), None, None, training=True))

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        encoder = self.network if self._embedding == "purified" else self.eliminating
        return encoder.embed(features, lengths)


def _classifier(dim: int, options: AdversaryOptions, num_speakers: int) -> nn.Sequential:
    """Embeddings (batch, dim) -> logits (batch, num_speakers), through hidden layers with rectifiers."""
    widths = [dim, *[options.hidden_dim] * options.hidden_layers]
    hidden = [layer for width, following in pairwise(widths) for layer in (nn.Linear(width, following), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], num_speakers))


def _figures(lost: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    accuracy = (logits.argmax(1) == labels).float().mean()
    return {"adversary_loss": lost.detach(), "adversary_accuracy": accuracy}
