"""kill -9 of the whole recipe in every stage; the same command afterwards ends as an uninterrupted run does."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from recipe_runs import ROOT, environment, read_results, succeed, write_preparation, write_settings

AUGMENT = "--types=babble\n--speeds=0.9\n--copies=0.3\n"
SOURCE_ALONE = 'rm -rf "$out"/adapt "$out"/adapt_enroll "$out"/adapt_test "$out"/test/trials_*'

# Stage, and the file (a pattern below --out) that shows it half-way: the kill comes when it appears.
INTERRUPTIONS = [
    (1, "corpus/wav/train/*/*.wav"),
    (2, "data/mfcc/train/data/.begun.*"),
    (3, "data/mfcc/augment/sp0.9/data/.begun.*"),
    (3, "data/mfcc/augment/copies/data/.begun.*"),
    (4, "data/mfcc/train_aug_nosil/data/.begun.*"),
    (5, "exp/asp/checkpoints/last.pt"),
    (6, "exp/asp/embeddings/train_backend/.begun.*"),
    (7, "exp/asp/backend/lda.mat"),
    (8, "exp/asp/scores/source/cosine.scores"),
    (9, "exp/asp/scores/source/cosine.tsv"),
]


def kill_when(pattern: str, out: Path, command: list[object]) -> None:
    """Start a run, and kill it and all its children when a file of this pattern appears below `out`."""
    there = set(out.glob(pattern))
    words = [str(word) for word in command]
    with open(f"{out}.log", "w+") as log:
        streams = {"stdout": log, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(words, cwd=ROOT, env=environment(), start_new_session=True, **streams)
        until = time.monotonic() + 300
        try:
            while set(out.glob(pattern)) <= there and process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
        finally:
            ended = process.poll()
            if ended is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        assert ended is None, f"the run ended before {pattern} appeared:\n{log.read()[-3000:]}"
    assert not set(out.glob(pattern)) <= there, f"{pattern} does not appear"


def test_a_run_killed_in_every_stage_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    preparation = write_preparation(tmp_path, 0.03, SOURCE_ALONE)
    conf = write_settings(tmp_path, ("asp",), 2, AUGMENT)
    command = ["bash", ROOT / "run.sh", "--prepare", preparation, "--conf", conf, "--systems", "asp"]
    command += ["--nj", "1", "--device", "cpu"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    going_on = 1
    for stage, pattern in INTERRUPTIONS:
        kill_when(pattern, killed, [*command, "--out", killed, "--stage", going_on])
        going_on = stage
    succeed(*command, "--out", killed)
    succeed(*command, "--out", whole, "--corpus", killed / "corpus")
    assert (killed / "results/EER").read_bytes() == (whole / "results/EER").read_bytes()
    assert {row["trials"] for row in read_results(killed / "results/EER")} >= {"source"}
