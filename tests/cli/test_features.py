"""The feature tools, called as a step calls them: tables in, tables out, messages on stderr."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vouch.cli import main
from vouch.io.tables import TableWriter, read_matrix, read_table

RATE = 8000


def write_wav(path: Path, seconds: float = 1.0, rate: int = RATE, channels: int = 1, seed: int = 0) -> None:
    samples = np.random.default_rng(seed).standard_normal((int(seconds * rate), channels)) * 3000
    soundfile.write(path, samples.astype(np.int16), rate)


def write_features(path: Path, **matrices: np.ndarray) -> str:
    with TableWriter(f"ark:{path}") as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix.astype(np.float32))
    return f"ark:{path}"


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    """A wav.scp of three recordings, in a folder with a space in its name."""
    folder = tmp_path / "my wavs"
    folder.mkdir()
    lines = []
    for number in range(3):
        write_wav(folder / f"{number}.wav", 1.0 + 0.5 * number, seed=number)
        lines.append(f"utt{number} {folder}/{number}.wav\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    return tmp_path / "wav.scp"


def mfcc(wavs: Path, out: Path, *options: str) -> int:
    return main(["compute-mfcc-feats", "--sample-frequency=8000", *options, f"scp:{wavs}", f"ark:{out}"])


def test_golden_through_the_tools(golden: Path, tmp_path: Path) -> None:
    """wav to MFCC to VAD to CMVN to voiced frames as one chain, against Kaldi's end product."""
    wanted = np.load(golden / "voiced/voiced_sre16v2_8k.npz")
    wavs = tmp_path / "wav.scp"
    wavs.write_text("".join(f"{key} {golden}/audio/{key}.wav\n" for key in sorted(wanted.files)))
    conf = tmp_path / "mfcc.conf"
    conf.write_text("--low-freq=20 # a comment\n--high-freq=3700\n--num-ceps=23\n--snip-edges=false\n")
    assert mfcc(wavs, tmp_path / "mfcc", f"--config={conf}", "--dither=0") == 0
    vad_options = ["--vad-energy-threshold=5.5", "--vad-proportion-threshold=0.12", "--vad-frames-context=2"]
    assert main(["compute-vad", *vad_options, f"ark:{tmp_path}/mfcc", f"ark:{tmp_path}/vad"]) == 0
    cmvn_options = ["--center=true", "--cmn-window=300"]
    assert main(["apply-cmvn-sliding", *cmvn_options, f"ark:{tmp_path}/mfcc", f"ark:{tmp_path}/cmvn"]) == 0
    tables = [f"ark:{tmp_path}/cmvn", f"ark:{tmp_path}/vad", f"ark:{tmp_path}/voiced"]
    assert main(["select-voiced-frames", *tables]) == 0
    ours = dict(read_table(f"ark:{tmp_path}/voiced"))
    assert sorted(ours) == sorted(wanted.files)
    for key, matrix in ours.items():
        np.testing.assert_allclose(matrix, wanted[key], atol=1e-3)


def test_side_outputs_and_compression(wavs: Path, tmp_path: Path) -> None:
    plain, small = tmp_path / "plain.ark", tmp_path / "small.ark"
    assert mfcc(wavs, plain, "--snip-edges=false") == 0
    options = [
        "--snip-edges=false",
        "--compression-method=3",
        f"--write-utt2dur=ark,t:{tmp_path}/utt2dur",
        f"--write-num-frames=ark,t:{tmp_path}/utt2num_frames",
    ]
    assert mfcc(wavs, small, *options) == 0
    assert (tmp_path / "utt2num_frames").read_text().split() == ["utt0", "100", "utt1", "150", "utt2", "200"]
    assert [float(word) for word in (tmp_path / "utt2dur").read_text().split()[1::2]] == [1.0, 1.5, 2.0]
    assert small.stat().st_size < 0.7 * plain.stat().st_size
    compressed = dict(read_table(f"ark:{small}"))
    for key, matrix in read_table(f"ark:{plain}"):  # the dither is seeded: both runs have the same
        np.testing.assert_allclose(compressed[key], matrix, atol=2e-3 * np.ptp(matrix))


