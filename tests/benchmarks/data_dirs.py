#!/usr/bin/env python3
"""Time and memory of the data-directory tools at the size of VoxCeleb, through their shell scripts.

usage: python tests/benchmarks/data_dirs.py [--utterances 1200000] [--speakers 7300] [--folder DIR]

Makes a data directory, and a copy with shuffled files of which some lack utterances; prints a table and exits 1
when validating takes 15 s or more, fixing 30 s or more, or either 2 GB of memory or more.
"""

from __future__ import annotations

import argparse
import os
import random
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UTILS = Path(__file__).resolve().parents[2] / "utils"
MEMORY_BAR = 2.0  # GB


def make_directory(folder: Path, utterances: int, speakers: int) -> None:
    """A VoxCeleb-like data directory: ids such as id00012-21Uxsk56VDQ-00001."""
    rng = random.Random(7)
    letters = string.ascii_letters + string.digits
    ids: list[tuple[str, str, str]] = []
    for i in range(speakers):
        videos: dict[str, int] = {}
        for _ in range(utterances // speakers + (i < utterances % speakers)):
            if not videos or rng.random() < 0.12:
                videos["".join(rng.choices(letters, k=11))] = 0
            video = next(reversed(videos))
            videos[video] += 1
            ids.append((f"id{i:05d}", video, f"{videos[video]:05d}"))
    ids.sort(key="-".join)
    names = ["-".join(parts) for parts in ids]
    folder.mkdir()
    lines = {
        "utt2spk": [parts[0] for parts in ids],
        "wav.scp": [f"/data/voxceleb2/dev/aac/{'/'.join(parts)}.wav" for parts in ids],
        "feats.scp": [f"/exp/make_mfcc/raw_mfcc_train.{i % 40 + 1}.ark:{i * 3017}" for i in range(len(ids))],
        "vad.scp": [f"/exp/make_vad/vad_train.{i % 40 + 1}.ark:{i * 811}" for i in range(len(ids))],
        "utt2num_frames": [str(rng.randint(400, 2000)) for _ in ids],
        "utt2dur": [f"{rng.uniform(4, 20):.3f}" for _ in ids],
    }
    for name, values in lines.items():
        text = "".join(f"{utterance} {value}\n" for utterance, value in zip(names, values, strict=True))
        (folder / name).write_text(text)
    members: dict[str, list[str]] = {}
    for name, parts in zip(names, ids, strict=True):
        members.setdefault(parts[0], []).append(name)
    (folder / "spk2utt").write_text("".join(f"{s} {' '.join(u)}\n" for s, u in members.items()))
    (folder / "spk2gender").write_text("".join(f"{s} {rng.choice('mf')}\n" for s in members))


def spoil(source: Path, folder: Path) -> None:
    """The same directory with every file shuffled; feats.scp, vad.scp and wav.scp lack one line in a thousand."""
    rng = random.Random(8)
    folder.mkdir()
    for path in sorted(source.iterdir()):
        lines = path.read_bytes().splitlines(keepends=True)
        rng.shuffle(lines)
        if path.suffix == ".scp":
            del lines[: len(lines) // 1000]
        (folder / path.name).write_bytes(b"".join(lines))


def measure(command: list[str]) -> tuple[float, float, float, int]:
    """Seconds, seconds of the processor, peak memory of the process in GB, exit code."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.stderr.buffer.write(errors[-2000:])
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024**2, process.returncode


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1_200_000)
    parser.add_argument("--speakers", type=int, default=7_300)
    parser.add_argument("--folder", default=None, help="where the temporary directories go")
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        whole, spoilt, copy = Path(folder, "whole"), Path(folder, "spoilt"), Path(folder, "copy")
        print(f"{options.utterances} utterances, {options.speakers} speakers; making them")
        make_directory(whole, options.utterances, options.speakers)
        spoil(whole, spoilt)
        subset_size = str(options.utterances // 2)
        jobs: list[tuple[str, list[str], float | None]] = [
            ("validate", ["validate_data_dir.sh", "--no-text", str(whole)], 15),
            ("fix, shuffled and lacking", ["fix_data_dir.sh", str(spoilt)], 30),
            ("validate the fixed", ["validate_data_dir.sh", "--no-text", str(spoilt)], 15),
            ("fix, nothing to do", ["fix_data_dir.sh", str(spoilt)], 30),
            ("split into 40", ["split_data.sh", str(whole), "40"], None),
            ("subset, half", ["subset_data_dir.sh", str(whole), subset_size, str(copy)], None),
            (
                "copy with a prefix",
                ["copy_data_dir.sh", "--utt-prefix=a-", "--spk-prefix=a-", str(whole), str(copy)],
                None,
            ),
            ("combine two", ["combine_data.sh", str(Path(folder, "both")), str(whole), str(copy)], None),
        ]
        print(f"{'':28s} {'seconds':>8s} {'bar':>5s} {'CPU s':>6s} {'peak GB':>8s}")
        for name, (script, *arguments), bar in jobs:
            seconds, cpu, memory, code = measure([str(UTILS / script), *arguments])
            passed = code == 0 and (bar is None or (seconds < bar and memory < MEMORY_BAR))
            good = good and passed
            shown = "" if bar is None else str(bar)
            print(
                f"{name:28s} {seconds:8.1f} {shown:>5s} {cpu:6.1f} {memory:8.2f} {'' if passed else 'FAILED'}",
                flush=True,
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
