"""probe and map-embeddings: labels of a data directory and of files, what is drawn, one error line and no output."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vouch.cli import main
from vouch.cli.probe_labels import read_labels
from vouch.errors import VouchError
from vouch.io.tables import TableWriter

SPEAKERS, EACH = 12, 6
SPEAKER_OF = np.repeat(np.arange(SPEAKERS), EACH)
KEYS = [f"s{speaker:02}-u{i % EACH}" for i, speaker in enumerate(SPEAKER_OF)]


def write_vectors(path, vectors, keys=KEYS):
    with TableWriter(f"ark:{path}", "vector") as writer:
        for key, vector in zip(keys, vectors, strict=True):
            writer.write(key, np.asarray(vector, dtype=np.float32))


@pytest.fixture
def folder(tmp_path):
    """A data directory; embeddings `good` with speaker, gender and length, `noise` with nothing."""
    generator = np.random.default_rng(0)
    data = tmp_path / "data"
    data.mkdir()
    seconds = generator.permutation(len(KEYS)) / 10 + 2
    (data / "utt2spk").write_text("".join(f"{key} s{s:02}\n" for key, s in zip(KEYS, SPEAKER_OF, strict=True)))
    (data / "spk2gender").write_text("".join(f"s{s:02} {'fm'[s % 2]}\n" for s in range(SPEAKERS)))
    (data / "utt2dur").write_text("".join(f"{key} {s:.1f}\n" for key, s in zip(KEYS, seconds, strict=True)))
    good = 0.3 * generator.normal(size=(len(KEYS), 10))
    good[:, :8] += generator.normal(size=(SPEAKERS, 8))[SPEAKER_OF]
    good[:, 8] += 4 * (SPEAKER_OF % 2)
    good[:, 9] += seconds
    write_vectors(tmp_path / "good.ark", good)
    write_vectors(tmp_path / "noise.ark", generator.normal(size=(len(KEYS), 5)))
    return tmp_path


def run(folder, *options, sets=("good", "noise")) -> int:
    return main(["probe", *options, f"--out={folder}/out.tsv", *(f"{name}=ark:{folder}/{name}.ark" for name in sets)])


def table(folder) -> dict[tuple[str, str], dict[str, str]]:
    header, *rows = (line.split("\t") for line in (folder / "out.tsv").read_text().splitlines())
    return {(row[0], row[1]): dict(zip(header, row, strict=True)) for row in rows}


def refused(capsys) -> str:
    errors = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(errors) == 1
    return errors[0]


def test_what_a_data_directory_tells_is_probed(folder, capsys):
    assert run(folder, f"--data={folder}/data", "--shuffles=1") == 0
    found = table(folder)
    assert list(found) == [(name, own) for name in ("speaker", "gender", "length") for own in ("good", "noise")]
    for (name, own), row in found.items():
        low, value, high = (float(row[column]) for column in ("low", "value", "high"))
        assert low <= value <= high and (row["fitted"], row["tested"]) == ("58", "72")
        assert row["held_out"] == ("utterances" if name == "speaker" else "speakers")
        chance = {"speaker": 1 / 12, "gender": 1 / 2, "length": 0}[name]
        assert float(row["majority"]) == round(chance, 3)
        assert float(row["shuffled"]) < chance + 0.25
        assert value > 0.9 if own == "good" else value < chance + 0.2
        number = (row["measure"], row["classes"], row["uniform"]) == ("R2", "-", "-")
        assert number if name == "length" else row["uniform"] == row["majority"]
    printed = capsys.readouterr().out
    assert printed.startswith("# property embeddings") and len(printed.splitlines()) == 7
    gender = (f"--data={folder}/data", "--shuffles=1", "--properties=gender")
    assert run(folder, *gender) == 0
    assert all(row == found[key] for key, row in table(folder).items())  # whatever else is probed
    assert run(folder, *gender, "--seed=1") == 0
    assert table(folder)["gender", "noise"] != found["gender", "noise"]


def test_outliers_that_blind_a_probe_are_said(folder, capsys):
    generator = np.random.default_rng(1)
    cluster = 1e-3 * generator.normal(size=(len(KEYS), 10))
    cluster[::24] = generator.normal(size=(3, 10))
    write_vectors(folder / "cluster.ark", cluster)
    assert run(folder, f"--data={folder}/data", "--shuffles=1", sets=("good", "cluster")) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "such outliers" in line]
    assert len(said) == 1 and "cluster: the furthest embedding lies" in said[0]


def test_label_files_with_spaces_in_their_names(folder):
    (folder / "my labels").write_text("".join(f"{key} {'ab'[i % 2]}\n" for i, key in enumerate(KEYS[:50])))
    labels = f"--labels=speaker={folder}/data/utt2spk domain='{folder}/my labels'"
    assert run(folder, labels, "--properties=domain", "--shuffles=1", "--balanced=true", sets=["noise"]) == 0
    ((key, row),) = table(folder).items()
    assert key == ("domain", "noise") and (row["tested"], row["measure"], row["majority"]) == (
        "50",
        "balanced",
        "0.500",
    )


def test_at_most_so_many_utterances_and_speakers(folder, capsys):
    options = (f"--data={folder}/data", "--shuffles=1", "--properties=speaker gender")
    assert run(folder, *options, "--max-utterances=40", "--max-speakers=5", sets=["good"]) == 0
    assert "speaker: 5 of 12 classes drawn" in capsys.readouterr().err
    found = table(folder)
    assert (found["speaker", "good"]["classes"], found["speaker", "good"]["tested"]) == ("5", "30")
    assert found["gender", "good"]["tested"] == "40"


def test_small_classes_are_left_out_and_said(folder, capsys):
    lines = "".join(f"{key} {'rare' if s < 2 else 'ab'[s % 2]}\n" for key, s in zip(KEYS, SPEAKER_OF, strict=True))
    (folder / "utt2domain").write_text(lines)
    options = (f"--data={folder}/data", f"--labels=domain={folder}/utt2domain", "--properties=domain", "--shuffles=1")
    assert run(folder, *options, sets=["good"]) == 0
    assert "domain: 1 of 3 classes have fewer than 3 speakers, left out: rare" in capsys.readouterr().err
    assert table(folder)["domain", "good"]["classes"] == "2" and table(folder)["domain", "good"]["tested"] == "60"


def test_one_class_is_an_error_where_it_was_asked_for(folder, capsys):
    (folder / "data/spk2gender").write_text("".join(f"s{s:02} f\n" for s in range(SPEAKERS)))
    assert run(folder, f"--data={folder}/data", "--shuffles=1", sets=["noise"]) == 0
    assert "WARNING gender: fewer than two of 1 classes" in capsys.readouterr().err
    assert ("gender", "noise") not in table(folder)
    (folder / "out.tsv").unlink()
    assert run(folder, f"--data={folder}/data", "--properties=gender") == 1
    assert "gender: fewer than two of 1 classes have 3 speakers or more" in refused(capsys)
    assert not (folder / "out.tsv").exists()


def test_nothing_to_probe_is_an_empty_table_and_a_warning(folder, capsys):
    few = folder / "few"
    few.mkdir()
    (few / "utt2spk").write_text("".join(f"{key} s00\n" for key in KEYS[:EACH]))
    assert run(folder, f"--data={few}", sets=["noise"]) == 0
    assert "WARNING nothing to probe" in capsys.readouterr().err
    assert table(folder) == {}


def test_utterances_of_one_recording_by_its_segments(folder):
    """Four utterances of two recordings, and noisy copies of the first's."""
    cut = folder / "cut"
    cut.mkdir()
    rows = [("a-1", "x"), ("a-1-noise", "x-noise"), ("a-2", "x"), ("a-2-noise", "x-noise"), ("b-1", "y"), ("b-2", "y")]
    (cut / "utt2spk").write_text("".join(f"{key} {key[0]}\n" for key, _ in rows))
    (cut / "segments").write_text("".join(f"{key} {recording} 0 1\n" for key, recording in rows))
    found = read_labels(str(cut), "", "", "")
    assert dict(zip(found.keys, found.recordings.tolist(), strict=True)) == {key: int(key[0] == "b") for key, _ in rows}
    uniq = [(key, key.removesuffix("-noise")) for key, _ in rows]  # as copies have it, beside segments
    (cut / "utt2uniq").write_text("".join(f"{key} {original}\n" for key, original in uniq))
    assert read_labels(str(cut), "", "", "").recordings.tolist() == found.recordings.tolist()
    (cut / "utt2uniq").write_text("".join(f"{key} {original}\n" for key, original in uniq[:-1]))
    with pytest.raises(VouchError, match="cut/utt2uniq or .*cut/segments lacks utterance b-2"):
        read_labels(str(cut), "", "", "")
    (cut / "utt2uniq").unlink()
    (folder / "videos").write_text("".join(f"{key} {number // 3}\n" for number, (key, _) in enumerate(rows)))
    given = read_labels(str(cut), f"recording={folder}/videos", "", "")
    assert given.recordings.tolist() == [0, 0, 0, 1, 1, 1]