def test_the_same_run_twice_is_the_same_bytes_and_the_seed_matters(wavs: Path, tmp_path: Path) -> None:
    assert mfcc(wavs, tmp_path / "a") == mfcc(wavs, tmp_path / "b") == mfcc(wavs, tmp_path / "c", "--seed=1") == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_bad_recording_is_told_of_and_left_out(wavs: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    whole = (tmp_path / "my wavs" / "0.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.wav").write_bytes(b"")
    with wavs.open("a") as file:
        file.write(f"vcut {tmp_path}/cut.wav\nvempty {tmp_path}/empty.wav\nvmissing {tmp_path}/none.wav\n")
    assert mfcc(wavs, tmp_path / "out") == 0
    assert [key for key, _ in read_table(f"ark:{tmp_path}/out")] == ["utt0", "utt1", "utt2"]
    said = capfd.readouterr().err
    for utterance in ("vcut", "vempty", "vmissing"):
        assert sum(f"'{utterance}'" in line for line in said.splitlines()) == 1
    assert "Done 3 out of 6 utterances, failed 3" in said


def test_nothing_is_written_when_no_recording_is_good(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "wav.scp").write_text(f"a {tmp_path}/none.wav\n")
    assert mfcc(tmp_path / "wav.scp", tmp_path / "out") == 1
    assert not (tmp_path / "out").exists()
    assert "none of the 1 utterances" in capfd.readouterr().err


@pytest.mark.parametrize(
    "rate, channels, said",
    [
        (16000, 1, "16000 Hz.*--sample-frequency=8000.*--allow-downsample"),
        (4000, 1, "--allow-upsample"),
        (RATE, 2, "--channel=0"),
    ],
)
def test_a_wrong_rate_or_stereo_stops_at_once(
    wavs: Path, tmp_path: Path, capfd: pytest.CaptureFixture, rate: int, channels: int, said: str
) -> None:
    write_wav(tmp_path / "odd.wav", rate=rate, channels=channels)
    with wavs.open("a") as file:
        file.write(f"vodd {tmp_path}/odd.wav\n")
    assert mfcc(wavs, tmp_path / "out") == 1
    assert not list(tmp_path.glob("out*"))
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("vouch compute-mfcc-feats: error: ") and "vodd" in last
    assert re.search(said, last), last


def test_channels_and_rates_that_are_asked_for(tmp_path: Path) -> None:
    write_wav(tmp_path / "stereo.wav", rate=16000, channels=2)
    (tmp_path / "scp").write_text(f"a {tmp_path}/stereo.wav\n")
    right, rate = soundfile.read(tmp_path / "stereo.wav", dtype="int16")
    soundfile.write(tmp_path / "right.wav", right[:, 1], rate)
    (tmp_path / "right.scp").write_text(f"a {tmp_path}/right.wav\n")
    options = ["--allow-downsample=true", "--dither=0"]
    assert mfcc(tmp_path / "scp", tmp_path / "both.ark", "--channel=1", *options) == 0
    assert mfcc(tmp_path / "right.scp", tmp_path / "right.ark", *options) == 0
    assert (tmp_path / "both.ark").read_bytes() == (tmp_path / "right.ark").read_bytes()
    assert dict(read_table(f"ark:{tmp_path}/both.ark"))["a"].shape == (98, 13)
    assert mfcc(tmp_path / "scp", tmp_path / "none.ark", "--channel=2", *options) == 1


def test_segments_min_duration_and_empty_features(wavs: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "segments").write_text("a utt1 0.0 0.5\nb utt1 0.5 0.62\nc utt2 1.0 -1\n")
    options = [f"--segments={tmp_path}/segments", "--dither=0", "--frame-length=150"]
    assert mfcc(wavs, tmp_path / "out", *options) == 0
    shapes = {key: matrix.shape for key, matrix in read_table(f"ark:{tmp_path}/out")}
    assert shapes == {"a": (36, 13), "b": (0, 0), "c": (86, 13)}
    assert "b is too short for one frame" in capfd.readouterr().err
    assert mfcc(wavs, tmp_path / "out", *options, "--min-duration=0.13") == 0
    assert [key for key, _ in read_table(f"ark:{tmp_path}/out")] == ["a", "c"]


def test_subtract_mean_and_fbank(wavs: Path, tmp_path: Path) -> None:
    options = ["--sample-frequency=8000", "--subtract-mean=true", "--num-mel-bins=40", "--use-energy=true"]
    assert main(["compute-fbank-feats", *options, f"scp:{wavs}", f"ark:{tmp_path}/out"]) == 0
    for _, matrix in read_table(f"ark:{tmp_path}/out"):
        assert matrix.shape[1] == 41
        np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=1e-4)


