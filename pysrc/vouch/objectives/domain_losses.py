"""What discriminator and embedding network play for: losses of domain logits.

z_s (batch,) and z_t (target_batch,) are the discriminator's logits of source and target; sigma(z) is the probability
of source. The embedding network wants the target to look like the source (Bhattacharya et al., 1811.03063: "the
generator maps the target to the source"), the discriminator wants to tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import softplus


class DomainLoss(NamedTuple):
    """discriminator(z_s, z_t) and embedding(z_s, z_t): the scalars that either descends; boundary: the logit between
    the domains, None where only differences of logits mean something."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    embedding: Callable[[Tensor, Tensor], Tensor]
    boundary: float | None = None

    def accuracy(self, source: Tensor, target: Tensor) -> Tensor:
        """The discriminator's, from its logits (batch,) and (target_batch,); both domains weigh the same. Without a
        boundary the middle between the domains' means serves."""
        boundary = (source.mean() + target.mean()) / 2 if self.boundary is None else self.boundary
        return ((source > boundary).float().mean() + (target <= boundary).float().mean()) / 2


def _vanilla(source: Tensor, target: Tensor) -> Tensor:
    """-mean log sigma(z_s) - mean log(1 - sigma(z_t)). Goodfellow et al. 2014 (1406.2661), equation 1."""
    return softplus(-source).mean() + softplus(target).mean()


def _inverted(source: Tensor, target: Tensor) -> Tensor:
    """-mean log sigma(z_t): the labels inverted, which does not saturate. Goodfellow et al. 2014, section 3."""
    return softplus(-target).mean()


def _least_squares(source: Tensor, target: Tensor) -> Tensor:
    """mean (z_s - 1)^2 / 2 + mean z_t^2 / 2. Mao et al. 2017 (1611.04076), equation 9."""
    return ((source - 1).square().mean() + target.square().mean()) / 2


def _least_squares_inverted(source: Tensor, target: Tensor) -> Tensor:
    """mean (z_t - 1)^2 / 2, of the same equation."""
    return (target - 1).square().mean() / 2


def _relativistic(source: Tensor, target: Tensor) -> Tensor:
    """-mean log sigma(z_s - z_t) over pairs, the i-th with the i-th. Jolicoeur-Martineau 2018 (1807.00734)."""
    pairs = min(len(source), len(target))
    return softplus(target[:pairs] - source[:pairs]).mean()


def _relativistic_average(source: Tensor, target: Tensor) -> Tensor:
    """-mean log sigma(z_s - mean z_t) - mean log(1 - sigma(z_t - mean z_s)), of the same paper."""
    return softplus(target.mean() - source).mean() + softplus(target - source.mean()).mean()


def _swapped(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda source, target: loss(target, source)


DOMAIN_LOSSES = {
    "vanilla": DomainLoss(_vanilla, _inverted, 0.0),
    "least_squares": DomainLoss(_least_squares, _least_squares_inverted, 0.5),
    "relativistic": DomainLoss(_relativistic, _swapped(_relativistic)),
    "relativistic_average": DomainLoss(_relativistic_average, _swapped(_relativistic_average)),
}
