"""Every command line of the reference sets, run as it stands with Vouch's tools on PATH, gives the reference output."""

from __future__ import annotations

from pathlib import Path

from replay_bars import table
from replay_tools_set import replay_tools
from replay_training_set import replay_training


def test_the_command_lines_of_single_tools(golden: Path, tmp_path: Path) -> None:
    replay = replay_tools(golden, tmp_path)
    print(table(replay.checks))
    assert len({check.stage for check in replay.checks}) == 12
    assert replay.failures() == []


def test_the_command_lines_of_a_training(golden_training: Path, corpora: Path, tmp_path: Path) -> None:
    replay = replay_training(golden_training, tmp_path, corpora / "mandarin-words")
    print(table(replay.checks))
    assert replay.failures() == []