def test_copies_of_augmentation_by_their_names(tmp_path):
    originals = ["sp0.9-a-u1", "a-u1", "b-u1", "sp1.1x-u1"]
    keys = [original + suffix for original in originals for suffix in ("", "-noise", "-reverb")]
    speakers = {"sp0.9-a-u1": "sp0.9-a", "a-u1": "a", "b-u1": "b", "sp1.1x-u1": "sp1.1x"}
    lines = [f"{key} {speakers[re.sub('-(noise|reverb)$', '', key)]}\n" for key in keys]
    (tmp_path / "utt2spk").write_text("".join(sorted(lines)))
    found = read_labels(str(tmp_path), "", "", "")
    kinds, speeds = found.properties["augmentation"], found.properties["speed"]
    for place, key in enumerate(found.keys):
        suffix = key.rsplit("-", 1)[1]
        assert kinds.names[kinds.labels[place]] == (suffix if suffix in ("noise", "reverb") else "none")
        assert speeds.names[speeds.labels[place]] == ("sp0.9" if key.startswith("sp0.9-") else "none")
    speaker = dict(zip(found.keys, found.speakers.tolist(), strict=True))
    assert speaker["sp0.9-a-u1-noise"] == speaker["a-u1"] != speaker["b-u1"]  # who knows the speed knows nobody
    assert found.properties["speaker"].names == ["a", "b", "sp1.1x"]
    recording = dict(zip(found.keys, found.recordings.tolist(), strict=True))
    assert recording["sp0.9-a-u1-noise"] == recording["a-u1"] == recording["a-u1-reverb"] != recording["b-u1"]
    assert len(set(recording.values())) == 3
    (tmp_path / "utt2uniq").write_text("".join(f"{key} {key}\n" for key in keys))
    assert len(set(read_labels(str(tmp_path), "", "", "").recordings.tolist())) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels=gender={0}/data/spk2gender"], "who speaks must be known"),
        (["--data={0}/data", "--labels=gender"], "'gender' is not NAME=FILE"),
        (["--data={0}/data", "--labels=a='b"], "no closing quotation"),
        (["--data={0}/data", "--labels=x={0}/data/spk2gender"], "has no label of the utterances"),
        (["--data={0}/data", "--properties=domain"], "there are no labels 'domain', only speaker, gender, length"),
        (["--data={0}/data", "--numeric=gender"], "'f' of s00-u0 is not a number"),
        (["--data={0}/data", "--numeric=speaker"], "'speaker' is no property of numbers"),
        (["--data={0}/data", "--numeric=lenght"], "'lenght' is no property of numbers"),
        (["--data={0}/nowhere"], "no such data directory"),
        (["--data={0}/data", "--folds=2"], "--folds wants 3 or more"),
        (["--data={0}/data", "--max-speakers=1"], "--max-speakers wants 2 or more"),
        (["--data={0}/data", "nameless.ark"], "'nameless.ark' is not NAME=RSPECIFIER"),
        (["--data={0}/data", "scp:a=b.scp"], "'scp:a=b.scp' is not NAME=RSPECIFIER"),
        (["--data={0}/data", "a=ark:x", "a=ark:y"], "two sets of embeddings are called 'a'"),
    ],
)
def test_wrong_calls(folder, capsys, options, message):
    words = [option.format(folder) for option in options]
    own = [word for word in words if not word.startswith("--")] or [f"good=ark:{folder}/good.ark"]
    given = [word for word in words if word.startswith("--")]
    assert main(["probe", f"--out={folder}/out.tsv", *given, *own]) == 1
    assert message in refused(capsys) and not (folder / "out.tsv").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda vectors: (KEYS[:-1], vectors[:-1]), "lacks 1 of the 72 chosen utterances (first: s11-u5)"),
        (lambda vectors: (KEYS, [vectors[0] * np.nan, *vectors[1:]]), "the vector of s00-u0 has NaN"),
        (lambda vectors: (KEYS, [*vectors[:-1], vectors[-1][:2]]), "the vector of s11-u5 has 2 dimensions, want 5"),
        (lambda vectors: ([*KEYS[:-1], KEYS[0]], vectors), "the key s00-u0 comes twice"),
    ],
)
def test_bad_embeddings_leave_no_table_and_no_picture(folder, capsys, damage, message):
    keys, vectors = damage(list(np.random.default_rng(0).normal(size=(len(KEYS), 5))))
    write_vectors(folder / "bad.ark", vectors, keys)
    assert run(folder, f"--data={folder}/data", "--shuffles=1", "--properties=gender", sets=["noise", "bad"]) == 1
    assert message in refused(capsys) and not (folder / "out.tsv").exists()
    sets = [f"{name}=ark:{folder}/{name}.ark" for name in ("noise", "bad")]
    (folder / "map.png").write_bytes(b"older")
    words = ["map-embeddings", "--speakers=12", f"{folder}/data/utt2spk", *sets, f"{folder}/map.png"]
    assert main(words) == 1
    assert message in refused(capsys) and (folder / "map.png").read_bytes() == b"older"
    assert {path.name for path in folder.iterdir()} == {"data", "good.ark", "noise.ark", "bad.ark", "map.png"}


