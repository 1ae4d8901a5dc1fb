"""The miniatures, made once."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from voxceleb import miniature


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with voxceleb1 (the layout sets) and voxceleb2 (wav); tests that change something take `damaged`."""
    folder = tmp_path_factory.mktemp("voxceleb") / "both corpora"
    miniature.make(folder, speakers=10, utterances=4, seconds=0.5, spoken=False)
    return folder


@pytest.fixture
def damaged(corpora: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(corpora, tmp_path / "it's a copy"))


FFMPEG = """#!{python}
# Stands for ffmpeg: the m4a of the tests is the wav in three boxes. FFMPEG_LOG in the environment: a file that every
# call adds its input to. By the end of the input it fails ("damaged"), complains ("odd"), writes less than it says
# ("short"), finds the disk full ("full") or does not end ("hang").
import os, struct, sys, time
arguments = sys.argv[1:]
source, target = arguments[arguments.index("-i") + 1], arguments[-1]
data = open(source, "rb").read()
if "FFMPEG_LOG" in os.environ:
    with open(os.environ["FFMPEG_LOG"], "a") as log:
        log.write(source + "\\n")
if target.endswith(".m4a"):
    boxes = ((b"ftyp", b"M4A "), (b"mdat", data), (b"moov", b""))
    open(target, "wb").write(b"".join(struct.pack(">I4s", 8 + len(x), kind) + x for kind, x in boxes))
    sys.exit()
size = struct.unpack(">I", data[12:16])[0]
wave = data[20 : 12 + size]
if b"damaged" in data[-40:]:
    open(target, "wb").write(wave[:100])
    sys.exit("[aac] moov atom not found\\n" + source + ": Invalid data found when processing input")
if b"full" in data[-40:]:
    sys.exit("av_interleaved_write_frame(): No space left on device")
if b"hang" in data[-40:]:
    open(target, "wb").write(wave[:100])
    time.sleep(60)
if b"odd" in data[-40:]:
    sys.stderr.write("[aac] Input buffer exhausted before END element found\\n")
if b"short" in data[-40:]:
    wave = wave[:40] + struct.pack("<I", 2000) + wave[44:2044]
if target == "-":
    sys.stdout.buffer.write(wave)
else:
    open(target, "wb").write(wave)
    print("out_time=00:00:00.100000\\nprogress=continue\\nout_time=00:00:00.400000\\nprogress=end")
"""


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, in front on PATH, with an ffmpeg for the tests' m4a; returns the log of what it read."""
    program = tmp_path / "bin/ffmpeg"
    program.parent.mkdir()
    program.write_text(FFMPEG.replace("{python}", sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FFMPEG_LOG", str(tmp_path / "ffmpeg.log"))
    return tmp_path / "ffmpeg.log"
