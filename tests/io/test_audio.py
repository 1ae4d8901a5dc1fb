"""Audio: every form to the same samples, every defect a message, pipelines in this process, segments."""

import io
import json
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from vouch.errors import VouchError
from vouch.io import audio
from vouch.io.audio import Wave, read_wave, read_waves, split_pipeline, to_int16, write_wave

RATE = 8000
X = np.random.default_rng(1).integers(-32768, 32768, (2, 4000)).astype(np.int16)
MONO = X[:1]


def wav_bytes(samples=MONO, subtype="PCM_16", format="WAV"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.T, RATE, format=format, subtype=subtype)
    return buffer.getvalue()


def with_sizes(data, riff, size):
    place = data.index(b"data") + 4
    return data[:4] + struct.pack("<I", riff) + data[8:place] + struct.pack("<I", size) + data[place + 4 :]


def error_of(call, *args, **options):
    with pytest.raises(VouchError) as caught:
        list(call(*args, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def store(tmp_path):
    def save(data, name="x.wav"):
        (tmp_path / name).write_bytes(data)
        return f"{tmp_path}/{name}"

    return save


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("NIST", "PCM_16"), ("WAVEX", "PCM_16")]
)
@pytest.mark.parametrize("samples", [MONO, X])
def test_sixteen_bit_files_give_the_integers(store, format, subtype, samples):
    wave = read_wave(store(wav_bytes(samples, subtype, format)))
    assert wave.rate == RATE and wave.samples.dtype == np.float32 and wave.samples.flags.c_contiguous
    np.testing.assert_array_equal(wave.samples, samples)


def test_other_encodings_are_scaled_to_16_bit(store):
    unit = MONO / 32768
    for format, subtype, step in (
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "PCM_24", 0.01),
        ("WAV", "PCM_32", 0.01),
    ):
        np.testing.assert_allclose(read_wave(store(wav_bytes(unit, subtype, format))).samples, MONO, atol=step)
    for format in ("WAV", "NIST"):
        for subtype in ("ULAW", "ALAW"):
            data = wav_bytes(unit, subtype, format)
            found = read_wave(store(data)).samples
            expected, _ = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
            np.testing.assert_array_equal(found, expected.T)
            assert np.abs(found - MONO).max() < 1100  # 8 bits, logarithmic


@pytest.mark.parametrize(
    "sizes", [(0, 0), (36, 0), (2**32 - 1, 2**32 - 1), (0x7FFFFFFF, 0x7FFFFFFF), (0x7FFFF024, 0x7FFFF000)]
)
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_wav_headers_of_pipes_are_read_to_the_end(store, sizes, subtype):
    data = with_sizes(wav_bytes(MONO / 32768, subtype), *sizes)
    path = store(data)
    for name in (path, f"cat {path} |"):
        np.testing.assert_array_equal(read_wave(name).samples, MONO)


def test_a_flac_written_to_a_pipe_could_be_cut_off_unseen(store):
    data = bytearray(wav_bytes(X, "PCM_16", "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert "flac -dc FILE |" in error_of(read_wave, store(bytes(data), "x.flac"))


def test_chunks_before_and_after_the_samples_are_skipped(store):
    data = wav_bytes()
    place = data.index(b"data")
    extra = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    np.testing.assert_array_equal(read_wave(store(data[:place] + extra + data[place:] + extra)).samples, MONO)


def test_offsets_pipes_and_standard_input(store, monkeypatch):
    data = wav_bytes()
    path = store(b"junk" + data)
    np.testing.assert_array_equal(read_wave(f"{path}:4").samples, MONO)
    np.testing.assert_array_equal(read_wave(f"tail -c +5 {path} |").samples, MONO)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    np.testing.assert_array_equal(read_wave("-").samples, MONO)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"hello, this is text", "it is not wav, flac or NIST sphere"),
        (wav_bytes()[:1000], r"cut off: 4000 samples promised, 478 there"),
        (wav_bytes()[:30], "early"),
        (wav_bytes(MONO[:, :0]), "no samples"),
        (wav_bytes(np.where(np.arange(4000) == 7, np.nan, 0.1)[None].astype(np.float32), "FLOAT"), "NaN or infinite"),
        (wav_bytes(np.full((1, 9), np.inf, np.float32), "FLOAT"), "NaN or infinite"),
        (wav_bytes(X, "PCM_16", "FLAC")[:2000], ""),
        (wav_bytes(X, "PCM_16", "FLAC")[:20], "cut off within the header"),
        (wav_bytes(X, "PCM_16", "NIST")[:2000], "cut off: 4000 samples promised, 244 there"),
        (b"NIST_1A\n   1024\nsample_count -i 0\nend_head\n".ljust(1024), "no samples"),
        (
            b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n".ljust(2000),
            "sph2pipe -f wav -p -c 1 FILE",
        ),
        (wav_bytes(MONO, "MS_ADPCM"), "encoding 0x2"),
        (b"RIFF\0\0\0\0AVI LIST", "not wav"),
        (wav_bytes(MONO, "VORBIS", "OGG"), "not wav, flac"),
    ],
)
def test_what_is_not_whole_audio_is_said(store, data, reason):
    text = error_of(read_wave, store(data))
    assert reason in text and "x.wav" in text


