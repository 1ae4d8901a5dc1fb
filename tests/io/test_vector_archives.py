"""Binary vectors read from the buffer at once: the same values and the same complaints as one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vouch.io.sequential
from vouch.errors import VouchError
from vouch.io.tables import TableWriter, read_table


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Vectors of many kinds, some larger than a buffer, many a boundary of one within a vector or a key."""
    rng = np.random.default_rng(0)
    path = tmp_path / "vectors.ark"
    parts = []
    for number in range(400):
        kind, size = ("t", "d", "é", "f")[min(number % 10, 3)], int(rng.integers(0, 300)) * (100 if number == 50 else 1)
        key, value = f"{kind}{number}", rng.standard_normal(size)
        with TableWriter(f"{'ark,t' if kind == 't' else 'ark'}:{tmp_path}/one", "vector") as writer:
            writer.write(key, value if kind == "d" else value.astype(np.float32))
        parts.append((tmp_path / "one").read_bytes())
    path.write_bytes(b"".join(parts))
    return path


def outcome(path: Path) -> Iterator[tuple[str, str, bytes]]:
    try:
        for key, vector in read_table(f"ark:{path}", "vector"):
            yield key, str(vector.dtype), vector.tobytes()
            vector += 1  # it is the reader's own
    except VouchError as error:
        yield "error", str(error), b""


def test_the_same_as_one_by_one(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive.read_bytes()
    places = [len(data), *np.random.default_rng(1).integers(0, len(data), 40).tolist()]
    for place in places:
        for change in (data[:place], data[:place] + b"\xff" + data[place + 1 :]):
            archive.write_bytes(change)
            at_once = list(outcome(archive))
            with monkeypatch.context() as patch:
                patch.setattr(vouch.io.sequential, "buffered_vectors", lambda stream: [])
                assert at_once == list(outcome(archive))
        if place == len(data):
            assert len(at_once) > 400 and at_once[0][0] == "t0"
