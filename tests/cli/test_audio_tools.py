"""Reverberation, speed, made rooms and noises, and augmented data directories, from the command line to features."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vouch.cli import main
from vouch.cli.wave_commands import WaveCache, in_process_commands
from vouch.errors import VouchError
from vouch.io.audio import read_wave
from vouch.io.datadir import read_pairs
from vouch.io.tables import read_table

RATE = 8000
TYPES = ["reverb", "noise", "music", "babble", "speed"]


def write_wav(path: Path, seconds: float = 1.0, rate: int = RATE, channels: int = 1, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).standard_normal((int(seconds * rate), channels)) * 3000
    soundfile.write(path, samples.astype(np.int16), rate)
    return path


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0].astype(int)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of three speakers with two recordings each, in a folder with a space in its name."""
    folder = tmp_path / "some speech"
    folder.mkdir()
    scp, utt2spk = [], []
    for speaker in "abc":
        for number in "12":
            path = write_wav(folder / f"{speaker}{number}.wav", 1.0 + 0.25 * int(number), seed=ord(speaker))
            scp.append(f"{speaker}-{number} {path}\n")
            utt2spk.append(f"{speaker}-{number} {speaker}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/wav.scp").write_text("".join(scp))
    (tmp_path / "data/utt2spk").write_text("".join(utt2spk))
    (tmp_path / "data/spk2gender").write_text("a f\nb m\nc f\n")
    return tmp_path / "data"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Rooms and noises, as the recipe makes them; the rooms at another sample rate."""
    assert main(["make-rooms", "--num=3", "--sample-frequency=16000", str(tmp_path / "rooms")]) == 0
    noise_options = ["--num=6", "--duration=2", f"--sample-frequency={RATE}"]
    assert main(["make-noises", *noise_options, str(tmp_path / "made noises")]) == 0
    return tmp_path


def augment(kind: str, data: Path, sounds: Path, *options: str, name: str = "") -> Path:
    places = {
        "reverb": [f"--rirs={sounds}/rooms/rirs.scp"],
        "noise": [f"--noises={sounds}/made noises/noise"],
        "music": [f"--noises={sounds}/made noises/music/wav.scp"],
    }
    out = data.parent / (name or f"data_{kind}")
    assert main(["augment-data-dir", f"--type={kind}", *places.get(kind, []), *options, str(data), str(out)]) == 0
    return out


# --- single recordings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options",
    [
        ("rev_rir_norm", "--impulse-response=rir.wav"),
        ("rev_rir_noshift", "--impulse-response=rir.wav --shift-output=false"),
        ("rev_rir_nonorm", "--impulse-response=rir.wav --normalize-output=false --volume=0.05"),
        ("rev_noise_snr10_start0.3", "--additive-signals=noise.wav --snrs=10 --start-times=0.3"),
        (
            "rev_rir_noise_dur3",
            "--impulse-response=rir.wav --additive-signals=noise.wav,noise.wav --snrs=15,5 --start-times=0.1,0.5 "
            "--duration=3",
        ),
    ],
)
def test_wav_reverberate_is_kaldis(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: str
) -> None:
    monkeypatch.chdir(golden / "reverb")
    assert main(["wav-reverberate", *options.split(), "input.wav", str(tmp_path / "out.wav")]) == 0
    ours, kaldi = read(tmp_path / "out.wav"), read(golden / "reverb" / f"{name}.wav")
    assert ours.shape == kaldi.shape and np.abs(ours - kaldi).max() <= 3


def test_multi_channel_output_is_each_channel_alone(tmp_path: Path) -> None:
    source, rir = write_wav(tmp_path / "a.wav"), write_wav(tmp_path / "rir.wav", 0.1, channels=2, seed=1)
    noise = write_wav(tmp_path / "n.wav", 0.3, channels=2, seed=2)
    options = [f"--impulse-response={rir}", f"--additive-signals={noise}", "--snrs=5", "--start-times=0"]
    both = tmp_path / "both.wav"
    assert main(["wav-reverberate", *options, "--multi-channel-output=true", str(source), str(both)]) == 0
    for channel in range(2):
        one = tmp_path / "one.wav"
        chosen = [f"--rir-channel={channel}", f"--noise-channel={channel}"]
        assert main(["wav-reverberate", *options, *chosen, str(source), str(one)]) == 0
        assert np.array_equal(read(both)[:, channel], read(one))


def test_loud_output_is_clipped_not_wrapped(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav")
    assert main(["wav-reverberate", "--volume=40", str(source), str(tmp_path / "out.wav")]) == 0
    assert np.array_equal(read(tmp_path / "out.wav"), np.clip(read(source) * 40, -32768, 32767))


@pytest.mark.parametrize(
    "options, said",
    [
        (["--additive-signals={0}", "--snrs=5,6", "--start-times=0"], "as many of each"),
        (["--additive-signals={0}", "--snrs=loud", "--start-times=0"], "--snrs takes numbers"),
        (["--impulse-response={0}", "--rir-channel=1"], "check --rir-channel"),
        (["--input-wave-channel=1"], "check --input-wave-channel"),
        (["--impulse-response=none.wav"], "none.wav"),
        (["--multi-channel-output=true"], "--impulse-response"),
    ],
)
def test_wrong_calls_name_the_option(
    tmp_path: Path, capfd: pytest.CaptureFixture, options: list[str], said: str
) -> None:
    source = write_wav(tmp_path / "a.wav")
    options = [option.format(source) for option in options]
    assert main(["wav-reverberate", *options, str(source), str(tmp_path / "out.wav")]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("vouch wav-reverberate: error: ") and said in last
    assert not (tmp_path / "out.wav").exists()


def test_wav_speed(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav", 1.0)
    assert main(["wav-speed", "--factor=0.9", str(source), str(tmp_path / "slow.wav")]) == 0
    assert len(read(tmp_path / "slow.wav")) == 8889
    assert main(["wav-speed", "--factor=0", str(source), str(tmp_path / "none.wav")]) == 1


# --- made sounds ------------------------------------------------------------------------------------------------------


def test_made_sounds_are_listed_readable_and_the_same_every_time(sounds: Path, tmp_path: Path) -> None:
    for scp, rate in ((sounds / "rooms/rirs.scp", 16000), (sounds / "made noises/noise/wav.scp", RATE)):
        lines = scp.read_text().splitlines()
        assert lines == sorted(lines)
        for line in lines:
            wave = read_wave(line.split(" ", 1)[1])
            assert wave.rate == rate and np.abs(wave.samples).max() > 25_000
    before = {path: path.read_bytes() for path in sounds.rglob("*.wav")}
    assert len(before) == 3 + 12
    assert main(["make-rooms", "--num=3", str(sounds / "rooms")]) == 0
    assert all(path.read_bytes() == data for path, data in before.items())
    assert main(["make-rooms", "--num=3", "--seed=1", str(tmp_path / "other")]) == 0
    assert (tmp_path / "other/wav/room-small-000000.wav").read_bytes() not in before.values()


@pytest.mark.parametrize("options", [["--num=0"], ["--seed=-1"], ["--sample-frequency=10"], ["--kind=huge"]])
def test_impossible_rooms_are_refused(tmp_path: Path, options: list[str]) -> None:
    assert main(["make-rooms", *options, str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


# --- augmented data directories ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_augmented_directories(data: Path, sounds: Path, tmp_path: Path, kind: str) -> None:
    """Valid for the data-directory tools, and features come of it, with the frames that the kind must give."""
    out = augment(kind, data, sounds)
    assert main(["validate-data-dir", "--no-feats", "--no-text", str(out)]) == 0
    utterances, speakers = (list(map(os.fsdecode, column)) for column in read_pairs(out / "utt2spk"))
    originals = dict(zip(*(map(os.fsdecode, column) for column in read_pairs(out / "utt2uniq")), strict=True))
    for utterance, speaker in zip(utterances, speakers, strict=True):
        original = originals[utterance]
        if kind == "speed":
            assert (utterance, speaker) == (f"sp0.9-{original}", f"sp0.9-{original[0]}")
        else:
            assert (utterance, speaker) == (f"{original}-{kind}", original[0])
    assert len(utterances) == 6 and sorted(originals.values()) == sorted(set(originals.values()))
    options = ["--sample-frequency=8000", "--dither=0", "--snip-edges=false"]
    plain, changed = f"ark:{tmp_path}/plain", f"ark:{tmp_path}/changed"
    assert main(["compute-mfcc-feats", *options, f"scp:{data}/wav.scp", plain]) == 0
    assert main(["compute-mfcc-feats", *options, f"scp:{out}/wav.scp", changed]) == 0
    plain = dict(read_table(plain))
    changed = dict(read_table(changed))
    assert sorted(changed) == utterances
    for utterance, features in changed.items():
        before = plain[originals[utterance]]
        if kind == "speed":
            assert len(features) == pytest.approx(len(before) / 0.9, abs=1)
        else:
            assert features.shape == before.shape
            assert np.abs(features - before).mean() > 0.1


def test_the_pipes_are_computed_as_the_shell_would(data: Path, sounds: Path, tmp_path: Path) -> None:
    """One entry with a nested pipe and a path with spaces, inside the process and by bash with a `vouch` command."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    tool = bin_folder / "vouch"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vouch "$@"\n')
    tool.chmod(0o755)
    out = augment("noise", data, sounds)
    again = augment("reverb", out, sounds, name="twice")
    entry = (again / "wav.scp").read_text().splitlines()[0].split(" ", 1)[1]
    assert "| vouch wav-reverberate" in entry
    inside = read_wave(entry, allow_pipes=False, commands=in_process_commands(allow_pipes=False))
    packages = str(Path(sys.modules["vouch"].__file__).parent.parent)
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": packages}
    shell = subprocess.run(["bash", "-c", entry.rstrip("|")], capture_output=True, env=environment, check=True)
    (tmp_path / "shell.wav").write_bytes(shell.stdout)
    assert np.array_equal(inside.samples[0], read(tmp_path / "shell.wav"))


