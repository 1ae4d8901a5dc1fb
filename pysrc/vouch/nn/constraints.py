"""Constraints on parameters that hold because every optimizer step is followed by a correction."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def constrain_after_steps(optimizer: torch.optim.Optimizer, modules: Iterable[nn.Module]) -> None:
    """Let every step of the optimizer end with `constrain()` of those parts of the modules that have one."""
    parts = [part for module in modules for part in module.modules() if hasattr(part, "constrain")]

    def constrain(*_: object) -> None:
        for part in parts:
            part.constrain()

    if parts:
        optimizer.register_step_post_hook(constrain)


@torch.no_grad()
def semi_orthogonal_step(weight: Tensor) -> None:
    """Move weight (rows, ...) in place towards M M^T = scale^2 I; M is (rows, the rest) or, if taller, its transpose.

    M <- M - 4 (nu / scale^2) (P - scale^2 I) M with P = M M^T and scale^2 = tr(P P) / tr(P), the "floating" scale.
    Source: Povey et al. 2018, "Semi-orthogonal low-rank matrix factorization", sections 2.1 to 2.3; Kaldi's
    ConstrainOrthonormalInternal: nu is 1/8, halved where tr(P P) rows / tr(P)^2 is above 1.02, halved again above 1.1.
    """
    flat = weight.flatten(1)
    m = flat if flat.shape[0] <= flat.shape[1] else flat.T
    p = m @ m.T
    trace, trace_square = p.trace(), p.square().sum()
    scale_square = trace_square / trace
    ratio = trace_square * len(p) / trace.square()
    speed = 0.125 * torch.where(ratio > 1.02, 0.5, 1.0) * torch.where(ratio > 1.1, 0.5, 1.0)
    p.diagonal().sub_(scale_square)
    moved = m - (4 * speed / scale_square) * (p @ m)
    weight.copy_((moved if flat.shape[0] <= flat.shape[1] else moved.T).view_as(weight))
