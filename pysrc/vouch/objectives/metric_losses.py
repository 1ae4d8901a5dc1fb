"""Losses that compare the embeddings of a batch with each other: no classifier, no weights of training speakers.

`loss(embeddings, labels)`: embeddings (batch, dims), labels (batch,) -> (loss, accuracy), scalars. The labels say which
chunks are one speaker's; a batch wants two speakers or more, and two chunks or more of each, or it is a ValueError. The
order of the batch has no effect, but for the prototypical losses, whose query is the last chunk of each speaker.

Losses are means where a source has a sum, so that learning rates do not depend on the size of the batch. What
`accuracy` is of stands at each: 1 where every comparison that the loss makes comes out right, before any margin.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SMALLEST_SCALE = 1e-6  # w stays above 0, and can grow again


class _Scaled(nn.Module):
    """Has the scale w > 0 of cosines, which is trained, and is set back to 1e-6 where a step has made it smaller.

    Arguments: scale (w at the start), gradient_factor (the gradient of what the loss itself trains is multiplied by
    it; 0.01 in Wan et al., section 3.2, 1 here. AdamW and RMSprop, whose steps do not depend on the size of a
    gradient, take as large steps with one factor as with another).
    """

    def __init__(self, scale: float, gradient_factor: float) -> None:
        super().__init__()
        if not (scale > 0 and gradient_factor >= 0):
            raise ValueError(
                f"scale {scale} and gradient_factor {gradient_factor} of the loss, want above 0, and 0 or more"
            )
        self.scale, self.gradient_factor = nn.Parameter(torch.tensor(scale)), gradient_factor

    def slowed(self, parameter: Tensor) -> Tensor:
        """The parameter as it is; its gradient is multiplied by gradient_factor."""
        return torch.lerp(parameter.detach(), parameter, self.gradient_factor)

    @torch.no_grad()
    def constrain(self) -> None:
        """After every step of the optimizer, see vouch.nn.constraints."""
        self.scale.clamp_(min=_SMALLEST_SCALE)


class GE2ESoftmax(_Scaled):
    """Generalised end-to-end loss, softmax form: every chunk against the centroids of all speakers.

    L = mean over j, i of -S_{ji,j} + log sum_k exp S_{ji,k}, S_{ji,k} = w cos(e_ji, c_k) + b. The centroid of the own
    speaker is made of its other chunks. Source: Wan et al. (1710.10467), equations 1, 5, 6, 8 and 9; b has no effect
    in a softmax and is left out. Accuracy: of chunks whose nearest centroid is their own speaker's.

    Arguments: scale, gradient_factor.
    """

    def __init__(self, scale: float = 10.0, gradient_factor: float = 1.0) -> None:
        super().__init__(scale, gradient_factor)

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        cosines, speakers = _centroid_cosines(embeddings, labels)
        return _classified(self.slowed(self.scale) * cosines, speakers)


class GE2EContrast(_Scaled):
    """Generalised end-to-end loss, contrast form: every chunk against its own centroid and the nearest of the others.

    L = mean over j, i of 1 - sigma(S_{ji,j}) + max over k != j of sigma(S_{ji,k}), with S of GE2ESoftmax and b.
    Source: Wan et al. (1710.10467), equations 5, 7, 8 and 9. Accuracy: as GE2ESoftmax.

    Arguments: scale (w), offset (b), gradient_factor (of both).
    """

    def __init__(self, scale: float = 10.0, offset: float = -5.0, gradient_factor: float = 1.0) -> None:
        super().__init__(scale, gradient_factor)
        self.offset = nn.Parameter(torch.tensor(offset))

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        cosines, speakers = _centroid_cosines(embeddings, labels)
        similarities = self.slowed(self.scale) * cosines + self.slowed(self.offset)
        own = similarities.gather(1, speakers[:, None])[:, 0]
        is_own = functional.one_hot(speakers, similarities.shape[1]).bool()
        rival = similarities.masked_fill(is_own, float("-inf")).amax(1)
        return (1 - own.sigmoid() + rival.sigmoid()).mean(), (own > rival).to(own.dtype).mean()


class Prototypical(nn.Module):
    """Prototypical loss: the last chunk of each speaker, the query, against the means of the others' remaining chunks.

    S_{j,k} = -|q_j - c_k|^2, L = mean over j of -S_{j,j} + log sum_k exp S_{j,k}; embeddings have their own lengths.
    Source: Snell et al. 2017 (1703.05175), equation 2; Chung et al. (2003.11982), section 2.2. Accuracy: of queries
    whose nearest prototype is their own speaker's.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        queries, prototypes = _queries(embeddings, labels)
        distances = torch.cdist(queries, prototypes, compute_mode="donot_use_mm_for_euclid_dist")
        return _classified(-distances.square(), torch.arange(len(queries), device=queries.device))


class AngularPrototypical(_Scaled):
    """Prototypical loss with S_{j,k} = w cos(q_j, c_k) + b. Chung et al. (2003.11982), section 2.2.

    The prototype is the mean of embeddings as they are, not of unit length. b has no effect in a softmax and is left
    out. Accuracy: as Prototypical.

    Arguments: scale, gradient_factor.
    """

    def __init__(self, scale: float = 10.0, gradient_factor: float = 1.0) -> None:
        super().__init__(scale, gradient_factor)

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        queries, prototypes = _queries(embeddings, labels)
        cosines = functional.normalize(queries) @ functional.normalize(prototypes).T
        return _classified(self.slowed(self.scale) * cosines, torch.arange(len(queries), device=queries.device))


def speakers_of(labels: Tensor) -> tuple[Tensor, int]:
    """Labels (batch,) -> the number of each chunk's speaker in the batch (batch,), and how many speakers there are.

    Raises ValueError where they are fewer than two, or one has fewer than two chunks."""
    _, speakers, counts = labels.unique(return_inverse=True, return_counts=True)
    if len(counts) < 2 or counts.min() < 2:
        raise ValueError(
            "a metric loss wants two speakers or more in a batch, and two chunks or more of each; use "
            "training.sampler speaker_balanced"
        )
    return speakers, len(counts)


def _centroid_cosines(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """cos(e_ji, c_k) (batch, speakers), for the own speaker with the centroid of the other chunks, and the number of
    each chunk's own speaker (batch,). The sums have the directions of the means."""
    speakers, number = speakers_of(labels)
    unit = functional.normalize(embeddings)
    belongs = functional.one_hot(speakers, number).to(unit.dtype)
    sums = belongs.T @ unit
    others = functional.normalize(belongs @ sums - unit)  # of the same speaker
    own = (unit * others).sum(1, keepdim=True)
    return torch.where(belongs.bool(), own, unit @ functional.normalize(sums).T), speakers


def _queries(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The last chunk of each speaker (speakers, dims), and the mean of its others (speakers, dims)."""
    speakers, number = speakers_of(labels)
    belongs = functional.one_hot(speakers, number)
    last = (belongs * torch.arange(1, len(labels) + 1, device=labels.device)[:, None]).argmax(0)
    rest = belongs.index_fill(0, last, 0).to(embeddings.dtype)
    return embeddings[last], rest.T @ embeddings / rest.sum(0)[:, None]


def _classified(logits: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    return functional.cross_entropy(logits, own), (logits.argmax(1) == own).to(logits.dtype).mean()
