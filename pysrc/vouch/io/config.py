"""Reading and writing the YAML file of a system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vouch.errors import VouchError
from vouch.io.streams import open_output


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a system's YAML. `base: FILE` (relative to this file) is read first and overridden key by key.

    Raises VouchError for a file that cannot be read, is not a YAML mapping, or is its own base.
    """
    return _read(Path(path), ())


class _Loader(yaml.SafeLoader):
    """Refuses a key that comes twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' comes twice", key.start_mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_mapping(path: str | Path, what: str, example: str) -> dict[Any, Any]:
    """The mapping that a YAML file holds. what: the file in words, and example: another, for the messages.

    Raises VouchError for a file that cannot be read, is not a YAML mapping, or has a key twice.
    """
    try:
        with open(path, encoding="utf-8") as file:
            mapping = yaml.load(file, _Loader)
    except OSError as error:
        raise VouchError(f"cannot read {what}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise VouchError(f"{path}: not UTF-8 text; save it in that encoding") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise VouchError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(mapping, dict):
        raise VouchError(f"{path}: want a mapping of 'key: value' lines, see {example}")
    return mapping


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        raise VouchError(f"{path}: 'base' leads back to the file itself; take it out of one of the files")
    whose = f", the 'base' of {above[-1]}" if above else ""
    config = read_mapping(path, f"the system's configuration {path}{whose}", "conf/xvector.yaml")
    base = config.pop("base", None)
    if base is None:
        return config
    if not isinstance(base, str):
        raise VouchError(f"{path}: 'base' takes the name of a YAML file")
    return _merge(_read(path.parent / base, (*above, path.resolve())), config)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping; a component of another `type` replaces the base's whole."""
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        same = isinstance(value, dict) and isinstance(below, dict) and value.get("type") in (None, below.get("type"))
        merged[key] = _merge(below, value) if same else value
    return merged


def write_config(path: str | Path, config: dict[str, Any]) -> None:
    """Write the resolved configuration of a system, beside the target first."""
    with open_output(str(path)) as file:
        file.write(yaml.safe_dump(config, sort_keys=False).encode())
