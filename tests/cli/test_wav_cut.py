"""`vouch wav-cut`: channels, stretches and rates of wav, flac and sphere, as a tool and inside this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vouch.cli import main
from vouch.cli.wave_commands import in_process_commands
from vouch.io.audio import Wave, read_wave, read_waves, wave_bytes

RATE = 8000
X = np.random.default_rng(3).integers(-30000, 30000, (12000, 2)).astype(np.int16)  # 1.5 s of two channels


def store(path: Path, samples: np.ndarray = X, subtype: str = "PCM_16", rate: int = RATE) -> Path:
    formats = {".wav": "WAV", ".flac": "FLAC", ".sph": "NIST"}
    soundfile.write(path, samples, rate, format=formats[path.suffix], subtype=subtype)
    return path


def cut(tmp_path: Path, *words: object) -> tuple[np.ndarray, int]:
    assert main(["wav-cut", *map(str, words), str(tmp_path / "out.wav")]) == 0
    return soundfile.read(tmp_path / "out.wav", dtype="int16", always_2d=True)


@pytest.mark.parametrize(("ending", "subtype"), [(".wav", "PCM_16"), (".flac", "PCM_16"), (".sph", "PCM_16")])
@pytest.mark.parametrize("channel", [1, 2])
def test_the_samples_of_a_channel_and_stretch(tmp_path: Path, ending: str, subtype: str, channel: int) -> None:
    source = store(tmp_path / f"some call{ending}", subtype=subtype)
    whole, rate = cut(tmp_path, f"--channel={channel}", source)
    assert rate == RATE and np.array_equal(whole[:, 0], X[:, channel - 1]) and whole.shape[1] == 1
    part, _ = cut(tmp_path, f"--channel={channel}", "--start=0.25", "--end=1.00006", source)  # sample 8000.48
    assert np.array_equal(part[:, 0], X[2000:8000, channel - 1])


def test_mu_law_sphere_and_eight_bit_wav_are_decoded(tmp_path: Path) -> None:
    for ending in (".sph", ".wav"):
        source = store(tmp_path / f"call{ending}", subtype="ULAW")
        expected = soundfile.read(source, dtype="int16")[0][:, 1]
        assert np.array_equal(cut(tmp_path, "--channel=2", source)[0][:, 0], expected)


def test_another_rate_keeps_a_tone_and_drops_what_has_no_place(tmp_path: Path) -> None:
    time = np.arange(32000) / 16000
    tones = 8000 * np.sin(2 * np.pi * 1000 * time) + 8000 * np.sin(2 * np.pi * 6000 * time)
    source = store(tmp_path / "a.flac", tones.astype(np.int16), rate=16000)
    samples, rate = cut(tmp_path, "--start=0.5", "--end=1.5", f"--sample-frequency={RATE}", source)
    assert rate == RATE and len(samples) == RATE
    expected = 8000 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)  # a whole number of periods later
    assert np.abs(samples[200:-200, 0] - expected[200:-200]).max() < 20


def test_an_end_after_the_recordings_end_is_said(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    source = store(tmp_path / "a.wav")
    samples, _ = cut(tmp_path, "--start=1.25", "--end=9", source)
    assert np.array_equal(samples[:, 0], X[10000:, 0])
    assert "ends at 1.5 s, before --end=9" in capfd.readouterr().err
    cut(tmp_path, "--start=1.25", "--end=-1", source)
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.parametrize("ending", [".wav", ".sph"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--channel=3"], "has 2 channels, and no channel 3"),
        (["--channel=0"], "count from 1"),
        (["--start=1", "--end=0.5"], "not after --start=1"),
        (["--start=1", "--end=1"], "not after --start=1"),
        (["--start=-1"], "--start=-1"),
        (["--start=nan"], "--start=nan"),
        (["--end=nan"], "--end=nan"),
        (["--start=1.5"], "ends at 1.5 s, before --start=1.5"),
        (["--start=1.00001", "--end=1.00002"], "no sample lies between"),
        (["--sample-frequency=10"], "--sample-frequency=10"),
    ],
)
def test_wrong_cuts_are_one_line_and_no_file(
    tmp_path: Path, capfd: pytest.CaptureFixture, ending: str, options: list[str], said: str
) -> None:
    source = store(tmp_path / f"a{ending}")
    assert main(["wav-cut", *options, str(source), str(tmp_path / "out.wav")]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("vouch wav-cut: error: ") and said in last
    assert not (tmp_path / "out.wav").exists()


def test_a_missing_file_and_a_damaged_one_are_named(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    for name in ("none.flac", "bad.wav"):
        (tmp_path / "bad.wav").write_bytes(wave_bytes(Wave(X.T.astype(np.float32), RATE))[:-500])
        assert main(["wav-cut", "--channel=2", str(tmp_path / name), str(tmp_path / "out.wav")]) == 1
        assert name in capfd.readouterr().err.splitlines()[-1]


def test_lines_of_wav_scp_are_computed_without_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "discs (one) & two"
    folder.mkdir()
    source = store(folder / "it's.sph")
    quoted = "'" + str(source).replace("'", "'\"'\"'") + "'"
    lines = [f"a vouch wav-cut --channel=2 {quoted} - |", f"b cat {quoted} | vouch wav-cut --end=0.5 - - |"]
    (tmp_path / "wav.scp").write_text("\n".join(lines) + "\n")
    waves = read_waves(f"scp:{tmp_path}/wav.scp", commands=in_process_commands())
    assert np.array_equal(next(waves)[1].samples[0], X[:, 1])
    assert np.array_equal(next(waves)[1].samples[0], X[:4000, 0])
    inside = read_wave(lines[0][2:], commands=in_process_commands(allow_pipes=False), allow_pipes=False)
    assert inside.samples.shape == (1, len(X))
