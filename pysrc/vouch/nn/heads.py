"""Classifier heads: from the last hidden vector to the logits and the loss over training speakers.

`head(hidden, labels, progress)`: hidden (batch, dims), labels (batch,), progress in [0, 1] = the share of the
training done -> (loss, logits (batch, speakers)); the logits are those without a margin, for the accuracy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Softmax(nn.Module):
    """Affine layer and cross entropy. Snyder et al. 2018.

    Arguments: in_dim (dims of the hidden vector), num_speakers.
    """

    def __init__(self, in_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.output = nn.Linear(in_dim, num_speakers)

    def forward(self, hidden: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        logits = self.output(hidden)
        return functional.cross_entropy(logits, labels), logits


class AMSoftmax(nn.Module):
    """Additive-margin softmax: cross entropy on s (cos_y - m) for the true speaker and s cos_j for the others.

    Source: Wang et al. 2018 (1801.05599), equation 6. The margin grows linearly from 0 to m over the first
    `margin_ramp` of the training (ours: training from scratch with the full margin stalls on small corpora).

    Arguments: in_dim, num_speakers, scale (s), margin (m, in cosine), margin_ramp (share of the training).
    """

    def __init__(
        self,
        in_dim: int,
        num_speakers: int,
        scale: float = 30.0,
        margin: float = 0.2,
        margin_ramp: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale, self.margin, self.margin_ramp = scale, margin, margin_ramp
        self.weight = nn.Parameter(torch.empty(num_speakers, in_dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, hidden: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        cosines = functional.linear(functional.normalize(hidden), functional.normalize(self.weight))
        margin = self.margin * min(1.0, progress / self.margin_ramp) if self.margin_ramp > 0 else self.margin
        true_speaker = functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
        loss = functional.cross_entropy(self.scale * (cosines - margin * true_speaker), labels)
        return loss, self.scale * cosines
