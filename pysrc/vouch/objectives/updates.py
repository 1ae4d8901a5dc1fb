"""One optimizer step of an objective: backward, accumulation, sum over processes, unscaling, finite check, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class Updater:
    """What an objective hands its losses to.

    The engine calls `begin` before each part of a batch (there is more than one where gradients are accumulated) and
    `finish` after the last; in between the objective calls `step` once for each of its optimizers. On the last part
    `step` moves the parameters, before that it only adds up gradients. An objective with several optimizers
    therefore sees, in the earlier parts, networks that have not moved yet.

    Each `step` back-propagates into the parameters of its own optimizer only, so that a loss which passes through
    another's network (a generator's through the discriminator) leaves no gradient there. Losses are means over the
    chunks of a part; they are weighted by its share of the whole batch, over parts and processes, so that the sum of
    all gradients is that of one large batch. Gradients are summed over processes in one flat all-reduce an optimizer
    (ours: DistributedDataParallel hides the transfer behind the backward pass, but wants one backward pass a step).

    The check of the gradient waits for the device once for each optimizer. A step whose loss or gradient is not
    finite leaves the parameters as they are, in all processes alike.

    `step` may be called under autocast: the backward pass of every operation has the type of its forward pass, the
    rest (sums, the optimizer, constraints) is done in 32 bits, and parameters that have moved are cast anew.

    Arguments: optimizers (by name); batch_size (chunks of a whole batch); scaler (of losses, for float16); reduce
    (sums a tensor over all processes in place; None: there is one process).
    """

    def __init__(
        self,
        optimizers: Mapping[str, torch.optim.Optimizer],
        batch_size: int,
        scaler: torch.amp.GradScaler | None = None,
        reduce: Callable[[Tensor], None] | None = None,
    ) -> None:
        self._optimizers, self._batch_size, self._reduce = optimizers, batch_size, reduce
        self._scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
        self._parameters = {
            name: [p for group in optimizer.param_groups for p in group["params"]]
            for name, optimizer in optimizers.items()
        }
        self._sums: dict[str, Tensor] = {}  # of losses and shares, by optimizer
        self._stepped: set[str] = set()
        self._part, self._share, self._last, self._moved = -1, 1.0, True, False
        self.skipped: list[str] = []  # optimizers whose step of this batch was left out
        self.overflowed = False  # ... because the scaled loss was too large for 16 bits, which a lower scale mends

    def begin(self, chunks: int, last: bool = True) -> None:
        """A part of `chunks` chunks comes; with `last` the optimizers move."""
        if self._part < 0:
            self.skipped, self.overflowed = [], False
            for optimizer in self._optimizers.values():
                optimizer.zero_grad(set_to_none=True)
        self._part += 1
        self._share, self._last = chunks / self._batch_size, last
        self._stepped.clear()

    def step(self, name: str, loss: Tensor) -> None:
        """Back-propagate the loss, a mean over the part's chunks, into the parameters of optimizer `name`, and move
        them on the last part. Raises ValueError when called twice for an optimizer in one part."""
        if name in self._stepped:
            raise ValueError(f"optimizer '{name}' steps twice in one update")
        self._stepped.add(name)
        with torch.autocast(loss.device.type, enabled=False):
            self._step(name, loss, self._parameters[name])
        torch.clear_autocast_cache()

    def _step(self, name: str, loss: Tensor, parameters: list[Tensor]) -> None:
        self._scaler.scale(loss * self._share).backward(inputs=parameters)
        share = torch.full((), self._share, device=loss.device)
        sums = torch.stack([loss.detach().float() * share, share])
        self._sums[name] = self._sums[name] + sums if name in self._sums else sums
        if self._last:
            self._move(name, parameters, self._sums.pop(name))

    def finish(self) -> None:
        """The batch is complete."""
        if self._scaler.is_enabled() and self._moved:
            self._scaler.update()
        self._part, self._moved = -1, False

    def _move(self, name: str, parameters: list[Tensor], sums: Tensor) -> None:
        if self._reduce is not None:
            sums = self._summed(parameters, sums)
        optimizer = self._optimizers[name]
        self._scaler.unscale_(optimizer)
        gradients = [p.grad for p in parameters if p.grad is not None]
        loss, share, norm = torch.cat([sums, nn.utils.get_total_norm(gradients)[None]]).tolist()
        self._moved = True
        if not math.isfinite(loss + norm):
            self.skipped.append(name)
            self.overflowed |= self._scaler.is_enabled() and math.isfinite(loss) and self._scaler.get_scale() >= 1
            return
        clip_norm = optimizer.param_groups[0]["clip_norm"]
        factor = min(1.0, clip_norm / (norm / share + 1e-6)) if clip_norm > 0 else 1.0
        if factor != share:
            torch._foreach_mul_(gradients, factor / share)
        optimizer.step()

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
