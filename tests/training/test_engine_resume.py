"""kill -9 at a random moment, the same call again: the same bits. And two processes train as one does."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

EXAMPLE = Path(__file__).with_name("engine_examples.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def _start(folder: Path, processes: int, **options) -> subprocess.Popen:
    launcher = TORCHRUN if processes > 1 else []
    words = [sys.executable, *launcher, str(EXAMPLE), str(folder), f"{folder}.result", json.dumps(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(words, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)


def _run(folder: Path, processes: int, **options) -> dict:
    process = _start(folder, processes, **options)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    return torch.load(f"{folder}.result", weights_only=True)


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(child) for child in found]


def _kill_at_random(folder: Path, process: subprocess.Popen, checkpoints: int, moment: float) -> None:
    """SIGKILL to the process and its workers (which torchrun puts into sessions of their own) `moment` seconds after
    it has written so many checkpoints."""
    last = folder / "checkpoints" / "last.pt"
    seen: set[int] = set()
    deadline = time.monotonic() + 60
    while len(seen) < checkpoints:
        assert process.poll() is None and time.monotonic() < deadline
        if last.exists():
            seen.add(last.stat().st_mtime_ns)
        time.sleep(0.001)
    time.sleep(moment)
    for pid in [*_children(process.pid), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(
    ("processes", "kind"), [(1, "supervised"), (2, "supervised"), (1, "relativistic"), (2, "danse")]
)
def test_a_training_killed_at_a_random_step_ends_with_the_same_bits(tmp_path, processes, kind):
    # Held-out speech, a running average and best epochs; a checkpoint every 30 ms, so that steps are done again.
    options = {"full": True, "epochs": 8, "checkpoint_minutes": 0.0005, "objective": {"kind": kind}}
    whole = _run(tmp_path / "whole", processes, **options)
    when = random.randint(1, 4), random.uniform(0.0, 0.03)
    _kill_at_random(tmp_path / "cut", _start(tmp_path / "cut", processes, **options), *when)
    assert not (tmp_path / "cut.result").exists(), f"it ended before the kill after checkpoint {when[0]}"
    (tmp_path / "cut" / "checkpoints" / "last.pt.tmp.1").write_bytes(b"what a kill while it is written leaves")
    left = torch.load(tmp_path / "cut" / "checkpoints" / "last.pt", weights_only=True)["step"]
    again = _run(tmp_path / "cut", processes, **options)
    print(f"killed {when[1]:.3f} s after checkpoint {when[0]}; continued from step {left} of {whole['step']}")
    assert 0 < left < again["step"] == whole["step"]
    assert again["last"].equal(whole["last"])
    assert all(again["final"][name].equal(value) for name, value in whole["final"].items())
    names = {
        folder: sorted(p.name for p in (tmp_path / folder / "checkpoints").iterdir()) for folder in ("cut", "whole")
    }
    assert names["cut"] == names["whole"]


def _losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "train.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize(
    "kind",
    ["supervised", "danse", "least_squares", "joint_centre", "seef_uniform", "seef_alternating", "seef_reversal"]
    + ["ge2e_softmax"],
)
def test_two_processes_train_as_one(tmp_path, kind):
    # Steps of 64 chunks, the last step's batch and others of uneven size; no batch norm, no dropout.
    steps = 50
    options = {
        "epochs": 25,
        "batch_size": 64,
        "samples_per_utterance": 4,
        "objective": {"batch_norm": False, "kind": kind},
    }
    if kind == "ge2e_softmax":  # three speakers of four, of whom one process has one
        options |= {"epochs": 50, "batch_size": 30, "speakers": 4}
    if kind in ("seef_uniform", "seef_reversal"):  # a game in every step makes 1e-8 of rounding 1e-6 in 20, 1e-4 in 50
        options["epochs"], steps = 10, 20
    one, two = (_run(tmp_path / str(n), n, **options) for n in (1, 2))
    assert one["step"] == two["step"] == steps
    difference = (one["last"] - two["last"]).abs().max().item()
    losses = [abs(a - b) for a, b in zip(_losses(tmp_path / "1"), _losses(tmp_path / "2"), strict=True)]
    print(f"largest difference of a parameter {difference:.1e}, of a loss {max(losses):.1e}")
    assert difference < 1e-4 and max(losses) < 1e-4
    assert (one["last"] - _run(tmp_path / "3", 1, **{**options, "epochs": 1})["last"]).abs().max() > 0.1  # it moved
