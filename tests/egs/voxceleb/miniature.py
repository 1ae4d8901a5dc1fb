#!/usr/bin/env python3
"""A miniature of VoxCeleb1 and VoxCeleb2 with synthetic speakers: the folders, names and tables of the releases.

    python3 tests/egs/voxceleb/miniature.py [--layout NAME] [--format NAME] [options] OUT

writes OUT/voxceleb1 and OUT/voxceleb2, the published trial lists (O, O_clean, E, H) of VoxCeleb1 with its table of
speakers, and OUT/musan and OUT/RIRS_NOISES with made noises and rooms. Layouts of VoxCeleb1:
  ids        wav/id10001/VIDEO/00001.wav
  sets       dev/wav/..., test/wav/...
  archives   vox1_dev_wav/wav/..., vox1_test_wav/wav/...
  names      voxceleb1_wav/A._Miniature/VIDEO_0000001.wav, as the first release; its lists have these names
  nested     voxceleb1_wav/A._Miniature/VIDEO/0000001.wav, the same
Formats of VoxCeleb2, dev and test: m4a in aac/ (needs ffmpeg), wav, flac. Three tenths of the N speakers are those of
VoxCeleb1 dev, a tenth of VoxCeleb2 test, the others of VoxCeleb2 dev; SPEAKERS_O more are tested. Sample rate 16 kHz;
utterances are of 0.8 to 1.25 times S seconds. The bytes depend on the options alone.

From: the readme files and tables on the corpus's web pages, and Kaldi's egs/voxceleb (names of the first release).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample_poly

from vouch.synthesis.corpus import gender
from vouch.synthesis.studio import SOURCE, Studio

RATE = 16000
SPEAKERS_O = 6  # of VoxCeleb1's test set
LAYOUTS = {  # path of a file of VoxCeleb1
    "ids": "wav/{id}/{video}/{number:05d}.wav",
    "sets": "{set}/wav/{id}/{video}/{number:05d}.wav",
    "archives": "vox1_{set}_wav/wav/{id}/{video}/{number:05d}.wav",
    "names": "voxceleb1_wav/{name}/{video}_{number:07d}.wav",
    "nested": "voxceleb1_wav/{name}/{video}/{number:07d}.wav",
}
FORMATS = {"m4a": "aac", "wav": "wav", "flac": "flac"}  # folder
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"))
NATIONS = ("New Zealand", "USA")
LISTS = {"O": "veri_test.txt", "O_clean": "veri_test2.txt", "E": "list_test_all.txt", "H": "list_test_hard.txt"}


class Speaker(NamedTuple):
    """number: of the voice; set: dev or test."""

    number: int
    id: str
    name: str
    set: str

    @property
    def nation(self) -> str:
        return NATIONS[self.number // 2 % 2]


class Utterance(NamedTuple):
    speaker: Speaker
    video: str
    number: int


def speakers_of(dev: int, test: int, first: int, ids: tuple[int, int], initials: tuple[str, str]) -> list[Speaker]:
    """Those of a corpus; ids: of the first speaker of dev and of test."""
    people = []
    for name, count, start, initial in zip(("dev", "test"), (dev, test), ids, initials, strict=True):
        for n in range(count):
            people.append(Speaker(first + len(people), f"id{start + n:05d}", f"{initial}._Miniature_{n + 1}", name))
    return people


class Miniature:
    """Writes the corpora below `out`, each by a method of its own."""

    def __init__(self, out: Path, studio: Studio, speakers: int, utterances: int) -> None:
        self.out, self.studio, self.utterances = out, studio, utterances
        older, newest = max(1, speakers * 3 // 10), max(1, speakers // 10)
        self.one = speakers_of(older, SPEAKERS_O, 0, (10001, 10270), ("A", "E"))
        self.two = speakers_of(speakers - older - newest, newest, 100, (12, 9001), ("n", "n"))

    def said_by(self, speaker: Speaker) -> Iterable[Utterance]:
        """Utterances in two videos, the names of which may begin with a dash."""
        rng = np.random.default_rng([self.studio.seed, speaker.number])
        videos = ["".join(rng.choice(LETTERS, 11)) for _ in range(2)]
        videos[0] = f"-{videos[0][1:]}" if speaker.number % 3 == 0 else videos[0]
        return [Utterance(speaker, videos[n % 2], n // 2 + 1) for n in range(self.utterances)]

    def write_wave(self, path: Path, speaker: Speaker) -> None:
        samples = resample_poly(self.studio.say(SOURCE, speaker.number).astype(float), 2, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples.clip(-32768, 32767).astype(np.int16), RATE, subtype="PCM_16")

    def write_voxceleb1(self, layout: str) -> None:
        root = self.out / "voxceleb1"
        for speaker in self.one:
            for said in self.said_by(speaker):
                self.write_wave(root / LAYOUTS[layout].format(**speaker._asdict() | said._asdict()), speaker)
        rows = [f"{s.id}\t{s.name}\t{gender(s.number)}\t{s.nation}\t{s.set}" for s in self.one]
        write_lines(root / "vox1_meta.csv", ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet", *rows])
        for name, trials in self.trials().items():
            write_lines(root / LISTS[name], [self.trial(a, b, layout in ("names", "nested")) for a, b in trials])

    def trials(self) -> dict[str, list[tuple[Utterance, Utterance]]]:
        """All pairs of the test set, its cleaned part, pairs of all speakers, and of one gender and nation."""
        all_of = [said for speaker in self.one for said in self.said_by(speaker)]
        tested = list(combinations([said for said in all_of if said.speaker.set == "test"], 2))
        pairs = list(combinations(all_of, 2))
        hard = [(a, b) for a, b in pairs if (a.speaker.number - b.speaker.number) % 4 == 0]
        return {"O": tested, "O_clean": tested[:-5], "E": pairs[::2], "H": hard}

    @staticmethod
    def trial(a: Utterance, b: Utterance, first_release: bool) -> str:
        """A line of a list in the form of the first release or of the second."""
        files = [
            f"{s.speaker.name}/{s.video}/{s.number:07d}.wav" if first_release else
            f"{s.speaker.id}/{s.video}/{s.number:05d}.wav"
            for s in (a, b)
        ]  # fmt: skip
        return f"{int(a.speaker == b.speaker)} {files[0]} {files[1]}"

    def write_voxceleb2(self, ending: str) -> None:
        root = self.out / "voxceleb2"
        for speaker in self.two:
            for said in self.said_by(speaker):
                folder = root / speaker.set / FORMATS[ending] / speaker.id / said.video
                path = folder / f"{said.number:05d}.{ending}"
                self.write_wave(path if ending != "m4a" else path.with_suffix(".wav"), speaker)
                if ending == "m4a":
                    encode(path.with_suffix(".wav"), path)
        rows = [f"{s.id} ,n{s.number:06d} ,{gender(s.number)} ,{s.set} " for s in self.two]
        write_lines(root / "vox2_meta.csv", ["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set ", *rows])

    def write_noises(self) -> None:
        """MUSAN and RIRS_NOISES: generated noises, music and rooms, and speech of others."""
        from vouch.cli.audio import make_noises, make_rooms

        common = ["--print-args=false", f"--seed={self.studio.seed}"]
        make_noises([*common, "--num=8", "--duration=5", str(self.out / "musan")])
        for n in range(8):
            speaker = Speaker(200 + n, "", "", "")
            self.write_wave(self.out / f"musan/speech/librivox/speech-librivox-{n:04d}.wav", speaker)
        for kind in ("small", "medium"):
            rooms = self.out / f"RIRS_NOISES/simulated_rirs/{kind}room"
            make_rooms([*common, "--num=6", f"--kind={kind}", str(rooms)])


def encode(wave: Path, path: Path) -> None:
    """Turn a wav file into m4a."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(wave), "-c:a", "aac", str(path)]
    subprocess.run(command, check=True)
    wave.unlink()


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def make(
    out: Path, layout: str = "sets", ending: str = "wav", speakers: int = 20, utterances: int = 8, *,
    seconds: float = 4.0, seed: int = 0, spoken: bool = True
) -> None:  # fmt: skip
    """Write the miniature below `out`. Not spoken: noise, for tests that do not listen, without MUSAN and rooms."""
    miniature = Miniature(out, Studio(seed, seconds, spoken), speakers, utterances)
    miniature.write_voxceleb1(layout)
    miniature.write_voxceleb2(ending)
    if spoken:
        miniature.write_noises()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=LAYOUTS, default="sets", help="of VoxCeleb1 (sets)")
    parser.add_argument("--format", choices=FORMATS, default="wav", help="of VoxCeleb2 (wav)")
    parser.add_argument("--speakers", type=int, default=20, help="training speakers, 10 or more (20)")
    parser.add_argument("--utterances", type=int, default=8, help="of each speaker, 4 or more (8)")
    parser.add_argument("--seconds", type=float, default=4.0, help="usual length of an utterance, 1 or more (4)")
    parser.add_argument("--seed", type=int, default=0, help="of all random draws (0)")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.speakers < 10 or options.utterances < 4 or options.seconds < 1 or options.seed < 0:
        parser.error("want --speakers 10, --utterances 4, --seconds 1 and --seed 0, or more")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty; name a new folder")
    ending = options.format
    if ending == "m4a" and not shutil.which("ffmpeg"):
        print("miniature.py: ffmpeg, which makes m4a, is not on PATH: VoxCeleb2 is written as wav")
        ending = "wav"
    counts = options.speakers, options.utterances
    make(options.out, options.layout, ending, *counts, seconds=options.seconds, seed=options.seed)


if __name__ == "__main__":
    main()
