"""Named NumPy arrays in a file, and files of many records of them: what one step of a training leaves for the next."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from vouch.errors import VouchError
from vouch.io.streams import open_input, open_output


def write_arrays(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays by name; beside the file first."""
    with open_output(str(path)) as file:
        np.savez(file, **arrays)


def read_arrays(path: str | Path, fix: str) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote. Raises VouchError, with the remedy `fix`, when it is missing or damaged."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is cut off"
        raise VouchError(f"cannot read the statistics {path}: {reason}; {fix}") from None


def write_records(path: str | Path, records: Iterable[tuple[np.ndarray, ...]]) -> None:
    """Write records, each the same number of arrays, as they come; an empty record ends the file."""
    with open_output(str(path)) as file:
        for record in records:
            for array in record:
                np.lib.format.write_array(file, array, allow_pickle=False)
        np.lib.format.write_array(file, np.zeros((0, 0)), allow_pickle=False)


def read_records(path: str | Path, width: int, fix: str) -> Iterator[tuple[np.ndarray, ...]]:
    """The records of `width` arrays, one in memory at a time. Raises VouchError where the file is damaged."""
    with open_input(str(path)) as file:
        while True:
            try:
                first = np.lib.format.read_array(file, allow_pickle=False)
                if first.ndim == 2:
                    return
                rest = [np.lib.format.read_array(file, allow_pickle=False) for _ in range(width - 1)]
            except (ValueError, EOFError) as error:
                raise VouchError(f"{path} is damaged: {error}; {fix}") from None
            yield (first, *rest)
