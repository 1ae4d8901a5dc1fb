"""kaldi-path: a folder of executables named like Kaldi's tools, for scripts written for Kaldi.

Each executable is a shell line that starts this interpreter on this package, whatever the environment is then. The
folder is named after a digest of all it holds, so another interpreter, another place of the package or a new tool make
another folder, and an old one stays as it is under the scripts that use it. It lies in the first of these places that
can be written: the virtual environment (it is seen by every machine and user that sees the environment, and goes away
with it), the user's cache folder, the folder for temporary files. It is made beside its place and renamed, and checked
each time, so that it is whole for whoever finds it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

FAMILIES = ("features", "audio", "vectors", "UBM", "i-vectors", "backend", "scores")  # of vouch.cli.TOOLS: Kaldi's
SCRIPTS = {"compute_min_dcf.py": "compute-min-dcf"}  # Kaldi's scripts, and the tools that do the same


def kaldi_path(argv: list[str]) -> None:
    """Print the folder, which is made where it is not there yet."""
    options = ToolOptions(
        "kaldi-path",
        "",
        'Prints a folder of executables, one for each tool of Kaldi that is here: PATH="$(vouch kaldi-path):$PATH" '
        "makes a script that calls Kaldi's tools, in pipes inside tables too, run with these. sid/compute_min_dcf.py "
        "is there as compute_min_dcf.py.",
        (0, 0),
    )
    options.add("print-args", False, "echo the command line on stderr")
    options.parse(argv)
    print(make_folder(executables()))


def executables() -> dict[str, str]:
    """The text of every executable, by its name."""
    from vouch.cli import TOOLS

    tools = {tool: tool for family in FAMILIES for tool in TOOLS[family]} | SCRIPTS
    start = f"exec {shlex.quote(_interpreter())} -P -c {shlex.quote(_program())}"
    return {name: f'#!/bin/sh\n{start} {tool} "$@"\n' for name, tool in sorted(tools.items())}


def _interpreter() -> str:
    if not sys.executable:
        raise VouchError("this Python does not know where its interpreter is; start it by its full name")
    return os.path.abspath(sys.executable)


def _program() -> str:
    """What the interpreter runs. A package that is not among the installed ones (a checkout) is put on its path."""
    import sysconfig

    parent = str(Path(__file__).resolve().parents[2])
    installed = {os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    path = "" if os.path.realpath(parent) in installed else f"sys.path.insert(0, {parent!r}); "
    return f"import sys; {path}from vouch.cli import main; sys.exit(main(sys.argv[1:]))"


def make_folder(texts: dict[str, str]) -> Path:
    """The folder with these executables, by name, in the first place where there is or can be one.

    Raises VouchError where there is no such place.
    """
    digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:16]
    refused = []
    for place in _places():
        if ":" in str(place):
            refused.append(f"{place}: a folder in PATH cannot have a colon in its name")
            continue
        try:
            folder = place / f"kaldi-path-{digest}"
            if not _is_whole(folder, texts):
                _replace(folder, texts)
            if _is_whole(folder, texts):
                return folder
            refused.append(f"{place}: its files cannot be executed")
        except OSError as error:
            refused.append(f"{place}: {error.strerror or error}")
    raise VouchError(f"no place for the executables ({'; '.join(refused)}); set XDG_CACHE_HOME to a folder of yours")


def _places() -> Iterator[Path]:
    import tempfile

    if sys.prefix != sys.base_prefix:
        yield Path(sys.prefix).resolve() / "share" / "vouch"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(cache):
        yield Path(cache) / "vouch"
    own = Path(tempfile.gettempdir()).resolve() / f"vouch-{os.getuid()}"
    with suppress(OSError):
        own.mkdir(mode=0o700, exist_ok=True)
        status = own.lstat()  # the folder around it is everybody's: trust only what is ours alone
        if own.is_dir() and not own.is_symlink() and status.st_uid == os.getuid() and not status.st_mode & 0o022:
            yield own


def _is_whole(folder: Path, texts: dict[str, str]) -> bool:
    """Does the folder hold just these executables? Not so after a clean-up of old files, or on a disk without them."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry for entry in entries}
        return found.keys() == texts.keys() and all(
            os.access(entry, os.X_OK) and Path(entry).read_bytes() == texts[name].encode()
            for name, entry in found.items()
        )
    except FileNotFoundError:
        return False


def _replace(folder: Path, texts: dict[str, str]) -> None:
    """Make the folder beside its place and put it there; when someone else was first, theirs stays."""
    import shutil
    import tempfile

    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".kaldi-path-", dir=folder.parent))
    try:
        for name, text in texts.items():
            path = new / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        new.chmod(0o755)
        if folder.exists() and not _is_whole(folder, texts):
            folder.rename(new.with_name(f"{new.name}-old"))
        with suppress(OSError):  # not empty: someone else was first
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(new.with_name(f"{new.name}-old"), ignore_errors=True)
