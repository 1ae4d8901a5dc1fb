"""local/prepare_*.sh on small corpora of each layout, and the counts on the real ones where they are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
# speaker: (gender, age); three adult women, two adult men, three girls
TEST = {
    "0101": ("f", 30), "0102": ("f", 16), "0103": ("f", 22), "0104": ("m", 40), "0105": ("m", 41),
    "0106": ("f", 15), "0107": ("f", 6), "0108": ("f", 9),
}  # fmt: skip
TRAIN = {"0001": ("m", 6), "0002": ("f", 33), "0003": ("m", 25)}
UTTERANCES = 5


def write_lines(path: Path, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_wave(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(160, np.int16), 16000)


def speechocean(root: Path, listed: str = ".WAV", there: str = ".WAV", between: str = "\t") -> Path:
    """The public corpus in small: its folders, its names, its tables."""
    for part, speakers in (("train", TRAIN), ("test", TEST)):
        wavs, utt2spk = [], []
        for speaker in speakers:
            for utterance in (f"0{speaker}{number:04d}" for number in range(3, 3 + UTTERANCES)):
                stem = f"WAVE/SPEAKER{speaker}/{utterance}"
                write_wave(root / (stem + there))
                wavs.append(f"{utterance}{between}{stem}{listed}")
                utt2spk.append(f"{utterance}{between}{speaker}")
        write_lines(root / part / "wav.scp", wavs)
        write_lines(root / part / "utt2spk", utt2spk)
        write_lines(root / part / "spk2gender", [f"{s}{between}{gender}" for s, (gender, _) in speakers.items()])
        write_lines(root / part / "spk2age", [f"{s}{between}{age}" for s, (_, age) in speakers.items()])
    return root


def mandarin(root: Path) -> Path:
    unlabelled = [f"u{number:03d}" for number in range(1, 5)]
    test = [f"d{speaker}-0{number}" for speaker in (15, 16) for number in range(1, 6)]
    for name, utterances in (("unlabelled", unlabelled), ("test", test)):
        for utterance in utterances:
            write_wave(root / "audio" / f"{utterance}.flac")
        write_lines(root / name / "wav.scp", [f"{utterance} audio/{utterance}.flac" for utterance in utterances])
        write_lines(root / name / "utt2spk", [f"{u} {u if u[0] == 'u' else u[:3]}" for u in utterances])
    return root


def prepare(script: str, *words, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "local" / f"prepare_{script}.sh"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def table(path: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in path.read_text().splitlines())


def trial_counts(path: Path) -> tuple[int, int]:
    labels = [line.split()[2] for line in path.read_text().splitlines()]
    return labels.count("target"), labels.count("nontarget")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("listed", "there"), [(".WAV", ".WAV"), (".WAV", ".flac"), (".flac", ".wav")])
def test_speechocean762_in_either_form(tmp_path, listed, there):
    corpus = speechocean(tmp_path / "a corpus", listed, there)
    before = snapshot(corpus)
    done = prepare("speechocean762", "a corpus", "the out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "the out"
    assert {path.name for path in out.iterdir()} == {"train", "enroll", "test", "run.conf"}
    assert (out / "run.conf").read_text() == "--conf=conf/small\n"
    assert snapshot(corpus) == before

    wavs = table(out / "train/wav.scp")
    assert wavs["0001-000010003"] == f"{corpus}/WAVE/SPEAKER0001/000010003{there}"
    assert len(wavs) == len(TRAIN) * UTTERANCES
    assert table(out / "train/spk2gender") == {speaker: gender for speaker, (gender, _) in TRAIN.items()}
    assert table(out / "enroll/spk2utt")["0103-3"].split() == [f"0103-3-0103-001030{n:03d}" for n in (3, 4, 5)]
    assert table(out / "enroll/spk2utt")["0103-1"].split() == ["0103-1-0103-001030003"]
    # Two test segments a speaker, two models: within 3 women, 2 men and 3 girls.
    assert trial_counts(out / "test/trials") == (8 * 2 * 2, (3 * 2 + 2 * 1 + 3 * 2) * 2 * 2)
    assert ("another ending" in done.stdout) == (listed != there)


def test_second_run_repeats_the_first_even_after_a_kill(tmp_path):
    corpus, out = speechocean(tmp_path / "corpus"), tmp_path / "out"
    assert prepare("speechocean762", corpus, out).returncode == 0
    first, time = snapshot(out), (out / "train/wav.scp").stat().st_mtime_ns
    write_lines(out / ".tmp/train/wav.scp", ["half"])  # what kill -9 leaves
    shutil.rmtree(out / "test")
    write_lines(out / "enroll/segments", ["of another corpus"])
    assert prepare("speechocean762", corpus, out).returncode == 0
    assert snapshot(out) == first
    assert (out / "train/wav.scp").stat().st_mtime_ns == time  # or features would be made again
    ages = (corpus / "train/spk2age").read_text()
    (corpus / "train/spk2age").write_text(ages.replace("33", "34"))
    assert prepare("speechocean762", corpus, out).returncode == 0
    assert table(out / "train/spk2age")["0002"] == "34"


def test_children_are_the_unlabelled_target(tmp_path):
    corpus, out = speechocean(tmp_path / "corpus"), tmp_path / "out"
    done = prepare("speechocean762_child", corpus, out)
    assert done.returncode == 0, done.stderr
    assert set(table(out / "train/spk2utt")) == {"0002", "0003"}
    adapt = table(out / "adapt/utt2spk")
    assert len(adapt) == UTTERANCES
    assert all(utterance == speaker for utterance, speaker in adapt.items())
    assert not (out / "adapt/spk2gender").exists()
    assert trial_counts(out / "test/trials") == (5 * 2 * 2, (3 * 2 + 2 * 1) * 2 * 2)
    assert trial_counts(out / "adapt_test/trials") == (3 * 2 * 2, 3 * 2 * 2 * 2)
    assert prepare("speechocean762_child", "--age-limit=6", corpus, out).returncode == 1  # one child is no test
    assert trial_counts(out / "adapt_test/trials") == (3 * 2 * 2, 3 * 2 * 2 * 2)  # what was there, stays


def test_english_to_mandarin_then_english_alone(tmp_path):
    speechocean(tmp_path / "c/speechocean762")
    mandarin(tmp_path / "c/mandarin-words")
    out = tmp_path / "out"
    done = prepare("english_mandarin", tmp_path / "c", out)
    assert done.returncode == 0, done.stderr
    assert len(table(out / "train/utt2spk")) == len(TRAIN) * UTTERANCES
    assert len(table(out / "adapt/utt2spk")) == 4
    assert trial_counts(out / "adapt_test/trials") == (2 * 2 * 2, 2 * 2 * 2)
    assert table(out / "adapt_test/wav.scp")["d15-04"] == f"{tmp_path}/c/mandarin-words/audio/d15-04.flac"
    assert prepare("speechocean762", tmp_path / "c/speechocean762", out).returncode == 0
    assert not (out / "adapt").exists()  # or the recipe would take it for this corpus's other domain


def break_nothing_there(corpus):
    shutil.rmtree(corpus)


def break_empty_folder(corpus):
    shutil.rmtree(corpus)
    corpus.mkdir()


def break_empty_table(corpus):
    (corpus / "test/spk2age").write_text("")


def break_no_table(corpus):
    (corpus / "train/spk2gender").unlink()


def break_no_audio(corpus):
    shutil.rmtree(corpus / "WAVE/SPEAKER0104")


def break_speaker_without_age(corpus):
    ages = (corpus / "test/spk2age").read_text().splitlines()
    write_lines(corpus / "test/spk2age", [line for line in ages if not line.startswith("0105")])


def break_utterance_without_speaker(corpus):
    lines = (corpus / "train/utt2spk").read_text().splitlines()
    write_lines(corpus / "train/utt2spk", lines[1:])


def break_line(corpus):
    with open(corpus / "train/wav.scp", "a") as out:
        out.write("000099999\n")


def break_twice(corpus):
    with open(corpus / "train/wav.scp", "a") as out:
        out.write("000010003 WAVE/SPEAKER0001/000010003.WAV\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_nothing_there, "there is no corpus folder"),
        (break_empty_folder, "train/wav.scp is missing or empty"),
        (break_empty_table, "test/spk2age is missing or empty"),
        (break_no_table, "train/spk2gender is missing or empty"),
        (break_no_audio, "5 of 40 audio files are not there, e.g. "),
        (break_speaker_without_age, "spk2age: no line for 1 speaker(s), e.g. 0105"),
        (break_utterance_without_speaker, "utt2spk: no line for 1 utterance(s), e.g. 000010003"),
        (break_line, "train/wav.scp:16: want a key and a value"),
        (break_twice, "train/wav.scp:16: 000010003 stands there twice"),
    ],
)
def test_incomplete_corpus_is_one_line_and_leaves_nothing(tmp_path, damage, message):
    corpus, out = speechocean(tmp_path / "corpus"), tmp_path / "out"
    damage(corpus)
    done = prepare("speechocean762", corpus, out)
    assert done.returncode == 1
    assert message in done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("LOG ")] == [
        line for line in done.stderr.splitlines() if "error: " in line
    ]
    assert not out.exists()


def test_output_inside_the_corpus_is_refused(tmp_path):
    corpus = speechocean(tmp_path / "corpus")
    done = prepare("speechocean762", corpus, corpus / "data")
    assert done.returncode == 1
    assert "inside the corpus" in done.stderr
    assert not (corpus / "data").exists()


@pytest.mark.parametrize("script", ["speechocean762", "speechocean762_child", "english_mandarin", "kaldi_dirs"])
def test_help_and_wrong_number_of_arguments(script):
    done = prepare(script, "--help")
    assert done.returncode == 0
    assert "CORPUS_ROOT" in done.stdout
    assert "--age-limit" in done.stdout
    done = prepare(script, "one")
    assert done.returncode == 1
    assert "usage" in done.stderr


def test_counts_of_the_real_corpora(corpora, tmp_path):
    done = prepare("speechocean762", corpora / "speechocean762", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert trial_counts(tmp_path / "a/test/trials") == (600, 10800)
    assert len(table(tmp_path / "a/train/utt2spk")) == 1250
    done = prepare("english_mandarin", corpora, tmp_path / "b")
    assert done.returncode == 0, done.stderr
    assert trial_counts(tmp_path / "b/test/trials") == (600, 10800)
    assert trial_counts(tmp_path / "b/adapt_test/trials") == (120, 2280)
    assert len(table(tmp_path / "b/adapt/utt2spk")) == 84
    done = prepare("speechocean762_child", corpora / "speechocean762", tmp_path / "c")
    assert done.returncode == 0, done.stderr
    sizes = {name: len(table(tmp_path / "c" / name / "utt2spk")) for name in ("train", "adapt")}
    assert sizes == {"train": 670, "adapt": 580}
    adults, children = (trial_counts(tmp_path / "c" / name / "trials") for name in ("test", "adapt_test"))
    assert (adults[0] + children[0], adults[1] + children[1]) == (600, 10800)