def test_every_truncation_is_an_error(store):
    samples = MONO[:, :60]
    for format in ("WAV", "NIST", "FLAC"):
        data = wav_bytes(samples, "PCM_16", format)
        for size in range(0, len(data), 7):
            error_of(read_wave, store(data[:size]))


def test_missing_files_and_failing_commands(store):
    assert "cannot read /nowhere/x.wav" in error_of(read_wave, "/nowhere/x.wav")
    path = store(wav_bytes())
    assert "exit code 2" in error_of(read_wave, f"cat {path}; exit 2 |")
    assert "exit code 1" in error_of(read_wave, f"cat {path}.gone |")


def test_pipes_can_be_refused(store, tmp_path):
    marker = tmp_path / "ran"
    command = f"touch {marker}; cat {store(wav_bytes())} |"
    assert "--allow-pipes" in error_of(read_wave, command, allow_pipes=False)
    (tmp_path / "wav.scp").write_text(f"utt1 {command}\n")
    text = error_of(read_waves, f"scp:{tmp_path}/wav.scp", allow_pipes=False)
    assert "utterance 'utt1'" in text and not marker.exists()


def louder(argv, wave):
    [factor, source, target] = argv
    wave = read_wave(source) if source != "-" else wave
    assert target == "-"
    return Wave(wave.samples * float(factor), wave.rate)


def test_pipelines_of_known_tools_run_in_this_process(store, monkeypatch):
    path = store(wav_bytes(), "a b.wav")
    monkeypatch.setattr(audio, "open_input", _no_shell(audio.open_input))
    wave = read_wave(
        f"vouch louder 2 '{path}' - | vouch louder 0.25 - - |", allow_pipes=False, commands={"louder": louder}
    )
    np.testing.assert_array_equal(wave.samples, MONO * np.float32(0.5))


def _no_shell(real):
    def opened(name):
        assert not name.endswith("|")
        return real(name)

    return opened


@pytest.mark.parametrize(
    "command",
    [
        "vouch other a -",
        "tool a -",
        "cat a | tool - -",
        "vouch tool a - | sox - -",
        "vouch tool $HOME/a -",
        'vouch tool "$HOME/a" -',
        "vouch tool `ls` -",
        "vouch tool a - > b",
        "vouch tool a - && ls",
        "vouch tool a - || ls",
        "vouch tool a -; ls",
        "vouch tool a* -",
        "vouch tool ~/a -",
        "A=1 vouch tool a -",
        "vouch tool a\\ b -",
        "vouch tool 'a -",
        "vouch",
        "",
        "vouch tool a - |",
    ],
)
def test_what_needs_a_shell_is_left_to_it(command):
    assert split_pipeline(command, {"tool": None}) == (command, [])


def test_stages_keep_quoted_words():
    before, stages = split_pipeline("vouch tool --x='a | b' \"d e\"c - | vouch tool '#~$' -", {"tool": None})
    assert before == "" and stages == [("tool", ["--x=a | b", "d ec", "-"]), ("tool", ["#~$", "-"])]


def test_the_shell_runs_what_comes_before_the_tools():
    command = "sph2pipe -c 1 '/a b/x.sph' | sox - - | vouch tool - -| vouch tool --x - -"
    before, stages = split_pipeline(command, {"tool": None})
    assert before == "sph2pipe -c 1 '/a b/x.sph' | sox - - "
    assert stages == [("tool", ["-", "-"]), ("tool", ["--x", "-", "-"])]
    assert split_pipeline("a || b | vouch tool - -", {"tool": None})[1] == []


