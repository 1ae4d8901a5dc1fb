"""The entries of a script file that lists `key archive:offset`, kept small, and its archives memory-mapped."""

from __future__ import annotations

import mmap
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from vouch.errors import VouchError

_MAX_OPEN = 256  # archives mapped at a time
_BLOCK = 1 << 14  # keys decoded at a time


class Keys(Sequence[str]):
    """Strings without line breaks in one block of bytes (`blob`, joined by line feeds): 8 bytes each beside them."""

    def __init__(self, blob: bytes, ends: np.ndarray) -> None:
        self.blob, self._ends = blob, ends  # ends (keys,): where each key ends in the blob

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"key {index} of {len(self)}")
        return self.blob[self._begin(index) : self._ends[index]].decode()

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _BLOCK):
            last = min(first + _BLOCK, len(self)) - 1
            yield from self.blob[self._begin(first) : self._ends[last]].decode().split("\n")

    def _begin(self, index: int) -> int:
        return int(self._ends[index - 1]) + 1 if index else 0


class ArchiveIndex:
    """Where the entries of a script file lie: `keys`, and bytes of mapped archives by number of the entry.

    1.2 million lines take about a second to read, and 20 bytes each beside the keys; a worker process that is forked
    shares them. `fix` ends the messages: how to make the file anew.

    Raises VouchError for a line that is not `key archive:offset`, and for keys that are not sorted or not unique.
    """

    def __init__(self, scp: str | Path, fix: str) -> None:
        self.path, self._fix = Path(scp), fix
        blob, ends = bytearray(), array("q")
        archives: dict[bytes, int] = {}
        numbers, offsets = array("i"), array("q")
        last = b""
        try:
            with open(self.path, "rb") as lines:
                for line in lines:
                    key, _, where = line.rstrip().partition(b" ")
                    archive, colon, offset = where.strip().rpartition(b":")
                    if not colon or not offset.isdigit():
                        raise VouchError(
                            f"{scp}:{len(ends) + 1}: '{line.decode(errors='replace').strip()[:80]}' is not "
                            f"'utterance archive:offset'; {fix}"
                        )
                    if key <= last:
                        raise self._unsorted(key, last, len(ends) + 1)
                    blob += key
                    ends.append(len(blob))
                    blob += b"\n"
                    numbers.append(archives.setdefault(archive, len(archives)))
                    offsets.append(int(offset))
                    last = key
        except OSError as error:
            raise VouchError(f"cannot read {scp}: {error.strerror}; {fix}") from None
        if not ends:
            raise VouchError(f"{scp} is empty; {fix}")
        self.keys = Keys(bytes(blob[:-1]), np.frombuffer(ends, np.int64))
        self.number = np.frombuffer(numbers, np.int32)
        self.offset = np.frombuffer(offsets, np.int64)
        self._archives = self._decoded(archives)
        self._maps: OrderedDict[int, mmap.mmap] = OrderedDict()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_maps": OrderedDict()}  # a process that gets a copy maps the archives anew

    def map(self, number: int) -> mmap.mmap:
        """Archive `number`, mapped; at most 256 are at a time. Raises VouchError when it cannot be read."""
        if number in self._maps:
            self._maps.move_to_end(number)
            return self._maps[number]
        path = self._archives[number]
        try:
            with open(path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is empty"
            raise VouchError(f"cannot read the archive {path} named in {self.path}: {reason}; {self._fix}") from None
        self._maps[number] = mapped
        if len(self._maps) > _MAX_OPEN:
            self._maps.popitem(last=False)
        return mapped

    def name(self, index: int) -> str:
        """An entry as messages call it."""
        return f"utterance {self.keys[index]} in {self._archives[self.number[index]]}"

    def _unsorted(self, key: bytes, last: bytes, line: int) -> VouchError:
        here, before = key.decode(errors="replace"), last.decode(errors="replace")
        wrong = f"'{here}' is there twice" if key == last else f"'{here}' comes after '{before}', which is not sorted"
        return VouchError(f"{self.path}:{line}: {wrong}; run utils/fix_data_dir.sh {self.path.parent}")

    def _decoded(self, archives: dict[bytes, int]) -> list[str]:
        """The names of the archives; raises VouchError when they or the keys are not UTF-8."""
        try:
            self.keys.blob.decode()
            return [archive.decode() for archive in archives]
        except UnicodeDecodeError:
            raise VouchError(f"{self.path} is not UTF-8 text; {self._fix}") from None
