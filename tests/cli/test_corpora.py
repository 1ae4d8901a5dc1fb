"""vouch make-mini-corpus, vouch make-trials and local/prepare_mini.sh."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from vouch.cli.corpora import make_mini_corpus, make_trials
from vouch.errors import VouchError

SMALL = ["--print-args=false", "--scale=0.001"]


def lines(path):
    return Path(path).read_text().splitlines()


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "a corpus"
    make_mini_corpus([*SMALL, "--num-jobs=1", str(out)])
    return out


def test_corpus_is_valid_and_its_waves_are_as_promised(corpus):
    for part in ("train", "eval", "adapt", "adapt_eval"):
        table = [line.split() for line in lines(corpus / part / "wav.scp")]
        owners = dict(line.split() for line in lines(corpus / part / "utt2spk"))
        assert [key for key, _ in table] == sorted(owners)
        for _, path in table:
            info = soundfile.info(corpus / path)
            assert (info.samplerate, info.channels, info.subtype) == (8000, 1, "PCM_16")
            assert 2.0 <= info.duration <= 6.0
        if part == "adapt":
            assert all(key == value for key, value in owners.items())
            assert not (corpus / part / "spk2gender").exists()
        else:
            genders = dict(line.split() for line in lines(corpus / part / "spk2gender"))
            assert genders.keys() == set(owners.values()) and set(genders.values()) == {"m", "f"}


def test_same_bytes_with_two_processes_and_again(corpus, tmp_path):
    make_mini_corpus([*SMALL, "--num-jobs=2", str(tmp_path / "two")])
    assert files(tmp_path / "two") == files(corpus)


def test_killed_half_way_the_same_command_finishes(corpus, tmp_path):
    out = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "pysrc")}
    command = [sys.executable, "-m", "vouch", "make-mini-corpus", *SMALL, str(out)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.rglob("*.wav"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(list(out.rglob("*.wav"))) < len(list(corpus.rglob("*.wav")))
    assert not (out / ".done").exists()
    make_mini_corpus([*SMALL, "--num-jobs=1", str(out)])
    assert files(out) == files(corpus)


def test_finished_corpus_is_left_alone_and_another_is_not_mixed_in(corpus, capsys):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    make_mini_corpus([*SMALL, str(corpus)])
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before
    assert "is complete" in capsys.readouterr().err
    with pytest.raises(VouchError, match=r"seed 0 \(now 1\)"):
        make_mini_corpus([*SMALL, "--seed=1", str(corpus)])


@pytest.mark.parametrize("option", ["--scale=0", "--scale=1.5", "--num-jobs=0", "--seed=-1"])
def test_options_out_of_range_are_refused_before_any_work(option, tmp_path):
    with pytest.raises(VouchError, match=option.split("=")[0]):
        make_mini_corpus(["--print-args=false", option, str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def write_eval(folder, speakers, genders=None, ages=None, prefix=""):
    """A data directory: speakers = {name: number of utterances}."""
    folder.mkdir()
    pairs = [(f"{spk}-u{k}", spk) for spk, count in speakers.items() for k in range(count)]
    (folder / "wav.scp").write_text("".join(f"{utt} {prefix}{utt}.wav\n" for utt, _ in pairs))
    (folder / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, spk in pairs))
    for name, values in (("spk2gender", genders), ("spk2age", ages)):
        if values:
            (folder / name).write_text("".join(f"{spk} {value}\n" for spk, value in sorted(values.items())))
    return folder


def run_trials(source, tmp_path, *options):
    make_trials(["--print-args=false", *options, str(source), str(tmp_path / "enroll"), str(tmp_path / "test")])
    return [line.split() for line in lines(tmp_path / "test" / "trials")]


def test_protocol_on_a_case_worked_by_hand(tmp_path):
    source = write_eval(tmp_path / "eval", {"s1": 4, "s2": 5}, prefix="dir with space/")
    trials = run_trials(source, tmp_path)
    assert lines(tmp_path / "enroll" / "spk2utt") == [
        "s1-1 s1-1-s1-u0",
        "s1-3 s1-3-s1-u0 s1-3-s1-u1 s1-3-s1-u2",
        "s2-1 s2-1-s2-u0",
        "s2-3 s2-3-s2-u0 s2-3-s2-u1 s2-3-s2-u2",
    ]
    assert lines(tmp_path / "enroll" / "wav.scp")[1] == "s1-3-s1-u0 dir with space/s1-u0.wav"
    assert lines(tmp_path / "test" / "utt2spk") == ["s1-u3 s1", "s2-u3 s2", "s2-u4 s2"]
    wanted = [(m, t) for m in ("s1-1", "s1-3", "s2-1", "s2-3") for t in ("s1-u3", "s2-u3", "s2-u4")]
    assert [(m, t) for m, t, _ in trials] == wanted
    assert all((label == "target") == (m[:2] == t[:2]) for m, t, label in trials)


def test_trials_stay_within_gender_and_age_group(tmp_path):
    speakers = {"a": 4, "b": 4, "c": 4, "d": 4}
    source = write_eval(
        tmp_path / "eval",
        speakers,
        genders=dict(zip("abcd", "mmfm", strict=True)),
        ages=dict(zip("abcd", (15, 16, 9, 40), strict=True)),
    )

    def partners(*options):
        return {(m[0], t[0]) for m, t, label in run_trials(source, tmp_path, *options) if label == "nontarget"}

    assert partners() == {("b", "d"), ("d", "b")}
    assert partners("--age-limit=0") == {(x, y) for x in "abd" for y in "abd" if x != y}
    assert partners("--same-gender=false") == {("a", "c"), ("c", "a"), ("b", "d"), ("d", "b")}
    assert len(partners("--same-gender=false", "--age-limit=0")) == 12


def test_other_model_sizes(tmp_path):
    source = write_eval(tmp_path / "eval", {"s1": 4, "s2": 4})
    trials = run_trials(source, tmp_path, "--models=2")
    assert {m for m, _, _ in trials} == {"s1-2", "s2-2"}
    assert {t for _, t, _ in trials} == {"s1-u2", "s1-u3", "s2-u2", "s2-u3"}


def test_segments_keep_their_recordings(tmp_path):
    source = write_eval(tmp_path / "eval", {"s1": 4, "s2": 4})
    utts = [line.split()[0] for line in lines(source / "utt2spk")]
    (source / "segments").write_text("".join(f"{utt} rec{utt[1]} {k} {k + 1}\n" for k, utt in enumerate(utts)))
    (source / "wav.scp").write_text("rec1 one.wav\nrec2 sox two.wav |\n")
    run_trials(source, tmp_path)
    assert lines(tmp_path / "enroll" / "segments")[1] == "s1-3-s1-u0 rec1 0 1"
    assert lines(tmp_path / "enroll" / "wav.scp") == ["rec1 one.wav", "rec2 sox two.wav |"]
    assert lines(tmp_path / "test" / "segments") == ["s1-u3 rec1 3 4", "s2-u3 rec2 7 8"]


def test_speakers_with_too_few_utterances_are_left_out_with_a_warning(tmp_path, capsys):
    source = write_eval(tmp_path / "eval", {"s1": 4, "s2": 3, "s3": 4})
    trials = run_trials(source, tmp_path)
    assert not any(m.startswith("s2") or t.startswith("s2") for m, t, _ in trials)
    warning = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING"))
    assert "1 of 3 speakers" in warning and "s2" in warning


@pytest.mark.parametrize(
    ("speakers", "spoil", "message"),
    [
        ({"s1": 4, "s2": 3}, None, "only 1 speakers have 4"),
        ({"s1": 4, "s2": 4}, ("spk2gender", "s1 m\n"), "spk2gender: speaker 's2'"),
        ({"s1": 4, "s2": 4}, ("spk2age", "s1 7\ns2 old\n"), "age of 's2' is not a number"),
        ({"s1": 4, "s2": 4}, ("wav.scp", "s1-u0 x.wav\n"), r"wav.scp: no line for 's1-u1'.*fix_data_dir"),
        ({"s1": 4, "s2": 4}, ("utt2spk", "s1-u0 s1 extra\n"), "utt2spk:1"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(speakers, spoil, message, tmp_path):
    source = write_eval(tmp_path / "eval", speakers)
    if spoil:
        (source / spoil[0]).write_text(spoil[1])
    with pytest.raises(VouchError, match=message):
        run_trials(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["eval"]


@pytest.mark.parametrize("models", ["0,3", "x", ""])
def test_model_sizes_must_be_numbers(models, tmp_path):
    source = write_eval(tmp_path / "eval", {"s1": 4, "s2": 4})
    with pytest.raises(VouchError, match="--models"):
        run_trials(source, tmp_path, f"--models={models}")


def test_outputs_may_not_be_the_input(tmp_path):
    source = write_eval(tmp_path / "eval", {"s1": 4, "s2": 4})
    with pytest.raises(VouchError, match="three folders"):
        make_trials(["--print-args=false", str(source), str(source), str(tmp_path / "test")])


@pytest.mark.parametrize(
    ("name", "targets", "nontargets"), [("speechocean762", 600, 10800), ("mandarin-words", 120, 2280)]
)
def test_protocol_counts_on_real_corpora(corpora, name, targets, nontargets, tmp_path):
    labels = [label for _, _, label in run_trials(corpora / name / "test", tmp_path)]
    assert (labels.count("target"), labels.count("nontarget")) == (targets, nontargets)


def test_prepare_mini_writes_the_contract(root, corpus, tmp_path):
    before = files(corpus)
    command = ["bash", str(root / "local/prepare_mini.sh"), "--nj", "1", "--scale", "0.001", str(corpus), "an out"]
    environment = {**os.environ, "VOUCH_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "an out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["train", "enroll", "test", "adapt", "adapt_enroll", "adapt_test", "run.conf"]
    )
    assert lines(out / "run.conf") == ["--conf=conf/mini"]
    for part in ("train", "adapt", "enroll", "test", "adapt_enroll", "adapt_test"):
        for line in lines(out / part / "wav.scp"):
            path = Path(line.split(" ", 1)[1])
            assert path.is_absolute() and path.is_file()
    assert (out / "test" / "trials").exists() and (out / "adapt_test" / "trials").exists()
    assert "is complete" in done.stderr and files(corpus) == before


def test_prepare_mini_generates_what_is_not_there_and_refuses_one_folder(root, tmp_path):
    environment = {**os.environ, "VOUCH_PYTHON": sys.executable}
    command = ["bash", str(root / "local/prepare_mini.sh"), "--scale", "0.001", "here", "here"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "lies inside the corpus" in done.stderr
    assert (tmp_path / "here" / ".done").exists()
