"""Which recordings can be read, and the entry of wav.scp that reads each."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from pathlib import Path

from corpora.catalogue import CATALOGUE, EVALUATION, UNLABELLED
from corpora.recordings import Recording
from vouch.corpora.headers import THREADS, in_threads, try_header
from vouch.corpora.report import Report
from vouch.errors import VouchError
from vouch.io.audio_header import AudioHeader

RATE = 8000  # Hz, of all that the recipe prepares
OVERSHOOT = 0.01  # seconds that a stretch may end after its file without a word: times are rounded to these


class Audio:
    """Headers of the files of recordings, each read once; the threads mostly wait for a disk or a network."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._headers: dict[Path, AudioHeader | str] = {}

    def usable(self, recordings: list[Recording]) -> list[Recording]:
        """The recordings whose file is whole and has their channel and stretch; the others are warned of."""
        from tqdm import tqdm

        paths = sorted({recording.path for recording in recordings} - self._headers.keys())
        headers = in_threads(try_header, paths, THREADS)
        found = tqdm(headers, "headers", len(paths), unit="file", disable=None, leave=False)
        self._headers.update(zip(paths, found, strict=True))
        self._note_rates(recordings)
        return [recording for recording in recordings if self._is_usable(recording)]

    def _is_usable(self, recording: Recording) -> bool:
        header = self._headers[recording.path]
        kind, problem = "", ""
        if isinstance(header, str):
            kind, problem = "files that cannot be read", header
        elif recording.both_sides and header.channels == 1:
            kind, problem = "calls with one channel", f"{recording.path} has one channel for both sides"
        elif recording.channel > header.channels:
            kind = "sides without a channel"
            problem = f"{recording.path} has no channel {recording.channel}, but {header.channels}"
        elif recording.start >= header.samples / header.rate:
            kind = "stretches after the end"
            problem = f"{recording.path} ends before {recording.start:g} s"
        if problem:
            self._report.warn(recording.corpus, kind, f"{recording.where}: {problem}; {recording.utterance} is skipped")
        elif header.channels > 1 and CATALOGUE[recording.corpus].part in (EVALUATION, UNLABELLED):
            message = f"{recording.path} has {header.channels} channels; the first is taken"
            self._report.warn(recording.corpus, "segments with several channels", message)
        elif recording.end is not None and recording.end > header.samples / header.rate + OVERSHOOT:
            message = f"{recording.where}: {recording.path} ends before {recording.end:g} s; it is taken to its end"
            self._report.warn(recording.corpus, "stretches that end after the file", message)
        return not problem

    def _note_rates(self, recordings: list[Recording]) -> None:
        counts: Counter[tuple[str, int]] = Counter()
        for corpus, path in {(recording.corpus, recording.path) for recording in recordings}:
            header = self._headers[path]
            if isinstance(header, AudioHeader) and header.rate != RATE:
                counts[corpus, header.rate] += 1
        for (corpus, rate), count in sorted(counts.items()):
            self._report.note(corpus, f"{count} files have {rate} Hz; vouch wav-cut resamples them to {RATE}")

    def check_decoder(self, recordings: list[Recording]) -> None:
        """Raise VouchError when files are compressed, and the program that decodes them is not there."""
        compressed = {(r.corpus, r.path) for r in recordings if self._headers[r.path].compressed}
        if compressed and not shutil.which("sph2pipe"):
            counts = Counter(corpus for corpus, _ in compressed)
            told = ", ".join(f"{count} of {corpus}" for corpus, count in sorted(counts.items()))
            raise VouchError(
                f"{len(compressed)} files are compressed sphere ({told}), e.g. {min(path for _, path in compressed)}, "
                "which only sph2pipe decodes: get sph2pipe_v2.5, a free tool of the LDC (its web pages, 'Tools'), "
                "compile it and put it on PATH"
            )

    def seconds(self, recording: Recording) -> float:
        """Duration of a usable recording."""
        header = self._headers[recording.path]
        whole = header.samples / header.rate
        return (whole if recording.end is None else min(recording.end, whole)) - recording.start

    def entry(self, recording: Recording) -> str:
        """What stands in wav.scp: the file where that is all, or a command that takes the channel and stretch of it."""
        header = self._headers[recording.path]
        file = shlex.quote(str(recording.path))
        options = [f"--start={recording.start:.10g}"] if recording.start else []
        if recording.end is not None and recording.end < header.samples / header.rate:
            options.append(f"--end={recording.end:.10g}")
        if header.rate != RATE:
            options.append(f"--sample-frequency={RATE}")
        if header.compressed:
            cut = f" vouch wav-cut {' '.join(options)} - - |" if options else ""
            return f"sph2pipe -f wav -p -c {recording.channel} {file} |{cut}"
        if header.channels > 1:
            options.insert(0, f"--channel={recording.channel}")
        return f"vouch wav-cut {' '.join(options)} {file} - |" if options else str(recording.path)
