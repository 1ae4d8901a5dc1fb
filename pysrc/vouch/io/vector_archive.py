"""Random access to vectors in archives on disk: one for each of very many utterances, such as VAD decisions."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from vouch.errors import VouchError
from vouch.io.archive_index import ArchiveIndex

_FIX = "make it again with the step that wrote it"


class VectorArchive:
    """The float vectors of a script file (vad.scp), memory-mapped. Memory: the keys and 20 bytes an utterance.

    Raises VouchError for a script file that ArchiveIndex refuses, and for what is not a binary float vector.
    """

    def __init__(self, scp: str | Path) -> None:
        self._index = ArchiveIndex(scp, _FIX)
        self.keys = self._index.keys

    def read(self, index: int) -> np.ndarray:
        """The vector of entry number `index`, float32 (n,)."""
        mapped, at = self._index.map(int(self._index.number[index])), int(self._index.offset[index])
        head = mapped[at : at + 10]
        if head[:6] != b"\0BFV \4" or len(head) < 10:
            raise VouchError(f"{self._index.name(index)}: no binary float vector at byte {at}; {_FIX}")
        (size,) = struct.unpack("<i", head[6:])
        if size < 0 or at + 10 + 4 * size > len(mapped):
            raise VouchError(f"{self._index.name(index)} is truncated: the archive ends within it; {_FIX}")
        return np.frombuffer(mapped, "<f4", size, at + 10).copy()
