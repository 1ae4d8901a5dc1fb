"""Which files can be used, and the entries of wav.scp that read them at 16 kHz with one channel."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vouch.corpora.headers import THREADS, in_threads, try_header
from vouch.corpora.report import Report
from vouch.errors import VouchError
from vouch.io.audio_header import AudioHeader
from vox.decoding import RATE, decode_files, decoded_name, need_ffmpeg
from vox.m4a import m4a_problem
from vox.release import Release

MOST_LOST = 0.05  # share of the files that may be unreadable
SHORTEST = 0.1  # seconds
FFMPEG = "ffmpeg -nostdin -v error -i {} -f wav -acodec pcm_s16le -ac 1 -ar 16000 - |"


class Audio:
    """The chosen utterances of a release: files that are damaged are warned of and leave `release.files`.

    decode_to: folder of the decoded m4a, or None: they are read through ffmpeg; threads: how many ffmpeg at a time.
    """

    def __init__(self, report: Report, check_headers: bool, decode_to: Path | None, threads: int) -> None:
        self._report, self._check, self._decode_to, self._threads = report, check_headers, decode_to, threads
        self._odd: dict[str, tuple[int, int]] = {}  # channels and rate of what is not 16 kHz and mono

    def use(self, release: Release, utterances: list[str]) -> None:
        """Read the headers of these, or decode them; raises VouchError when m4a needs ffmpeg, and it is not there."""
        packed = [utterance for utterance in utterances if _is_m4a(release.files[utterance])]
        if packed and self._decode_to is not None:
            names = {utterance: release.files[utterance] for utterance in packed}
            lost = decode_files(release.corpus, release.root, names, self._decode_to, self._threads, self._report)
            self._drop(release, lost)
            utterances = [utterance for utterance in utterances if not _is_m4a(release.files.get(utterance, ".m4a"))]
        elif packed:
            need_ffmpeg(release.corpus, len(packed), release.path(packed[0]))
        if self._check and utterances:
            self._read_headers(release, utterances)

    def entry(self, release: Release, utterance: str) -> str:
        """What stands in wav.scp."""
        path = release.path(utterance)
        if _is_m4a(path):
            if self._decode_to is None:
                return FFMPEG.format(shlex.quote(path))
            return str(self._decode_to / decoded_name(release.files[utterance]))
        channels, rate = self._odd.get(utterance, (1, RATE))
        options = ["--channel=1"] if channels > 1 else []
        if rate != RATE:
            options.append(f"--sample-frequency={RATE}")
        return f"vouch wav-cut {' '.join(options)} {shlex.quote(path)} - |" if options else path

    def _read_headers(self, release: Release, utterances: list[str]) -> None:
        from tqdm import tqdm

        headers = in_threads(_try, (release.path(utterance) for utterance in utterances), THREADS)
        found = tqdm(headers, "headers", len(utterances), unit="file", disable=None, leave=False)
        lost = []
        for utterance, header in zip(utterances, found, strict=True):
            if isinstance(header, AudioHeader) and header.samples < SHORTEST * header.rate:
                seconds = header.samples / header.rate
                header = f"{release.path(utterance)} lasts {seconds:.4f} s, less than {SHORTEST} s"
            if isinstance(header, str):
                message = f"{header}; {utterance} is left out"
                self._report.warn(release.corpus, "files that cannot be read", message)
                lost.append(utterance)
            elif header is not None and (header.channels, header.rate) != (1, RATE):
                self._odd[utterance] = header.channels, header.rate
        if len(lost) > MOST_LOST * len(utterances):
            raise VouchError(
                f"{release.corpus}: {len(lost)} of {len(utterances)} files cannot be read, more than {MOST_LOST:.0%} "
                f"(warnings above and in {self._report.file}); is all of the disk there? Mend the corpus and run again"
            )
        self._drop(release, lost)
        odd = [self._odd[utterance] for utterance in utterances if utterance in self._odd]
        for line in _odd_lines(odd):
            self._report.note(release.corpus, line)

    @staticmethod
    def _drop(release: Release, utterances: list[str]) -> None:
        for utterance in utterances:
            del release.files[utterance]


def _odd_lines(odd: list[tuple[int, int]]) -> Iterator[str]:
    for rate, count in sorted(Counter(rate for _, rate in odd if rate != RATE).items()):
        yield f"{count} files have {rate} Hz; vouch wav-cut resamples them to {RATE}"
    several = sum(channels > 1 for channels, _ in odd)
    if several:
        yield f"{several} files have several channels; vouch wav-cut takes the first"


def _is_m4a(path: str) -> bool:
    return path.lower().endswith(".m4a")


def _try(path: str) -> AudioHeader | str | None:
    """The header, what is wrong, or None of m4a where nothing is."""
    return (m4a_problem(path) or None) if _is_m4a(path) else try_header(path)
