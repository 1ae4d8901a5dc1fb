"""Data directories as a library: reading, fixing, combining, splitting, against properties that must hold."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vouch.errors import VouchError
from vouch.io.datadir import read_utt2spk, spk2utt_lines, staged_directory
from vouch.io.datadir_check import check_data_dir
from vouch.io.datadir_derive import choose_utterances, combine_data_dirs, copy_data_dir, distribute, split_data_dir
from vouch.io.datadir_fix import fix_data_dir
from vouch.io.durations import write_utt2dur

UTTERANCE_FILES = ("wav.scp", "feats.scp", "vad.scp", "utt2num_frames")
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_scp", ".scp")).write_text(text)
    return folder


def make(folder: Path, speakers: dict[str, int], **more: str) -> Path:
    """A valid directory with so many utterances of each speaker."""
    pairs = [(f"{s}-u{i:03d}", s) for s in sorted(speakers) for i in range(speakers[s])]
    values = {"wav.scp": "/a/{}.wav", "feats.scp": "f.ark:{}", "vad.scp": "v.ark:{}", "utt2num_frames": "{}"}
    write(
        folder,
        utt2spk="".join(f"{u} {s}\n" for u, s in pairs),
        spk2utt="".join(f"{s} {' '.join(u for u, t in pairs if t == s)}\n" for s in sorted(speakers)),
        spk2gender="".join(f"{s} m\n" for s in sorted(speakers)),
    )
    for name in UTTERANCE_FILES:
        number = name == "utt2num_frames"
        (folder / name).write_text(
            "".join(f"{u} {values[name].format(200 + i if number else u)}\n" for i, (u, _) in enumerate(pairs))
        )
    return write(folder, **more)


def contents(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in sorted(folder.iterdir()) if p.is_file()}


def problems(folder: Path, **options: bool) -> list[str]:
    return check_data_dir(folder, **{"text": False, **options}).problems()


speaker_names = st.sampled_from(["a", "a-b", "b", "c1", "c10", "zz"])
speaker_counts = st.dictionaries(speaker_names.filter(lambda s: s != "a-b"), st.integers(1, 4), min_size=2)


@QUICK
@given(speaker_counts, st.randoms(use_true_random=False), st.data())
def test_fix_makes_every_mendable_directory_valid(speakers, rng, data):
    with tempfile.TemporaryDirectory() as name:
        folder = make(Path(name, "d"), speakers)
        everything = set(read_utt2spk(folder)[0])
        survivors = set(everything)
        for file in (*UTTERANCE_FILES, "utt2spk", "spk2gender"):
            lines = (folder / file).read_text().splitlines()
            rng.shuffle(lines)
            gone = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=2)) if file in UTTERANCE_FILES else set()
            survivors -= {lines[i].split()[0].encode() for i in gone}
            lines = [line for i, line in enumerate(lines) if i not in gone]
            lines += rng.choices(lines, k=2) if lines else []  # equal lines are merged
            lines.insert(rng.randrange(len(lines) + 1), "")
            end = data.draw(st.sampled_from(["\n", "\r\n"]))
            (folder / file).write_bytes(end.join(lines).encode())
        (folder / "spk2utt").unlink()
        before = contents(folder)
        if not survivors:
            with pytest.raises(VouchError, match="nothing written|is empty|only empty lines"):
                fix_data_dir(folder)
            assert contents(folder) == before
            return
        report = fix_data_dir(folder)
        assert problems(folder) == []
        assert set(read_utt2spk(folder)[0]) == survivors
        kept = f"{len(survivors)} of {len(everything)}" if survivors < everything else f"all {len(everything)}"
        assert any(f"kept {kept} utterances" in line for line in report)
        fixed = contents(folder)
        fix_data_dir(folder)
        assert contents(folder) == fixed


@QUICK
@given(speaker_counts, st.data())
def test_combined_parts_of_a_split_are_the_original(speakers, data):
    with tempfile.TemporaryDirectory() as name:
        folder = make(Path(name, "d"), speakers)
        per_utterance = data.draw(st.booleans())
        most = sum(speakers.values()) if per_utterance else len(speakers)
        count = data.draw(st.integers(1, most))
        assert split_data_dir(folder, count, per_utterance=per_utterance) == []
        parts = [folder / f"split{count}{'utt' if per_utterance else ''}" / str(j + 1) for j in range(count)]
        for part in parts:
            assert problems(part) == []
        combine_data_dirs(Path(name, "again"), parts)
        assert contents(Path(name, "again")) == contents(folder)


@QUICK
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.data())
def test_split_is_balanced_and_keeps_speakers_whole(sizes, data):
    with tempfile.TemporaryDirectory() as name:
        folder = make(Path(name, "d"), {f"s{i:02d}": size for i, size in enumerate(sizes)})
        count = data.draw(st.integers(1, len(sizes)))
        split_data_dir(folder, count)
        parts = [read_utt2spk(folder / f"split{count}" / str(j + 1)) for j in range(count)]
        speakers = [set(part[1]) for part in parts]
        assert sum(map(len, speakers)) == len(sizes) and all(speakers)
        worst = max(len(part[0]) for part in parts)
        assert worst <= sum(sizes) / count + max(sizes)


@given(st.lists(st.tuples(st.text("ab1", min_size=1), st.text("xy", min_size=1)), unique_by=lambda p: p[0]))
def test_spk2utt_holds_exactly_the_pairs_of_utt2spk(pairs):
    lines = spk2utt_lines([u.encode() for u, _ in pairs], [s.encode() for _, s in pairs])
    back = [(u, fields[0]) for fields in (line.decode().split() for line in lines) for u in fields[1:]]
    assert sorted(back) == sorted(pairs)
    assert len({line.split()[0] for line in lines}) == len(lines)


def test_split_again_only_when_a_file_is_newer(tmp_path):
    folder = make(tmp_path / "d", {"a": 2, "b": 2})
    assert split_data_dir(folder, 2) == []
    assert split_data_dir(folder, 2) is None
    write(folder, utt2lang="".join(f"{u.decode()} en\n" for u in read_utt2spk(folder)[0]))
    assert split_data_dir(folder, 2) == []
    assert (folder / "split2/2/utt2lang").read_text() == "b-u000 en\nb-u001 en\n"
    with pytest.raises(VouchError, match="2 speakers into 3 parts.*--per-utt"):
        split_data_dir(folder, 3)
    with pytest.raises(VouchError, match="4 utterances into 5"):
        split_data_dir(folder, 5, per_utterance=True)


def test_two_processes_split_the_same_directory_at_once(tmp_path, monkeypatch):
    """Systems on the same features take their embeddings side by side: each splits, and either may be first."""
    folder = make(tmp_path / "d", {"a": 2, "b": 2})
    rename = os.rename

    def another_is_first(stage, destination):
        shutil.copytree(stage, destination)
        rename(stage, destination)

    monkeypatch.setattr(os, "rename", another_is_first)
    assert split_data_dir(folder, 1, per_utterance=True) == []
    assert (folder / "split1utt/1/utt2spk").read_text() == (folder / "utt2spk").read_text()
    assert [p.name for p in (folder / "split1utt").iterdir()] == ["1"]
    assert split_data_dir(folder, 1, per_utterance=True) is None


def segmented(folder: Path) -> Path:
    return write(
        folder,
        wav_scp="r1 /r1.wav\nr2 cat '/a  b.wav' |\nr3 /r3.wav\n",
        segments="a-1 r1 0 2.5\na-2 r2 1 4\nb-1 r1 3 3.25\nb-2 r3 0 1\n",
        utt2spk="a-1 a\na-2 a\nb-1 b\nb-2 b\n",
        spk2utt="a a-1 a-2\nb b-1 b-2\n",
        reco2file_and_channel="r1 r1 A\nr2 r2 A\nr3 r3 B\n",
        trials="m1 a-1 target\nm1 b-2 nontarget\n",
    )


def test_segments_take_their_recordings_with_them(tmp_path):
    folder = segmented(tmp_path / "d")
    assert problems(folder, feats=False) == []
    assert distribute(folder, [[b"a-2", b"b-2"]], [tmp_path / "sub"]) == []
    assert contents(tmp_path / "sub") == {
        "wav.scp": "r2 cat '/a  b.wav' |\nr3 /r3.wav\n",
        "segments": "a-2 r2 1 4\nb-2 r3 0 1\n",
        "utt2spk": "a-2 a\nb-2 b\n",
        "spk2utt": "a a-2\nb b-2\n",
        "reco2file_and_channel": "r2 r2 A\nr3 r3 B\n",
        "trials": "m1 b-2 nontarget\n",
    }
    (folder / "wav.scp").write_text("r1 /r1.wav\nr3 /r3.wav\n")
    fix_data_dir(folder)
    assert problems(folder, feats=False) == []
    assert read_utt2spk(folder)[0] == [b"a-1", b"b-1", b"b-2"]
    assert (folder / "reco2file_and_channel").read_text() == "r1 r1 A\nr3 r3 B\n"


def test_copy_changes_ids_everywhere_and_sorts_again(tmp_path):
    source = make(tmp_path / "s", {"a": 1, "a0": 1}, trials="m a-u000 target\n")
    copy_data_dir(source, tmp_path / "t", utterance_affixes=("p-", "-noise"), speaker_affixes=("p-", ""))
    new = contents(tmp_path / "t")
    assert new["utt2spk"] == "p-a-u000-noise p-a\np-a0-u000-noise p-a0\n"
    assert new["spk2utt"] == "p-a p-a-u000-noise\np-a0 p-a0-u000-noise\n"
    assert new["wav.scp"] == "p-a-u000-noise /a/a-u000.wav\np-a0-u000-noise /a/a0-u000.wav\n"
    assert new["spk2gender"] == "p-a m\np-a0 m\n"
    assert new["trials"] == "m p-a-u000-noise target\n"
    write(tmp_path / "u", utt2spk="a a\na-b a-b\n", spk2utt="a a\na-b a-b\n", wav_scp="a 1\na-b 2\n")
    copy_data_dir(tmp_path / "u", tmp_path / "v", utterance_affixes=("", "-x"), speaker_affixes=("", "-x"))
    assert contents(tmp_path / "v")["wav.scp"] == "a-b-x 2\na-x 1\n"  # 'a-b' sorts before 'a-x'


def test_copy_that_would_be_invalid_writes_nothing(tmp_path):
    source = make(tmp_path / "s", {"a": 1, "b": 1})
    target = make(tmp_path / "t", {"q": 1})
    before = contents(target)
    write(source, spk2gender="a m\nb x\n")
    with pytest.raises(VouchError, match=r"t/spk2gender:2: 'b' has 'x', want m or f.*nothing written"):
        copy_data_dir(source, target)
    assert contents(target) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s", "t"]
    with pytest.raises(VouchError, match="both source and destination"):
        copy_data_dir(source, tmp_path / "t" / ".." / "s")


def test_combine_rules(tmp_path):
    one, two = make(tmp_path / "1", {"a": 2}), make(tmp_path / "2", {"b": 1}, utt2uniq="b-u000 orig\n")
    (two / "vad.scp").unlink()
    report = combine_data_dirs(tmp_path / "both", [two, one])
    new = contents(tmp_path / "both")
    assert new["utt2uniq"] == "a-u000 a-u000\na-u001 a-u001\nb-u000 orig\n"
    assert new["utt2spk"] == "a-u000 a\na-u001 a\nb-u000 b\n"
    assert "vad.scp" not in new and any("vad.scp is not combined" in line for line in report)
    write(two, spk2gender="a f\nb m\n")
    with pytest.raises(VouchError, match=r"spk2gender:1 and .*spk2gender:1: 'a' has two different values"):
        combine_data_dirs(tmp_path / "new", [one, two])
    assert not (tmp_path / "new").exists()


def test_combine_makes_segments_for_a_source_of_whole_recordings(tmp_path):
    cut, whole = (
        segmented(tmp_path / "cut"),
        write(tmp_path / "whole", utt2spk="c-1 c\n", spk2utt="c c-1\n", wav_scp="c-1 /c.wav\n"),
    )
    with pytest.raises(VouchError, match=r"neither segments.*get-utt2dur"):
        combine_data_dirs(tmp_path / "all", [cut, whole])
    write(whole, utt2dur="c-1 7.25\n")
    combine_data_dirs(tmp_path / "all", [cut, whole])
    assert problems(tmp_path / "all", feats=False) == []
    assert (tmp_path / "all/segments").read_text().endswith("c-1 c-1 0 7.25\n")


def test_choosing_a_subset(tmp_path):
    folder = make(tmp_path / "d", {"a": 3, "b": 5, "c": 1})
    (folder / "utt2num_frames").unlink()
    write(folder, utt2dur="".join(f"{u.decode()} {9 - i}.5\n" for i, u in enumerate(read_utt2spk(folder)[0])))
    assert choose_utterances(folder, "first", 2) == [b"a-u000", b"a-u001"]
    assert choose_utterances(folder, "last", 2) == [b"b-u004", b"c-u000"]
    assert choose_utterances(folder, "shortest", 2) == [b"c-u000", b"b-u004"]
    assert choose_utterances(folder, "evenly", 3) == [b"a-u000", b"b-u000", b"b-u003"]
    assert choose_utterances(folder, "per-spk", 2) == [b"a-u000", b"a-u001", b"b-u000", b"b-u002", b"c-u000"]
    chosen = choose_utterances(folder, "speakers", 4, seed=1)
    assert len(chosen) >= 4 and chosen == choose_utterances(folder, "speakers", 4, seed=1)
    for speaker, size in ((b"a", 3), (b"b", 5), (b"c", 1)):
        assert sum(u.startswith(speaker) for u in chosen) in (0, size)
    drawn = [tuple(choose_utterances(folder, "random", 3, seed=seed)) for seed in range(300)]
    assert all(sorted(set(one)) == list(one) and len(one) == 3 for one in drawn)
    counts = [sum(u in one for one in drawn) for u in read_utt2spk(folder)[0]]
    assert min(counts) > 70 and max(counts) < 130  # each a third of the time: 100, standard deviation 8
    assert choose_utterances(folder, "random", 3, seed=7) == list(drawn[7])
    with pytest.raises(VouchError, match="has 9 utterances, not 10"):
        choose_utterances(folder, "first", 10)
    with pytest.raises(VouchError, match="nothing of the list"):
        choose_utterances(folder, "utt-list", wanted=[b"nobody"])


def test_fix_refuses_to_guess(tmp_path):
    folder = make(tmp_path / "d", {"a": 2})
    write(folder, wav_scp="a-u001 /x.wav\na-u000 /1.wav\n\na-u000 /2.wav\n")
    before = contents(folder)
    with pytest.raises(VouchError, match=r"wav.scp:2 and .*wav.scp:4: 'a-u000' has two different values"):
        fix_data_dir(folder)
    assert contents(folder) == before


def test_fix_keeps_the_old_files_and_filters_extra_ones(tmp_path):
    folder = make(tmp_path / "d", {"a": 2, "b": 1}, utt2score="b-u000 1\na-u000 2\n", spk2note="a x\nb y\n")
    feats = (folder / "feats.scp").read_text()
    (folder / "feats.scp").write_text(feats.replace("b-u000", "q-u000"))
    write(folder, trials="m b-u000 target\nm a-u000 target\n")
    report = fix_data_dir(folder, ["utt2score"], ["spk2note"])
    assert (folder / "utt2score").read_text() == "a-u000 2\n"
    assert (folder / "spk2note").read_text() == "a x\n"
    assert (folder / "trials").read_text() == "m a-u000 target\n"
    assert "q-u000" in (folder / ".backup/feats.scp").read_text()
    assert not (folder / ".backup/cmvn.scp").exists()
    assert any("feats.scp: has no line for 1 utterances, first 'b-u000'" in line for line in report)


def test_a_staged_directory_leaves_nothing_after_an_error(tmp_path):
    target = make(tmp_path / "t", {"a": 1})
    before = contents(target)
    with pytest.raises(RuntimeError), staged_directory(target) as stage:
        (stage / "utt2spk").write_text("half")
        raise RuntimeError
    assert contents(target) == before and [p.name for p in tmp_path.iterdir()] == ["t"]
    (target / "log").mkdir()
    with staged_directory(target) as stage:
        (stage / "utt2spk").write_text("x x\n")
    assert contents(target) == {"utt2spk": "x x\n"} and (target / "log").is_dir()


def test_durations(tmp_path):
    np, soundfile = pytest.importorskip("numpy"), pytest.importorskip("soundfile")
    write_utt2dur(segmented(tmp_path / "s"))
    assert (tmp_path / "s/utt2dur").read_text() == "a-1 2.5\na-2 3\nb-1 0.25\nb-2 1\n"
    frames = make(tmp_path / "f", {"a": 2})
    write_utt2dur(frames)
    assert (frames / "utt2dur").read_text() == "a-u000 2\na-u001 2.01\n"
    write(frames, frame_shift="0.0125\n")
    write_utt2dur(frames)
    assert (frames / "utt2dur").read_text() == "a-u000 2.5\na-u001 2.5125\n"
    soundfile.write(tmp_path / "a b.wav", np.zeros(8000, "int16"), 16000)
    soundfile.write(tmp_path / "c.flac", np.zeros(12344, "int16"), 8000)
    audio = write(
        tmp_path / "w",
        utt2spk="a-1 a\na-2 a\n",
        spk2utt="a a-1 a-2\n",
        wav_scp=f"a-1 {tmp_path}/a b.wav\na-2 {tmp_path}/c.flac\n",
    )
    write_utt2dur(audio)
    assert (audio / "utt2dur").read_text() == "a-1 0.5\na-2 1.543\n"
    write(audio, wav_scp=f"a-1 {tmp_path}/a b.wav\na-2 {tmp_path}/nothing.wav\n")
    with pytest.raises(VouchError, match="utterance 'a-2': .*nothing.wav"):
        write_utt2dur(audio)
