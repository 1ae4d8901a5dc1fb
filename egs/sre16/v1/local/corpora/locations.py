"""Where the corpora lie: a YAML of paths, or a folder of folders named as the LDC names its releases."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

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


def refuse_inside(out: Path, found: dict[str, Path]) -> None:
    """Raise VouchError when `out` lies in a corpus: nothing is ever written there."""
    for number, path in found.items():
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise VouchError(f"the output folder '{out}' lies inside the corpus {number} ({path}); choose another OUT")


def _of_yaml(path: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for key, value in read_mapping(path, f"the list of corpora {path}", "LDC2011S08: /path/to/it").items():
        number = _KEYS.get(str(key).lower())
        if number is None:
            near = get_close_matches(str(key).lower(), _KEYS, 1, 0)
            raise VouchError(f"{path}: unknown corpus '{key}'; did you mean {_KEYS[near[0]]}?")
        if value is None:  # `LDC2013S03:` with nothing behind it
            continue
        if not isinstance(value, str):
            raise VouchError(f"{path}: the path of {key} is {value!r}; want text")
        location = Path(os.path.abspath(path.parent / Path(value).expanduser()))
        if not location.exists():
            raise VouchError(f"{path}: {key}: {location} does not exist; mend the path, or take the line out")
        _add(found, ALIASES.get(number, number), location, str(path))
    return found


def _of_folder(folder: Path) -> dict[str, Path]:
    """Sub-folders whose names begin with a number of the catalogue; a digit may not follow."""
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        name = entry.name.lower()
        if not entry.is_dir() and name != "speaker_list":
            continue
        for key, number in _KEYS.items():
            if name.startswith(key) and not name[len(key) : len(key) + 1].isdigit():
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
        raise VouchError(f"{where}: {number} is there twice: {found[number]} and {path}; name one of them in a YAML")
    found[number] = path