def test_pipes_can_be_refused(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "scp").write_text(f"a cat {tmp_path}/a.wav |\n")
    assert mfcc(tmp_path / "scp", tmp_path / "out") == 0
    assert mfcc(tmp_path / "scp", tmp_path / "out2", "--allow-pipes=false") == 1
    assert "--allow-pipes" in capfd.readouterr().err


def test_vad_of_empty_and_unvoiced_utterances(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    loud, quiet = np.zeros((4, 2)), np.zeros((4, 2))
    loud[:, 0] = [20, 20, 0, 20]
    table = write_features(tmp_path / "f", empty=np.zeros((0, 0)), loud=loud, quiet=quiet)
    assert main(["compute-vad", table, f"ark:{tmp_path}/vad"]) == 0
    vad = {key: vector.tolist() for key, vector in read_table(f"ark:{tmp_path}/vad", "vector")}
    assert vad == {"loud": [1, 1, 0, 1], "quiet": [0, 0, 0, 0]}
    assert main(["compute-vad", "--omit-unvoiced-utts=true", table, f"ark:{tmp_path}/vad"]) == 0
    assert [key for key, _ in read_table(f"ark:{tmp_path}/vad", "vector")] == ["loud"]
    said = capfd.readouterr().err
    assert "empty are empty" in said and "no frame of quiet" in said
    assert main(["compute-vad", write_features(tmp_path / "q", quiet=quiet), f"ark:{tmp_path}/none"]) == 1
    assert not (tmp_path / "none").exists()


def test_selection_leaves_out_what_does_not_fit(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    matrix = np.arange(8).reshape(4, 2)
    table = write_features(tmp_path / "f", good=matrix, long=matrix, no_vad=matrix, quiet=matrix)
    with TableWriter(f"ark:{tmp_path}/vad", "vector") as writer:
        for key, voiced in {"good": [0, 1, 1, 0], "long": [1] * 5, "quiet": [0] * 4}.items():
            writer.write(key, np.array(voiced, np.float32))
    assert main(["select-voiced-frames", table, f"ark:{tmp_path}/vad", f"ark:{tmp_path}/out"]) == 0
    [(key, selected)] = read_table(f"ark:{tmp_path}/out")
    assert key == "good" and np.array_equal(selected, matrix[1:3])
    said = capfd.readouterr().err
    assert "4 frames of features but 5" in said and "no_vad" in said and "no frame of quiet" in said
    assert "1 utterances, 3 had errors" in said


def test_cmvn_warns_of_floored_variances(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    table = write_features(tmp_path / "f", flat=np.ones((9, 2)))
    for most, lines in (("2", 3), ("0", 0), ("-1", 9)):
        command = ["apply-cmvn-sliding", "--norm-vars=true", f"--max-warnings={most}", table, f"ark:{tmp_path}/o"]
        assert main(command) == 0
        assert capfd.readouterr().err.count("WARNING") == lines


def test_copy_feats_between_forms(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    table = write_features(tmp_path / "f", a=matrix, b=matrix[:7])
    target = f"ark,scp:{tmp_path}/g.ark,{tmp_path}/g.scp"
    assert main(["copy-feats", f"--write-num-frames=ark,t:{tmp_path}/n", table, target]) == 0
    assert (tmp_path / "n").read_text().split() == ["a", "20", "b", "7"]
    assert np.array_equal(dict(read_table(f"scp:{tmp_path}/g.scp"))["b"], matrix[:7])
    entry = (tmp_path / "g.scp").read_text().split()[1]
    assert main(["copy-feats", "--binary=false", entry, f"{tmp_path}/one.txt"]) == 0
    assert (tmp_path / "one.txt").read_text().startswith(" [")
    np.testing.assert_allclose(read_matrix(f"{tmp_path}/one.txt"), matrix, rtol=1e-5)
    assert main(["copy-feats", "--compress=true", "--compression-method=3", table, f"ark:{tmp_path}/c"]) == 0
    np.testing.assert_allclose(dict(read_table(f"ark:{tmp_path}/c"))["a"], matrix, atol=1e-3)
    assert main(["copy-feats", "--compress=true", entry, f"{tmp_path}/no"]) == 1


def test_feat_to_len_in_both_forms(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    table = write_features(tmp_path / "f", a=np.ones((20, 5)), b=np.ones((7, 5)))
    assert main(["feat-to-len", table]) == 0
    assert capfd.readouterr().out == "27\n"
    assert main(["feat-to-len", table, f"ark,t:{tmp_path}/len"]) == 0
    assert (tmp_path / "len").read_text().split() == ["a", "20", "b", "7"]


def test_a_warp_factor_for_each_utterance_or_speaker(wavs: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    def features(name: str, *options: str) -> dict[str, np.ndarray]:
        assert mfcc(wavs, tmp_path / name, "--dither=0", *options) == 0
        return dict(read_table(f"ark:{tmp_path}/{name}"))

    plain, warped = features("plain"), features("warped", "--vtln-warp=0.9", "--vtln-low=120", "--vtln-high=-400")
    assert not np.allclose(plain["utt1"], warped["utt1"], atol=0.1)
    (tmp_path / "warps").write_text("utt1 0.9\nutt2 1.0\n")
    knots = ["--vtln-low=120", "--vtln-high=-400"]
    mapped = features("mapped", *knots, f"--vtln-map=ark:{tmp_path}/warps")
    assert list(mapped) == ["utt1", "utt2"]
    assert np.array_equal(mapped["utt1"], warped["utt1"]) and np.array_equal(mapped["utt2"], plain["utt2"])
    assert "--vtln-map for utterance 'utt0'" in capfd.readouterr().err
    (tmp_path / "speakers").write_text("A 0.9\nB 1.0\n")
    (tmp_path / "utt2spk").write_text("utt0 B\nutt1 A\nutt2 B\n")
    by_speaker = [f"--vtln-map=ark:{tmp_path}/speakers", f"--utt2spk=ark:{tmp_path}/utt2spk"]
    mapped = features("by_speaker", *knots, *by_speaker)
    assert np.array_equal(mapped["utt1"], warped["utt1"]) and np.array_equal(mapped["utt0"], plain["utt0"])
    assert mfcc(wavs, tmp_path / "out", by_speaker[1]) == 1
    assert "give --vtln-map" in capfd.readouterr().err
    (tmp_path / "utt2spk").write_text("utt0 B\n")
    assert mfcc(wavs, tmp_path / "out", *by_speaker) == 1
    assert "no entry for 'utt1'" in capfd.readouterr().err
    assert mfcc(wavs, tmp_path / "out", "--vtln-warp=0.9", "--vtln-low=10") == 1
    assert "--vtln-low" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_mel_filters_can_be_shown(wavs: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert mfcc(wavs, tmp_path / "out", "--debug-mel", "--num-mel-bins=13") == 0
    lines = re.findall(r"LOG bin (\d+), offset = (\d+), vec = \[ ([\d. e-]+) \]", capfd.readouterr().err)
    assert [int(number) for number, _, _ in lines] == list(range(13))
    offsets = [int(offset) for _, offset, _ in lines]
    assert offsets == sorted(offsets) and offsets[0] == 1
    assert all(0 < float(weight) <= 1 for _, _, weights in lines for weight in weights.split())
