"""steps/show_disentanglement.sh on a random model: what it leaves, short utterances, small tests, wrong folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from disentangled_model import DIM, make_model
from recipe_runs import ROOT, refused, succeed

from vouch.io.tables import TableWriter

STEP = ("bash", ROOT / "steps/show_disentanglement.sh", "--nj", 1, "--device", "cpu")
SHOWN = {"probe_two.tsv", "probe_two_train.tsv", "embeddings_two.png", "reconstruction_two.png"}


def write_data(folder: Path, speakers: str, each: int, short: str = "") -> Path:
    """A data directory of random features, all voiced; the utterance `short` has ten frames."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(len(speakers))
    keys = [f"{speaker}-{folder.name}-{number}" for speaker in speakers for number in range(each)]
    with (
        TableWriter(f"ark,scp:{folder}/feats.ark,{folder}/feats.scp", "matrix") as features,
        TableWriter(f"ark,scp:{folder}/vad.ark,{folder}/vad.scp", "vector") as voiced,
    ):
        for key in keys:
            frames = 10 if key == short else int(generator.integers(40, 60))
            features.write(key, generator.normal(size=(frames, DIM)).astype(np.float32))
            voiced.write(key, np.ones(frames, dtype=np.float32))
    (folder / "utt2spk").write_text("".join(f"{key} {key[0]}\n" for key in keys))
    (folder / "spk2utt").write_text("".join(f"{s} {' '.join(key for key in keys if key[0] == s)}\n" for s in speakers))
    (folder / "wav.scp").write_text("".join(f"{key} {key}.wav\n" for key in keys))
    (folder / "spk2gender").write_text("".join(f"{s} {'fm'[ord(s) % 2]}\n" for s in speakers))
    return folder


def embedded(model: Path, *folders: Path) -> list[Path]:
    for folder in folders:
        extract = ("bash", ROOT / "steps/extract_embeddings.sh", "--nj", 1, "--device", "cpu")
        succeed(*extract, model, folder, model / "embeddings" / folder.name)
    return list(folders)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("a folder") / "two", time_parts=2)


@pytest.fixture(scope="module")
def train(model: Path) -> Path:
    return embedded(model, write_data(model.parent / "data" / "train", "abcdef", 4))[0]


def read(path: Path) -> list[dict[str, str]]:
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_short_utterances_and_two_domains(model: Path, train: Path) -> None:
    """One utterance has no embedding; speaker c is in both domains."""
    data = model.parent / "data"
    tests = embedded(
        model, write_data(data / "here", "bcg", 12, short="b-here-3"), write_data(data / "there", "chij", 9)
    )
    results = model.parent / "results"
    (data / "calls").write_text(
        "".join(f"{s}-{d}-{n} {s}{d}{n // 3}\n" for s in "bcghij" for d in ("here", "there") for n in range(12))
    )
    with (data / "calls").open("a") as calls:
        calls.writelines(f"{s}-train-{n} {s}{n}\n" for s in "abcdef" for n in range(4))
    said = succeed(*STEP, "--recordings", data / "calls", model, train, *tests, results)
    assert {path.name for path in results.iterdir()} == SHOWN
    rows = read(results / "probe_two.tsv")
    tested = {(row["property"], row["embeddings"]): int(row["tested"]) for row in rows}
    assert tested["gender", "purified"] == tested["gender", "eliminated"] == 3 * 12 + 4 * 9 - 1
    assert tested["domain", "purified"] == 71
    speakers = next(row for row in rows if row["property"] == "speaker")
    assert int(speakers["classes"]) == 6 and int(speakers["tested"]) == 71  # each in three calls or more
    assert "mean squared error" in said


def test_a_test_set_too_small_to_ask(model: Path, train: Path) -> None:
    """One speaker: the tables are empty, there are no pictures, nothing of an earlier call is left, and all is said."""
    results = model.parent / "results of few"
    results.mkdir()
    for name in SHOWN:
        (results / name).write_text("old")
    (small,) = embedded(model, write_data(model.parent / "data" / "few", "z", 2))
    said = succeed(*STEP, model, train, small, results)
    assert {path.name for path in results.iterdir()} == {"probe_two.tsv", "probe_two_train.tsv"}
    assert read(results / "probe_two.tsv") == [] and read(results / "probe_two_train.tsv")
    assert "nothing to probe" in said and "no pictures" in said


def test_folders_of_one_name(model: Path, train: Path) -> None:
    other = write_data(model.parent / "more" / "train", "xy", 2)
    error = refused(*STEP, model, train, other, model.parent / "results of none")
    assert "two of the data directories are called train" in error
    assert not (model.parent / "results of none").exists()


def test_systems_that_have_not_two_embeddings(model: Path, train: Path) -> None:
    """An ablation scored by the eliminated one would be asked twice for that; nothing is written."""
    results, tests = model.parent / "results of one", model.parent / "data/nowhere"
    for name, changes in (("rest", {"embedding": "eliminated"}), ("alone", {"rest": "none"})):
        other = make_model(model.parent / name, **changes)
        assert "not scored by one of two embeddings" in refused(*STEP, other, train, tests, results)
    assert "config.yaml is missing" in refused(*STEP, model.parent / "nowhere", train, tests, results)
    assert "no data directory" in refused(*STEP, model, train, tests, results)
    assert not results.exists() and not (model.parent / "rest/disentanglement").exists()
