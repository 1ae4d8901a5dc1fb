"""egs/voxceleb/v1/local/prepare_data.sh on the miniatures: what it leaves, of every layout and form of list."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from preparations import lines, outside, snapshot, table

from vouch.cli.wave_commands import in_process_commands
from vouch.io.audio import read_wave
from voxceleb import miniature
from voxceleb.trees import LOCAL, prepare, read, wrap, wrap_all


@pytest.fixture(scope="module")
def out(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script leaves of list O."""
    before = snapshot(corpora)
    out = tmp_path_factory.mktemp("prepared") / "the data"
    done = prepare(corpora, out, f"--lists={corpora}/voxceleb1/veri_test.txt")
    assert done.returncode == 0, done.stderr
    assert snapshot(corpora) == before
    return out


def samples(entry: str) -> np.ndarray:
    wave = read_wave(entry, commands=in_process_commands())
    assert wave.rate == 16000 and len(wave.samples) == 1
    return wave.samples[0]


def utterances(folder: Path) -> dict[str, Path]:
    """The audio files below a folder of the layout `sets`, by the names that Kaldi gives them."""
    return {"-".join((*path.parts[-3:-1], path.stem)): path for path in folder.rglob("*.wav")}


def test_every_file_is_there(out: Path) -> None:
    assert {path.name for path in out.iterdir()} == {"train", "test", "sources.tsv", "log"}
    assert {path.name for path in (out / "train").iterdir()} == {"wav.scp", "utt2spk", "spk2utt", "spk2gender"}
    assert {path.name for path in (out / "test").iterdir()} == {"wav.scp", "utt2spk", "spk2utt", "trials", "trials_O"}


def test_train_has_both_corpora_but_the_tested_speakers(out: Path, corpora: Path) -> None:
    expected = utterances(corpora / "voxceleb1/dev") | utterances(corpora / "voxceleb2")
    wavs = table(out / "train/wav.scp")
    assert wavs == {name: str(path) for name, path in expected.items()}
    assert table(out / "train/utt2spk") == {name: name[:7] for name in expected}
    assert {name[:3] for name in expected} == {"id0", "id1"} and any(name[7:9] == "--" for name in expected)
    name = min(expected)
    np.testing.assert_array_equal(samples(wavs[name]), soundfile.read(expected[name], dtype="int16")[0])
    genders = {}
    for line in lines(corpora / "voxceleb1/vox1_meta.csv")[1:]:
        speaker, _, gender, *_, part = line.split("\t")
        if part == "dev":
            genders[speaker] = gender
    for line in lines(corpora / "voxceleb2/vox2_meta.csv")[1:]:
        speaker, _, gender, _ = line.split(",")
        genders[speaker.strip()] = gender.strip()
    assert table(out / "train/spk2gender") == genders and set(genders.values()) == {"m", "f"}


def trials_of(path: Path) -> list[str]:
    """Of a list of the second release."""
    rows = [line.replace("/", "-").replace(".wav", "").split() for line in lines(path)]
    return sorted(f"{a} {b} {'target' if label == '1' else 'nontarget'}" for label, a, b in rows)


def test_test_has_the_utterances_of_the_list_each_its_own_speaker(out: Path, corpora: Path) -> None:
    expected = utterances(corpora / "voxceleb1/test")
    assert table(out / "test/wav.scp") == {name: str(path) for name, path in expected.items()}
    assert table(out / "test/utt2spk") == {name: name for name in expected}
    assert lines(out / "test/trials") == trials_of(corpora / "voxceleb1/veri_test.txt")
    assert lines(out / "test/trials_O") == lines(out / "test/trials")