def test_choices_depend_on_the_seed_and_the_recording_alone(data: Path, sounds: Path) -> None:
    first = (augment("babble", data, sounds) / "wav.scp").read_text().splitlines()
    assert (augment("babble", data, sounds, "--seed=7", name="other") / "wav.scp").read_text().splitlines() != first
    shorter = data.parent / "shorter"
    shutil.copytree(data, shorter)
    for name in ("wav.scp", "utt2spk"):
        lines = (shorter / name).read_text().splitlines(keepends=True)
        (shorter / name).write_text("".join(lines[:3]))
    noise = (augment("noise", data, sounds) / "wav.scp").read_text().splitlines()
    assert (augment("noise", shorter, sounds, name="part") / "wav.scp").read_text().splitlines() == noise[:3]


def test_babble_is_of_three_to_seven_others_at_the_asked_ratios(data: Path, sounds: Path) -> None:
    counts = set()
    for seed in range(8):
        out = augment("babble", data, sounds, f"--seed={seed}")
        for line in (out / "wav.scp").read_text().splitlines():
            speaker, command = line[0], line.split("--")
            names = command[1].partition("=")[2].split(",")
            counts.add(len(names))
            assert not any(f"/{speaker}" in name for name in names)
            snrs = command[3].partition("=")[2].strip(" '").split(",")
            assert len(snrs) == len(names) and set(snrs) <= {"20", "17", "15", "13"}
    assert counts == {3, 4, 5, 6, 7}


