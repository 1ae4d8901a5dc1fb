"""Updates that are left out because the loss or a gradient is not finite."""

from __future__ import annotations

import torch
from torch import nn

from vouch.errors import VouchError


class Skips:
    """Counts updates left out, and undoes what a bad batch did to buffers: batch norm's running statistics would
    never be finite again.

    Arguments: module; limit (so many in a row end the training).
    """

    def __init__(self, module: nn.Module, limit: int) -> None:
        self.total, self.in_a_row, self._limit = 0, 0, limit
        self._buffers = list(module.buffers())
        self._before = [buffer.clone() for buffer in self._buffers]

    def before_update(self) -> None:
        """Remember the buffers."""
        if self._buffers:
            torch._foreach_copy_(self._before, self._buffers)

    def done(self) -> None:
        """The update was made."""
        self.in_a_row = 0

    def undo(self, counts: bool) -> None:
        """The update was left out; `counts` is false for an overflow that the loss scaler mends by itself."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._before)
        self.total += 1
        self.in_a_row += counts

    def check(self, step: int, utterances: list[str]) -> None:
        """Raises VouchError at the limit, naming utterances of the batch."""
        if self.in_a_row >= self._limit:
            shown = ", ".join(utterances[:3]) + (" ..." if len(utterances) > 3 else "")
            raise VouchError(
                f"the loss or its gradient was not finite in {self.in_a_row} updates in a row, the last at step {step} "
                f"with the utterances {shown} (train.jsonl has all): look for broken features among them, or lower "
                f"objective.optimizer.learning_rate"
            )

    def state_dict(self) -> dict[str, int]:
        return {"total": self.total, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.total, self.in_a_row = state["total"], state["in_a_row"]