def test_archives_of_waves(tmp_path):
    with open(tmp_path / "w.ark", "wb") as file:
        for key in ("a", "b"):
            file.write(key.encode() + b" " + wav_bytes(X))
    assert [(key, wave.samples.shape) for key, wave in read_waves(f"ark:{tmp_path}/w.ark")] == [
        ("a", X.shape),
        ("b", X.shape),
    ]
    assert len(list(read_waves(f"ark:cat {tmp_path}/w.ark |"))) == 2
    (tmp_path / "w.ark").write_bytes((tmp_path / "w.ark").read_bytes()[:-1])
    assert "key 'b'" in error_of(read_waves, f"ark:{tmp_path}/w.ark")


def test_option_p_skips_and_says_so(store, tmp_path):
    path, said = store(wav_bytes()), []
    (tmp_path / "wav.scp").write_text(f"a {path}.gone\nb {path}\n")
    found = [key for key, _ in read_waves(f"scp,p:{tmp_path}/wav.scp", on_skip=said.append)]
    assert found == ["b"] and len(said) == 1 and "'a'" in said[0]


def test_write_wave(tmp_path):
    loud = np.array([[1.9, -1.9, 40000, -40000, 32767.5]], np.float32)
    write_wave(f"{tmp_path}/x.wav", Wave(loud, RATE))
    assert read_wave(f"{tmp_path}/x.wav").samples.tolist() == [[1, -1, 32767, -32768, 32767]]
    assert to_int16(loud).dtype == np.int16
    write_wave(f"{tmp_path}/y.wav", Wave(X.astype(np.float32), RATE))
    np.testing.assert_array_equal(read_wave(f"{tmp_path}/y.wav").samples, X)
    with pytest.raises(VouchError, match="no samples, or NaN"):
        write_wave(f"{tmp_path}/z.wav", Wave(loud * np.nan, RATE))
    assert not (tmp_path / "z.wav").exists()


# --- segments ---------------------------------------------------------------------------------------------------------


def test_segments_as_kaldi_cuts_them(golden, tmp_path):
    cases = json.loads((golden / "segments" / "segments.json").read_text())
    (tmp_path / "segments").write_text("".join(case["line"] + "\n" for case in cases.values()))
    names = {case["line"].split()[1] for case in cases.values()} - {"missing"}
    (tmp_path / "wav.scp").write_text("".join(f"{n} {golden}/audio/{n}.wav\n" for n in sorted(names)))
    said = []
    found = dict(read_waves(f"scp:{tmp_path}/wav.scp", f"{tmp_path}/segments", on_skip=said.append))
    assert sorted(found) == [name for name, case in cases.items() if case["written"]]
    assert len(said) == sum(not case["written"] for case in cases.values())
    for name, wave in found.items():
        case = cases[name]
        whole, _ = soundfile.read(golden / "audio" / f"{case['line'].split()[1]}.wav", dtype="int16")
        expected = whole[case["start_sample"] :][: case["num_samples"]]
        np.testing.assert_array_equal(wave.samples, expected[None])


def segment_run(tmp_path, lines, samples=X):
    path = tmp_path / "rec.wav"
    path.write_bytes(wav_bytes(samples))
    (tmp_path / "wav.scp").write_text(f"rec {path}\nrec2 {path}\n")
    (tmp_path / "segments").write_text("".join(line + "\n" for line in lines))
    return read_waves(f"scp:{tmp_path}/wav.scp", f"{tmp_path}/segments")


def test_segment_channels(tmp_path):
    found = dict(segment_run(tmp_path, ["a rec 0.1 0.3 1", "b rec 0.1 0.3", "c rec 0.1 0.3 2"]))
    np.testing.assert_array_equal(found["a"].samples, X[1:, 800:2400])
    np.testing.assert_array_equal(found["b"].samples, X[:, 800:2400])
    assert "c" not in found


@pytest.mark.parametrize(
    "line", ["a rec 0.1", "a rec x 0.3", "a rec 0.1 nan", "a rec 0.1 0.3 left", "a rec 0.1 0.3 -2", "a rec 0 1e400"]
)
def test_bad_segment_lines_are_named(tmp_path, line):
    assert "segments:2" in error_of(segment_run, tmp_path, ["ok rec 0.1 0.3", line])


def test_sorted_segments_read_each_recording_once(tmp_path, monkeypatch):
    reads = []
    real = audio.read_wave
    monkeypatch.setattr(audio, "read_wave", lambda name, **options: reads.append(name) or real(name, **options))
    lines = [f"{rec}-{n} {rec} {n / 10} {n / 10 + 0.15}" for rec in ("rec", "rec2") for n in range(4)]
    assert len(list(segment_run(tmp_path, lines))) == 8
    assert len(reads) == 2


def test_segments_want_a_script_file(tmp_path):
    assert "use scp:" in error_of(read_waves, "ark:x", "segments")
