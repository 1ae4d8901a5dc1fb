"""local/prepare_kaldi_dirs.sh: other people's data directories, in order or not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def write_lines(path: Path, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def data_dir(folder: Path, speakers, utterances=5, audio="audio") -> None:
    """Not sorted, as a stranger's may be."""
    names = [(f"{speaker}-{number}", speaker) for speaker in speakers for number in range(1, utterances + 1)][::-1]
    write_lines(folder / "wav.scp", [f"{utterance} {audio}/{utterance}.wav" for utterance, _ in names])
    write_lines(folder / "utt2spk", [f"{utterance} {speaker}" for utterance, speaker in names])
    for utterance, _ in names:
        path = folder.parent.parent / "root" / audio / f"{utterance}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")


@pytest.fixture
def corpus(tmp_path):
    kaldi = tmp_path / "kaldi dirs"
    data_dir(kaldi / "train", ["spk1", "spk2"])
    data_dir(kaldi / "enroll", ["m1", "m2"], 2)
    data_dir(kaldi / "test", ["t1", "t2"], 2)
    write_lines(kaldi / "test/trials", ["m2 t2-1 target", "m1 t1-1 target", "m1 t2-1 nontarget"])
    return kaldi


def prepare(corpus: Path, out: Path, *options: str) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "local/prepare_kaldi_dirs.sh"), "--wav-root", str(corpus.parent / "root")]
    return subprocess.run([*command, *options, str(corpus), str(out)], capture_output=True, text=True, timeout=60)


def test_directories_are_sorted_and_their_paths_absolute(corpus, tmp_path):
    with open(corpus / "train/wav.scp", "a") as scp:
        scp.write("spk1-9 sph2pipe -f wav x.sph |\n")
    with open(corpus / "train/utt2spk", "a") as utt2spk:
        utt2spk.write("spk1-9 spk1\nspk1-99 spk1\n")  # the second has no audio: repaired away
    write_lines(corpus / "train/feats.scp", ["spk1-1 old.ark:7"])
    done = prepare(corpus, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"train", "enroll", "test"}
    wavs = (out / "train/wav.scp").read_text().splitlines()
    assert wavs == sorted(wavs)
    assert wavs[0] == f"spk1-1 {tmp_path}/root/audio/spk1-1.wav"
    assert wavs[5] == "spk1-9 sph2pipe -f wav x.sph |"
    assert len(wavs) == 11
    assert not (out / "train/feats.scp").exists()
    assert (out / "test/trials").read_text() == "m1 t1-1 target\nm1 t2-1 nontarget\nm2 t2-1 target\n"
    assert (out / "enroll/spk2utt").read_text() == "m1 m1-1 m1-2\nm2 m2-1 m2-2\n"


def test_eval_is_divided_and_adapt_loses_its_speakers(corpus, tmp_path):
    for name in ("enroll", "test"):
        for file in (corpus / name).iterdir():
            file.unlink()
        (corpus / name).rmdir()
    data_dir(corpus / "eval", ["e1", "e2", "e3"])
    write_lines(corpus / "eval/spk2gender", ["e1 f", "e2 f", "e3 m"])
    data_dir(corpus / "adapt", ["a1"])
    (corpus / "adapt/utt2spk").unlink()
    data_dir(corpus / "adapt_eval", ["b1", "b2"])
    done = prepare(corpus, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    labels = [line.split()[2] for line in (tmp_path / "out/test/trials").read_text().splitlines()]
    assert (labels.count("target"), labels.count("nontarget")) == (12, 8)
    labels = [line.split()[2] for line in (tmp_path / "out/adapt_test/trials").read_text().splitlines()]
    assert (labels.count("target"), labels.count("nontarget")) == (8, 8)
    assert (tmp_path / "out/adapt/utt2spk").read_text().startswith("a1-1 a1-1\na1-2 a1-2\n")
    done = prepare(corpus, tmp_path / "out", "--same-gender", "false")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/test/trials").read_text().count("nontarget") == 24


def test_segments_keep_their_recordings(corpus, tmp_path):
    write_lines(corpus / "train/wav.scp", ["rec2 audio/spk2-1.wav", "rec1 audio/spk1-1.wav"])
    write_lines(corpus / "train/segments", ["spk2-1 rec2 0 1", "spk1-2 rec1 1 2", "spk1-1 rec1 0 1"])
    write_lines(corpus / "train/utt2spk", ["spk2-1 spk2", "spk1-2 spk1", "spk1-1 spk1"])
    done = prepare(corpus, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/train/segments").read_text() == "spk1-1 rec1 0 1\nspk1-2 rec1 1 2\nspk2-1 rec2 0 1\n"
    assert (tmp_path / "out/train/wav.scp").read_text().split()[::2] == ["rec1", "rec2"]


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        (["m1 t1-1 target", "m1 t9 nontarget"], "trials:2: utterance t9 is not in test/utt2spk"),
        (["m1 t1-1 target", "m9 t1-1 nontarget"], "trials:2: model m9 is not in enroll/utt2spk"),
        (["m1 t1-1 target", "m1 t2-1 yes"], "trials:2: want MODEL UTTERANCE target|nontarget"),
        (["m1 t1-1 target", "m2 t2-1 target"], "of both kinds"),
        (["m1 t1-1 target", "m1 t1-1 nontarget"], "the trial 'm1 t1-1' is there as target and as nontarget"),
    ],
)
def test_bad_trials_are_named(corpus, tmp_path, trials, message):
    write_lines(corpus / "test/trials", trials)
    done = prepare(corpus, tmp_path / "out")
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["train/utt2spk", "enroll/wav.scp", "test/trials"])
def test_missing_files_are_named(corpus, tmp_path, name):
    (corpus / name).unlink()
    done = prepare(corpus, tmp_path / "out")
    assert done.returncode == 1
    assert f"{name} is missing or empty" in done.stderr
    assert not (tmp_path / "out").exists()


def test_relative_paths_start_where_it_is_run_unless_told(corpus, tmp_path):
    command = ["bash", str(ROOT / "local/prepare_kaldi_dirs.sh"), str(corpus), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "root")
    assert done.returncode == 0, done.stderr
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "10 of 10 audio files are not there" in done.stderr
