"""extract-segments, wav-to-duration and wav-copy: Kaldi's rules to the sample, its archives to the byte."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vouch.cli import main
from vouch.io.audio import read_waves
from vouch.io.decoding import Wave
from vouch.io.segments import Segment, cut_segment
from vouch.io.tables import read_table
from vouch.io.wave_tables import WaveWriter, open_waves

RATE = 8000
X = np.random.default_rng(1).integers(-32768, 32768, (2, 2 * RATE)).astype(np.int16)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """wav.scp with a mono file, a stereo file and a pipe."""
    soundfile.write(tmp_path / "mono.wav", X[0], RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "stereo.flac", X.T, RATE, subtype="PCM_16")
    (tmp_path / "wav.scp").write_text(
        f"mono {tmp_path}/mono.wav\nstereo {tmp_path}/stereo.flac\npiped cat {tmp_path}/mono.wav |\n"
    )
    return tmp_path


def extract(recordings: Path, lines: str, *options: str, source: str = "scp:{}/wav.scp") -> int:
    (recordings / "segments").write_text(lines)
    segments, output = f"{recordings}/segments", f"ark,scp:{recordings}/out.ark,{recordings}/out.scp"
    return main(["extract-segments", *options, source.format(recordings), segments, output])


def test_kaldis_segments(golden, tmp_path: Path, capfd) -> None:
    cases = json.loads((golden / "segments" / "segments.json").read_text())
    names = sorted({case["line"].split()[1] for case in cases.values()} - {"missing"})
    (tmp_path / "wav.scp").write_text("".join(f"{name} {golden}/audio/{name}.wav\n" for name in names))
    assert extract(tmp_path, "".join(case["line"] + "\n" for case in cases.values())) == 0
    found = dict(read_waves(f"ark:{tmp_path}/out.ark"))
    assert list(found) == [name for name, case in cases.items() if case["written"]]
    for name, wave in found.items():
        first, count = cases[name]["start_sample"], cases[name]["num_samples"]
        whole, rate = soundfile.read(golden / "audio" / f"{cases[name]['line'].split()[1]}.wav", dtype="int16")
        assert wave.rate == rate
        np.testing.assert_array_equal(wave.samples, whole[None, first : first + count])
    assert f"LOG Successfully processed {len(found)} lines out of {len(cases)}" in capfd.readouterr().err
    assert main(["wav-to-duration", "--read-entire-file=true", f"ark:{tmp_path}/out.ark", f"ark,t:{tmp_path}/dur"]) == 0
    written = dict(line.split() for line in (tmp_path / "dur").read_text().splitlines())
    assert written == {
        n: f"{np.float32(c['num_samples']) / np.float32(8000):.7g}" for n, c in cases.items() if c["written"]
    }


def test_order_is_that_of_the_lines_and_each_is_cut(recordings: Path, capfd) -> None:
    lines = "z piped 0.5 1.0\na stereo 0.25 1.25 1\nb stereo 0 -1 0\nm mono 1.5 2.4\n"
    assert extract(recordings, lines) == 0
    found = {key: wave.samples for key, wave in read_waves(f"ark:{recordings}/out.ark")}
    assert list(found) == ["z", "a", "b", "m"]
    np.testing.assert_array_equal(found["z"], X[:1, 4000:8000])
    np.testing.assert_array_equal(found["a"], X[1:, 2000:10000])
    np.testing.assert_array_equal(found["b"], X[:1])
    np.testing.assert_array_equal(found["m"], X[:1, 12000:])  # half a second over the end is cut there
    by_scp = {key: wave.samples for key, wave in read_waves(f"scp:{recordings}/out.scp")}
    assert all((by_scp[key] == found[key]).all() for key in found)
    assert "4 lines out of 4" in capfd.readouterr().err


@pytest.mark.parametrize(
    "line, said",
    [
        ("a mono 0.5", "3 fields"),
        ("", "0 fields"),
        ("a mono x 1", "'x 1' is not START END"),
        ("a mono 0 1 left", "is not START END"),
        ("a mono 0 1 -1", "is not START END"),
        ("a mono 1 0.5", "is empty"),
        ("a mono -1 0.5", "is empty"),
        ("a mono 1 1", "is empty"),
        ("a nobody 0 1", "Could not find recording nobody"),
        ("a mono 2.01 -1", "begins at 2.01 s"),
        ("a mono 1 2.51", "too far after"),
        ("a mono 1.5 1.59", "shorter than 0.1 s"),
        ("a mono 0 1 1", "wants channel 1 of a recording with 1"),
    ],
)
def test_what_is_left_out_is_said_and_the_rest_written(recordings: Path, capfd, line: str, said: str) -> None:
    assert extract(recordings, f"{line}\nok mono 0 1\n") == 0
    assert [key for key, _ in read_waves(f"ark:{recordings}/out.ark")] == ["ok"]
    text = capfd.readouterr().err
    assert said in text and "Successfully processed 1 lines out of 2" in text


def test_limits_can_be_set(recordings: Path) -> None:
    lines = "short mono 0 0.02\nlong mono 0 3.5\n"
    assert extract(recordings, lines, "--min-segment-length=0.01", "--max-overshoot=1.6") == 0
    sizes = {key: wave.samples.shape[1] for key, wave in read_waves(f"ark:{recordings}/out.ark")}
    assert sizes == {"short": 160, "long": 2 * RATE}


def test_two_channels_without_one_named_stop_the_tool(recordings: Path, capfd) -> None:
    assert extract(recordings, "ok mono 0 1\na stereo 0 1\n") == 1
    assert "segments:2" in (text := capfd.readouterr().err) and "2 channels" in text
    assert not (recordings / "out.ark").exists() and not (recordings / "out.scp").exists()


def test_unreadable_recordings(recordings: Path, capfd) -> None:
    with open(recordings / "wav.scp", "a") as file:
        file.write(f"gone {recordings}/gone.wav\n")
    lines = "a gone 0 1\nb mono 0 1\n"
    assert extract(recordings, lines) == 1
    assert "recording 'gone'" in capfd.readouterr().err and not (recordings / "out.ark").exists()
    assert extract(recordings, lines, source="scp,p:{}/wav.scp") == 0
    assert "Could not find recording gone" in capfd.readouterr().err


def test_recordings_from_an_archive(recordings: Path) -> None:
    assert main(["wav-copy", f"scp:{recordings}/wav.scp", f"ark:{recordings}/waves.ark"]) == 0
    assert extract(recordings, "a mono 0 1\nb piped 1 2\nc mono 1 2\n", source="ark:{}/waves.ark") == 0
    found = {key: wave.samples for key, wave in read_waves(f"ark:{recordings}/out.ark")}
    np.testing.assert_array_equal(found["c"], X[:1, RATE:])


def test_a_recording_is_read_once_for_neighbouring_segments(recordings: Path, monkeypatch) -> None:
    from vouch.io import wave_tables

    reads = []
    real = wave_tables.read_wave
    monkeypatch.setattr(wave_tables, "read_wave", lambda name, **more: reads.append(name) or real(name, **more))
    with open_waves(f"scp:{recordings}/wav.scp") as waves:
        for key in ("mono", "mono", "piped", "mono"):
            assert waves[key].samples.shape == (1, 2 * RATE)
    assert len(reads) == 3


def test_rounding_is_single_precision_as_kaldis() -> None:
    """0.1 s in double precision is below the option's 0.1 in single; a long recording's length is rounded."""
    wave = Wave(np.zeros((1, 17_000_001), np.float32), 16000)
    assert "shorter" in cut_segment(wave, Segment("s", "r", 0.2, 0.30000000000000004, None))
    length = np.float32(np.float32(17_000_001) / np.float32(16000))
    piece = cut_segment(wave, Segment("s", "r", 1000.0, -1.0, None))
    assert piece.samples.shape[1] == int(float(length) * 16000 + 0.5) - 16_000_000 != 1_000_001


def test_archives_are_kaldis_bytes(recordings: Path) -> None:
    with WaveWriter(f"ark:{recordings}/w.ark") as writer:
        writer.write("utt", Wave(X[:, :3].astype(np.float32), RATE))
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 12, b"WAVE", b"fmt ", 16, 1, 2, RATE, 4 * RATE, 4, 16, b"data", 12
    )
    assert (recordings / "w.ark").read_bytes() == b"utt " + header + X[:, :3].T.astype("<i2").tobytes()


def test_waves_have_no_text_form(recordings: Path, capfd) -> None:
    assert main(["wav-copy", f"scp:{recordings}/wav.scp", f"ark,t:{recordings}/t"]) == 1
    assert "no text form" in capfd.readouterr().err


def test_wav_copy_of_one(recordings: Path, capfd) -> None:
    assert main(["wav-copy", f"scp:{recordings}/wav.scp", f"ark,scp:{recordings}/w.ark,{recordings}/w.scp"]) == 0
    assert "Copied 3 wave files" in capfd.readouterr().err
    place = (recordings / "w.scp").read_text().splitlines()[1].split()[1]
    assert main(["wav-copy", place, f"{recordings}/one.wav"]) == 0
    assert soundfile.read(recordings / "one.wav", dtype="int16")[0].T.tolist() == X.tolist()
    assert main(["wav-copy", place, f"ark:{recordings}/x"]) == 1


# --- durations --------------------------------------------------------------------------------------------------------


def durations(recordings: Path, source: str, *options: str) -> dict[str, float]:
    assert main(["wav-to-duration", *options, source, f"ark:{recordings}/dur"]) == 0
    return dict(read_table(f"ark:{recordings}/dur", "float"))


@pytest.mark.parametrize("entire", [True, False])
def test_durations(recordings: Path, capfd, entire: bool) -> None:
    found = durations(recordings, f"scp:{recordings}/wav.scp", f"--read-entire-file={str(entire).lower()}")
    assert found == {"mono": 2.0, "stereo": 2.0, "piped": 2.0}
    text = capfd.readouterr().err
    assert (
        "Printed duration for 3 audio files." in text and "Mean duration was 2, min and max durations were 2, 2" in text
    )


def test_the_header_is_believed_or_not(recordings: Path, capfd) -> None:
    whole = (recordings / "mono.wav").read_bytes()
    (recordings / "mono.wav").write_bytes(whole[:1000])
    assert durations(recordings, f"scp:head -n 1 {recordings}/wav.scp |") == {"mono": 2.0}
    source = f"scp:head -n 1 {recordings}/wav.scp |"
    assert main(["wav-to-duration", "--read-entire-file", source, f"ark:{recordings}/no"]) == 1
    assert "cut off" in capfd.readouterr().err and not (recordings / "no").exists()


def test_a_header_without_a_length(recordings: Path, capfd) -> None:
    whole = bytearray((recordings / "mono.wav").read_bytes())
    whole[40:44] = b"\xff\xff\xff\xff"
    (recordings / "mono.wav").write_bytes(bytes(whole))
    assert main(["wav-to-duration", f"scp:{recordings}/wav.scp", f"ark:{recordings}/no"]) == 1
    assert "--read-entire-file" in capfd.readouterr().err
    found = durations(recordings, f"scp,p:{recordings}/wav.scp")
    assert found == {"stereo": 2.0}
    assert durations(recordings, f"scp:{recordings}/wav.scp", "--read-entire-file=true")["mono"] == 2.0


def test_a_command_that_is_left_early_may_fail_its_own_way(recordings: Path, capfd) -> None:
    (recordings / "wav.scp").write_text(f"a cat {recordings}/mono.wav; exit 3 |\n")
    assert durations(recordings, f"scp:{recordings}/wav.scp") == {"a": 2.0}
    assert "exit code 3" in capfd.readouterr().err


def test_durations_of_an_archive_read_past_the_samples(recordings: Path) -> None:
    assert main(["wav-copy", f"scp:{recordings}/wav.scp", f"ark:{recordings}/w.ark"]) == 0
    assert durations(recordings, f"ark:{recordings}/w.ark") == {"mono": 2.0, "stereo": 2.0, "piped": 2.0}


def test_no_recordings(recordings: Path) -> None:
    (recordings / "wav.scp").write_text("")
    assert main(["wav-to-duration", f"scp:{recordings}/wav.scp", f"ark:{recordings}/no"]) == 1
