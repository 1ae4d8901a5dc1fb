"""Kaldi's option form: `--name=value`, `--flag`, `--config=FILE`, then positional arguments.

The rules are those of Kaldi's util/parse-options: names are case-insensitive and `_` equals `-`; a bool given
without a value is true; `--config` lines are read before the command line, which wins; `--` ends the options.
Beyond Kaldi, `--name value` is accepted too for an option that is not a bool.
"""

from __future__ import annotations

import shlex
import struct
import sys
from types import SimpleNamespace
from typing import Any, NamedTuple

from vouch.errors import VouchError


class _Option(NamedTuple):
    default: Any
    help: str
    single: bool
    choices: tuple[str, ...] | None


class ToolOptions:
    """The options and arguments of one tool.

    Arguments: tool (name as typed after `vouch`), usage (what follows the name), about (a paragraph for
    --help), args (least and most number of positional arguments; None = no upper limit).
    """

    def __init__(self, tool: str, usage: str, about: str, args: tuple[int, int | None]) -> None:
        self.tool, self.usage, self.about, self.args = tool, usage, about, args
        self._options: dict[str, _Option] = {}
        self._given: set[str] = set()
        self.add("config", "", "file of options, one --name=value a line, # for comments")
        self.add("print-args", True, "echo the command line on stderr")
        self.add("verbose", 0, "amount of detail in the log, as of Kaldi's tools; few here have more to say")

    def add(
        self,
        name: str,
        default: bool | int | float | str,
        help: str,
        *,
        single: bool = False,
        choices: tuple[str, ...] | None = None,
    ) -> None:
        """Register an option; its type is that of the default. `single` rounds to float32, as Kaldi's BaseFloat."""
        self._options[name] = _Option(default, help, single, choices)

    def help(self) -> str:
        lines = [f"usage: vouch {self.tool} {self.usage}", "", self.about, "", "options (default):"]
        for name, option in self._options.items():
            default = str(option.default).lower() if isinstance(option.default, bool) else repr(option.default)
            among = f" [{'|'.join(option.choices)}]" if option.choices else ""
            lines.append(f"  --{name:28s} {option.help}{among} ({default})")
        return "\n".join(lines)

    def parse(self, argv: list[str]) -> tuple[SimpleNamespace, list[str]]:
        """Return (options with `-` as `_`, positional arguments); --help prints and exits 0.

        Raises VouchError on an unknown option, a value of the wrong type or a wrong number of arguments.
        """
        if any(a in ("--help", "-h") for a in argv[: argv.index("--") if "--" in argv else None]):
            print(self.help())
            raise SystemExit(0)
        values = {name: option.default for name, option in self._options.items()}
        given, args = self._split(argv)
        configs = [line for name, value, _ in given if name == "config" for line in self._read_config(value)]
        for name, value, where in configs + given:
            values[name] = self._convert(name, value, where)
            self._given.add(name)
        least, most = self.args
        if len(args) < least or (most is not None and len(args) > most):
            wanted = str(least) if most == least else f"{least} or more" if most is None else f"{least} to {most}"
            raise VouchError(f"got {len(args)} arguments, want {wanted}; usage: vouch {self.tool} {self.usage}")
        if values["print-args"]:
            print(shlex.join(["vouch", self.tool, *argv]), file=sys.stderr)
        return SimpleNamespace(**{name.replace("-", "_"): value for name, value in values.items()}), args

    def given(self, name: str) -> bool:
        """Was this option set on the command line or in the config file?"""
        return name in self._given

    def _split(self, argv: list[str]) -> tuple[list[tuple[str, str | None, str]], list[str]]:
        given: list[tuple[str, str | None, str]] = []
        rest = list(argv)
        while rest and rest[0].startswith("--"):
            word = rest.pop(0)
            if word == "--":
                break
            name, equals, value = word[2:].partition("=")
            name = self._resolve(name, "on the command line")
            if equals:
                given.append((name, value, "on the command line"))
            elif isinstance(self._options[name].default, bool):
                given.append((name, None, "on the command line"))
            elif rest:
                given.append((name, rest.pop(0), "on the command line"))
            else:
                raise VouchError(f"option --{name} needs a value: --{name}=VALUE")
        return given, rest

    def _read_config(self, path: str | None) -> list[tuple[str, str | None, str]]:
        if not path:
            raise VouchError("option --config needs a file: --config=FILE")
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError as error:
            raise VouchError(f"cannot read the config file {path}: {error.strerror}; check --config") from None
        found: list[tuple[str, str | None, str]] = []
        for number, line in enumerate(lines, 1):
            line = line.partition("#")[0].strip()
            if not line:
                continue
            where = f"{path}:{number}"
            if not line.startswith("--"):
                raise VouchError(f"{where}: '{line}' is not of the form --option=value")
            name, equals, value = line[2:].partition("=")
            if name.strip().lower() == "config":
                raise VouchError(f"{where}: a config file cannot name another one; put its lines here")
            found.append((self._resolve(name.strip(), where), value.strip() if equals else None, where))
        return found

    def _resolve(self, name: str, where: str) -> str:
        name = name.lower().replace("_", "-")
        if name not in self._options:
            from difflib import get_close_matches

            near = get_close_matches(name, self._options, 1)
            hint = f"did you mean --{near[0]}?" if near else f"see vouch {self.tool} --help"
            raise VouchError(f"{where}: unknown option --{name}; {hint}")
        return name

    def _convert(self, name: str, text: str | None, where: str) -> Any:
        option = self._options[name]
        if isinstance(option.default, bool):
            if text is None or text.lower() in ("true", "t", "1", ""):
                return True
            if text.lower() in ("false", "f", "0"):
                return False
            raise VouchError(f"{where}: --{name} takes true or false, not '{text}'")
        if text is None:
            raise VouchError(f"{where}: option --{name} needs a value: --{name}=VALUE")
        try:
            if isinstance(option.default, int):
                return int(text)
            if isinstance(option.default, float):
                number = float(text)
                return struct.unpack("f", struct.pack("f", number))[0] if option.single else number
        except (ValueError, OverflowError):
            kind = "a whole number" if isinstance(option.default, int) else "a number"
            raise VouchError(f"{where}: --{name} takes {kind}, not '{text}'") from None
        if option.choices and text not in option.choices:
            raise VouchError(f"{where}: --{name} takes one of {', '.join(filter(None, option.choices))}, not '{text}'")
        return text
