"""What runs the preparation of egs/voxceleb/v1 on a miniature, and the m4a of the tests."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from preparations import ROOT, inside, outside

LOCAL = ROOT / "egs/voxceleb/v1/local"


def prepare(corpora: Path, out: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """prepare_data.sh as a user calls it, on both corpora."""
    folders = (f"--voxceleb1={corpora}/voxceleb1", f"--voxceleb2={corpora}/voxceleb2")
    return outside(LOCAL / "prepare_data.sh", *folders, *options, out, **variables)


def _module() -> ModuleType:
    """prepare_data.py, under a name that no other recipe's has."""
    if "prepare_voxceleb" not in sys.modules:
        sys.path.append(str(LOCAL))
        spec = importlib.util.spec_from_file_location("prepare_voxceleb", LOCAL / "prepare_data.py")
        sys.modules["prepare_voxceleb"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["prepare_voxceleb"]


def read(corpora: Path, out: Path, *options: str) -> subprocess.CompletedProcess:
    """prepare_data.py alone, inside this process, on the folders that are there; it leaves its directories in OUT/.tmp.

    options: later ones replace earlier ones, and those of both folders.
    """
    given = [f"--{name}={corpora / name}" for name in ("voxceleb1", "voxceleb2") if (corpora / name).exists()]
    return inside(_module().main, "--check-headers=true", "--allow-missing=false", *given, *options, out)


def wrap(path: Path, wave: bytes, mark: bytes = b"") -> None:
    """An m4a for the tests' ffmpeg: the wav, and in the index what is to happen to it."""
    boxes = ((b"ftyp", b"M4A "), (b"mdat", wave), (b"moov", mark))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(struct.pack(">I4s", 8 + len(content), kind) + content for kind, content in boxes))


def wrap_all(corpora: Path) -> list[Path]:
    """Turn VoxCeleb2's wav into m4a, in aac folders; returns them, sorted."""
    for part in sorted((corpora / "voxceleb2").iterdir()):
        if (part / "wav").is_dir():
            (part / "wav").rename(part / "aac")
    waves = sorted((corpora / "voxceleb2").rglob("*.wav"))
    for wave in waves:
        wrap(wave.with_suffix(".m4a"), wave.read_bytes())
        wave.unlink()
    return [wave.with_suffix(".m4a") for wave in waves]
