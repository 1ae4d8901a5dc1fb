"""The training loop: batches to an Objective, learning rates, averages, held-out figures, checkpoints, logs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vouch.errors import VouchError
from vouch.io import checkpoints
from vouch.objectives.base import Batch, Objective
from vouch.objectives.updates import Updater
from vouch.training.averaging import ExponentialAverage, RunningAverage
from vouch.training.collapse import CollapseWatch
from vouch.training.distributed import Processes
from vouch.training.epochs import KeptEpochs
from vouch.training.loading import ChunkSource, epoch_batches, prepare, share
from vouch.training.logs import Logs
from vouch.training.options import TrainingOptions
from vouch.training.precision import autocast, loss_scaler, usable
from vouch.training.sampling import PairedSampler, Sampler
from vouch.training.skips import Skips
from vouch.training.validation import HeldOut

_LOG_STEPS = 20  # a line in train.jsonl is the mean over so many steps


class Trainer:
    """Trains an objective on chunks, in one process or several, and continues where a killed training stopped.

    A checkpoint holds the networks, optimizers, loss scaler, averaged weights, list of kept epochs, skip counts and
    the step, which is the place in the sampler's and the schedule's course, besides `extra`. Random numbers in a step
    (dropout) come from a generator seeded with (seed, step, rank), so no generator has a state to be kept.

    Arguments: objective (on its device); source (utterances to read chunks from); labels (utterances,) numbers of
    their speakers; sampler; options; folder (checkpoints/, train.jsonl); extra (goes into every checkpoint: the
    resolved configuration, the speakers); device; processes; held_out (None: nothing is); target (a paired sampler's
    second source).
    """

    def __init__(
        self,
        objective: Objective,
        source: ChunkSource,
        labels: np.ndarray,
        sampler: Sampler | PairedSampler,
        options: TrainingOptions,
        folder: Path,
        extra: dict[str, Any],
        device: torch.device,
        processes: Processes | None = None,
        held_out: HeldOut | None = None,
        target: ChunkSource | None = None,
    ) -> None:
        self.processes = processes or Processes()
        if device.type == "cuda" and self.processes.world > 1:
            objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)
        self.objective, self.source, self.labels, self.sampler = objective, source, labels, sampler
        self.options, self.folder, self.extra, self.device = options, folder, extra, device
        self.held_out, self.target = held_out, target
        self._check_batch_size()
        self.precision = usable(options.precision, device)
        self.optimizers = objective.optimizers()
        reduce = self.processes.sum if self.processes.world > 1 else None
        scaler = partial(loss_scaler, self.precision, device)
        self.updater = Updater(self.optimizers, options.batch_size, scaler, reduce)
        self.kept = KeptEpochs(folder / "checkpoints", options)
        self.watch = CollapseWatch()
        self.skips = Skips(objective, options.skip_limit)
        averaging = options.averaging
        self.average = RunningAverage(objective, averaging.decay) if isinstance(averaging, ExponentialAverage) else None
        if options.compile:
            for part in objective.compiled():
                part.compile(dynamic=True)  # in place: names in checkpoints stay as they are
        self.step = 0
        self.finished = options.epochs == 0
        self._peaks = {name: [group["lr"] for group in o.param_groups] for name, o in self.optimizers.items()}
        self._sums: dict[str, Tensor] = {}  # of figures times chunks since the last line of the log
        self._chunks: dict[str, int] = {"": 0}  # that each figure is of, and all ("")
        self._data_seconds = 0.0
        self._saved_at = self._logged_at = time.monotonic()

    @property
    def last_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.pt"

    def _check_batch_size(self) -> None:
        """Every part of a batch must have two chunks: batch norm wants them."""
        chunks = self.sampler.batch(0, 0)
        labelled = chunks[0] if isinstance(self.sampler, PairedSampler) else chunks
        parts = self.processes.world * self.options.accumulate
        size = len(labelled.utterances) // self.sampler.group // parts * self.sampler.group
        if size < 2:
            raise VouchError(
                f"a batch of {len(labelled.utterances)} chunks in {parts} parts (processes x training.accumulate) has "
                f"parts of fewer than 2; train with fewer parts, or with more data"
            )

    def resume(self) -> bool:
        """Continue from the last checkpoint, if there is one. Raises VouchError when it does not fit."""
        if self.processes.first:
            for folder in (self.folder, self.last_checkpoint.parent):
                checkpoints.remove_unfinished(folder)
        if not self.last_checkpoint.exists():
            return False
        keys = ("networks", "optimizers", "scaler", "average", "skips", "watch", "kept", "step")
        saved = checkpoints.load(self.last_checkpoint, *keys)
        checkpoints.load_networks(self.objective, saved["networks"], self.last_checkpoint)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])
        self.updater.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.skips.load_state_dict(saved["skips"])
        self.watch.load_state_dict(saved["watch"])
        self.kept.kept = saved["kept"]
        self.step = saved["step"]
        epoch, position = divmod(self.step, self.sampler.batches_per_epoch)
        self.finished = epoch >= self.options.epochs or (position == 0 and self.kept.exhausted(epoch))
        return True

    def run(self, report: Callable[[str], None] | None = None) -> tuple[dict[str, Tensor], list[int]]:
        """Train to the end, with a progress bar; or, where no terminal shows one, with `report` every 15 s.

        Returns the networks' state to use, and the numbers of the epochs that it is the best or the mean of (none: it
        is that of the end). Raises VouchError after too many updates that were not finite.
        """
        total = self.options.epochs * self.sampler.batches_per_epoch
        self.objective.train()
        logs = Logs(self.folder, self.step, total, report, self.processes.first)
        with contextlib.closing(logs):
            while not self.finished:
                self._epoch(logs)
        self.processes.wait()  # the first one's files are there
        return self.kept.final_state(self._evaluated_state())

    def _epoch(self, logs: Logs) -> None:
        """From the present step to the end of its epoch."""
        epoch, first = divmod(self.step, self.sampler.batches_per_epoch)
        self._logged_at = time.monotonic()
        for batch in self._batches(epoch, first):
            self.processes.check_launcher()
            self._set_rates(batch.progress)
            self._update(batch, epoch + 1, logs)
            logs.advance()
            position = self.step - epoch * self.sampler.batches_per_epoch
            at_end = position == self.sampler.batches_per_epoch
            if at_end or position % _LOG_STEPS == 0:
                self._log(logs, epoch + 1, batch.progress)
            if at_end:
                self._end_epoch(logs, epoch + 1)
            elif time.monotonic() - self._saved_at > 60 * self.options.checkpoint_minutes:
                self._save()

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """This process's share of each batch, on the device; counts the time that they take to come."""
        batches = epoch_batches(
            self.source,
            self.labels,
            self.sampler,
            epoch,
            first,
            self.options.epochs,
            self.options.workers,
            self.processes.rank,
            self.processes.world,
            self.target,
            pinned=self.device.type == "cuda",
        )
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                return
            batch = prepare(batch, self.source, self.device, self.target)
            self._data_seconds += time.monotonic() - asked
            yield batch

    def _set_rates(self, progress: float) -> None:
        factor = self.options.schedule.factor(progress)
        for name, optimizer in self.optimizers.items():
            for group, peak in zip(optimizer.param_groups, self._peaks[name], strict=True):
                group["lr"] = peak * factor

    def _update(self, batch: Batch, epoch: int, logs: Logs) -> None:
        torch.manual_seed((self.options.seed * 1_000_003 + self.step) * self.processes.world + self.processes.rank)
        self.skips.before_update()
        found: list[tuple[int, dict[str, Tensor]]] = []
        for number in range(self.options.accumulate):
            part = self._part(batch, number)
            self.updater.begin(len(part.labels), last=number == self.options.accumulate - 1)
            with autocast(self.precision, self.device):
                found.append((len(part.labels), self.objective.update(part, self.updater)))
        self.updater.finish()
        self.step += 1
        if self.updater.skipped:
            self.skips.undo(counts=not self.updater.overflowed)
            utterances = [u for share in self.processes.gather(batch.utterances) for u in share]
            logs.skipped(self.step, epoch, utterances)
            self.skips.check(self.step, utterances)
            return
        self.skips.done()
        if self.average is not None:
            self.average.update()
        for chunks, figures in found:
            self._chunks[""] += chunks
            for name, value in figures.items():
                self._sums[name] = self._sums.get(name, 0.0) + value.float() * chunks
                self._chunks[name] = self._chunks.get(name, 0) + chunks

    def _part(self, batch: Batch, number: int) -> Batch:
        """One of the parts that a batch is accumulated from."""
        parts = self.options.accumulate
        if parts == 1:
            return batch
        own = share(len(batch.labels), self.sampler.group, number, parts)
        target = None if batch.target is None else batch.target[own]
        return batch._replace(
            features=batch.features[own], labels=batch.labels[own], utterances=batch.utterances[own], target=target
        )

    def _log(self, logs: Logs, epoch: int, progress: float) -> None:
        """A line with the means over the last steps of all processes."""
        names = list(self._sums)  # an objective may have further figures in a later part of the training
        counts = torch.tensor([*(self._chunks[name] for name in names), self._chunks[""]], device=self.device).float()
        sums = torch.cat([torch.stack(list(self._sums.values())), counts]) if names else counts
        self.processes.sum(sums)
        *sums, chunks = sums.tolist()
        now = time.monotonic()
        seconds = max(now - self._logged_at, 1e-9)
        optimizer = next(iter(self._peaks))
        values = {
            **{name: sums[i] / sums[len(names) + i] for i, name in enumerate(names)},
            "learning_rate": self._peaks[optimizer][0] * self.options.schedule.factor(progress),
            "skipped": self.skips.total,
            "data_seconds": round(self._data_seconds, 3),
            "data_share": round(self._data_seconds / seconds, 4),
            "utterances_per_second": round(chunks / seconds, 1),
        }
        loss_scale = self.updater.loss_scale()
        if loss_scale is not None:
            values["loss_scale"] = loss_scale
        logs.figures(self.step, epoch, self.options.epochs, values)
        wrong = self.watch.look(values)
        if wrong:
            logs.collapse(self.step, epoch, wrong)
        self._sums, self._chunks, self._data_seconds, self._logged_at = {}, {"": 0}, 0.0, now

    def _end_epoch(self, logs: Logs, epoch: int) -> None:
        """Held-out figures, the checkpoints, and whether to go on."""
        figures: dict[str, float] = {}
        with self._evaluated():
            if self.held_out is not None:
                self.processes.share_buffers(self.objective)
                figures = self.held_out.evaluate(self.objective, self.device, self.precision, self.processes)
            content = {"networks": self.objective.state_dict(), **self.extra} if self.processes.first else {}
            best = self.kept.add(epoch, figures, content)
        if figures:
            logs.held_out(self.step, epoch, figures, best)
        self.finished = epoch >= self.options.epochs or self.kept.exhausted(epoch)
        self._save()
        if self.processes.first:
            self.kept.tidy()

    @contextlib.contextmanager
    def _evaluated(self) -> Iterator[None]:
        """The objective with the weights that count: the running average where there is one."""
        if self.average is not None:
            self.average.swap()
        try:
            yield
        finally:
            if self.average is not None:
                self.average.swap()

    def _evaluated_state(self) -> dict[str, Tensor]:
        with self._evaluated():
            return {name: value.detach().clone().cpu() for name, value in self.objective.state_dict().items()}

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if not self.processes.first:
            return
        content = {
            "networks": self.objective.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scaler": self.updater.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "skips": self.skips.state_dict(),
            "watch": self.watch.state_dict(),
            "kept": self.kept.kept,
            "step": self.step,
            "epoch": self.step // self.sampler.batches_per_epoch,
            **self.extra,
        }
        checkpoints.save(self.last_checkpoint, content)