def test_maps_beside_each_other(folder, capsys):
    sets = [f"{name}=ark:{folder}/{name}.ark" for name in ("good", "noise")]
    words = ["--speakers=5", "--utterances=4", f"{folder}/data/utt2spk"]
    sizes = {}
    for name, own in (("two", sets), ("again", sets), ("one", sets[:1])):
        assert main(["map-embeddings", *words, *own, f"{folder}/{name}.png"]) == 0
        assert "drew 20 utterances of 5 speakers" in capsys.readouterr().err
        picture = (folder / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and picture.endswith(b"IEND\xaeB`\x82")
        sizes[name] = int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])
    assert sizes["two"][0] - sizes["one"][0] == 600 and sizes["two"][1] == sizes["one"][1]
    assert (folder / "two.png").read_bytes() == (folder / "again.png").read_bytes()
    assert main(["map-embeddings", "--seed=1", *words, *sets, f"{folder}/other.png"]) == 0
    assert (folder / "two.png").read_bytes() != (folder / "other.png").read_bytes()
    capsys.readouterr()
    for wrong in (["--speakers=21"], ["--utterances=0"], ["--speakers=1", "--utterances=3"]):
        assert main(["map-embeddings", *wrong, words[-1], *sets, f"{folder}/none.png"]) == 1
        refused(capsys)
    assert not (folder / "none.png").exists()
    assert main(["map-embeddings", words[-1], *sets]) == 1
    assert "name the picture's file" in refused(capsys)
