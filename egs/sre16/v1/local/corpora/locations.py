"""Where the corpora lie: a YAML of paths, or a folder of folders named as the LDC names its releases."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from corpora.catalogue import ALIASES, CATALOGUE
from vouch.errors import VouchError
from vouch.io.config import read_mapping

_KEYS = {key.lower(): key for key in (*CATALOGUE, *ALIASES)}


def find_corpora(place: Path) -> dict[str, Path]:
    """Absolute path of each corpus that a YAML file or a folder names, in the order of the catalogue.

    Raises VouchError on an unknown name, a path that does not exist and a corpus that is there twice.
    """
    if not place.exists():
        raise VouchError(f"--corpora {place} does not exist; give a YAML file or a folder of corpora (see --help)")
    if place.is_dir():
        yaml = place / "corpora.yaml"
        found = _of_yaml(yaml) if yaml.is_file() else _of_folder(place)
    else:
        found = _of_yaml(place)
    return {number: found[number] for number in CATALOGUE if number in found}


def missing_lines(whose: str, given: Collection[str]) -> str:
    """Lines that say what is not given, and what the recipe loses; empty where all is."""
    lost = [
        f"  {corpus.number:12s} {corpus.name}{f', {corpus.size}' if corpus.size else ''}: {corpus.lost}\n"
        for corpus in CATALOGUE.values()
        if corpus.number not in given
    ]
    return "".join([f"{whose}: these corpora are not given; without each the recipe lacks\n", *lost]) if lost else ""


class Planned(NamedTuple):
    """What a plan wants to know of a corpus: recordings that are used, and hours of them."""

    recordings: int
    hours: float
    exists: bool = True  # is it there?


def planned_corpora(place: Path) -> dict[str, Planned]:
    """The sizes of the corpora of a YAML file or a folder: as the YAML has them, else the catalogue's; the corpora need
    not be there. Raises VouchError on an unknown name and on sizes that are none."""
    yaml = place / "corpora.yaml" if place.is_dir() else place
    found = {}
    if place.is_dir() and not yaml.is_file():
        given: dict[str, dict[str, Any]] = {number: {} for number in _of_folder(place)}
    else:
        given = dict(_entries(yaml))
    for number, corpus in CATALOGUE.items():
        if number in given:
            recordings = _size(given[number], "recordings", corpus.recordings, f"{yaml}: {number}")
            hours = _size(given[number], "hours", recordings * corpus.minutes / 60, f"{yaml}: {number}")
            path = given[number].get("path")
            found[number] = Planned(round(recordings), hours, path is None or _location(yaml, path).exists())
    return found


def _size(entry: dict[str, Any], name: str, default: float, where: str) -> float:
    value = entry.get(name, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise VouchError(f"{where}: {name} is {value!r}; want a number, 0 or more")
    return float(value)


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name here, its entry: path, recordings, hours) of each line of a YAML file."""
    for key, value in read_mapping(path, f"the list of corpora {path}", "LDC2011S08: /path/to/it").items():
        number = _KEYS.get(str(key).lower())
        if number is None:
            near = get_close_matches(str(key).lower(), _KEYS, 1, 0)
            raise VouchError(f"{path}: unknown corpus '{key}'; did you mean {_KEYS[near[0]]}?")
        if value is None:  # `LDC2013S03:` with nothing behind it
            continue
        entry = value if isinstance(value, dict) else {"path": value}
        unknown = [name for name in entry if name not in ("path", "recordings", "hours")]
        if unknown:
            raise VouchError(f"{path}: {key}: unknown '{unknown[0]}'; want path and, for plans, recordings and hours")
        if not isinstance(entry.get("path", ""), str):
            raise VouchError(f"{path}: the path of {key} is {entry['path']!r}; want text")
        yield ALIASES.get(number, number), entry


def _location(yaml: Path, path: str) -> Path:
    return Path(os.path.abspath(yaml.parent / Path(path).expanduser()))


def _of_yaml(path: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for number, entry in _entries(path):
        for name in ("recordings", "hours"):
            _size(entry, name, 0.0, f"{path}: {number}")
        if "path" not in entry:  # it is there for plans only
            continue
        location = _location(path, entry["path"])
        if not location.exists():
            raise VouchError(f"{path}: {number}: {location} does not exist; mend the path, or take the line out")
        _add(found, number, location, str(path))
    return found


def _of_folder(folder: Path) -> dict[str, Path]:
    """Sub-folders whose names begin with a number of the catalogue; a digit may not follow."""
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        name = entry.name.lower()
        broken = entry.is_symlink() and not entry.exists()
        if not entry.is_dir() and name != "speaker_list" and not broken:
            continue
        for key, number in _KEYS.items():
            if name.startswith(key) and not name[len(key) : len(key) + 1].isdigit():
                if broken:
                    raise VouchError(f"{entry} is a link to nothing; mend it, or remove it")
                _add(found, ALIASES.get(number, number), Path(os.path.abspath(entry)), str(folder))
                break
    if not found:
        raise VouchError(
            f"{folder} has neither corpora.yaml nor folders named as the LDC's releases ({', '.join(CATALOGUE)}); "
            "write a corpora.yaml with lines such as LDC2011S08: /path/to/it"
        )
    return found


def _add(found: dict[str, Path], number: str, path: Path, where: str) -> None:
    if number in found:
        raise VouchError(
            f"{where}: {number} is there twice: {found[number]} and {path}; name one of them in a corpora.yaml"
        )
    found[number] = path
