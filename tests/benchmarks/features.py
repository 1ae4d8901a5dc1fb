#!/usr/bin/env python3
"""Time and memory of MFCC and filter banks beside kaldi-native-fbank and a straightforward NumPy form.

usage: python tests/benchmarks/features.py [--hours 5] [--runs 5] [--peer-python PYTHON] [--folder DIR]

All read the same 16 kHz wav files of 8 s and write a binary archive; whole processes, one thread, medians of
alternating runs, seconds of the processor. The kaldi-native-fbank of PYTHON is the peer; to get it:

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install numpy soundfile kaldiio kaldi-native-fbank
    python tests/benchmarks/features.py --peer-python /tmp/peer/bin/python

Exits 1 when the tools are less than 3.5 times (with dither 1.2 times) as fast as it, or need 500 MB or more. Without it
only the NumPy form is compared, and nothing is judged but the memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from ratios import alternate, apart, can_import, measure, vouch

RATE, SECONDS = 16000, 8
MEMORY_BAR = 500  # MB
FEATURES = {
    "MFCC 30": ["compute-mfcc-feats", "--num-mel-bins=30", "--num-ceps=30", "--high-freq=7600"],
    "fbank 80": ["compute-fbank-feats", "--num-mel-bins=80"],
}


def make_waves(folder: Path, hours: float) -> None:
    """Files of coloured noise at changing levels, and their wav.scp."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    lines = []
    base = np.cumsum(rng.standard_normal(RATE * 120))
    base = np.diff(base - np.convolve(base, np.ones(50) / 50, "same")) * (1 + np.sin(np.arange(RATE * 120 - 1) / 3000))
    base *= 3000 / base.std()
    for number in range(round(hours * 3600 / SECONDS)):
        start = rng.integers(len(base) - RATE * SECONDS)
        samples = np.clip(base[start : start + RATE * SECONDS] * rng.uniform(0.1, 1.5), -32768, 32767)
        path = folder / f"{number:05d}.wav"
        soundfile.write(path, samples.astype(np.int16), RATE)
        lines.append(f"utt{number:05d} {path}\n")
    (folder / "wav.scp").write_text("".join(lines))
    samples = (np.random.default_rng(1).standard_normal(RATE * 3600) * 1000).astype(np.int16)
    soundfile.write(folder / "hour.wav", samples, RATE)
    (folder / "hour.scp").write_text(f"hour {folder}/hour.wav\n")


# --- the peers, run as `python features.py --peer NAME KIND wav.scp out.ark` ------------------------------------------


def run_native(kind: str, scp: str, ark: str) -> None:
    """kaldi-native-fbank as its README shows it, with the samples as a list, which is the fastest way in."""
    import kaldi_native_fbank
    import kaldiio
    import numpy as np
    import soundfile

    mfcc = kind.startswith("MFCC")
    options = kaldi_native_fbank.MfccOptions() if mfcc else kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = RATE
    options.mel_opts.num_bins = 30 if mfcc else 80
    if mfcc:
        options.num_ceps = 30
        options.mel_opts.high_freq = 7600
    make = kaldi_native_fbank.OnlineMfcc if mfcc else kaldi_native_fbank.OnlineFbank
    with kaldiio.WriteHelper(f"ark:{ark}") as writer:
        for line in Path(scp).read_text().splitlines():
            key, path = line.split()
            samples, rate = soundfile.read(path, dtype="int16")
            computer = make(options)
            computer.accept_waveform(rate, samples.tolist())
            computer.input_finished()
            writer(key, np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)]))


