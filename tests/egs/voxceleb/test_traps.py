"""What is wrong in corpora on disks: each a warning and the file skipped, or one error and nothing written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from preparations import edit, environment, lines, outside, table

from vouch.cli.wave_commands import in_process_commands
from vouch.io.audio import read_wave
from voxceleb.trees import LOCAL, read, wrap, wrap_all

META = "voxceleb1/vox1_meta.csv"


@pytest.fixture(scope="module")
def whole(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories of the undamaged miniature."""
    out = tmp_path_factory.mktemp("whole")
    assert list_o(corpora, out).returncode == 0
    return out / ".tmp"


def list_o(corpora: Path, out: Path, *options: str):
    """The preparation with list O."""
    return read(corpora, out, f"--lists={corpora}/voxceleb1/veri_test.txt", *options)


def warnings(done) -> list[str]:
    """Those on the screen but the counts, which differ from the published in all miniatures."""
    return [line for line in done.stderr.splitlines() if "published are" not in line]


def names(folder: Path, part: str = "train") -> set[str]:
    return set(table(folder / part / "utt2spk"))


def name_of(path: Path) -> str:
    return "-".join((*path.parts[-3:-1], path.stem))


def first(corpora: Path, folder: str) -> Path:
    return min((corpora / folder).rglob("*.wav"))


# --- damaged files ----------------------------------------------------------------------------------------------------


def empty(path: Path) -> None:
    path.write_bytes(b"")


