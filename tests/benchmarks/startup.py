#!/usr/bin/env python3
"""How long tools take to start: `vouch TOOL --help`, and tools without torch on a tiny table.

usage: python tests/benchmarks/startup.py [--runs 7]

Wall time, medians, and the time of `python -c 'import numpy'` in the same runs. Exits 1 when a --help takes 0.3 s or
more, or a tool 0.5 s or more. compute-mfcc-feats, which loads SciPy's Fourier transform too, is only shown.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from math import inf
from pathlib import Path

from ratios import environment, vouch

HELP_BAR, TOOL_BAR = 0.3, 0.5


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, env=environment(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def tools_on_tiny_tables(folder: Path) -> dict[str, list[str]]:
    """A command of each family that needs no torch."""
    vectors, features = folder / "vectors.ark", folder / "features.ark"
    vectors.write_text("".join(f"u{i}  [ {i} {i * i % 7} {5 - i} ]\n" for i in range(8)))
    features.write_text("u0  [\n  9 1 2\n  5 4 3 ]\n")
    (folder / "spk2utt").write_text("a u0 u1 u2 u3\nb u4 u5 u6 u7\n")
    (folder / "trials").write_text("u0 u1\n")
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    (folder / "wav.scp").write_text(f"u0 {folder}/a.wav\n")
    table, plda = f"ark:{vectors}", str(folder / "plda")
    commands = {
        "ivector-mean": [f"ark:{folder}/spk2utt", table, "ark:/dev/null"],
        "ivector-normalize-length": [table, "ark:/dev/null"],
        "ivector-compute-plda": [f"ark:{folder}/spk2utt", table, plda],
        "ivector-plda-scoring": [plda, table, table, str(folder / "trials"), "/dev/null"],
        "ivector-compute-dot-products": [str(folder / "trials"), table, table, "/dev/null"],
        "compute-vad": [f"ark:{features}", "ark:/dev/null"],
        "apply-cmvn-sliding": [f"ark:{features}", "ark:/dev/null"],
        "copy-feats": [f"ark:{features}", "ark:/dev/null"],
        "compute-mfcc-feats": ["--sample-frequency=8000", f"scp:{folder}/wav.scp", "ark:/dev/null"],
    }
    return {name: vouch(name, *arguments) for name, arguments in commands.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tools = tools_on_tiny_tables(Path(name))
        commands = {"python -c 'import numpy'": [sys.executable, "-c", "import numpy"]} | tools
        commands |= {f"{tool} --help": vouch(tool, "--help") for tool in tools}
        taken = {command: [] for command in commands}
        for _ in range(options.runs):
            for command, line in commands.items():
                taken[command].append(seconds(line))
    good = True
    for command, times in taken.items():
        median = statistics.median(times)
        bar = HELP_BAR if command.endswith("--help") else inf if command == "compute-mfcc-feats" else TOOL_BAR
        good = good and median < bar
        print(f"{command:40s} {median:6.3f} s {'' if median < bar else 'FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