def run_numpy(kind: str, scp: str, ark: str) -> None:
    """Each step of the definition on the frames of a whole file."""
    import kaldiio
    import numpy as np
    import soundfile
    from scipy.fft import dct, rfft

    bins, high = (30, 7600.0) if kind.startswith("MFCC") else (80, RATE / 2)

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(20.0), mel(high), bins + 2)
    at = mel(np.arange(257) * RATE / 512)[:, None]
    rising, falling = (at - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - at) / np.diff(edges)[1:]
    filters = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    window = ((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85).astype(np.float32)
    lifter = (1 + 11 * np.sin(np.pi * np.arange(30) / 22)).astype(np.float32)
    with kaldiio.WriteHelper(f"ark:{ark}") as writer:
        for line in Path(scp).read_text().splitlines():
            key, path = line.split()
            samples = soundfile.read(path, dtype="int16")[0].astype(np.float32)
            frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
            frames = frames - frames.mean(axis=1, keepdims=True)
            energy = np.log(np.maximum((frames**2).sum(axis=1), np.finfo(np.float32).eps))
            previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
            spectrum = rfft((frames - np.float32(0.97) * previous) * window, 512)
            features = np.log(np.maximum(np.abs(spectrum) ** 2 @ filters, np.finfo(np.float32).eps))
            if bins == 30:
                features = dct(features, norm="ortho") * lifter
                features[:, 0] = energy
            writer(key, features)


def print_differences(ours: Path, theirs: Path, name: str) -> None:
    """Root mean square and maximum over two archives, which must have one shape."""
    import numpy as np

    from vouch.io.tables import read_table

    squares, values, worst = 0.0, 0, 0.0
    for (key, left), (other, right) in zip(read_table(f"ark:{ours}"), read_table(f"ark:{theirs}"), strict=True):
        if key != other or left.shape != right.shape:
            sys.exit(f"{key} {left.shape} is {other} {right.shape} in {theirs}")
        error = np.abs(left - right)
        squares, values, worst = squares + float((error**2).sum()), values + error.size, max(worst, float(error.max()))
    print(f"          difference from {name}: rms {(squares / values) ** 0.5:.2g}, largest {worst:.2g}")


def compare(kind: str, scp: Path, folder: Path, runs: int, native: str | None) -> bool:
    """Print a row for each dither and peer; did all hold the bars?"""
    peers = {"numpy": sys.executable} | ({"native": native} if native else {})
    contestants = {f"dither {dither}": vouch(*FEATURES[kind], f"--dither={dither}", f"scp:{scp}") for dither in (0, 1)}
    for name, command in contestants.items():
        command.append(f"ark:{folder / name.replace(' ', '')}.ark")
    for name, python in peers.items():
        contestants[name] = [python, __file__, "--peer", name, kind, str(scp), str(folder / f"{name}.ark")]
    taken = alternate(contestants, runs)
    good = True
    for dither, bar in ((0, 3.5), (1, 1.2)):
        ours = taken[f"dither {dither}"]
        row = f"{kind:9s} {dither:6d} {ours.cpu:8.2f} {ours.memory:8.0f}"
        for name in peers:
            row += f"   {taken[name].cpu / ours.cpu:5.2f} x {name} ({taken[name].cpu:.2f} s)"
        passed = ours.memory < MEMORY_BAR and (not native or taken["native"].cpu >= bar * ours.cpu)
        print(row + ("" if passed else "   FAILED"), flush=True)
        good = good and passed
    for name in peers:
        apart(print_differences, folder / "dither0.ark", folder / f"{name}.ark", name)
    return good


def main() -> int:
    if sys.argv[1:2] == ["--peer"]:
        {"native": run_native, "numpy": run_numpy}[sys.argv[2]](*sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=5.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has kaldi-native-fbank")
    parser.add_argument("--folder", default=None, help="where the temporary files go")
    options = parser.parse_args()
    native: str | None = options.peer_python
    if not can_import(options.peer_python, "kaldi_native_fbank", "kaldiio", "soundfile"):
        print(f"{options.peer_python} has no kaldi-native-fbank: left out; --help says how to get it")
        native = None
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        print(f"making {options.hours:g} hours of wav; then {options.runs} runs of each", flush=True)
        apart(make_waves, folder, options.hours)
        scp = folder / "wav.scp"
        print(f"{'features':9s} {'dither':>6s} {'CPU s':>8s} {'MB':>8s}   times as fast as the peers (dither 0)")
        good = [compare(kind, scp, folder, options.runs, native) for kind in FEATURES]
        one = [f"scp:{folder}/hour.scp", f"ark:{folder}/hour.ark"]
        hour = measure(vouch(*FEATURES["fbank 80"], *one))
        print(f"one file of an hour, fbank 80: {hour.cpu:.2f} s, {hour.memory:.0f} MB")
    return 0 if all(good) and hour.memory < MEMORY_BAR else 1


if __name__ == "__main__":
    sys.exit(main())
