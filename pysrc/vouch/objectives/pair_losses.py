"""Metric losses of pairs and triplets of chunks, as vouch.objectives.metric_losses has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.objectives.metric_losses import speakers_of

_SMALLEST_SQUARE = 1e-12  # under the square root: keeps the gradient of a distance of 0 finite


class Triplet(nn.Module):
    """Triplet loss on unit vectors: mean over all pairs (anchor, positive) of max(0, D_ap^2 - D_an^2 + margin).

    Each pair has one negative n of all other speakers' chunks. mining hard: the nearest to the anchor; semi_hard: the
    nearest of those that are further from the anchor than the positive, and the furthest of all where none is (ours,
    left open there). Source: Schroff et al. 2015 (1503.03832), equation 3 and section 3.2; hard: the negative of
    Hermans et al. 2017 (1703.07737), equation 5, but with every positive of the anchor, not only its furthest one, and
    squared distances. Accuracy: of pairs whose positive is nearer than any negative.

    Arguments: margin (of squared distances, which go up to 4), mining (hard or semi_hard).
    """

    def __init__(self, margin: float = 0.2, mining: str = "semi_hard") -> None:
        super().__init__()
        if not 0 < margin < 4:
            raise ValueError(f"margin {margin} of the loss, want above 0 and below 4")
        if mining not in ("hard", "semi_hard"):
            raise ValueError(f"mining '{mining}', want hard or semi_hard")
        self.margin, self.mining = margin, mining

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        squares, positive, negative = _pairs(embeddings, labels)
        nearest = squares.masked_fill(~negative, float("inf")).amin(1, keepdim=True)
        chosen = nearest if self.mining == "hard" else _semi_hard(squares, negative)
        losses = functional.relu(squares - chosen + self.margin)
        return _mean_of(losses, positive), _mean_of((squares < nearest).to(squares.dtype), positive)


class Contrastive(nn.Module):
    """Contrastive loss: pairs of one speaker are drawn together, pairs of two pushed apart up to a margin.

    L = 1/2 mean over pairs of one speaker of D^2 + 1/2 mean over chunks of max(0, margin - D_n)^2, where D_n is the
    distance to the nearest chunk of another speaker. Source: Hadsell et al. 2006, equation 4; ours: unit vectors, the
    hardest negative of each chunk alone, the same weight for both means. Accuracy: as Triplet.

    Arguments: margin (of distances, which go up to 2).
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        if not 0 < margin < 2:
            raise ValueError(f"margin {margin} of the loss, want above 0 and below 2")
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        squares, positive, negative = _pairs(embeddings, labels)
        nearest = squares.masked_fill(~negative, float("inf")).amin(1)
        missing = functional.relu(self.margin - nearest.clamp(min=_SMALLEST_SQUARE).sqrt())
        accuracy = _mean_of((squares < nearest[:, None]).to(squares.dtype), positive)
        return 0.5 * (_mean_of(squares, positive) + missing.square().mean()), accuracy


def _pairs(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared distances of the unit vectors (batch, batch), which pairs are two chunks of one speaker, and which are of
    two speakers."""
    speakers, _ = speakers_of(labels)
    unit = functional.normalize(embeddings)
    same = speakers[:, None] == speakers
    positive = same.clone().fill_diagonal_(False)
    return (2 - 2 * unit @ unit.T).clamp(min=0), positive, ~same


def _semi_hard(squares: Tensor, negative: Tensor) -> Tensor:
    """D_an^2 (batch, batch) of each anchor (row) and positive (column), by the mining semi_hard."""
    ascending = squares.masked_fill(~negative, float("inf")).sort(1).values
    place = torch.searchsorted(ascending.detach(), squares.detach(), right=True)
    return ascending.gather(1, torch.minimum(place, negative.sum(1, keepdim=True) - 1))


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum()
