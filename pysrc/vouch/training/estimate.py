"""What a training will take, before it begins."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vouch.objectives.base import Batch, Objective
from vouch.training.averaging import ExponentialAverage
from vouch.training.options import TrainingOptions
from vouch.training.precision import DTYPES

_MOMENTS = {"AdamW": ("exp_avg", "exp_avg_sq"), "SGD": ("momentum",), "RMSprop": ("square_avg", "momentum")}


class Memory(NamedTuple):
    """Bytes of one process: what belongs to the parameters (they, gradients, optimizer, averages), and what the forward
    pass of a part of a batch keeps for the backward pass. PyTorch itself and short-lived tensors come to it."""

    parameters: int
    activations: int


class _NoUpdates:
    """In place of the Updater: the losses go nowhere."""

    last = True

    def step(self, name: str, loss: Tensor, *optimizers: str) -> None:
        pass


def training_memory(objective: Objective, feature_dim: int, options: TrainingOptions, chunks: int) -> Memory:
    """The memory that a process needs for `chunks` of the longest chunks at a time.

    What the forward passes keep is counted on two chunks of random numbers (of each domain; of each of two speakers
    where chunks are compared), on the CPU, in the training's precision; those of several losses are added up, as if
    none were freed before the next.
    """
    size = sum(p.numel() * p.element_size() for p in objective.parameters())
    copies = 2 * size + (size if isinstance(options.averaging, ExponentialAverage) else 0)
    for optimizer in objective.optimizers().values():
        moments = [m for m in _MOMENTS[type(optimizer).__name__] if m != "momentum" or optimizer.defaults["momentum"]]
        own = sum(p.numel() * p.element_size() for group in optimizer.param_groups for p in group["params"])
        copies += len(moments) * own
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in objective.parameters()}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    labels = torch.tensor([0, 0, 1, 1] if objective.wants_groups else [0, 1])
    features = torch.randn(len(labels), options.max_frames, feature_dim)
    target = features + 1 if objective.wants_target else None
    batch = Batch(features, labels, [""] * len(labels), 0.999, target)
    objective.train()
    with (
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        torch.autocast("cpu", DTYPES[options.precision], enabled=options.precision != "float32"),
    ):
        objective.update(batch, _NoUpdates())
    return Memory(copies, sum(kept.values()) * chunks // len(labels))
