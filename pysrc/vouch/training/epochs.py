"""The epochs whose weights are kept, and when to stop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from vouch.io import checkpoints
from vouch.training.averaging import CheckpointAverage, mean_state
from vouch.training.options import TrainingOptions


class KeptEpochs:
    """checkpoints/epoch-N.pt of the best epochs by the held-out criterion; of the last ones where nothing is held out
    but the weights are averaged over epochs; none otherwise.

    A file is written before the checkpoint that lists it, and one that is no longer listed is removed after it
    (`tidy`), so that whenever the training is killed the files of the last checkpoint's list are there.
    """

    def __init__(self, folder: Path, options: TrainingOptions) -> None:
        self._folder = folder
        self._criterion = options.held_out.criterion if options.held_out.share > 0 else ""
        self._patience = options.held_out.patience
        self._averaged = options.averaging.number if isinstance(options.averaging, CheckpointAverage) else 1
        self.keep = max(options.held_out.keep_best if self._criterion else 0, self._averaged)
        if not self._criterion and self._averaged == 1:
            self.keep = 0
        self.kept: list[dict[str, Any]] = []  # the best first: epoch, value (less is better), held_out

    def add(self, epoch: int, figures: dict[str, float], content: dict[str, Any]) -> bool:
        """An epoch (counted from 1) is over, with these held-out figures and this content of a checkpoint. Returns
        whether it is the best one so far. Where `content` is empty, another process writes."""
        value = self._value(epoch, figures)
        self.kept.append({"epoch": epoch, "value": value, "held_out": figures})
        self.kept.sort(
            key=lambda entry: (entry["value"], entry["epoch"])
        )  # of equals the first: the later are no better
        self.kept = self.kept[: self.keep]
        if content and any(entry["epoch"] == epoch for entry in self.kept):
            checkpoints.save(self._path(epoch), {**content, "epoch": epoch, "held_out": figures})
        return bool(self.kept) and self.kept[0]["epoch"] == epoch

    def _value(self, epoch: int, figures: dict[str, float]) -> float:
        if not self._criterion:
            return -float(epoch)
        if self._criterion == "transfer":
            value = (figures["eer"] + 1) * figures["domain_probe"]
        else:
            value = figures[self._criterion]
        if not math.isfinite(value):
            return math.inf
        return -value if self._criterion == "accuracy" else value

    def exhausted(self, epoch: int) -> bool:
        """Is it so long since the best epoch that the training should end after `epoch`?"""
        return self._patience > 0 and bool(self.kept) and epoch - self.kept[0]["epoch"] >= self._patience

    def final_state(self, last: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[int]]:
        """The networks' state of the finished training, and the epochs it is made of (none: `last`, as it ended)."""
        used = [entry["epoch"] for entry in self.kept[: self._averaged]]
        if not used:
            return last, []
        return mean_state(checkpoints.load(self._path(epoch), "networks")["networks"] for epoch in used), sorted(used)

    def tidy(self) -> None:
        """Remove the files of epochs that are not kept."""
        listed = {self._path(entry["epoch"]) for entry in self.kept}
        for path in self._folder.glob("epoch-*.pt"):
            if path not in listed:
                path.unlink()

    def _path(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch}.pt"
