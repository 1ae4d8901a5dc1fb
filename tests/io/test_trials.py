"""Blocks of trials: whatever the blanks and the cuts, the pairs of the lines; bad lines by their number."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vouch.io.trials
from vouch.errors import VouchError
from vouch.io.trials import read_trial_blocks

KEYS = st.text(st.sampled_from("ab-é\x01"), min_size=1, max_size=5)
BLANKS = st.text(st.sampled_from(" \t"), min_size=1, max_size=2)
END = st.sampled_from(["", " ", "\r", "\t "])


def pairs(path: Path) -> list[tuple[str, str]]:
    return [pair for block in read_trial_blocks(str(path)) for pair in zip(*block, strict=True)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["", " "]), KEYS, BLANKS, KEYS, END), max_size=30),
    st.integers(1, 200),
    st.booleans(),
)
def test_any_blanks_and_cuts(tmp_path_factory, lines, block, newline_at_the_end) -> None:
    path = tmp_path_factory.mktemp("trials") / "trials"
    text = "\n".join("".join(line) for line in lines) + ("\n" if lines and newline_at_the_end else "")
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vouch.io.trials, "_BLOCK", block)
        assert pairs(path) == [(first, second) for _, first, _, second, _ in lines]


@pytest.mark.parametrize("block", [10, 1 << 20])
@pytest.mark.parametrize(
    "line, said",
    [
        ("c", "1 fields"),
        ("c d e", "3 fields"),
        ("", "0 fields"),
        ("c\x01", "1 fields"),
        ("c \udcff", "not UTF-8"),
        ("a\nb c d", "1 fields"),  # together as many words as two lines should have
    ],
)
def test_bad_lines_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, line: str, said: str) -> None:
    monkeypatch.setattr(vouch.io.trials, "_BLOCK", block)
    text = "a b\n" * 41 + line + "\n" + "a b\n" * 5
    (tmp_path / "trials").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(VouchError, match=f"trials:42: {said}"):
        pairs(tmp_path / "trials")
