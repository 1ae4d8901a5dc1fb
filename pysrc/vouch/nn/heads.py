"""Classifier heads: from the last hidden vector to the logits and the loss over training speakers.

`head(hidden, labels, progress)`: hidden (batch, dims), labels (batch,), progress in [0, 1] = the share of the
training done -> (loss, logits (batch, speakers)); the logits are those without a margin, for the accuracy.

Heads with a margin ramp it: over the first `margin_ramp` of the training it grows linearly from 0 (ours: training from
scratch with the full margin stalls on small corpora).
"""

from __future__ import annotations

import math

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


class ASoftmax(nn.Module):
    """Angular softmax (SphereFace): logits |x| psi(theta_y) for the true speaker and |x| cos_j for the others.

    psi(theta) = (-1)^k cos(m theta) - 2 k for theta in [k pi / m, (k + 1) pi / m].
    Source: Liu et al. 2017 (1704.08063), equation 7, and its annealing: the true speaker has
    (lambda cos + psi) / (1 + lambda). lambda falls geometrically from lambda_max to lambda_min over the first
    `margin_ramp` of the training (ours: their code falls with the number of steps, from 1500 to 5), and stays there;
    margin_ramp 0 is lambda_min all the time, and lambda_min 0 the loss without annealing.

    Arguments: in_dim, num_speakers, margin (m, a whole number), lambda_max, lambda_min, margin_ramp.
    """

    def __init__(
        self,
        in_dim: int,
        num_speakers: int,
        margin: int = 4,
        lambda_max: float = 1500.0,
        lambda_min: float = 5.0,
        margin_ramp: float = 0.5,
    ) -> None:
        super().__init__()
        if margin < 1 or not 0 <= lambda_min <= lambda_max or (margin_ramp > 0 and lambda_min == 0):
            raise ValueError("margin wants 1 or more, lambda_min 0 (without a ramp) or more, up to lambda_max")
        _check_ramp(margin_ramp)
        self.margin, self.margin_ramp = margin, margin_ramp
        self.lambda_max, self.lambda_min = lambda_max, lambda_min
        self.weight = _directions(num_speakers, 1, in_dim)

    def forward(self, hidden: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        cosines = _cosines(hidden, self.weight)
        cosine = cosines.gather(1, labels[:, None])
        theta = torch.acos(cosine.clamp(-1 + _EDGE, 1 - _EDGE))
        k = (self.margin * theta.detach() / math.pi).floor()
        psi = (1 - 2 * (k % 2)) * torch.cos(self.margin * theta) - 2 * k
        annealing = self._lambda(progress)
        norms = hidden.norm(dim=1, keepdim=True)
        true_speaker = functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
        shift = (psi - cosine) / (1 + annealing)
        return functional.cross_entropy(norms * (cosines + shift * true_speaker), labels), norms * cosines

    def _lambda(self, progress: float) -> float:
        if self.margin_ramp <= 0 or progress >= self.margin_ramp:
            return self.lambda_min
        return self.lambda_max * (self.lambda_min / self.lambda_max) ** (progress / self.margin_ramp)


class AMSoftmax(nn.Module):
    """Additive-margin softmax: cross entropy on s (cos_y - m) for the true speaker and s cos_j for the others.

    Source: Wang et al. 2018 (1801.05599), equation 6.

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
        _check_margin(scale, margin, 2.0)
        _check_ramp(margin_ramp)
        self.scale, self.margin, self.margin_ramp = scale, margin, margin_ramp
        self.weight = nn.Parameter(torch.empty(num_speakers, in_dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, hidden: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        cosines = functional.linear(functional.normalize(hidden), functional.normalize(self.weight))
        margin = _ramped(self.margin, self.margin_ramp, progress)
        true_speaker = functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
        loss = functional.cross_entropy(self.scale * (cosines - margin * true_speaker), labels)
        return loss, self.scale * cosines


class AAMSoftmax(nn.Module):
    """Additive angular margin softmax (ArcFace): s cos(theta_y + m) for the true speaker, s cos_j for the others.

    Source: Deng et al. 2019 (1801.07698), equation 3; sub-centres: Deng et al. 2020, "Sub-center ArcFace", where a
    speaker has K directions and cos_j is the largest of their K cosines. Where theta + m is above pi, where
    cos(theta + m) would rise again, the true speaker has cos - m sin m, as in the authors' code.

    Arguments: in_dim, num_speakers, scale (s), margin (m, in radians), margin_ramp (share of the training),
    sub_centres (K).
    """

    def __init__(
        self,
        in_dim: int,
        num_speakers: int,
        scale: float = 30.0,
        margin: float = 0.2,
        margin_ramp: float = 0.0,
        sub_centres: int = 1,
    ) -> None:
        super().__init__()
        if sub_centres < 1:
            raise ValueError("sub_centres wants 1 or more")
        _check_margin(scale, margin, math.pi / 2)
        _check_ramp(margin_ramp)
        self.scale, self.margin, self.margin_ramp = scale, margin, margin_ramp
        self.weight = _directions(num_speakers, sub_centres, in_dim)

    def forward(self, hidden: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        cosines = _cosines(hidden, self.weight)
        margin = _ramped(self.margin, self.margin_ramp, progress)
        cosine = cosines.gather(1, labels[:, None])
        sine = (1 - cosine.square()).clamp(min=_EDGE).sqrt()
        moved = cosine * math.cos(margin) - sine * math.sin(margin)
        moved = torch.where(cosine > -math.cos(margin), moved, cosine - margin * math.sin(margin))
        true_speaker = functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
        loss = functional.cross_entropy(self.scale * (cosines + (moved - cosine) * true_speaker), labels)
        return loss, self.scale * cosines


_EDGE = 1e-7  # keeps the gradients of acos and of the sine finite where a cosine is one


def _check_margin(scale: float, margin: float, limit: float) -> None:
    if not (scale > 0 and 0 <= margin < limit):
        raise ValueError(f"scale {scale} and margin {margin} of the head, want more than 0, and 0 to below {limit:.3g}")


def _check_ramp(ramp: float) -> None:
    if not 0 <= ramp <= 1:
        raise ValueError(f"margin_ramp {ramp} of the head is not within 0 to 1")


def _ramped(margin: float, ramp: float, progress: float) -> float:
    return margin * min(1.0, progress / ramp) if ramp > 0 else margin


def _directions(num_speakers: int, sub_centres: int, in_dim: int) -> nn.Parameter:
    """(num_speakers, sub_centres, in_dim)"""
    weight = torch.empty(num_speakers * sub_centres, in_dim)
    nn.init.xavier_normal_(weight)
    return nn.Parameter(weight.view(num_speakers, sub_centres, in_dim))


def _cosines(hidden: Tensor, weight: Tensor) -> Tensor:
    """(batch, speakers): the cosine to the nearest of each speaker's directions."""
    flat = functional.linear(functional.normalize(hidden), functional.normalize(weight.flatten(0, 1)))
    return flat.view(len(hidden), *weight.shape[:2]).amax(2)
