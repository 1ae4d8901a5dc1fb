"""A trial list in memory, and score files brought into its order."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np


def is_target(label: str, where: str) -> bool:
    if label not in ("target", "nontarget"):
        raise VouchError(f"{where}: the label is '{label}': want target or nontarget")
    return label == "target"


class Trials:
    """A trial list: numbers of models and tests `(trials,)`, and which trials are target trials `(trials,)`.

    Lines 'MODEL TEST target|nontarget'; where `labelled` is false the label may be missing, and is_target is not there.
    """

    def __init__(self, path: str, labelled: bool = True) -> None:
        import numpy as np

        self.path = path
        self._model_of: dict[str, int] = {}
        self._test_of: dict[str, int] = {}
        models, tests, labels = array("i"), array("i"), array("b")
        for model, test, *label in self._read(labelled):
            labels.extend(label)
            models.append(self._model_of.setdefault(model, len(self._model_of)))
            tests.append(self._test_of.setdefault(test, len(self._test_of)))
        if not models:
            raise VouchError(f"{path} has no trials: check the data preparation")
        self.models, self.tests = np.array(models), np.array(tests)
        if labelled:
            self.is_target = np.array(labels, dtype=bool)
        pairs = self._pairs(self.models, self.tests)
        self._order = np.argsort(pairs, kind="stable")
        self._sorted_pairs = pairs[self._order]
        self._refuse_twice(self._sorted_pairs, path)

    def _read(self, labelled: bool) -> Iterator[tuple[str, str] | tuple[str, str, bool]]:
        """The model and the test of every line, and where it has a label, whether it is a target trial."""
        from vouch.io.tables import read_token_lines

        for number, (model, test, *label) in enumerate(read_token_lines(self.path, (3 if labelled else 2, 3)), 1):
            yield (model, test, is_target(label[0], f"{self.path}:{number}")) if label else (model, test)

    def align(self, path: str) -> np.ndarray:
        """The score of every trial `(trials,)`, from lines 'MODEL TEST SCORE' in any order."""
        import numpy as np

        from vouch.cli.scoring import parse_score
        from vouch.io.tables import read_token_lines

        models, tests, values = array("i"), array("i"), array("d")
        for number, (model, test, score) in enumerate(read_token_lines(path, (3, 3)), 1):
            if model not in self._model_of or test not in self._test_of:
                raise VouchError(f"{path}:{number}: no trial '{model} {test}' in {self.path}: score the same list")
            models.append(self._model_of[model])
            tests.append(self._test_of[test])
            values.append(parse_score(score, f"{path}:{number}"))
        pairs = self._pairs(np.array(models), np.array(tests))
        order = np.argsort(pairs, kind="stable")
        pairs = pairs[order]
        self._refuse_twice(pairs, path)
        for given, wanted, text in (
            (pairs, self._sorted_pairs, f"{path} has a score of '{{}}', which is no trial in {self.path}"),
            (self._sorted_pairs, pairs, f"{self.path} has the trial '{{}}', which has no score in {path}"),
        ):
            extra = np.setdiff1d(given, wanted, assume_unique=True)
            if len(extra):
                count = "" if len(extra) == 1 else f" (and {len(extra) - 1} more)"
                raise VouchError(f"{text.format(self._name(extra[0]))}{count}: score the same list")
        scores = np.empty(len(values))
        scores[self._order] = np.array(values)[order]
        return scores

    def _pairs(self, models: np.ndarray, tests: np.ndarray) -> np.ndarray:
        return models.astype("i8") * len(self._test_of) + tests

    def _refuse_twice(self, sorted_pairs: np.ndarray, path: str) -> None:
        twice = sorted_pairs[1:][sorted_pairs[1:] == sorted_pairs[:-1]]
        if len(twice):
            raise VouchError(f"{path}: the pair '{self._name(twice[0])}' comes twice: remove one of the lines")

    def _name(self, pair: int) -> str:
        model, test = divmod(int(pair), len(self._test_of))
        return f"{list(self._model_of)[model]} {list(self._test_of)[test]}"

    def keys(self) -> tuple[list[str], list[str]]:
        """The model and the test of every trial."""
        models, tests = list(self._model_of), list(self._test_of)
        return [models[i] for i in self.models], [tests[i] for i in self.tests]
