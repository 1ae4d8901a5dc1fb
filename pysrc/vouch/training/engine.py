"""The training loop: batches to an Objective, learning rates, checkpoints, logs."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from vouch.errors import VouchError
from vouch.io import checkpoints
from vouch.objectives.base import Batch, Objective
from vouch.training.loading import ChunkSource, epoch_batches, prepare
from vouch.training.sampling import RandomSampler
from vouch.training.schedules import learning_rate_factor

_LOG_STEPS = 20  # a line in train.jsonl is the mean over so many steps
_REPORT_SECONDS = 15.0


@dataclass
class TrainingOptions:
    """The `training` entry of a system's YAML.

    epochs; batch_size (chunks); samples_per_utterance (chunks of each recording an epoch); min_frames and max_frames
    (length of the chunks); warmup (share of the training in which the learning rate rises); final_rate (last
    learning rate over the peak); precision (float32, or bfloat16: matrix products in 16 bits, parameters in 32; float32
    all the same on a processor that has no instructions for it, where it would be slower);
    workers (processes that read ahead); checkpoint_minutes (between two checkpoints); seed.
    """

    epochs: int = 10
    batch_size: int = 64
    samples_per_utterance: int = 2
    min_frames: int = 200
    max_frames: int = 400
    warmup: float = 0.05
    final_rate: float = 0.01
    precision: str = "float32"
    workers: int = 0
    checkpoint_minutes: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.min_frames <= self.max_frames:
            raise ValueError(f"min_frames {self.min_frames} to max_frames {self.max_frames} is not a range of lengths")
        if self.epochs < 0 or self.batch_size < 2 or self.samples_per_utterance < 1 or self.workers < 0:
            raise ValueError("epochs and workers want 0 or more, batch_size 2, samples_per_utterance 1 or more")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup {self.warmup} is not a share of the training, 0 to below 1")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision '{self.precision}', want float32 or bfloat16")


class Trainer:
    """Trains an objective on chunks of a feature archive, and continues where a killed training stopped.

    Arguments: objective; source (utterances to read chunks from); labels (utterances,) numbers of their speakers;
    num_frames (utterances,); options; folder (checkpoints/, train.jsonl); extra (goes into every checkpoint: the
    resolved configuration, the speakers); device.
    """

    def __init__(
        self,
        objective: Objective,
        source: ChunkSource,
        labels: np.ndarray,
        num_frames: np.ndarray,
        options: TrainingOptions,
        folder: Path,
        extra: dict[str, Any],
        device: torch.device,
    ) -> None:
        self.objective = objective.to(device)
        self.source, self.labels, self.options = source, labels, options
        self.folder, self.extra, self.device = folder, extra, device
        self.sampler = RandomSampler(
            num_frames,
            labels,
            options.batch_size,
            options.min_frames,
            options.max_frames,
            options.seed,
            options.samples_per_utterance,
        )
        self.precision = options.precision
        if device.type == "cpu" and not any(on for name, on in torch.cpu.get_capabilities().items() if "bf16" in name):
            self.precision = "float32"
        self.scaler = torch.amp.GradScaler(device.type, enabled=False)
        self.step = 0
        self._peak_rates = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in objective.optimizers().items()
        }
        self._saved_at = time.monotonic()

    @property
    def last_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.pt"

    def resume(self) -> bool:
        """Continue from the last checkpoint, if there is one. Raises VouchError when it does not fit."""
        if not self.last_checkpoint.exists():
            return False
        saved = checkpoints.load(self.last_checkpoint)
        checkpoints.load_networks(self.objective, saved["networks"], self.last_checkpoint)
        for name, optimizer in self.objective.optimizers().items():
            optimizer.load_state_dict(saved["optimizers"][name])
        self.step = saved["step"]
        return True

    def run(self, report: Callable[[str], None] | None = None) -> None:
        """Train to the end, with a progress bar; or, where no terminal shows one, with `report` every 15 s."""
        total = self.options.epochs * self.sampler.batches_per_epoch
        self.objective.train()
        recent: list[dict[str, float]] = []
        started = reported = time.monotonic()
        log = checkpoints.TrainingLog(self.folder / "train.jsonl", self.step)
        with (
            contextlib.closing(log),
            tqdm(total=total, initial=self.step, disable=report is not None, unit="batch") as bar,
        ):
            for batch in self._batches():
                recent.append(self._update(batch))
                bar.update()
                now, at_end = time.monotonic(), self.step % self.sampler.batches_per_epoch == 0
                if at_end or len(recent) == _LOG_STEPS:
                    figures = {name: sum(r[name] for r in recent) / len(recent) for name in recent[0]}
                    recent = []
                    epoch = (self.step - 1) // self.sampler.batches_per_epoch + 1
                    line = {
                        "step": self.step,
                        "epoch": epoch,
                        **figures,
                        "learning_rate": self._rate(batch.progress),
                    }
                    log.write({**line, "seconds": round(now - started, 1)})
                    text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                    bar.set_postfix_str(f"epoch {epoch}/{self.options.epochs}, {text}")
                    if report and (now - reported > _REPORT_SECONDS or self.step == total):
                        reported = now
                        report(f"epoch {epoch}/{self.options.epochs}, batch {self.step}/{total}, {text}")
                if at_end or now - self._saved_at > 60 * self.options.checkpoint_minutes:
                    self._save()

    def _batches(self) -> Iterator[Batch]:
        first_epoch, first = divmod(self.step, self.sampler.batches_per_epoch)
        for epoch in range(first_epoch, self.options.epochs):
            yield from epoch_batches(
                self.source,
                self.labels,
                self.sampler,
                epoch,
                first,
                self.options.epochs,
                self.options.workers,
            )
            first = 0

    def _update(self, batch: Batch) -> dict[str, float]:
        factor = learning_rate_factor(batch.progress, self.options.warmup, self.options.final_rate)
        for name, optimizer in self.objective.optimizers().items():
            for group, peak in zip(optimizer.param_groups, self._peak_rates[name], strict=True):
                group["lr"] = peak * factor
        torch.manual_seed(self.options.seed * 1_000_003 + self.step)  # dropout: a function of (seed, step)
        batch = prepare(batch, self.source, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            figures = self.objective.update(batch, self.scaler)
        self.step += 1
        if not math.isfinite(figures["loss"]):
            raise VouchError(
                f"the loss is {figures['loss']} at step {self.step}, in the batch of {', '.join(batch.utterances[:3])} "
                f"...: look for broken features among its utterances, or lower objective.optimizer.learning_rate"
            )
        return figures

    def _rate(self, progress: float) -> float:
        return next(iter(self._peak_rates.values()))[0] * learning_rate_factor(
            progress, self.options.warmup, self.options.final_rate
        )

    def _save(self) -> None:
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.objective.optimizers().items()}
        content = {
            "networks": self.objective.state_dict(),
            "optimizers": optimizers,
            "step": self.step,
            **self.extra,
        }
        checkpoints.save(self.last_checkpoint, content)
        self._saved_at = time.monotonic()
