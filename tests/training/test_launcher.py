"""steps/train.sh with several processes: one training, and nothing of it outlives its launcher."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vouch.io.tables import TableWriter

YAML = """
network:
  backbone: {{type: tdnn, channels: 8, pooled_channels: 12}}
  pooling: {{type: statistics}}
  embedding_dim: 6
  hidden_dim: 6
objective:
  type: supervised
  head: {{type: softmax}}
  optimizer: {{type: adam}}
training: {{epochs: {epochs}, batch_size: 8, min_frames: 30, max_frames: 40, checkpoint_minutes: 0.001}}
"""


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    generator = np.random.default_rng(0)
    with TableWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp", "matrix", 3) as writer:
        for i in range(16):
            writer.write(f"s{i // 8}-u{i:02}", generator.normal(size=(50, 5)).astype(np.float32))
    (data / "utt2spk").write_text("".join(f"s{i // 8}-u{i:02} s{i // 8}\n" for i in range(16)))
    (data / "utt2num_frames").write_text("".join(f"s{i // 8}-u{i:02} 50\n" for i in range(16)))
    return tmp_path


def _start(root: Path, folder: Path, epochs: int, *options: str) -> subprocess.Popen:
    (folder / "x.yaml").write_text(YAML.format(epochs=epochs))
    words = ["bash", root / "steps/train.sh", *options, folder / "x.yaml", folder / "data", folder / "model"]
    environment = {**os.environ, "VOUCH_PYTHON": sys.executable, "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _processes(folder: Path) -> dict[int, str]:
    """Those of this training: number and command line."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
    found = [line.split(None, 1) for line in listed if str(folder) in line and "vouch train" in line]
    return {int(pid): words for pid, words in found}


def test_two_processes_make_one_model(root, folder):
    process = _start(root, folder, 2, "--num-processes", "2")
    said = process.communicate(timeout=120)[0]
    log = (folder / "model/log/train_model.log").read_text()
    assert process.returncode == 0, said + log
    assert "in 2 processes" in log and log.count("LOG wrote") == 1
    assert "WARNING batch norm is not synchronised over processes on the CPU: each sees its own 4 chunks" in log
    assert torch.load(folder / "model/checkpoints/last.pt", weights_only=True)["step"] == 2 * 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_killed_launcher(root, folder, number):
    process = _start(root, folder, 100_000, "--num-processes", "2")
    deadline = time.monotonic() + 60
    while not (folder / "model/checkpoints/last.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    running = _processes(folder)
    try:
        [torchrun] = [pid for pid, words in running.items() if re.match(r"\S+ -m torch.distributed.run", words)]
        assert sum(bool(re.match(r"\S+ -u -m vouch train", words)) for words in running.values()) == 2
        os.kill(torchrun, number)
        assert process.wait(60) != 0
        while _processes(folder):
            assert time.monotonic() < deadline, _processes(folder)
            time.sleep(0.05)
    finally:
        for pid in _processes(folder):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def test_options_that_do_not_go_together(root, folder):
    for words, message in (
        (["--num-gpus", "2", "--num-processes", "2"], "--num-gpus starts a process a GPU"),
        (["--num-nodes", "2"], "--num-nodes 2 needs --rendezvous HOST:PORT"),
        (["--num-processes", "x"], "'x' is not a number"),
    ):
        process = _start(root, folder, 1, *words)
        assert message in process.communicate()[0] and process.returncode == 1
    assert not (folder / "model").exists()