def test_foreground_noises_follow_each_other_to_the_end(data: Path, sounds: Path) -> None:
    lengths = {path.name: len(read(path)) / RATE for path in (sounds / "made noises/noise/wav").iterdir()}
    durations = {"1": 1.25, "2": 1.5}
    for line in (augment("noise", data, sounds, "--interval=0.1") / "wav.scp").read_text().splitlines():
        words = line.replace("'", "").split("--")
        names = [Path(name.strip()).name for name in words[1].partition("=")[2].split(",")]
        starts = [float(start) for start in words[2].partition("=")[2].split(",")]
        ends = [start + lengths[name] + 0.1 for start, name in zip(starts, names, strict=True)]
        np.testing.assert_allclose(starts, [0.0, *ends[:-1]], atol=2e-3)
        duration = durations[line.split("-")[1]]
        assert starts[-1] < duration <= ends[-1] + 1e-3


def test_segments_are_renamed_and_scaled_with_their_recordings(data: Path, sounds: Path) -> None:
    (data / "segments").write_text("a-1-x a-1 0.00 0.50\nb-1-x b-1 0.20 1.10\n")
    (data / "utt2spk").write_text("a-1-x a\nb-1-x b\n")
    (data / "spk2gender").write_text("a f\nb m\n")
    lines = (data / "wav.scp").read_text().splitlines(keepends=True)
    (data / "wav.scp").write_text(lines[0] + lines[2])
    slow = augment("speed", data, sounds, "--factor=0.5")
    assert (slow / "segments").read_text().splitlines() == [
        "sp0.5-a-1-x sp0.5-a-1 0.00000 1.00000",
        "sp0.5-b-1-x sp0.5-b-1 0.40000 2.20000",
    ]
    for kind in ("noise", "babble"):
        out = augment(kind, data, sounds)
        assert main(["validate-data-dir", "--no-feats", "--no-text", str(out)]) == 0
        assert f"a-1-x-{kind} a-1-{kind} " in (out / "segments").read_text()


