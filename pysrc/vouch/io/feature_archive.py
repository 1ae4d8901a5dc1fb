"""Random access to chunks of frames in feature archives on disk, for training."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError
from vouch.io.archive_index import ArchiveIndex

_FIX = "make it with steps/prepare_feats_for_training.sh"
_KINDS = {2: np.dtype("<u2"), 1: np.dtype("u1"), 4: np.dtype("<f4")}  # of the stored values, by their bytes


class _Header(NamedTuple):
    """What the header of a matrix says: bytes of a value (0: not read yet), rows, columns, and the number of the
    archive and the byte in it where the values begin; a feature is low + step * stored value."""

    size: int
    rows: int
    dims: int
    archive: int
    data: int
    step: float
    low: float


_HEADERS = np.dtype(list(zip(_Header._fields, ("u1", "i4", "i4", "i4", "i8", "f4", "f4"), strict=True)))


class FeatureArchive:
    """The matrices of a feats.scp, memory-mapped: a chunk of frames is one slice of the archive.

    Takes the row-major forms: two bytes a value (Kaldi's kTwoByteAuto, which steps/prepare_feats_for_training.sh
    writes), one byte a value (kOneByteAuto) and float32. Memory: the keys, and 49 bytes an utterance.

    Raises VouchError for a script file that ArchiveIndex refuses, and for a matrix in another form.
    """

    def __init__(self, scp: str | Path) -> None:
        self.path = Path(scp)
        self._index = ArchiveIndex(scp, _FIX)
        self.keys: Sequence[str] = self._index.keys
        self._headers = np.zeros(len(self.keys), _HEADERS)  # filled as they are needed

    def __len__(self) -> int:
        return len(self.keys)

    def shape(self, index: int) -> tuple[int, int]:
        """(frames, dims) of the matrix of utterance number `index`."""
        [header] = self._headers_of(np.array([index]))
        return header.rows, header.dims

    def read(self, index: int, start: int = 0, frames: int | None = None) -> np.ndarray:
        """Frames start to start + frames of utterance number `index`, (frames, dims) float32."""
        [header] = self._headers_of(np.array([index]))
        stop = header.rows if frames is None else start + frames
        chunk = np.empty((max(stop - start, 0), header.dims), np.float32)
        self._fill(chunk, index, header, start, stop)
        return chunk

    def read_chunks(
        self, indices: np.ndarray, starts: np.ndarray, length: int, place: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Chunks of `length` frames of the utterances `indices` (chunks,) from frames `starts` (chunks,) on.

        An utterance shorter than the chunk, asked for from frame 0, is repeated. (chunks, length, dims) float32.
        `place`, the batch's, is for sources that make random choices: here it changes nothing.
        Raises VouchError for frames outside an utterance and for utterances of unequal dims.
        """
        headers = self._headers_of(indices)
        dims = headers[0].dims if headers else 0
        chunks = np.empty((len(headers), length, dims), np.float32)
        for chunk, index, start, header in zip(chunks, indices.tolist(), starts.tolist(), headers, strict=True):
            if header.dims != dims:
                raise VouchError(f"{self._index.name(index)} has {header.dims} dims a frame, others {dims}; {_FIX}")
            have = header.rows if start == 0 and header.rows < length else length
            self._fill(chunk[:have], index, header, start, start + have)
            for first in range(have, length, have):
                chunk[first : first + have] = chunk[: min(have, length - first)]
        return chunks

    def fingerprint(self, num_frames: np.ndarray, samples: int = 100) -> str:
        """A hash of all keys and lengths and of the values of some utterances: other features, another hash."""
        digest = hashlib.sha256(self._index.keys.blob)
        digest.update(np.ascontiguousarray(num_frames, np.int64))
        for index in np.linspace(0, len(self) - 1, min(samples, len(self))).astype(int):
            digest.update(self.read(int(index), 0, min(10, int(num_frames[index]))))
        return digest.hexdigest()

    def _fill(self, chunk: np.ndarray, index: int, header: _Header, start: int, stop: int) -> None:
        """Write frames start to stop into chunk (frames, dims)."""
        if not 0 <= start < stop <= header.rows:
            raise VouchError(
                f"{self._index.name(index)} has {header.rows} frames, not {start} to {stop}; is {self.path} up to date?"
            )
        first = header.data + start * header.dims * header.size
        chunk[:] = np.ndarray(chunk.shape, _KINDS[header.size], self._index.map(header.archive), first)
        if header.size < 4:
            chunk *= header.step
            chunk += header.low

    def _headers_of(self, indices: np.ndarray) -> list[_Header]:
        headers = self._headers[indices]
        if not headers["size"].all():
            for index in indices[headers["size"] == 0].tolist():
                self._headers[index] = self._read_header(index)
            headers = self._headers[indices]
        return list(map(_Header._make, headers.tolist()))

    def _read_header(self, index: int) -> _Header:
        archive, at = int(self._index.number[index]), int(self._index.offset[index])
        mapped = self._index.map(archive)
        if mapped[at : at + 2] != b"\0B":
            raise VouchError(
                f"{self._index.name(index)}: no binary matrix at byte {at}: truncated or overwritten; {_FIX}"
            )
        form = mapped[at + 2 : at + 6]
        if form in (b"CM2 ", b"CM3 "):
            data = at + 22
            header = mapped[at + 6 : data]
            low, span, rows, dims = struct.unpack("<ffii", header) if len(header) == 16 else (0.0, 0.0, -1, 0)
            size, step = (2, span / 65535.0) if form == b"CM2 " else (1, span / 255.0)
        elif form[:3] == b"FM ":
            data, low, step, size = at + 15, 0.0, 1.0, 4
            header = mapped[at + 5 : data]
            _, rows, _, dims = struct.unpack("<bibi", header) if len(header) == 10 else (0, -1, 0, 0)
        else:
            name = form.decode("latin1").partition(" ")[0]
            raise VouchError(f"{self._index.name(index)}: a '{name}' matrix has no row-major form; {_FIX}")
        if rows < 0 or dims < 0 or data + rows * dims * size > len(mapped):
            raise VouchError(f"{self._index.name(index)} is truncated: the archive ends within it; {_FIX}")
        return _Header(size, rows, dims, archive, data, step, low)
