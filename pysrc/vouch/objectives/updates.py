"""One optimizer step of an objective: backward, accumulation, sum over processes, unscaling, finite check, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Updater:
    """What an objective hands its losses to.

    The engine calls `begin` before each part of a batch (there is more than one where gradients are accumulated) and
    `finish` after the last; in between the objective calls `step` for each of its losses, with a name of its own. On
    the last part `step` moves the parameters, before that it only adds up gradients, those of each loss for itself. An
    objective with several losses therefore sees, in the earlier parts, networks that have not moved yet.

    Each `step` back-propagates into the parameters that it moves only, so that a loss which passes through another
    network (a generator's through the discriminator) leaves no gradient there. Losses are means over the chunks of a
    part; they are weighted by its share of the whole batch, over parts and processes, so that the sum of all gradients
    is that of one large batch. Gradients are summed over processes in one flat all-reduce a loss (ours:
    DistributedDataParallel hides the transfer behind the backward pass, but wants one backward pass a step).

    The check of the gradient waits for the device once for each loss. A step whose loss or gradient is not finite
    leaves the parameters as they are, in all processes alike.

    `step` may be called under autocast: the backward pass of every operation has the type of its forward pass, the
    rest (sums, the optimizer, constraints) is done in 32 bits, and parameters that have moved are cast anew.

    Arguments: optimizers (by name); batch_size (chunks of a whole batch); scaler (makes the scaler of a loss, for
    float16; None: there is none); reduce (sums a tensor over all processes in place; None: there is one process).
    """

    def __init__(
        self,
        optimizers: Mapping[str, torch.optim.Optimizer],
        batch_size: int,
        scaler: Callable[[], torch.amp.GradScaler] | None = None,
        reduce: Callable[[Tensor], None] | None = None,
    ) -> None:
        self._optimizers, self._batch_size, self._reduce = optimizers, batch_size, reduce
        self._make_scaler = scaler or (lambda: torch.amp.GradScaler("cpu", enabled=False))
        self._scalers: dict[str, torch.amp.GradScaler] = {}  # by loss
        self._sums: dict[str, Tensor] = {}  # of losses and shares, by loss
        self._gradients: dict[str, list[Tensor | None]] = {}  # of earlier parts, by loss
        self._stepped: set[str] = set()
        self._moved: set[str] = set()
        self._part, self._share, self._last = -1, 1.0, True
        self.skipped: list[str] = []  # losses whose step of this batch was left out
        self.overflowed = False  # ... because the scaled loss was too large for 16 bits, which a lower scale mends

    def begin(self, chunks: int, last: bool = True) -> None:
        """A part of `chunks` chunks comes; with `last` the optimizers move."""
        if self._part < 0:
            self.skipped, self.overflowed = [], False
            self._gradients.clear()
            self._sums.clear()
            for optimizer in self._optimizers.values():
                optimizer.zero_grad(set_to_none=True)
        self._part += 1
        self._share, self._last = chunks / self._batch_size, last
        self._stepped.clear()

    @property
    def last(self) -> bool:
        """Is this the last part of the batch, on which the optimizers move?"""
        return self._last

    def step(self, name: str, loss: Tensor, *optimizers: str) -> None:
        """Back-propagate the loss, a mean over the part's chunks, into the parameters of these optimizers (none: that
        of the loss's own name), and move them on the last part. Raises ValueError for a second loss of a name."""
        if name in self._stepped:
            raise ValueError(f"loss '{name}' comes twice in one update")
        self._stepped.add(name)
        with torch.autocast(loss.device.type, enabled=False):
            self._step(name, loss, optimizers or (name,))
        torch.clear_autocast_cache()

    def finish(self) -> None:
        """The batch is complete."""
        for name in self._moved:
            self._scalers[name].update()
        self._moved.clear()
        self._part = -1

    def loss_scale(self) -> float | None:
        """The smallest scale of a loss; None where losses are not scaled."""
        scales = [scaler.get_scale() for scaler in self._scalers.values() if scaler.is_enabled()]
        return min(scales) if scales else None

    def state_dict(self) -> dict[str, Any]:
        """The scalers'."""
        return {name: scaler.state_dict() for name, scaler in self._scalers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, own in state.items():
            self._scaler(name).load_state_dict(own)

    def _scaler(self, name: str) -> torch.amp.GradScaler:
        if name not in self._scalers:
            self._scalers[name] = self._make_scaler()
        return self._scalers[name]

    def _step(self, name: str, loss: Tensor, movers: tuple[str, ...]) -> None:
        groups = [self._parameters(mover) for mover in movers]
        parameters = [p for group in groups for p in group]
        for p, gradient in zip(parameters, self._gradients.pop(name, [None] * len(parameters)), strict=True):
            p.grad = gradient
        self._scaler(name).scale(loss * self._share).backward(inputs=parameters)
        share = torch.full((), self._share, device=loss.device)
        sums = torch.stack([loss.detach().float() * share, share])
        self._sums[name] = self._sums[name] + sums if name in self._sums else sums
        if self._last:
            self._move(name, movers, groups, self._sums.pop(name))
        else:
            self._gradients[name] = [p.grad for p in parameters]
        for p in parameters:
            p.grad = None

    def _move(self, name: str, movers: tuple[str, ...], groups: list[list[Tensor]], sums: Tensor) -> None:
        if self._reduce is not None:
            sums = self._summed([p for group in groups for p in group], sums)
        scaler, optimizers = self._scaler(name), [self._optimizers[mover] for mover in movers]
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
        self._moved.add(name)
        gradients = [[p.grad for p in group if p.grad is not None] for group in groups]
        norms = [nn.utils.get_total_norm(own) if own else torch.zeros_like(sums[0]) for own in gradients]
        loss, share, *norms = torch.cat([sums, torch.stack(norms)]).tolist()
        if not math.isfinite(loss + sum(norms)):
            self.skipped.append(name)
            self.overflowed |= scaler.is_enabled() and math.isfinite(loss) and scaler.get_scale() >= 1
            return
        for optimizer, own, norm in zip(optimizers, gradients, norms, strict=True):
            clip_norm = optimizer.param_groups[0]["clip_norm"]
            factor = min(1.0, clip_norm / (norm / share + 1e-6)) if clip_norm > 0 else 1.0
            if factor != share:
                torch._foreach_mul_(own, factor / share)
            optimizer.step()

    def _parameters(self, name: str) -> list[Tensor]:
        return [p for group in self._optimizers[name].param_groups for p in group["params"]]

    def _summed(self, parameters: list[Tensor], sums: Tensor) -> Tensor:
        """Add the gradients of all processes, in place, and the sums. A parameter that has a gradient in no process
        keeps none; one that has it in some counts as zero in the others."""
        assert self._reduce is not None
        present = sums.new_tensor([p.grad is not None for p in parameters])
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        flat = torch.cat([*parts, present, sums])
        self._reduce(flat)
        *parts, present, sums = flat.split([*(p.numel() for p in parameters), len(parameters), 2])
        for p, part, anywhere in zip(parameters, parts, present.tolist(), strict=True):
            if anywhere:
                if p.grad is None:
                    p.grad = torch.empty_like(p)
                p.grad.copy_(part.view_as(p))
        return sums