def test_a_recording_through_a_pipe_goes_on_through_the_tool(data: Path, sounds: Path) -> None:
    (data / "wav.scp").write_text(
        (data / "wav.scp").read_text().replace("c-2 ", "c-2 cat '").replace("c2.wav", "c2.wav' |")
    )
    line = (augment("speed", data, sounds) / "wav.scp").read_text().splitlines()[-1]
    assert line == f"sp0.9-c-2 cat '{data.parent}/some speech/c2.wav' | vouch wav-speed --factor=0.9 - - |"


def test_old_features_of_the_destination_go_away(data: Path, sounds: Path) -> None:
    out = augment("reverb", data, sounds)
    (out / "feats.scp").write_text("a-1-reverb gone.ark:3\n")
    augment("reverb", data, sounds, "--seed=3")
    assert not (out / "feats.scp").exists()


@pytest.mark.parametrize(
    "options, said",
    [
        ([], "--type is needed"),
        (["--type=reverb"], "--rirs is needed"),
        (["--type=noise", "--noises={tmp}/nothing"], "nothing"),
        (["--type=music", "--noises={tmp}/empty"], "has no recordings"),
        (["--type=music", "--noises={tmp}/comma"], "comma"),
        (["--type=babble", "--snrs=20;10"], "colons"),
        (["--type=speed", "--factor=1"], "--factor"),
    ],
)
def test_wrong_augmentation_is_refused(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture, options: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "comma").mkdir()
    write_wav(tmp_path / "comma/a,b.wav")
    options = [option.format(tmp=tmp_path) for option in options]
    assert main(["augment-data-dir", *options, str(data), str(tmp_path / "out")]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert said in last
    assert not list(tmp_path.glob("*out*"))


def test_babble_needs_a_second_speaker(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (data / "utt2spk").write_text("".join(f"{s}-{n} a\n" for s in "abc" for n in "12"))
    assert main(["augment-data-dir", "--type=babble", str(data), str(tmp_path / "out")]) == 1
    assert "one speaker" in capfd.readouterr().err


def test_the_cache_is_bounded_and_forgets_the_oldest(tmp_path: Path) -> None:
    paths = [str(write_wav(tmp_path / f"{i}.wav", 0.1, seed=i)) for i in range(3)]  # 3200 bytes each as float32
    cache = WaveCache(most_bytes=7000)
    first = cache.samples(paths[0], RATE)
    cache.samples(paths[1], RATE)
    assert cache.samples(paths[0], RATE) is first
    cache.samples(paths[2], RATE)  # number 1 goes
    assert cache.samples(paths[0], RATE) is first
    Path(paths[1]).unlink()
    with pytest.raises(VouchError, match="1.wav"):
        cache.samples(paths[1], RATE)
    assert cache.samples(paths[0], 16000).shape == (1, 1600)


def test_a_pipe_must_end_in_standard_output(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav")
    with pytest.raises(VouchError, match="must write to '-'"):
        read_wave(f"vouch wav-speed {source} {tmp_path}/b.wav |", commands=in_process_commands())