def without_samples(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def no_audio(path: Path) -> None:
    path.write_bytes(b"<html>404</html>" * 10)


@pytest.mark.parametrize("damage", [empty, without_samples, cut_off, no_audio])
@pytest.mark.parametrize("folder", ["voxceleb1/dev", "voxceleb2"])
def test_a_damaged_file_is_named_and_left_out(
    damaged: Path, whole: Path, tmp_path: Path, damage: Callable[[Path], None], folder: str
) -> None:
    path = first(damaged, folder)
    damage(path)
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (line,) = warnings(done)
    assert str(path) in line and f"{name_of(path)} is left out" in line
    assert names(tmp_path / "out/.tmp") == names(whole) - {name_of(path)}
    sources = dict(line.split("\t")[:2] for line in lines(tmp_path / "out/.tmp/sources.tsv"))
    assert sources["train"] == str(len(names(whole)) - 1)


@pytest.mark.parametrize("damage", [empty, cut_off, no_audio, lambda path: path.write_bytes(path.read_bytes()[:-8])])
def test_a_damaged_m4a_is_named_and_left_out(
    damaged: Path, whole: Path, tmp_path: Path, ffmpeg: Path, damage: Callable[[Path], None]
) -> None:
    path = wrap_all(damaged)[0]
    damage(path)
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(warnings(done)) == 1 and str(path) in done.stderr and not ffmpeg.exists()
    assert names(tmp_path / "out/.tmp") == names(whole) - {name_of(path)}


def test_headers_need_not_be_read(damaged: Path, whole: Path, tmp_path: Path) -> None:
    empty(first(damaged, "voxceleb2"))
    done = list_o(damaged, tmp_path / "out", "--check-headers=false")
    assert done.returncode == 0 and not warnings(done) and "no file is opened" in done.stdout
    assert names(tmp_path / "out/.tmp") == names(whole)


def test_other_rates_and_several_channels_are_lines_of_wav_cut(damaged: Path, whole: Path, tmp_path: Path) -> None:
    slow, stereo = first(damaged, "voxceleb2"), first(damaged, "voxceleb1/test")
    tone = (8000 * np.sin(np.arange(8000) / 8)).astype(np.int16)
    soundfile.write(slow, tone, 8000, subtype="PCM_16")
    soundfile.write(stereo, np.stack([tone, tone // 2], 1), 16000, subtype="PCM_16")
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0 and not warnings(done)
    assert "1 files have 8000 Hz" in done.stdout and "1 files have several channels" in done.stdout
    entry = table(tmp_path / "out/.tmp/train/wav.scp")[name_of(slow)]
    found = read_wave(entry, commands=in_process_commands(allow_pipes=False), allow_pipes=False)
    assert found.rate == 16000 and found.samples.shape == (1, 16000)
    entry = table(tmp_path / "out/.tmp/test/wav.scp")[name_of(stereo)]
    found = read_wave(entry, commands=in_process_commands(allow_pipes=False), allow_pipes=False)
    np.testing.assert_array_equal(found.samples, [tone])
    assert names(tmp_path / "out/.tmp") == names(whole)


# --- decoding ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(damaged: Path) -> list[Path]:
    """120 short m4a of VoxCeleb2 in the place of its own."""
    speech = first(damaged, "voxceleb2").read_bytes()
    shutil.rmtree(damaged / "voxceleb2/dev")
    shutil.rmtree(damaged / "voxceleb2/test")
    paths = [damaged / f"voxceleb2/dev/aac/id00012/video_{n // 60:05d}/{n % 60:05d}.m4a" for n in range(120)]
    for path in paths:
        wrap(path, speech)
    return paths


def mark(path: Path, word: bytes) -> None:
    """Has the tests' ffmpeg do something to the file."""
    speech = path.read_bytes()[20:-8]
    wrap(path, speech, word)


@pytest.mark.parametrize(("word", "message"), [(b"damaged", "moov atom not found"), (b"short", "ffmpeg wrote 0.40 s")])
def test_what_ffmpeg_cannot_decode_is_left_out(
    damaged: Path, many: list[Path], tmp_path: Path, ffmpeg: Path, word: bytes, message: str
) -> None:
    mark(many[5], word)
    mark(many[7], b"odd")
    folder = tmp_path / "decoded"
    done = list_o(damaged, tmp_path / "out", f"--decode-to={folder}")
    assert done.returncode == 0, done.stderr
    told = [line for line in warnings(done) if "warning: VoxCeleb2" in line]
    assert len(told) == 2 and str(many[5]) in told[0] and message in told[0] and "id00012" in told[0]
    assert str(many[7]) in told[1] and "END element" in told[1] and "it is kept" in told[1]
    expected = {name_of(path) for path in many} - {name_of(many[5])}
    assert {name for name in names(tmp_path / "out/.tmp") if name.startswith("id0")} == expected
    assert sum(path.is_file() for path in folder.rglob("*")) == 119


def test_more_than_one_percent_stops_and_what_is_decoded_stays(
    damaged: Path, many: list[Path], tmp_path: Path, ffmpeg: Path
) -> None:
    for path in many[60:63]:
        mark(path, b"damaged")
    options = (f"--decode-to={tmp_path}/decoded", "--nj=1")
    done = list_o(damaged, tmp_path / "out", *options)
    assert done.returncode == 1 and "2 of 120 m4a files cannot be decoded, more than 1%" in done.stderr
    assert not list((tmp_path / "decoded").rglob("*.part")) and not (tmp_path / "out/.tmp").exists()
    for path in many[60:63]:
        mark(path, b"")
    ffmpeg.unlink()
    assert list_o(damaged, tmp_path / "out", *options).returncode == 0
    assert not set(map(str, many[:60])) & set(lines(ffmpeg))


def test_a_full_disk_is_no_damage(damaged: Path, many: list[Path], tmp_path: Path, ffmpeg: Path) -> None:
    mark(many[0], b"full")
    done = list_o(damaged, tmp_path / "out", f"--decode-to={tmp_path}/decoded")
    assert done.returncode == 1 and "the disk is full" in done.stderr


def test_a_killed_run_leaves_nothing_published(damaged: Path, many: list[Path], tmp_path: Path, ffmpeg: Path) -> None:
    mark(many[3], b"hang")
    folder, out = tmp_path / "decoded", tmp_path / "out"
    arguments = [f"--{name}={damaged}/{name}" for name in ("voxceleb1", "voxceleb2")]
    arguments += [f"--lists={damaged}/voxceleb1/veri_test.txt", f"--decode-to={folder}", "--nj=1", str(out)]
    command = ["bash", str(LOCAL / "prepare_data.sh"), *arguments]
    running = subprocess.Popen(command, env=environment(), start_new_session=True, stderr=subprocess.DEVNULL)
    while running.poll() is None and not (ffmpeg.exists() and str(many[3]) in lines(ffmpeg)):
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not any((out / name).exists() for name in ("train", "test", "sources.tsv"))
    mark(many[3], b"")
    assert outside(*command[1:]).returncode == 0
    assert len(table(out / "train/utt2spk")) == 120 + 12 and not (out / ".tmp").exists()
    assert sum(path.is_file() for path in folder.rglob("*")) == 120
    assert [lines(ffmpeg).count(str(path)) for path in many[:4]] == [1, 1, 1, 2]


@pytest.mark.parametrize("option", ["--decode-to=decoded", "--decode-to="])
def test_without_ffmpeg_it_is_said_how_to_get_it(
    damaged: Path, many: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = list_o(damaged, tmp_path / "out", option)
    assert done.returncode == 1 and "apt install ffmpeg" in done.stderr and ".m4a" in done.stderr
    assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr


# --- folders ----------------------------------------------------------------------------------------------------------


def test_links_in_circles_and_second_names_count_once(damaged: Path, whole: Path, tmp_path: Path) -> None:
    """id10003 of the training part would be a tested speaker, were the link taken for a folder."""
    (damaged / "voxceleb1/dev/wav/again").symlink_to("../..")
    (damaged / "voxceleb1/dev/wav/id10000").symlink_to(damaged / "voxceleb1/test/wav/id10270")
    (damaged / "voxceleb2/loop").symlink_to("loop")
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0 and not warnings(done), done.stderr
    for part in ("train", "test"):
        assert lines(tmp_path / f"out/.tmp/{part}/utt2spk") == lines(whole / f"{part}/utt2spk")


def test_a_corpus_of_links_to_elsewhere(damaged: Path, whole: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.move(damaged / "voxceleb2/dev", tmp_path / "another disk"))
    (damaged / "voxceleb2/dev").symlink_to(elsewhere)
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0 and names(tmp_path / "out/.tmp") == names(whole)
    assert str(damaged / "voxceleb2/dev/wav/id00012") in (tmp_path / "out/.tmp/train/wav.scp").read_text()


def test_copies_of_an_utterance_count_once(damaged: Path, whole: Path, tmp_path: Path) -> None:
    """Also where one is named as in the first release."""
    path = first(damaged, "voxceleb1/dev")
    speaker, video = path.parts[-3:-1]
    copy = damaged / "voxceleb1/dev/wavs" / speaker / video / path.name
    (person,) = (line.split("\t")[1] for line in lines(damaged / META) if line.startswith(speaker))
    old = damaged / f"voxceleb1/voxceleb1_wav/{person}/{video}_{int(path.stem):07d}.wav"
    for other in (copy, old):
        other.parent.mkdir(parents=True)
        shutil.copy(path, other)
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0 and len(warnings(done)) == 2
    for line, other in zip(warnings(done), (copy, old), strict=True):
        assert f"there are two files, {path} and {other}; the first is taken" in line
    assert table(tmp_path / "out/.tmp/train/wav.scp")[name_of(path)] == str(path)
    assert names(tmp_path / "out/.tmp") == names(whole)


def test_endings_in_capitals_hidden_and_other_files(damaged: Path, whole: Path, tmp_path: Path) -> None:
    path = first(damaged, "voxceleb2")
    path.rename(path.with_suffix(".WAV"))
    path.with_name("._00001.wav").write_bytes(b"of another system")
    (damaged / "voxceleb2/.cache/id00012/x").mkdir(parents=True)
    (path.parent / "00001.txt").write_text("a transcript")
    stray = damaged / "voxceleb2/intro.wav"
    stray.write_bytes(b"")
    (damaged / "voxceleb2/dev/wav/Somebody/videovideo1").mkdir(parents=True)
    (damaged / "voxceleb2/dev/wav/Somebody/videovideo1/00001.wav").write_bytes(b"")
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    told = warnings(done)
    assert len(told) == 2 and f"{stray} is not" in "".join(told) and "Somebody is neither an id" in "".join(told)
    assert names(tmp_path / "out/.tmp") == names(whole)
    assert str(path.with_suffix(".WAV")) in (tmp_path / "out/.tmp/train/wav.scp").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_corpus(damaged: Path, tmp_path: Path) -> None:
    for folder in [path for path in damaged.rglob("*") if path.is_dir()]:
        folder.chmod(0o555)
    assert list_o(damaged, tmp_path / "out").returncode == 0


def test_a_speaker_with_many_videos(damaged: Path, whole: Path, tmp_path: Path) -> None:
    speech = first(damaged, "voxceleb2")
    for n in range(1000):
        (damaged / f"voxceleb2/dev/wav/id00012/more_{n:06d}").mkdir()
        os.link(speech, damaged / f"voxceleb2/dev/wav/id00012/more_{n:06d}/00001.wav")
    assert list_o(damaged, tmp_path / "out").returncode == 0
    assert len(names(tmp_path / "out/.tmp")) == len(names(whole)) + 1000


# --- tables of speakers -----------------------------------------------------------------------------------------------


def test_other_forms_of_the_tables_are_read_alike(damaged: Path, whole: Path, tmp_path: Path) -> None:
    one, two = damaged / META, damaged / "voxceleb2/vox2_meta.csv"
    one.write_bytes(b"\xef\xbb\xbf" + one.read_bytes().replace(b"\t", b" ,").replace(b"\n", b" \r\n"))
    two.write_text(two.read_text().replace(" ,", "\t"))
    one.rename(damaged / "vox1_meta.csv")  # above the corpus
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0 and not warnings(done)
    assert lines(tmp_path / "out/.tmp/train/spk2gender") == lines(whole / "train/spk2gender")


def test_genders_that_are_not_told(damaged: Path, whole: Path, tmp_path: Path) -> None:
    (damaged / "voxceleb2/vox2_meta.csv").unlink()
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0 and "do not tell those of 7 of 10 speakers" in "".join(warnings(done))
    assert "VoxCeleb2 test\t4\t1" in (tmp_path / "out/.tmp/sources.tsv").read_text()  # by the folders then
    assert not (tmp_path / "out/.tmp/train/spk2gender").exists() and names(tmp_path / "out/.tmp") == names(whole)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("id10001\tB._Miniature\tf\tUSA\tdev", "id10001 is f here, and m further up"),
        ("id10009\tA._Miniature_1\tm\tUSA\tdev", "A._Miniature_1 is id10009 here, and id10001 further up"),
        ("id10009\tB._Miniature\tx\tUSA\tdev", "the gender of id10009 is 'x'"),
        ("10009\tB._Miniature\tm\tUSA\tdev", "'10009' is no speaker's id"),
        ("id10009", "1 columns, want at least 3"),
    ],
)
def test_rows_that_are_wrong_are_named(damaged: Path, whole: Path, tmp_path: Path, row: str, message: str) -> None:
    path = damaged / META
    path.write_text(path.read_text() + f"{row}\n")
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 0
    (line,) = warnings(done)
    assert f"{path}:{len(lines(path))}: " in line and message in line
    assert lines(tmp_path / "out/.tmp/train/spk2gender") == lines(whole / "train/spk2gender")


# --- missing utterances -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [Path.unlink, empty])
def test_a_list_must_be_whole_or_be_left_out_in_part_by_wish(
    damaged: Path, whole: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = first(damaged, "voxceleb1/test")
    damage(path)
    done = list_o(damaged, tmp_path / "out")
    assert done.returncode == 1 and not (tmp_path / "out/.tmp").exists()
    message = f"1 of its 24 utterances are not there or not usable ({name_of(path)}), so 23 of its 276 trials"
    assert message in done.stderr and "--allow-missing true" in done.stderr
    done = list_o(damaged, tmp_path / "out", "--allow-missing=true")
    assert done.returncode == 0 and message in "".join(warnings(done))
    test = tmp_path / "out/.tmp/test"
    expected = [trial for trial in lines(whole / "test/trials") if name_of(path) not in trial]
    assert lines(test / "trials") == lines(test / "trials_O") == expected
    assert names(tmp_path / "out/.tmp", "test") == names(whole, "test") - {name_of(path)}
    assert names(tmp_path / "out/.tmp") == names(whole)  # its speaker stays out of the training part


def test_a_speaker_without_trials_left_is_not_trained_on(damaged: Path, whole: Path, tmp_path: Path) -> None:
    path = damaged / "voxceleb1/mine.txt"
    extra = [name for name in sorted(names(whole)) if name.startswith("id10001")]
    left = lines(whole / "test/trials")[0]
    path.write_text(f"0 id10270-none-00001 {extra[0]}\n{left}\n")
    done = read(damaged, tmp_path / "out", f"--lists={path}", "--allow-missing=true")
    assert done.returncode == 0, done.stderr
    assert lines(tmp_path / "out/.tmp/test/trials") == [left]
    assert not any(name.startswith(("id10001", "id10270")) for name in names(tmp_path / "out/.tmp"))


# --- what would make results wrong ------------------------------------------------------------------------------------


def contradiction(root: Path) -> None:
    line = lines(root / "voxceleb1/veri_test.txt")[0]
    edit(root / "voxceleb1/veri_test2.txt", line, f"{1 - int(line[0])}{line[1:]}")


def other_list_of_one_name(root: Path) -> None:
    shutil.copy(root / "voxceleb1/veri_test2.txt", root / "voxceleb1/voxceleb1_test_v2.txt")


def short_line(root: Path) -> None:
    edit(root / "voxceleb1/veri_test.txt", "1 id10270", "id10270")


def other_label(root: Path) -> None:
    edit(root / "voxceleb1/veri_test.txt", "1 id10270", "yes id10270")


def no_utterance(root: Path) -> None:
    edit(root / "voxceleb1/veri_test.txt", "/00001.wav", "/one.wav")


def a_speaker_of_voxceleb2(root: Path) -> None:
    path = root / "voxceleb1/veri_test.txt"
    path.write_text(path.read_text() + "1 id00012/a/00001.wav id00012/b/00001.wav\n")


def an_unknown_name(root: Path) -> None:
    path = root / "voxceleb1/veri_test.txt"
    path.write_text(path.read_text() + "0 Nobody/a/0000001.wav id10270/b/00001.wav\n")


def empty_list(root: Path) -> None:
    (root / "voxceleb1/veri_test.txt").write_text("\n")


def no_lists(root: Path) -> None:
    for path in (root / "voxceleb1").glob("*.txt"):
        path.unlink()


def swapped(root: Path) -> None:
    for old, new in (("voxceleb1/dev", "a"), ("voxceleb1/test", "b"), ("voxceleb2/dev", "voxceleb1/dev")):
        (root / old).rename(root / new)


def nothing_of_it(root: Path) -> None:
    shutil.rmtree(root / "voxceleb2/dev")
    shutil.rmtree(root / "voxceleb2/test")


def names_without_a_table(root: Path) -> None:
    (root / META).unlink()
    for speaker in [*(root / "voxceleb1").glob("*/wav/id*")]:
        speaker.rename(speaker.with_name(f"Somebody_{speaker.name[2:]}"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (contradiction, "veri_test2.txt:1: "),
        (contradiction, "is nontarget, which contradicts their ids, of one speaker, and so all other lists"),
        (other_list_of_one_name, "two lists are called O and differ"),
        (short_line, "veri_test.txt:1: "),
        (other_label, "want '1 FILE FILE' or 'UTT UTT target'"),
        (no_utterance, "is no utterance; want id10270/VIDEO/00001.wav"),
        (a_speaker_of_voxceleb2, "veri_test.txt:277: id00012/a/00001.wav is not of VoxCeleb1"),
        (an_unknown_name, "veri_test.txt:277: the id of Nobody is not known: "),
        (empty_list, "veri_test.txt is empty"),
        (no_lists, "no trial list (veri_test.txt, "),
        (swapped, "VoxCeleb1: no utterance in "),
        (swapped, "24 files are of the other corpus: id00012"),
        (nothing_of_it, "VoxCeleb2: no utterance in "),
        (names_without_a_table, "vox1_meta.csv, which has their ids, is not there nor above"),
    ],
)
def test_what_would_make_results_wrong_is_one_error(
    damaged: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(damaged)
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 1 and message in done.stderr.splitlines()[-1], done.stderr
    assert done.stderr.splitlines()[-1].startswith("prepare_data.py: error: ") and "Traceback" not in done.stderr
    assert not (tmp_path / "out/.tmp").exists()
