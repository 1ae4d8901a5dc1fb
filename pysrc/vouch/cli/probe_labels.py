"""Labels of utterances that a probe asks for: out of a data directory, and out of files 'UTTERANCE LABEL'."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vouch.cli.log import log
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

SPEAKER, RECORDING = "speaker", "recording"
DEFAULT_NUMERIC = ("length",)
_COPY = re.compile(rb"-(reverb|noise|music|babble)$")  # as `vouch augment-data-dir` names copies
_SPEED = re.compile(rb"^(sp\d+\.\d+)-")

Labels = dict[bytes, bytes]  # label of each utterance


class Property(NamedTuple):
    """labels (utterances,): number of the class, -1 without label, or a floating-point number, NaN without; names of
    the classes; wanted: was it asked for by --properties (and not just found in a data directory)?"""

    labels: np.ndarray
    names: list[str]
    wanted: bool


class LabelledUtterances(NamedTuple):
    """keys; speakers and recordings (utterances,), whole numbers from 0; properties by name."""

    keys: list[str]
    speakers: np.ndarray
    recordings: np.ndarray
    properties: dict[str, Property]


def read_labels(data: str, labels: str, chosen: str, numeric: str) -> LabelledUtterances:
    """Those of --data, --labels, --properties and --numeric.

    Of a data directory: speaker (utt2spk), recording (of utt2uniq and segments; or else of the ids), gender
    (spk2gender), length (utt2dur or utt2num_frames), augmentation and speed (of the ids, as steps/augment.sh makes
    them). A speaker and its copies at other speeds are one: who knows the speed does not yet know who speaks. Raises
    VouchError.
    """
    import numpy as np

    given = _parse(labels)
    tables: dict[str, tuple[str, Labels]] = _of_directory(Path(data)) if data else {}
    tables |= {name: (path, _pairs(Path(path))) for name, path in given.items()}
    if SPEAKER not in tables:
        raise VouchError("who speaks must be known: give --data=DIR with utt2spk, or --labels=speaker=FILE")
    where, speakers = tables[SPEAKER]
    utterances = list(speakers)
    for name, table in _of_ids(utterances, speakers).items():
        tables.setdefault(name, table)
    speakers = {key: _of_any_speed(key, speaker) for key, speaker in speakers.items()}
    tables[SPEAKER] = where, speakers
    recordings = tables.pop(RECORDING)
    lacking = next((key for key in utterances if key not in recordings[1]), None)
    if lacking is not None:
        raise VouchError(f"{recordings[0]} lacks utterance {lacking.decode()} of {where}; add it")
    wanted = _words(chosen, "--properties")
    for name in wanted:
        if name not in tables:
            raise VouchError(f"--properties: there are no labels '{name}', only {', '.join(tables)}; give --labels")
    numbers = _words(numeric, "--numeric")
    for name in numbers:
        if name == SPEAKER or name not in (*tables, *DEFAULT_NUMERIC):
            raise VouchError(f"--numeric: '{name}' is no property of numbers; want some of {', '.join(tables)}")
    found = {}
    for name in wanted or tables:
        path, own = tables[name]
        values = [own.get(key, b"") for key in utterances]
        number = sum(map(bool, values))
        if not number:
            raise VouchError(f"{path}: has no label of the utterances of {where}; give labels of the same utterances")
        if number < len(values):
            log(f"{name}: {number} of the {len(values)} utterances have a label in {path}")
        own_labels, names = (_numbers(path, utterances, values), []) if name in numbers else _classes(values)
        found[name] = Property(own_labels, names, name in wanted)
    everyone, everything = (
        np.unique([own[key] for key in utterances], return_inverse=True)[1] for own in (speakers, recordings[1])
    )
    return LabelledUtterances([key.decode() for key in utterances], everyone, everything, found)


def _words(text: str, option: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise VouchError(f"{option}='{text}': {str(error).lower()}; close the quotes") from None


def _parse(labels: str) -> dict[str, str]:
    files: dict[str, str] = {}
    for word in _words(labels, "--labels"):
        name, equals, path = word.partition("=")
        if not (name and equals and path) or name in files:
            raise VouchError(f"--labels: '{word}' is not NAME=FILE of a new name; quote a name that has spaces")
        files[name] = path
    return files


def _pairs(path: Path) -> Labels:
    from vouch.io.datadir import read_pairs, show

    keys, values = read_pairs(path)
    found = dict(zip(keys, values, strict=True))
    if len(found) < len(keys):
        twice = next(key for key, times in Counter(keys).items() if times > 1)
        raise VouchError(f"{path}: '{show(twice)}' stands twice; keep one line of it")
    return found


def _of_directory(directory: Path) -> dict[str, tuple[str, Labels]]:
    from vouch.io.datadir import read_bytes, read_utt2spk, segment_recordings, tidy_lines

    speakers = dict(zip(*read_utt2spk(directory), strict=True))
    tables = {SPEAKER: (f"{directory}/utt2spk", speakers)}
    if (directory / "spk2gender").is_file():
        genders = _pairs(directory / "spk2gender")
        known = {key: genders[speaker] for key, speaker in speakers.items() if speaker in genders}
        tables["gender"] = f"{directory}/spk2gender", known
    length = next((name for name in ("utt2dur", "utt2num_frames") if (directory / name).is_file()), None)
    if length:
        tables["length"] = f"{directory}/{length}", _pairs(directory / length)
    uniq, cut = directory / "utt2uniq", directory / "segments"
    if uniq.is_file():
        tables[RECORDING] = str(uniq), _pairs(uniq)
    if cut.is_file():
        lines = tidy_lines(read_bytes(cut), "segments")
        sources = segment_recordings(cut, lines)
        recordings = {line.split()[0]: _without_marks(key) for line, key in zip(lines, sources, strict=True)}
        where = str(cut)
        if uniq.is_file():  # copies of a segment, and all segments of a recording
            recordings, where = _joined(recordings, tables[RECORDING][1], speakers), f"{uniq} or {cut}"
        tables[RECORDING] = where, recordings
    return tables


def _joined(first: Labels, second: Labels, utterances: Iterable[bytes]) -> Labels:
    """A label of each utterance that is in both, the same for those whom either of them puts together."""
    import numpy as np

    from vouch.metrics.probe import families

    keys = [key for key in utterances if key in first and key in second]
    if not keys:
        return {}
    numbers = (np.unique([own[key] for key in keys], return_inverse=True)[1] for own in (first, second))
    return {key: b"%d" % number for key, number in zip(keys, families(*numbers), strict=True)}


def _without_marks(key: bytes, speaker: bytes = b"") -> bytes:
    """The id without what the names of copies have: -noise and the like behind it, sp0.9- before it (where `speaker`,
    if there is one, bears it, too)."""
    speed = _SPEED.match(key)
    begin = speed.end() if speed and (not speaker or speaker.startswith(speed[0])) else 0
    copy = _COPY.search(key)
    return key[begin : copy.start() if copy else None]


def _of_any_speed(key: bytes, speaker: bytes) -> bytes:
    """The speaker's name without the speed that the utterance's has, too."""
    speed = _SPEED.match(key)
    return speaker.removeprefix(speed[0]) if speed else speaker


def _of_ids(utterances: Sequence[bytes], speakers: Labels) -> dict[str, tuple[str, Labels]]:
    """recording, and augmentation and speed where there are copies, of the names of the utterances; a speed counts
    where the speaker bears it too."""
    recordings, kinds, speeds = {}, {}, {}
    for key in utterances:
        copy, speed = _COPY.search(key), _SPEED.match(key)
        if speed and not speakers[key].startswith(speed[0]):
            speed = None
        recordings[key] = _without_marks(key, speakers[key])
        kinds[key] = copy[1] if copy else b"none"
        speeds[key] = speed[1] if speed else b"none"
    tables = {RECORDING: ("the utterance ids", recordings)}
    for name, labels in (("augmentation", kinds), ("speed", speeds)):
        if len(set(labels.values())) > 1:
            tables[name] = "the utterance ids", labels
    return tables


def _classes(values: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
    import numpy as np

    names, classes = np.unique(values, return_inverse=True)
    without = int(names[0] == b"")
    return classes - without, [name.decode() for name in names[without:].tolist()]


def _numbers(path: str, utterances: Sequence[bytes], values: Sequence[bytes]) -> np.ndarray:
    import numpy as np

    numbers = np.full(len(values), np.nan)
    for place, (key, text) in enumerate(zip(utterances, values, strict=True)):
        if text:
            try:
                numbers[place] = float(text)
            except ValueError:
                numbers[place] = np.inf
            if not np.isfinite(numbers[place]):
                raise VouchError(f"{path}: '{text.decode()}' of {key.decode()} is not a number; see --numeric")
    return numbers
