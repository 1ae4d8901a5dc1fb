"""sample-trials: what is drawn, and what cannot be."""

import collections

import pytest

from vouch.cli import main


@pytest.fixture
def folder(tmp_path):
    lines = [f"s{i}-u{j} s{i}\n" for i in range(6) for j in range(3 if i else 40)]
    (tmp_path / "utt2spk").write_text("".join(lines))
    (tmp_path / "spk2gender").write_text("".join(f"s{i} {'mf'[i % 2]}\n" for i in range(6)))
    return tmp_path


def draw(folder, *options) -> list[list[str]]:
    assert main(["sample-trials", *options, f"{folder}/utt2spk", f"{folder}/trials"]) == 0
    return [line.split() for line in (folder / "trials").read_text().splitlines()]


def test_pairs_are_what_they_are_called(folder):
    trials = draw(folder, "--num=60")
    assert trials == sorted(trials) and len({tuple(trial) for trial in trials}) == 60
    assert len({frozenset(trial[:2]) for trial in trials}) == 60
    for first, second, label in trials:
        assert (first.split("-")[0] == second.split("-")[0]) == (label == "target") and first != second
    assert [label for _, _, label in trials].count("target") == 30
    assert draw(folder, "--num=60") == trials != draw(folder, "--num=60", "--seed=1")


def test_speakers_have_the_same_chance(folder):
    counts = collections.Counter(
        first.split("-")[0] for first, _, label in draw(folder, "--num=24") if label == "target"
    )
    assert max(counts.values()) < 8  # s0 has 780 of the 795 pairs


def test_nontargets_within_a_gender(folder):
    for first, second, _ in draw(folder, "--num=40", f"--gender={folder}/spk2gender"):
        assert int(first[1]) % 2 == int(second[1]) % 2


def test_fewer_pairs_than_asked_for(folder):
    trials = draw(folder, "--num=100000")
    assert 15 < [label for _, _, label in trials].count("target") <= 795


@pytest.mark.parametrize("utt2spk, options, message", [
    ("a s\nb t\n", [], "has no pairs for target trials"),
    ("a s\nb s\n", [], "has no pairs for nontarget trials"),
    ("a s\nb s\nc t\n", ["--num=1"], "want 2 or more trials"),
    ("a s\nb s\nc t\n", ["--gender={}/spk2gender"], "has no gender of s"),
])  # fmt: skip
def test_what_cannot_be_drawn(folder, capsys, utt2spk, options, message):
    (folder / "utt2spk").write_text(utt2spk)
    words = [option.format(folder) for option in options]
    assert main(["sample-trials", *words, f"{folder}/utt2spk", f"{folder}/trials"]) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "trials").exists()
