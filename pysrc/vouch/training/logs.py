"""What a training tells: train.jsonl, TensorBoard where it is installed, a progress bar or lines in a log."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vouch.io.checkpoints import TrainingLog

_REPORT_SECONDS = 15.0
_SHOWN = {  # on the progress line
    "loss": "loss",
    "accuracy": "accuracy",
    "discriminator_loss": "discriminator's loss",
    "discriminator_accuracy": "its accuracy",
    "adversarial_loss": "adversarial loss",
    "reconstruction_loss": "reconstruction",
    "adversary_accuracy": "adversary's accuracy",
}


class Logs:
    """Arguments: folder (train.jsonl; tensorboard/), step (that the training goes on from), total (steps), report
    (takes a line of progress every 15 s; None: a progress bar), active (False in all but the first process)."""

    def __init__(
        self, folder: Path, step: int, total: int, report: Callable[[str], None] | None, active: bool = True
    ) -> None:
        self._total, self._report, self._active = total, report, active
        self._started = self._reported = time.monotonic()
        if not active:
            return
        self._file = TrainingLog(folder / "train.jsonl", step)
        self._bar = tqdm(total=total, initial=step, disable=report is not None, unit="batch")
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def advance(self) -> None:
        """A step is done."""
        if self._active:
            self._bar.update()

    def figures(self, step: int, epoch: int, epochs: int, values: dict[str, float]) -> None:
        """Means since the last such call, `utterances_per_second`, `data_share` (of the time, spent waiting for data)
        and others among them."""
        if not self._active:
            return
        now = time.monotonic()
        self._file.write({"step": step, "epoch": epoch, **values, "seconds": round(now - self._started, 1)})
        self._draw("train", step, values)
        shown = [f"{_SHOWN[name]} {values[name]:.3f}" for name in values if name in _SHOWN]
        shown += [f"{name} {values[name]}" for name in ("skipped",) if values[name]]
        shown.append(f"{values['utterances_per_second']:.0f} utterances/s")
        shown.append(f"{100 * values['data_share']:.0f} % of the time waiting for data")
        text = ", ".join(shown)
        self._bar.set_postfix_str(f"epoch {epoch}/{epochs}, {text}")
        if self._report and (now - self._reported > _REPORT_SECONDS or step == self._total):
            self._reported = now
            self._report(f"epoch {epoch}/{epochs}, batch {step}/{self._total}, {text}")

    def held_out(self, step: int, epoch: int, values: dict[str, float], best: bool) -> None:
        """Figures of the held-out speech after an epoch."""
        if not self._active:
            return
        self._file.write({"step": step, "epoch": epoch, "held_out": values, "best": best})
        self._draw("held_out", step, values)
        accuracy = f", accuracy {values['accuracy']:.3f}" if "accuracy" in values else ""
        probe = f", domain probe {values['domain_probe']:.3f}" if "domain_probe" in values else ""
        line = f"epoch {epoch}, held out: EER {values['eer']:.2f} %{accuracy}{probe}"
        (self._report or self._bar.write)(line + ("; the best so far" if best else ""))

    def collapse(self, step: int, epoch: int, what: str) -> None:
        """The training has gone wrong in a way that has a name."""
        if self._active:
            self._file.write({"step": step, "epoch": epoch, "collapse": what})
            (self._report or self._bar.write)(f"WARNING collapse at step {step}: {what}")

    def skipped(self, step: int, epoch: int, utterances: list[str]) -> None:
        """An update that was left out."""
        if self._active:
            self._file.write({"step": step, "epoch": epoch, "skipped": True, "utterances": utterances})

    def close(self) -> None:
        if self._active:
            self._bar.close()
            self._file.close()
            if self._board is not None:
                self._board.close()

    def _draw(self, group: str, step: int, values: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, step)
