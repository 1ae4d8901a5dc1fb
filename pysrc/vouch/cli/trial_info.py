"""A trial list with the properties that SRE16's metric needs: gender, language, enrollment segments, phone match."""

from __future__ import annotations

from collections.abc import Iterator

from vouch.cli.result_rows import is_name
from vouch.cli.trial_list import Trials, is_target
from vouch.errors import VouchError

COLUMNS = ("model", "segment", "target", "gender", "language", "enrollment_segments", "phone_match")
_VALUES = {"gender": ("m", "f", "-"), "phone_match": ("same", "different", "-")}


class TrialInfo(Trials):
    """Trials with, further to those of a plain list, the number of each one's partition `(trials,)`, the combination of
    its four properties, and of its language `(trials,)`; `languages` are their names, sorted.

    The file is tab-separated: a header of the seven columns, then a line a trial.
    """

    def __init__(self, path: str) -> None:
        import numpy as np

        self._partition_of: dict[tuple[str, ...], int] = {}
        self._partitions: list[int] = []
        super().__init__(path)
        self.partitions = np.array(self._partitions)
        names = [language for _, language, _, _ in self._partition_of]
        self.languages = sorted(set(names))
        self.language = np.array([self.languages.index(name) for name in names])[self.partitions]

    def _read(self, labelled: bool) -> Iterator[tuple[str, str, bool]]:
        from vouch.io.sequential import decode_text
        from vouch.io.tables import open_input

        with open_input(self.path) as stream:
            header = decode_text(stream.readline(), self.path, 1).rstrip("\r\n").split("\t")
            if tuple(header) != COLUMNS:
                raise VouchError(f"{self.path}:1: want the tab-separated header {' '.join(COLUMNS)}")
            for number, line in enumerate(stream, 2):
                cells = decode_text(line, self.path, number).rstrip("\r\n").split("\t")
                if len(cells) != len(COLUMNS):
                    raise VouchError(
                        f"{self.path}:{number}: {len(cells)} cells, want {len(COLUMNS)}, separated by tabs"
                    )
                model, segment, label, *rest = cells
                properties = tuple(rest)
                if properties not in self._partition_of:
                    self._check(properties, number)
                    self._partition_of[properties] = len(self._partition_of)
                self._partitions.append(self._partition_of[properties])
                yield model, segment, is_target(label, f"{self.path}:{number}")

    def _check(self, properties: tuple[str, ...], number: int) -> None:
        named = dict(zip(COLUMNS[3:], properties, strict=True))
        for name, values in _VALUES.items():
            if named[name] not in values:
                raise VouchError(f"{self.path}:{number}: {name} is '{named[name]}', want {' or '.join(values)}")
        if not named["enrollment_segments"].isdecimal():
            count = named["enrollment_segments"]
            raise VouchError(f"{self.path}:{number}: enrollment_segments is '{count}', want a number")
        if not is_name(named["language"]):
            raise VouchError(
                f"{self.path}:{number}: the language is '{named['language']}': want a code as tgl or yue, of letters, "
                f"digits and . _ + : = -"
            )
