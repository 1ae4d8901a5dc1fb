"""With PYTHONUNBUFFERED, as in many containers, a suspended and continued job must not lose bytes in its pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from vouch.io.tables import TableWriter, read_table


def test_a_suspended_pipe_keeps_its_bytes(root: Path, tmp_path: Path) -> None:
    features = {f"u{n:03d}": np.full((2000, 20), n, np.float32) for n in range(60)}
    with TableWriter(f"ark:{tmp_path}/feats.ark") as writer:
        for key, value in features.items():
            writer.write(key, value)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(root / "pysrc")}
    command = [sys.executable, "-m", "vouch", "copy-feats", f"ark:{tmp_path}/feats.ark", "ark:-"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        received = process.stdout.read(1 << 16)
        for _ in range(20):  # the pipe is full: each signal interrupts a write
            time.sleep(0.03)
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGCONT)
            received += process.stdout.read(100_001)
        received += process.stdout.read()
    assert process.returncode == 0
    (tmp_path / "got.ark").write_bytes(received)
    found = dict(read_table(f"ark:{tmp_path}/got.ark"))
    assert list(found) == list(features)
    assert all(np.array_equal(found[key], features[key]) for key in features)
