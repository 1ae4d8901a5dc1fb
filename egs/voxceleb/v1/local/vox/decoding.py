"""VoxCeleb2's m4a to 16-bit wav at 16 kHz, once, by many ffmpeg at a time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from vouch.corpora.headers import in_threads, try_header
from vouch.corpora.report import Report
from vouch.errors import VouchError
from vouch.io.audio_header import AudioHeader
from vox.m4a import m4a_problem

RATE = 16000  # Hz, of all that the recipe prepares
MOST_LOST = 0.01  # share of the files that may be damaged
LACKING = 0.1  # seconds that a file may be shorter than ffmpeg says
GET_FFMPEG = (
    "only ffmpeg decodes it: put it on PATH (Debian, Ubuntu: apt install ffmpeg; or, without being root, a static "
    "build that ffmpeg.org links to)"
)


def decoded_name(path: str) -> str:
    """The path of the wav of an m4a, below the folder of the decoded files as the m4a's is below the corpus."""
    return f"{os.path.splitext(path)[0]}.wav"


def need_ffmpeg(corpus: str, count: int, example: str) -> None:
    """Raise VouchError where there is no ffmpeg for so many files."""
    if not shutil.which("ffmpeg"):
        raise VouchError(f"{corpus}: {count} files are m4a, e.g. {example}, and {GET_FFMPEG}")


def decode_files(
    corpus: str, root: Path, files: Mapping[str, str], folder: Path, threads: int, report: Report
) -> list[str]:
    """Decode the m4a of each utterance (path below `root`) to the same path below `folder`; what is there stays.

    Returns the utterances whose file ffmpeg cannot decode, each warned of. Raises VouchError when they are more than
    1 %, on a full disk, and where ffmpeg is needed and not there.
    """
    from tqdm import tqdm

    lost: list[str] = []
    results = in_threads(partial(_decode, root, folder), files.values(), threads)
    progress = tqdm(results, f"decoding {corpus}", len(files), unit="file", mininterval=10, smoothing=0)
    for (utterance, path), (problem, hint) in zip(files.items(), progress, strict=True):
        if hint:
            report.warn(corpus, "files that ffmpeg complains of", f"{root}/{path}: ffmpeg says: {hint}; it is kept")
        if not problem:
            continue
        lost.append(utterance)
        report.warn(corpus, "files that cannot be decoded", f"{root}/{path}: {problem}; {utterance} is left out")
        if len(lost) > MOST_LOST * len(files):
            raise VouchError(
                f"{corpus}: {len(lost)} of {len(files)} m4a files cannot be decoded, more than {MOST_LOST:.0%} ("
                f"warnings above and in {report.file}); mend the corpus or ffmpeg and run again: what is decoded stays"
            )
    return lost


def _decode(root: Path, folder: Path, path: str) -> tuple[str, str]:
    """(why it cannot be decoded; what ffmpeg complains of all the same), both empty where all is well."""
    source, target = root / path, folder / decoded_name(path)
    if not _problem(target, 0.0):
        return "", ""
    cut = m4a_problem(str(source))
    if cut:
        return cut.removeprefix(f"{source} "), ""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    command = ["ffmpeg", "-nostdin", "-nostats", "-v", "error", "-progress", "pipe:1", "-y", "-i", str(source)]
    command += ["-f", "wav", "-acodec", "pcm_s16le", "-ac", "1", "-ar", str(RATE), str(part)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except FileNotFoundError:
        raise VouchError(f"{source} is m4a, and {GET_FFMPEG}") from None
    said = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip())[:300]
    if "No space left" in said:
        part.unlink(missing_ok=True)
        raise VouchError(f"cannot write {target}: the disk is full; free some space and run again")
    problem = f"ffmpeg says: {said or f'exit code {done.returncode}'}" if done.returncode else ""
    problem = problem or _problem(part, _written_seconds(done.stdout))
    if problem:
        part.unlink(missing_ok=True)
        return problem, ""
    os.replace(part, target)
    return "", said


def _problem(path: Path, seconds: float) -> str:
    """Why the file is not whole 16-bit speech of 16 kHz, one channel and at least so many seconds, or nothing."""
    header = try_header(path)
    if not isinstance(header, AudioHeader):
        return header
    if (header.channels, header.rate) != (1, RATE):
        return f"{path} has {header.channels} channels and {header.rate} Hz, not 1 and {RATE}"
    if header.samples / RATE < seconds - LACKING:
        return f"{path} has {header.samples / RATE:.2f} s, and ffmpeg wrote {seconds:.2f} s"
    return ""


def _written_seconds(progress: str) -> float:
    """The last time that ffmpeg's -progress tells, e.g. out_time=00:00:08.064000; 0 where there is none."""
    times = re.findall(r"^out_time=(\d+):(\d+):(\d+(?:\.\d+)?)", progress, re.MULTILINE)
    hours, minutes, seconds = times[-1] if times else (0, 0, 0)
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
