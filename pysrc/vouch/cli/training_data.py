"""A training data directory: its features, and the speaker, length and recording of every utterance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError
from vouch.io.feature_archive import FeatureArchive
from vouch.io.tables import read_token_lines


class TrainingData(NamedTuple):
    """source (the features), labels (utterances,) numbers of their speakers, num_frames (utterances,), speakers (label
    i's name), groups (utterances,) numbers of the recordings that they are copies of."""

    source: FeatureArchive
    labels: np.ndarray
    num_frames: np.ndarray
    speakers: list[str]
    groups: np.ndarray

    def fingerprint(self) -> str:
        """A hash of the features, of the speaker and of the recording of every utterance."""
        digest = hashlib.sha256(self.source.fingerprint(self.num_frames).encode())
        for numbers in (self.labels, self.groups):
            digest.update(np.ascontiguousarray(numbers, np.int64))
        return digest.hexdigest()


def read_training_data(data: str | Path, fewest_speakers: int = 2) -> TrainingData:
    """Read feats.scp, utt2spk, utt2num_frames and, where it is there, utt2uniq (without it, every utterance is a
    recording of its own). Raises VouchError for a broken file, an utterance that is missing, and fewer speakers."""
    folder = Path(data)
    archive = FeatureArchive(folder / "feats.scp")
    speakers, labels = _numbered(folder / "utt2spk", archive)
    if len(speakers) < fewest_speakers:
        raise VouchError(f"{data}/utt2spk has {len(speakers)} speaker, training wants two or more")
    frames = frame_counts(folder / "utt2num_frames", archive)
    groups = np.arange(len(archive))
    if (folder / "utt2uniq").exists():
        _, groups = _numbered(folder / "utt2uniq", archive)
    return TrainingData(archive, labels, frames, speakers, groups)


def frame_counts(path: Path, archive: FeatureArchive) -> np.ndarray:
    """Frames of every utterance of the archive (utterances,), from its utt2num_frames. Raises VouchError."""
    counts = np.empty(len(archive), np.int64)
    for i, text in enumerate(_values(path, archive)):
        if not text.isdigit() or int(text) < 1:
            raise VouchError(
                f"{path}: utterance {archive.keys[i]} has '{text}' frames, want 1 or more; "
                f"make the features again with steps/prepare_feats_for_training.sh"
            )
        counts[i] = int(text)
    return counts


def _numbered(path: Path, archive: FeatureArchive) -> tuple[list[str], np.ndarray]:
    """The different values of the archive's utterances in a two-column file, sorted, and the number of each one's."""
    seen: dict[str, int] = {}
    numbers = np.fromiter((seen.setdefault(value, len(seen)) for value in _values(path, archive)), np.int64)
    names = sorted(seen)
    place = np.empty(len(names), np.int64)
    place[[seen[name] for name in names]] = np.arange(len(names))
    return names, place[numbers]


def _different(path: Path) -> Iterator[list[str]]:
    """The lines of a two-column file. Raises VouchError where a key comes again (in a sorted file; else some do)."""
    before = ""
    for number, line in enumerate(read_token_lines(str(path), fields=(2, 2)), 1):
        if line[0] == before:
            raise VouchError(f"{path}:{number}: utterance {before} comes again; remove a line")
        before = line[0]
        yield line


def _values(path: Path, archive: FeatureArchive) -> Iterator[str]:
    """The value of every utterance of the archive in a two-column file: in one pass where both are sorted alike."""
    lines = _different(path)
    table: dict[str, str] | None = None
    for key in archive.keys:
        value = None
        if table is None:
            value = next((value for name, value in lines if name == key), None)
            if value is None:  # another order, or it is not there
                table = dict(_different(path))
        if table is not None:
            value = table.get(key)
            if value is None:
                missing = [key for key in archive.keys if key not in table]
                raise VouchError(
                    f"{path} lacks {len(missing)} utterances of {archive.path}, {missing[0]} the first; "
                    f"run utils/fix_data_dir.sh {path.parent}"
                )
        assert value is not None
        yield value
