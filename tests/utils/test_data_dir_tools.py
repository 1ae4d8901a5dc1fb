"""The shell scripts over data directories, as whole processes: calling forms, exit codes, interruption."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "utils"


def run(script: str, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [str(UTILS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def make(folder: Path, speakers: int = 3, utterances: int = 2) -> Path:
    folder.mkdir(parents=True)
    ids = [(f"s{i:03d}-{j:04d}", f"s{i:03d}") for i in range(speakers) for j in range(utterances)]
    (folder / "utt2spk").write_text("".join(f"{u} {s}\n" for u, s in ids))
    (folder / "wav.scp").write_text("".join(f"{u} /audio/{u}.wav\n" for u, _ in ids))
    result = run("utt2spk_to_spk2utt.sh", folder / "utt2spk")
    (folder / "spk2utt").write_text(result.stdout)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_the_road_through_all_tools(tmp_path):
    """From any directory, with spaces in the paths."""
    folder = make(tmp_path / "my data")
    lean = ("--no-feats", "--no-text")
    assert run("validate_data_dir.sh", *lean, folder, cwd=tmp_path).returncode == 0
    assert run("split_data.sh", "my data", 3, cwd=tmp_path).returncode == 0
    parts = [folder / "split3" / str(j) for j in (1, 2, 3)]
    assert run("combine_data.sh", "--skip-fix", tmp_path / "again", *parts).returncode == 0
    assert contents(tmp_path / "again") == contents(folder)
    assert run("copy_data_dir.sh", "--utt-prefix", "x-", "--spk-prefix=x-", folder, tmp_path / "copy").returncode == 0
    assert (tmp_path / "copy/utt2spk").read_text().startswith("x-s000-0000 x-s000\n")
    (tmp_path / "list").write_text("s001 and more\nnobody\n")
    result = run("subset_data_dir.sh", "--spk-list", tmp_path / "list", folder, tmp_path / "part")
    assert result.returncode == 0 and "1 of 2 ids are not in" in result.stderr
    assert (tmp_path / "part/utt2spk").read_text() == "s001-0000 s001\ns001-0001 s001\n"
    assert run("subset_data_dir.sh", "--per-spk", folder, 1, tmp_path / "one").returncode == 0
    assert len((tmp_path / "one/wav.scp").read_text().splitlines()) == 3
    assert run("fix_data_dir.sh", tmp_path / "one").returncode == 0
    back = run("spk2utt_to_utt2spk.sh", input=(folder / "spk2utt").read_text())
    assert back.stdout == (folder / "utt2spk").read_text()


def test_validate_names_the_problem_and_fails(tmp_path):
    folder = make(tmp_path / "d")
    (folder / "wav.scp").write_text("s000-0000 /x.wav\n")
    result = run("validate_data_dir.sh", folder)
    assert result.returncode == 1 and result.stdout == ""
    assert f"{folder}/wav.scp: 5 recordings ('s000-0001'" in result.stderr
    assert f"{folder}/text: no such file; make it, or give --no-text" in result.stderr
    assert result.stderr.splitlines()[-1] == (
        f"vouch validate-data-dir: error: {folder} is not a valid data directory: 3 problems, see above"
    )


def failing(tmp_path: Path) -> list[tuple[str, list[object], str]]:
    folder, empty = make(tmp_path / "d"), tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "bad").write_text("a b c\n")
    return [
        ("validate_data_dir.sh", [tmp_path / "no"], "no such data directory"),
        ("fix_data_dir.sh", [empty], "utt2spk: no such file"),
        ("split_data.sh", [folder, 4], "cannot split 3 speakers into 4 parts"),
        ("split_data.sh", [folder, "x"], "must be a whole number over 0, not 'x'"),
        ("subset_data_dir.sh", [folder, tmp_path / "t"], "got 2 arguments"),
        ("subset_data_dir.sh", ["--first", "--last", folder, 1, tmp_path / "t"], "exclude each other"),
        ("subset_data_dir.sh", [folder, 7, tmp_path / "t"], "has 6 utterances, not 7"),
        ("copy_data_dir.sh", ["--spk-prefx=a", folder, tmp_path / "t"], "did you mean --spk-prefix?"),
        ("copy_data_dir.sh", ["--spk-prefix=a b", folder, tmp_path / "t"], "must not hold white space"),
        ("combine_data.sh", [tmp_path / "t", folder, empty], "empty/utt2spk: cannot be read"),
        ("utt2spk_to_spk2utt.sh", [tmp_path / "bad"], "bad:1: has 3 fields, want 2"),
        ("filter_scp", ["-f", "4", tmp_path / "bad", tmp_path / "bad"], "bad:1: has 3 fields, -f asks for field 4"),
        ("filter_scp", [tmp_path / "nolist"], "cannot read the list"),
    ]


def test_wrong_calls_say_why_and_write_nothing(tmp_path):
    for script, arguments, message in failing(tmp_path):
        result = run(script, *arguments)
        last = result.stderr.splitlines()[-1]
        assert result.returncode == 1 and last.startswith("vouch ") and message in last, (script, result.stderr)
        assert result.stdout == "" and not (tmp_path / "t").exists()
        assert not list((tmp_path / "d").glob("split*/*"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "b 1\n"),
        (["-f", "1"], "b 1\n"),
        (["-f", "2"], "x b\ny b  z\n"),
        (["--exclude", "-f", "2"], "a 2\nb 1\n"),
        (["-f", "2", "--exclude"], "a 2\nb 1\n"),
        (["--exclude"], "a 2\nx b\ny b  z\n"),
    ],
)
def test_filter_scp_keeps_kaldis_calling_form(tmp_path, options, expected):
    (tmp_path / "list").write_text("b ignored\nq\n")
    text = "a 2\nb 1\nx b\ny b  z\n"
    (tmp_path / "in").write_text(text)
    assert run("filter_scp", *options, tmp_path / "list", input=text).stdout == expected
    result = run("filter_scp", *options, tmp_path / "list", tmp_path / "in")
    assert result.stdout == expected and result.stderr == "" and result.returncode == 0


def spoilt(folder: Path, speakers: int, utterances: int) -> Path:
    make(folder, speakers, utterances)
    rng = random.Random(3)
    for name in ("utt2spk", "wav.scp", "spk2utt"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        rng.shuffle(lines)
        (folder / name).write_text("".join(lines))
    return folder


def test_fix_on_a_full_disk_changes_nothing(tmp_path):
    folder = spoilt(tmp_path / "d", 30, 30)
    before = contents(folder)
    command = f"ulimit -f 4; exec {UTILS}/fix_data_dir.sh {folder}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "vouch fix-data-dir: error: File too large" in result.stderr
    assert contents(folder) == before
    assert contents(folder / ".backup") == {}
    assert run("fix_data_dir.sh", folder).returncode == 0
    assert run("validate_data_dir.sh", "--no-feats", "--no-text", folder).returncode == 0


def test_a_killed_fix_can_be_run_again(tmp_path):
    whole = make(tmp_path / "whole", 200, 100)
    for delay in (0.05, 0.15, 0.2, 0.25, 0.3):
        folder = spoilt(tmp_path / f"d{delay}", 200, 100)
        process = subprocess.Popen([str(UTILS / "fix_data_dir.sh"), str(folder)], stderr=subprocess.DEVNULL)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for name in ("utt2spk", "wav.scp", "spk2utt"):
            assert sorted((folder / name).read_bytes()) == sorted((whole / name).read_bytes())  # old or new, never half
        assert run("fix_data_dir.sh", folder).returncode == 0
        assert contents(folder) == contents(whole)


def test_a_killed_subset_leaves_the_destination_and_is_cleaned_up(tmp_path):
    folder, target = make(tmp_path / "d", 200, 100), make(tmp_path / "t", 1, 1)
    before = contents(target)
    process = subprocess.Popen(
        [str(UTILS / "subset_data_dir.sh"), str(folder), "9000", str(target)], stderr=subprocess.DEVNULL
    )
    while not list(tmp_path.glob(".t.*.tmp")) and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGSTOP)
    killed_while_writing = bool(list(tmp_path.glob(".t.*.tmp"))) and contents(target) == before
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert killed_while_writing or len(contents(target)) == 3
    assert run("subset_data_dir.sh", folder, 9000, target).returncode == 0
    assert len((target / "wav.scp").read_text().splitlines()) == 9000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "t"]
