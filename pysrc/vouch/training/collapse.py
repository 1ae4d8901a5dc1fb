"""Notices when an adversarial training, or one by a metric loss, goes wrong in one of its known ways."""

from __future__ import annotations

from typing import Any

_LINES = 5  # of the log that are looked at together
_PINNED = 0.05  # of a discriminator's accuracy around 1/2
_RISEN, _FALLEN = 1.2, 0.1  # of the task's loss, as a factor, and of its accuracy
_SPREAD = 0.05  # of normalised embeddings, whose spread is 1 where they point everywhere


class CollapseWatch:
    """Looks at the figures of every line of the log. Named are two states, each once until it is over:

    - the discriminator guesses (accuracy within 0.05 of 1/2 in five lines), and the task has got worse since its best
      five lines: its loss by a fifth (margin ramps alone raise a loss) and its accuracy by 0.1;
    - all embeddings point in one direction (their spread, sqrt(1 - |mean of the normalised|^2), is below 0.05).

    The thresholds are ours. Figures: loss, accuracy, spread (without it there is nothing to watch), and
    discriminator_accuracy while the game is on.
    """

    def __init__(self) -> None:
        self._last: list[list[float]] = []  # loss, accuracy, discriminator's accuracy of the last lines
        self._best = [float("inf"), 0.0]  # lowest loss, highest accuracy of five lines
        self._named = ""

    def look(self, figures: dict[str, float]) -> str:
        """What is wrong, or "" (also while what is wrong has been named already)."""
        found = self._find(figures)
        new, self._named = found if found != self._named else "", found
        return new

    def _find(self, figures: dict[str, float]) -> str:
        if "spread" not in figures:
            return ""
        if figures["spread"] < _SPREAD:
            return "all embeddings point in one direction: lower the learning rate, or objective.weight of a game"
        self._last.append([figures["loss"], figures["accuracy"], figures.get("discriminator_accuracy", 1.0)])
        self._last = self._last[-_LINES:]
        if len(self._last) < _LINES:
            return ""
        loss, accuracy, _ = (sum(column) / _LINES for column in zip(*self._last, strict=True))
        worse = loss > _RISEN * self._best[0] and accuracy < self._best[1] - _FALLEN
        self._best = [min(loss, self._best[0]), max(accuracy, self._best[1])]
        if worse and all(abs(line[2] - 0.5) < _PINNED for line in self._last):
            return "the discriminator only guesses while the speakers are forgotten: lower objective.weight"
        return ""

    def state_dict(self) -> dict[str, Any]:
        return {"last": self._last, "best": self._best, "named": self._named}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._last, self._best, self._named = state["last"], state["best"], state["named"]
