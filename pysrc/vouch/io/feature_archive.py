"""Random access to chunks of frames in feature archives on disk, for training."""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np

from vouch.errors import VouchError

_MAX_OPEN = 256  # archives mapped at a time
_FIX = "make it with steps/prepare_feats_for_training.sh"


class FeatureArchive:
    """The matrices of a feats.scp, memory-mapped: a chunk of frames is one slice of the archive.

    Takes the row-major forms: two bytes a value (Kaldi's kTwoByteAuto, which steps/prepare_feats_for_training.sh
    writes), one byte a value (kOneByteAuto) and float32. Memory: the keys, and 12 bytes an utterance.

    Raises VouchError for an scp line that is not `utterance archive:offset`, and for a matrix in another form.
    """

    def __init__(self, scp: str | Path) -> None:
        self.path = Path(scp)
        self.keys: list[str] = []
        archives: dict[str, int] = {}
        numbers: list[int] = []
        offsets: list[int] = []
        try:
            with open(self.path, encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    key, _, where = line.strip().partition(" ")
                    archive, colon, offset = where.rpartition(":")
                    if not colon or not offset.isdigit():
                        raise VouchError(
                            f"{scp}:{number}: '{line.strip()[:80]}' is not 'utterance archive:offset'; {_FIX}"
                        )
                    self.keys.append(key)
                    numbers.append(archives.setdefault(archive, len(archives)))
                    offsets.append(int(offset))
        except OSError as error:
            raise VouchError(f"cannot read {scp}: {error.strerror}; {_FIX}") from None
        if not self.keys:
            raise VouchError(f"{scp} is empty; {_FIX}")
        self._archives = list(archives)
        self._number = np.array(numbers, np.int32)
        self._offset = np.array(offsets, np.int64)
        self._maps: OrderedDict[int, mmap.mmap] = OrderedDict()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_maps": OrderedDict()}  # a data-loading worker maps the archives anew

    def __len__(self) -> int:
        return len(self.keys)

    def shape(self, index: int) -> tuple[int, int]:
        """(frames, dims) of the matrix of utterance number `index`."""
        return self._header(index)[1:3]

    def read(self, index: int, start: int = 0, frames: int | None = None) -> np.ndarray:
        """Frames start to start + frames of utterance number `index`, (frames, dims) float32."""
        form, rows, dims, low, span, data = self._header(index)
        stop = rows if frames is None else start + frames
        if not 0 <= start < stop <= rows:
            raise VouchError(
                f"{self._name(index)} has {rows} frames, not {start} to {stop}; is {self.path} up to date?"
            )
        kind = {b"CM2 ": np.uint16, b"CM3 ": np.uint8, b"FM ": np.float32}[form]
        values = np.frombuffer(
            self._map(int(self._number[index])),
            kind,
            (stop - start) * dims,
            data + start * dims * np.dtype(kind).itemsize,
        ).reshape(stop - start, dims)
        if form == b"FM ":
            return values.copy()
        steps = 65535.0 if form == b"CM2 " else 255.0
        return values * np.float32(span / steps) + np.float32(low)

    def fingerprint(self, num_frames: np.ndarray, samples: int = 100) -> str:
        """A hash of all keys and lengths and of the values of some utterances: other features, another hash."""
        digest = hashlib.sha256("\n".join(self.keys).encode())
        digest.update(np.ascontiguousarray(num_frames, np.int64))
        for index in np.linspace(0, len(self) - 1, min(samples, len(self))).astype(int):
            digest.update(self.read(int(index), 0, min(10, int(num_frames[index]))))
        return digest.hexdigest()

    def _name(self, index: int) -> str:
        return f"utterance {self.keys[index]} in {self._archives[self._number[index]]}"

    def _map(self, number: int) -> mmap.mmap:
        if number in self._maps:
            self._maps.move_to_end(number)
            return self._maps[number]
        path = self._archives[number]
        try:
            with open(path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is empty"
            raise VouchError(f"cannot read the archive {path} named in {self.path}: {reason}; {_FIX}") from None
        self._maps[number] = mapped
        if len(self._maps) > _MAX_OPEN:
            self._maps.popitem(last=False)
        return mapped

    def _header(self, index: int) -> tuple[bytes, int, int, float, float, int]:
        """(form, rows, dims, least value, span of values, position of the first value)."""
        mapped, at = self._map(int(self._number[index])), int(self._offset[index])
        if mapped[at : at + 2] != b"\0B":
            raise VouchError(f"{self._name(index)}: no binary matrix at byte {at}: truncated or overwritten; {_FIX}")
        form = mapped[at + 2 : at + 6]
        if form in (b"CM2 ", b"CM3 "):
            data = at + 22
            header = mapped[at + 6 : data]
            low, span, rows, dims = struct.unpack("<ffii", header) if len(header) == 16 else (0.0, 0.0, -1, 0)
            size = 2 if form == b"CM2 " else 1
        elif form[:3] == b"FM ":
            form, data, low, span, size = b"FM ", at + 15, 0.0, 0.0, 4
            header = mapped[at + 5 : data]
            _, rows, _, dims = struct.unpack("<bibi", header) if len(header) == 10 else (0, -1, 0, 0)
        else:
            name = form.decode("latin1").partition(" ")[0]
            raise VouchError(f"{self._name(index)}: a '{name}' matrix has no row-major form; {_FIX}")
        if rows < 0 or dims < 0 or data + rows * dims * size > len(mapped):
            raise VouchError(f"{self._name(index)} is truncated: the archive ends within it; {_FIX}")
        return form, rows, dims, low, span, data
