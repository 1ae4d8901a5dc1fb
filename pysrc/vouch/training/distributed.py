"""The processes of a training that torchrun started, one a GPU (NCCL) or several on processors (gloo)."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vouch.errors import VouchError


class Processes:
    """This process among those of one training: `rank` of `world`. Alone (rank 0 of 1) every call is free.

    Under torchrun (its variables RANK, WORLD_SIZE, LOCAL_RANK) `start` joins the others.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self._launcher = os.getppid() if self.world > 1 else 0

    @property
    def first(self) -> bool:
        """The process that writes files and messages."""
        return self.rank == 0

    def start(self, device: torch.device) -> None:
        """Join the other processes. Raises VouchError when they cannot be reached."""
        if self.world == 1:
            return
        try:
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            raise VouchError(
                f"process {self.rank} of {self.world} cannot join the others: {str(error).splitlines()[0]}; "
                f"start all of them by torchrun (steps/train.sh --num-processes)"
            ) from None

    def end(self) -> None:
        if self.world > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def sum(self, tensor: Tensor) -> None:
        """Sum a tensor over the processes, in place."""
        if self.world > 1:
            distributed.all_reduce(tensor)

    def gather(self, values: Any) -> list[Any]:
        """What each process gives, in the order of the ranks, in every process."""
        if self.world == 1:
            return [values]
        gathered: list[Any] = [None] * self.world
        distributed.all_gather_object(gathered, values)
        return gathered

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            distributed.barrier()

    def share_buffers(self, module: nn.Module) -> None:
        """Give the first process's buffers (batch norm's running statistics) to all."""
        if self.world > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)

    def check_launcher(self) -> None:
        """Raises VouchError when torchrun is gone: its processes are in sessions of their own, which the end of a
        killed recipe does not reach."""
        if self.world > 1 and os.getppid() != self._launcher:
            raise VouchError("torchrun, which started this training, is gone; start the training again: it goes on")


def has_batch_norm(module: nn.Module) -> bool:
    """Does a network use statistics of the batch?"""
    return any(isinstance(part, _BatchNorm) for part in module.modules())
