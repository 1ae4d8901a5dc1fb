"""The miniature as its script makes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from preparations import ROOT, inside, lines, outside

from voxceleb import miniature
from voxceleb.trees import read

SMALL = ("--speakers=10", "--utterances=4", "--seconds=1")


def test_m4a_noises_and_rooms(tmp_path: Path, ffmpeg: Path) -> None:
    out = tmp_path / "miniature"
    done = inside(miniature.main, *SMALL, "--format=m4a", "--layout=nested", out)
    assert done.returncode == 0, done.stderr
    assert len(list(out.rglob("*.m4a"))) == 28 and not list((out / "voxceleb2").rglob("*.wav"))
    done = read(out, tmp_path / "out", f"--decode-to={tmp_path}/decoded")
    assert done.returncode == 0, done.stderr
    assert len(lines(tmp_path / "out/.tmp/train/utt2spk")) == 28
    for step, folder, target in (("make_musan", "musan", "lists"), ("make_rirs", "RIRS_NOISES", "lists/rirs.scp")):
        done = outside(ROOT / f"steps/{step}.sh", out / folder, tmp_path / target)
        assert done.returncode == 0, done.stderr
    for name, count in (("musan_noise", 8), ("musan_music", 8), ("musan_speech", 8), ("rirs", 12)):
        files = [line.split(" ", 1)[1] for line in lines(tmp_path / f"lists/{name}.scp")]
        assert len(files) == count and all(soundfile.info(file).samplerate == 16000 for file in files)


def test_without_ffmpeg_voxceleb2_is_wav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(miniature, "make", lambda out, layout, ending, *counts, **more: Path(out).write_text(ending))
    done = inside(miniature.main, *SMALL, "--format=m4a", tmp_path / "out")
    assert done.returncode == 0 and "ffmpeg" in done.stdout and (tmp_path / "out").read_text() == "wav"


def test_the_same_options_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        miniature.make(tmp_path / name, "ids", "wav", 10, 4, seconds=0.5, spoken=False)
    one = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.*")}
    two = {path.relative_to(tmp_path / "two"): path.read_bytes() for path in (tmp_path / "two").rglob("*.*")}
    assert one == two and len(one) > 60