def test_sources_are_counted_and_compared(out: Path) -> None:
    header, *rows = (line.split("\t") for line in lines(out / "sources.tsv"))
    assert header[:3] == ["source", "utterances", "speakers"]
    found = {row[0]: row[1:] for row in rows}
    assert found["VoxCeleb1"] == ["36", "9", "153516", "1251", str(36 - 153516), str(9 - 1251)]
    assert found["VoxCeleb1 dev"][:4] == ["12", "3", "148642", "1211"]
    assert found["VoxCeleb1 test"][:4] == ["24", "6", "4874", "40"]
    assert found["VoxCeleb2 dev"][:4] == ["24", "6", "1092009", "5994"]
    assert found["VoxCeleb2 test"][:4] == ["4", "1", "36237", "118"]
    assert found["train"][:4] == ["40", "10", "1276888", "7323"]
    assert found["test"] == ["24", "6", "-", "-", "-", "-"]
    warned = [line.split(":")[0] for line in lines(out / "log/warnings.txt")]
    assert warned == ["VoxCeleb1", "VoxCeleb1 dev", "VoxCeleb1 test", "VoxCeleb2 dev", "VoxCeleb2 test", "train"]


def test_all_published_lists_and_no_training_on_voxceleb1(corpora: Path, tmp_path: Path) -> None:
    done = prepare(corpora, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "it is not trained on" in done.stdout and "VoxCeleb1 dev " in done.stdout
    test = tmp_path / "out/test"
    own = {name: trials_of(corpora / "voxceleb1" / file) for name, file in miniature.LISTS.items()}
    for name, trials in own.items():
        assert lines(test / f"trials_{name}") == trials
    assert lines(test / "trials") == sorted({trial for trials in own.values() for trial in trials})
    assert len(lines(test / "trials")) < sum(map(len, own.values()))
    assert set(table(tmp_path / "out/train/utt2spk")) == set(utterances(corpora / "voxceleb2"))
    assert set(table(test / "utt2spk")) == set(utterances(corpora / "voxceleb1"))


def test_a_second_call_leaves_files_and_times_alone(corpora: Path, out: Path) -> None:
    (out / "train/feats.scp").write_text("of a later stage\n")
    before = snapshot(out)
    done = prepare(corpora, out, f"--lists=O={corpora}/voxceleb1/veri_test.txt")
    assert done.returncode == 0, done.stderr
    assert snapshot(out) == before
    (out / "train/feats.scp").unlink()


def test_another_choice_of_lists_replaces_test_alone(corpora: Path, out: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(out, tmp_path / "out")
    before = snapshot(copy)
    own = corpora / "voxceleb1"
    done = prepare(corpora, copy, f"--lists='{own}/veri_test.txt' mine='{own}/veri_test2.txt'")
    assert done.returncode == 0, done.stderr
    changed = {name for name, state in snapshot(copy).items() if state != before.get(name)}
    assert {name.split("/")[0] for name in changed} == {"test"} and (copy / "test/trials_mine").exists()


def test_a_failing_call_leaves_everything_as_it_was(damaged: Path, out: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(out, tmp_path / "out")
    (copy / "log/warnings.txt").unlink()
    before = snapshot(copy)
    (damaged / "voxceleb1/veri_test.txt").write_text("1 id10270/x/00001.wav id10270/y/00001.wav\n")
    assert prepare(damaged, copy, f"--lists={damaged}/voxceleb1/veri_test.txt").returncode == 1
    assert {name: state for name, state in snapshot(copy).items() if not name.startswith("log/")} == before
    assert not (copy / ".tmp").exists()


# --- layouts, formats and lists that mean the same --------------------------------------------------------------------


@pytest.mark.parametrize("layout", sorted(miniature.LAYOUTS.keys() - {"sets"}))
def test_every_layout_gives_the_same(layout: str, out: Path, tmp_path: Path) -> None:
    corpora = tmp_path / "corpora"
    miniature.make(corpora, layout, "flac", 10, 4, seconds=0.5, spoken=False)
    done = read(corpora, tmp_path / "out", f"--lists={corpora}/voxceleb1/veri_test.txt")
    assert done.returncode == 0, done.stderr
    for name in ("train/utt2spk", "train/spk2gender", "test/utt2spk", "test/trials", "test/trials_O"):
        assert lines(tmp_path / "out/.tmp" / name) == lines(out / name)
    for name in ("train", "test"):
        found, usual = table(tmp_path / f"out/.tmp/{name}/wav.scp"), table(out / name / "wav.scp")
        for utterance in list(found)[::7]:
            np.testing.assert_array_equal(samples(found[utterance]), samples(usual[utterance]))


def test_the_folders_themselves_and_their_parents_may_be_given(damaged: Path, out: Path, tmp_path: Path) -> None:
    """Tables and lists lie above the given folder; both corpora may lie in one."""
    shutil.move(damaged / "voxceleb1/dev/wav", damaged / "voxceleb1/wav")
    for speaker in (damaged / "voxceleb1/test/wav").iterdir():
        shutil.move(speaker, damaged / "voxceleb1/wav" / speaker.name)
    done = read(
        damaged, tmp_path / "one", f"--voxceleb1={damaged}/voxceleb1/wav", f"--voxceleb2={damaged}/voxceleb2/dev"
    )
    assert done.returncode == 0 and lines(tmp_path / "one/.tmp/test/trials_O") == lines(out / "test/trials_O")
    done = read(damaged, tmp_path / "two", f"--voxceleb1={damaged}", f"--voxceleb2={damaged}", "--lists=")
    assert done.returncode == 0, done.stderr
    assert "36 files of 9 speakers of the other corpus" in done.stdout
    assert set(table(tmp_path / "two/.tmp/train/utt2spk")) == set(utterances(damaged / "voxceleb2"))


def test_m4a_is_read_by_pipes_of_ffmpeg(damaged: Path, out: Path, tmp_path: Path, ffmpeg: Path) -> None:
    packed = wrap_all(damaged)
    done = read(damaged, tmp_path / "out", f"--lists={damaged}/voxceleb1/veri_test.txt")
    assert done.returncode == 0, done.stderr
    wavs, usual = table(tmp_path / "out/.tmp/train/wav.scp"), table(out / "train/wav.scp")
    assert wavs.keys() == usual.keys() and not ffmpeg.exists()
    name = "-".join((*packed[3].parts[-3:-1], packed[3].stem))
    assert wavs[name].startswith("ffmpeg ") and wavs[name].endswith(" -f wav -acodec pcm_s16le -ac 1 -ar 16000 - |")
    np.testing.assert_array_equal(samples(wavs[name]), samples(usual[name]))
    assert lines(ffmpeg) == [str(packed[3])]


def test_m4a_is_decoded_once_and_a_second_call_goes_on(
    corpora: Path, damaged: Path, out: Path, tmp_path: Path, ffmpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, folder = wrap_all(damaged), tmp_path / "decoded it is"
    before = snapshot(damaged)
    options = (f"--lists={damaged}/voxceleb1/veri_test.txt", f"--decode-to={folder}", "--nj=3")
    assert read(damaged, tmp_path / "out", *options).returncode == 0
    wavs, usual = table(tmp_path / "out/.tmp/train/wav.scp"), table(out / "train/wav.scp")
    assert sorted(lines(ffmpeg)) == sorted(map(str, packed)) and snapshot(damaged) == before
    for name, entry in wavs.items():
        if name.startswith("id0"):
            below = Path(usual[name]).relative_to(corpora / "voxceleb2")
            assert entry == str(folder / str(below).replace("/wav/", "/aac/"))
            np.testing.assert_array_equal(samples(entry), samples(usual[name]))
    assert sum(path.is_file() for path in folder.rglob("*")) == len(packed)

    ffmpeg.unlink()
    lost, cut, other = (folder / path.relative_to(damaged / "voxceleb2").with_suffix(".wav") for path in packed[:3])
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-100])
    soundfile.write(other, np.ones(4000), 8000, subtype="PCM_16")
    kept = snapshot(folder)
    assert read(damaged, tmp_path / "out", *options).returncode == 0
    assert sorted(lines(ffmpeg)) == sorted(map(str, packed[:3]))
    changed = {name for name, state in snapshot(folder).items() if state != kept.get(name)}
    assert changed == {str(path.relative_to(folder)) for path in (lost, cut, other)}
    monkeypatch.setenv("PATH", "/nowhere")
    assert read(damaged, tmp_path / "out", *options).returncode == 0  # all is there: ffmpeg is not needed


def test_converted_files_beside_the_m4a_are_taken(damaged: Path, tmp_path: Path) -> None:
    waves = sorted((damaged / "voxceleb2").rglob("*.wav"))
    for wave in waves:
        wrap(wave.with_suffix(".m4a"), wave.read_bytes())
    soundfile.write(waves[0].with_suffix(".flac"), np.ones(9000), 16000, subtype="PCM_16")
    done = read(damaged, tmp_path / "out", f"--lists={damaged}/voxceleb1/veri_test.txt")
    assert done.returncode == 0 and f"{len(waves) + 1} more files are other formats" in done.stdout
    wavs = table(tmp_path / "out/.tmp/train/wav.scp")
    assert {Path(entry) for name, entry in wavs.items() if name.startswith("id0")} == set(waves)


def test_lists_are_known_by_file_name_folder_or_a_given_name(damaged: Path, out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my lists"
    folder.mkdir()
    shutil.copy(damaged / "voxceleb1/veri_test.txt", folder / "voxceleb1_test_v2.txt")
    shutil.copy(damaged / "voxceleb1/veri_test2.txt", folder / "list_test_hard2.txt")
    done = read(damaged, tmp_path / "out", f"--lists={folder}")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out/.tmp/test").glob("trials*")}
    assert names == {"trials", "trials_O", "trials_H_clean"}
    kaldi = tmp_path / "some.pairs.txt"
    kaldi.write_text("".join(f"{line}\r\n" for line in [*lines(out / "test/trials"), ""]))
    done = read(damaged, tmp_path / "out", f"--lists={kaldi} 'it is=wrong'")
    assert done.returncode == 1 and "there is no file wrong" in done.stderr
    done = read(damaged, tmp_path / "out", f"--lists={kaldi}")
    assert done.returncode == 0, done.stderr
    assert lines(tmp_path / "out/.tmp/test/trials_some") == lines(out / "test/trials")


def test_a_repeated_trial_counts_once(damaged: Path, out: Path, tmp_path: Path) -> None:
    path = damaged / "voxceleb1/veri_test.txt"
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines(path)[:5]))
    done = read(damaged, tmp_path / "out", f"--lists={path}")
    assert done.returncode == 0 and "5 of 281 trials" in done.stdout
    assert lines(tmp_path / "out/.tmp/test/trials_O") == lines(out / "test/trials_O")


# --- parts of the corpora ---------------------------------------------------------------------------------------------


def test_voxceleb2_alone_is_training_data_only(corpora: Path, tmp_path: Path) -> None:
    done = outside(LOCAL / "prepare_data.sh", "--voxceleb2", corpora / "voxceleb2", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "training data only" in done.stdout and not (tmp_path / "out/test").exists()
    assert Counter(line[:3] for line in lines(tmp_path / "out/train/utt2spk")) == {"id0": 28}


def test_voxceleb1_alone_trains_on_the_speakers_that_no_list_uses(corpora: Path, tmp_path: Path) -> None:
    shutil.copytree(corpora / "voxceleb1", tmp_path / "voxceleb1")
    done = read(tmp_path, tmp_path / "out", f"--lists={tmp_path}/voxceleb1/veri_test2.txt")
    assert done.returncode == 0, done.stderr
    assert set(table(tmp_path / "out/.tmp/train/utt2spk")) == set(utterances(corpora / "voxceleb1/dev"))
    done = read(tmp_path, tmp_path / "out")
    assert done.returncode == 1 and "nothing is left to train on" in done.stderr


def test_help_and_wrong_calls(corpora: Path, tmp_path: Path) -> None:
    done = outside(LOCAL / "prepare_data.sh", "--help")
    assert done.returncode == 0 and "--allow-missing" in done.stdout
    assert outside(LOCAL / "prepare_data.sh").returncode == 1
    for options, message in (
        (["--voxceleb1=", "--voxceleb2="], "neither --voxceleb1 nor --voxceleb2"),
        (["--voxceleb1=/nowhere"], "/nowhere is not a folder"),
        (["--voxceleb1=", "--lists=x"], "--voxceleb1, whose utterances they name, is not"),
        ([f"--decode-to={corpora}/voxceleb2/dev/wav2"], "lies inside the corpus VoxCeleb2"),
        (["--nj=0"], "--nj 0"),
    ):
        done = read(corpora, tmp_path / "out", *options)
        assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    done = prepare(corpora, corpora / "voxceleb1/data")
    assert done.returncode == 1 and "lies inside the corpus VoxCeleb1" in done.stderr
    assert not (corpora / "voxceleb1/data").exists()
