#!/usr/bin/env python3
"""A miniature of every corpus that egs/sre16/v1 reads, with synthetic speakers: the same folders, names and formats.

    python3 tests/egs/sre16/miniature.py [--seed N] [--speakers N] [--seconds S] OUT

writes OUT/corpora.yaml and the folders it names. Three fifths of the speakers have Mixer numbers and speak in SRE04 to
SRE10 and Mixer 6, the others have Switchboard pins; each has 8 sides or more, of 0.8 to 1.25 times S seconds. The
speakers of SRE16 are others, in the second language and telephone channel of the embedded corpus. The bytes depend on
the options alone.

What is taken from where (K: Kaldi's egs/sre16/v1/local/*.pl, which names folders, tables and columns; L: the online
documentation of the LDC catalogue; columns that no reader uses are fillers):
  LDC2013S03      K make_mx6_mic.pl, make_mx6_calls.pl; L readme.txt: 14 microphones, 16 bits at 16 kHz (flac),
                  two-channel mu-law calls. Header lines in the csv files are a guess.
  SRE04, 05, 06   K make_sre.pl and OpenSLR 15 speaker_list (speaker gender source utterance channel); L: two-channel
                  mu-law sphere. SRE04 is PCM here, for the sake of variety. Folders below the root are a guess.
  SRE08           K make_sre08.pl: keys in LDC2011S08, audio there and in LDC2011S05.
  SRE10           K make_sre10.pl, in the folder eval/.
  Switchboard     K make_swbd2_phase{1,2,3}.pl, make_swbd_cellular{1,2}.pl; L CALLINFO.TXT of LDC99S79: file, date, pin,
                  channel, ..., a line a side.
  R149_0_1        K make_sre16_eval.pl, and public readers of LDC2019S20 for call_sides.tsv (call_id, call_side,
                  subject_id, phone_id) and subjects.tsv (subject_id, sex); one-channel a-law sphere at 8 kHz:
                  evaluation plan.
  LDC2016E46      K make_sre16_unlabeled.pl.
  musan, rirs     OpenSLR 17 and 28: 16 kHz wav below music, noise and speech; simulated_rirs/smallroom, mediumroom.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from vouch.synthesis.corpus import gender
from vouch.synthesis.studio import SOURCE as TRAIN
from vouch.synthesis.studio import TARGET, Studio
from vouch.synthesis.tract import RATE

SRE_0406 = {  # LDC number: (source in speaker_list, folder, first letter of the file names, coding)
    "LDC2006S44": ("sre2004", "tb01", "t", "pcm"),
    "LDC2011S01": ("sre2005", "data/train", "j", "ulaw"),
    "LDC2011S04": ("sre2005", "data/test", "k", "ulaw"),
    "LDC2011S09": ("sre2006", "data/train", "f", "ulaw"),
    "LDC2011S10": ("sre2006", "data/test", "g", "ulaw"),
    "LDC2012S01": ("sre2006", "data/test", "h", "ulaw"),
}
SUBTYPES = {"pcm": "PCM_16", "ulaw": "ULAW", "alaw": "ALAW"}
MICROPHONES = [f"{number:02d}" for number in range(1, 15)]
CELLS = [(language, sex) for language in ("tgl", "yue") for sex in ("m", "f")]
LONG, SHORT = (0.8, 1.25), (0.5, 0.9)  # least and most of a side, of the seconds asked for


class Side(NamedTuple):
    """One side of a call: whose, and what it is called in the data directory of the recipe."""

    speaker: int
    samples: np.ndarray


def write_sphere(path: Path, samples: np.ndarray, coding: str = "ulaw", rate: int = RATE) -> None:
    """A NIST sphere file of int16 (samples,) or (samples, channels), with the header fields of the LDC's."""
    samples = samples.reshape(len(samples), -1)
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format="RAW", subtype=SUBTYPES[coding], endian="LITTLE")
    width = 2 if coding == "pcm" else 1
    fields = [
        ("conversation_id", f"-s{len(path.stem)} {path.stem}"),
        ("channel_count", f"-i {samples.shape[1]}"),
        ("sample_count", f"-i {len(samples)}"),
        ("sample_rate", f"-i {rate}"),
        ("sample_n_bytes", f"-i {width}"),
        ("sample_byte_format", "-s2 01" if width == 2 else "-s1 1"),
        ("sample_sig_bits", f"-i {8 * width}"),
        ("sample_coding", f"-s{len(coding)} {coding}"),
    ]
    header = "NIST_1A\n   1024\n" + "".join(f"{name} {value}\n" for name, value in fields) + "end_head\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode().ljust(1024) + data.getvalue())


def write_call(path: Path, a: Side, b: Side, coding: str = "ulaw", rate: int = RATE) -> None:
    """Both sides, the shorter one filled up with near silence."""
    channels = np.random.default_rng(len(a.samples)).integers(
        -3, 4, (max(len(a.samples), len(b.samples)), 2), dtype=np.int16
    )
    for number, side in enumerate((a, b)):
        channels[: len(side.samples), number] = side.samples
    write_sphere(path, channels, coding, rate)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def pairs(speakers: Sequence[int], turn: int) -> Iterator[tuple[int, int]]:
    """An even number of speakers in pairs, others in every turn (the circle method of tournaments)."""
    turn %= len(speakers) - 1
    circle = [speakers[0], *speakers[turn + 1 :], *speakers[1 : turn + 1]]
    return zip(circle[: len(circle) // 2], reversed(circle[len(circle) // 2 :]), strict=True)


def letters(number: int) -> str:
    """aaa, aab, ..."""
    return "".join(chr(97 + number // 26**place % 26) for place in (2, 1, 0))


class Miniature:
    """Writes the corpora below `out`, each by a method of its own."""

    def __init__(self, out: Path, studio: Studio, speakers: int) -> None:
        self.out, self.studio = out, studio
        mixer = speakers * 3 // 10 * 2
        self.mixer, self.switchboard = list(range(mixer)), list(range(mixer, speakers))
        self.turn = 0
        self.paths: dict[str, str] = {}

    def root(self, number: str, folder: str = "") -> Path:
        """The folder of a corpus, which goes into corpora.yaml."""
        self.paths[number] = folder or number
        return self.out / self.paths[number]

    def calls(self, speakers: Sequence[int]) -> list[tuple[Side, Side]]:
        """A call of every two speakers."""
        self.turn += 1
        sides = pairs(speakers, self.turn)
        return [(Side(a, self.studio.say(TRAIN, a)), Side(b, self.studio.say(TRAIN, b))) for a, b in sides]

    def mixer_id(self, side: Side) -> str:
        return str(120101 + side.speaker)

    def pin(self, side: Side) -> str:
        return str(1201 + side.speaker)

    def write(self) -> None:
        self.write_sre04_to_06()
        self.write_sre08()
        self.write_sre10()
        self.write_mixer6_calls()
        self.write_mixer6_microphones()
        self.write_switchboard()
        self.write_sre16_unlabelled()
        self.write_sre16_evaluation()
        self.write_sre16_development()
        if self.studio.spoken:
            self.write_noises()
        write_lines(self.out / "corpora.yaml", [f"{number}: {path}" for number, path in self.paths.items()])

    def write_sre04_to_06(self) -> None:
        calls = self.calls(self.mixer) + self.calls(self.mixer)
        rows = []
        for index, (number, (source, folder, letter, coding)) in enumerate(SRE_0406.items()):
            root = self.root(number)
            for count, (a, b) in enumerate(calls[index::6]):
                stem = f"{letter}{letters(index * 26 + count)}"
                write_call(root / folder / f"{stem}.sph", a, b, coding)
                rows += [f"{self.mixer_id(s)} {gender(s.speaker)} {source} {stem} {c}" for s, c in ((a, "A"), (b, "B"))]
        self.paths["speaker_list"] = "SLR15/speaker_list"
        write_lines(self.out / "SLR15/speaker_list", rows)

    def write_sre08(self) -> None:
        test, train = self.root("LDC2011S08"), self.root("LDC2011S05")
        models, trials = [], []
        for count, (a, b) in enumerate(self.calls(self.mixer)):
            stem = f"t{letters(count)}m"
            write_call(train / "data/short2" / f"{stem}.sph", a, b)
            for side, channel in ((a, "a"), (b, "b")):
                model = 10001 + side.speaker
                models.append(f"{model},{gender(side.speaker)},{stem}:{channel},{self.mixer_id(side)}")
        for count, (a, b) in enumerate(self.calls(self.mixer) + self.calls(self.mixer)):
            stem = f"f{letters(count)}s"
            write_call(test / "data/short3" / f"{stem}.sph", a, b)
            for side, other, channel in ((a, b, "a"), (b, a, "b")):
                trials.append(f"{10001 + side.speaker},{stem},{channel},target,,,")
                trials.append(f"{10001 + other.speaker},{stem},{channel},nontarget,,,")
        keys = test / "data/keys/NIST_SRE08_KEYS.v0.1"
        write_lines(keys / "model-keys/NIST_SRE08_short2.model.key", models)
        write_lines(keys / "trial-keys/NIST_SRE08_short2-short3.trial.key", trials)

    def write_sre10(self) -> None:
        root = self.root("LDC2017S06") / "eval"
        models, train, trials = ["modelid,speakerid"], [], ["modelid,segment,channel,targettype"]
        for count, (a, b) in enumerate(self.calls(self.mixer)):
            stem = f"t{letters(count)}x"
            write_call(root / "data/phonecall/tel" / f"{stem}.sph", a, b)
            for side, channel in ((a, "A"), (b, "B")):
                model = 20001 + side.speaker
                models.append(f"{model},{self.mixer_id(side)}")
                train.append(f"{model} {gender(side.speaker)} data/phonecall/tel/{stem}.sph:{channel}")
        models.append("29999,NOT_SCORED")
        train.append(train[0].replace("20001", "29999"))
        for count, (a, b) in enumerate(self.calls(self.mixer) + self.calls(self.mixer)):
            stem = f"u{letters(count)}x"
            write_call(root / "data/phonecall/mic" / f"{stem}.sph", a, b, "pcm")
            for side, other, channel in ((a, b, "a"), (b, a, "b")):
                trials.append(f"{20001 + side.speaker},{stem},{channel},target")
                trials.append(f"{20001 + other.speaker},{stem},{channel},nontarget")
        write_lines(root / "keys/coreext.modelkey.csv", models)
        write_lines(root / "train/coreext.trn", train)
        write_lines(root / "keys/coreext-coreext.trialkey.csv", trials)

    def write_mixer6_calls(self) -> None:
        base = self.root("LDC2013S03") / "mx6_speech"
        rows = ["call_id,call_date,lang,dur,sid_a,age_a,ph_a,ch_a,noise_a,echo_a,qual_a,x_a,sid_b,age_b"]
        for count, (a, b) in enumerate(self.calls(self.mixer)):
            time, call = f"2009120{count % 9 + 1}_0916{count:02d}", 5301 + count
            write_call(base / f"data/ulaw_sphere/{call // 100}" / f"{time}_{call}.sph", a, b)
            rows.append(f"{call},{time},ENG,600,{self.mixer_id(a)},30,1,A,0,0,0,,{self.mixer_id(b)},40")
        write_lines(base / "docs/mx6_calls.csv", rows)
        subjects = [f"{self.mixer_id(Side(s, None))},{gender(s).upper()},1970,PA" for s in self.mixer]
        write_lines(base / "docs/mx6_subjs.csv", ["subject_id,sex,yob,state", *subjects])

    def write_mixer6_microphones(self) -> None:
        from scipy.signal import resample_poly

        base = self.out / self.paths["LDC2013S03"] / "mx6_speech"
        rows = ["session_id,c1,c2,c3,c4,c5,c6,iv_start,iv_end"]
        lead, tail = RATE // 2, RATE // 4
        for count, speaker in enumerate(self.mixer[:4]):
            session = f"2009070{count % 9 + 1}_1349{count:02d}_HRM_{120101 + speaker}"
            speech, rng = self.studio.speech(TRAIN, speaker, LONG)
            for microphone in MICROPHONES:
                heard = self.studio.record(speech, TRAIN, rng)
                whole = np.concatenate([np.zeros(lead), heard, np.zeros(tail)])
                samples = np.clip(resample_poly(whole, 2, 1), -32768, 32767).astype(np.int16)
                path = base / f"data/pcm_flac/CH{microphone}" / f"{session}_CH{microphone}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples, 2 * RATE, subtype="PCM_16")
            rows.append(f"{session},0,1,2,3,4,5,{lead / RATE:.2f},{(lead + len(speech)) / RATE:.2f}")
        write_lines(base / "docs/mx6_ivcomponents.csv", rows)

    def write_switchboard(self) -> None:
        """Two rounds of calls in each of the phases, one in each cellular part."""
        for number, first, rounds in (("LDC98S75", 10001, 2), ("LDC99S79", 11501, 2), ("LDC2002S06", 20001, 2)):
            calls = [call for _ in range(rounds) for call in self.calls(self.switchboard)]
            root = self.root(number)
            for count, (a, b) in enumerate(calls):
                write_call(root / f"data/disc{count % 2 + 1}" / f"sw_{first + count}.sph", a, b)
            write_lines(root / "docs/callstat.tbl", list(map(CALLSTAT[number], *self.columns(first, calls))))
            if number == "LDC99S79":
                info = [
                    f"sw_{first + n}.sph,9605{n + 1:02d},{self.pin(s)},{c},0,0,0,"
                    for n, call in enumerate(calls)
                    for s, c in zip(call, "AB", strict=True)
                ]
                write_lines(root / "docs/callinfo.tbl", info)
        for number, first in (("LDC2001S13", 40001), ("LDC2004S07", 45001)):
            calls = self.calls(self.switchboard)
            root = self.root(number)
            for count, (a, b) in enumerate(calls):
                write_call(root / f"data/sw_{first + count}.sph", a, b)
            write_lines(root / "docs/swb_callstats.tbl", list(map(CALLSTAT[number], *self.columns(first, calls))))

    def columns(self, first: int, calls: list[tuple[Side, Side]]) -> Iterator[tuple]:
        """Call numbers, pins and genders of a table."""
        rows = [
            (first + n, self.pin(a), self.pin(b), gender(a.speaker).upper(), gender(b.speaker).upper())
            for n, (a, b) in enumerate(calls)
        ]
        return zip(*rows, strict=True)

    def write_sre16_unlabelled(self) -> None:
        root = self.root("LDC2016E46", "LDC2016E46_SRE16_Call_My_Net_Training_Data") / "data/unlabeled"
        for part, first, speakers, each in (("major", 100, 10, 4), ("minor", 200, 5, 4)):
            for count in range(speakers * each):
                samples = self.studio.say(TARGET, first + count % speakers, SHORT)
                write_sphere(root / part / f"sre16_{part}_{letters(count)}.sph", samples, "alaw")

    def write_sre16_evaluation(self) -> None:
        self.write_trials(self.root("R149_0_1"), "eval", CELLS, 0)

    def write_sre16_development(self) -> None:
        """As the evaluation, in other languages, and the calls of all segments in one table."""
        root = self.out / "LDC2016E46_SRE16_Call_My_Net_Training_Data"
        cells = [({"tgl": "ceb", "yue": "cmn"}[language], sex) for language, sex in CELLS]
        self.write_trials(root, "dev", cells, 100)

    def write_noises(self) -> None:
        """MUSAN and RIRS_NOISES, as those at 16 kHz: made noises, music and rooms, and speech of others."""
        from vouch.cli.audio import make_noises, make_rooms

        common = ["--print-args=false", f"--seed={self.studio.seed}", "--sample-frequency=16000"]
        self.paths |= {"musan": "musan", "rirs": "RIRS_NOISES"}
        make_noises([*common, "--num=6", "--duration=5", str(self.out / "musan")])
        folder = self.out / "musan/speech/librivox"
        folder.mkdir(parents=True)
        for n in range(6):
            samples = self.studio.say(TRAIN, 900 + n)
            soundfile.write(folder / f"speech-librivox-{n:04d}.wav", samples.repeat(2), 2 * RATE, subtype="PCM_16")
        for kind in ("small", "medium"):
            rooms = self.out / f"RIRS_NOISES/simulated_rirs/{kind}room"
            make_rooms([*common, "--num=6", f"--kind={kind}", str(rooms)])

    def write_trials(self, root: Path, part: str, cells: Sequence[tuple[str, str]], first: int) -> None:
        """In each language and gender two subjects with a model, of one and of three segments, and one without; the
        first call of both is by the same telephone. first: what numbers and voices begin after."""
        tables: dict[str, list[str]] = {
            f"docs/sre16_{part}_enrollment.tsv": ["modelid\tsegment\tside"],
            f"docs/sre16_{part}_trial_key.tsv": ["modelid\tsegment\tside\ttargettype"],
            f"docs/sre16_{part}_segment_key.tsv": ["segment\tcall_id"],
            f"docs/sre16_{part}_enrollment_segment_key.tsv": ["segment\tcall_id"],
            "metadata/calls.tsv": ["call_id\tlanguage_id"],
            "metadata/call_sides.tsv": ["call_id\tcall_side\tsubject_id\tphone_id"],
            "metadata/subjects.tsv": ["subject_id\tsex\tyear_of_birth"],
        }
        enrollment, trials, test_key, enrollment_key, language_of, sides, subjects = tables.values()
        calls = segments = 10 * first
        for cell, (language, sex) in enumerate(cells):
            models, tests = [], []
            for person in range(3):
                subject, voice = 50001 + first + 3 * cell + person, 301 + first + 6 * cell + 2 * person + (sex == "m")
                subjects.append(f"{subject}\t{sex.upper()}\t1990")
                enrolled, tested = ((1, 7), (3, 7), (0, 1))[person]
                if enrolled:
                    models.append((f"{1001 + first + 2 * cell + person}_sre16", subject))
                for number in range(enrolled + tested):
                    calls, segments = calls + 1, segments + 1
                    shared = number in (0, enrolled) or (number == enrolled + 1 and person)
                    phone = 7001 + cell if shared else 7100 + calls
                    language_of.append(f"{90000 + calls}\t{language}")
                    sides.append(f"{90000 + calls}\tb\t{subject}\t{phone}")
                    segment = f"{letters(segments * 7 % 17576)}{letters(segments)}_sre16"
                    if number < enrolled:
                        enrollment.append(f"{models[-1][0]}\t{segment}\ta")
                        enrollment_key.append(f"{segment}\t{90000 + calls}")
                        folder, share = "enrollment", LONG
                    else:
                        test_key.append(f"{segment}\t{90000 + calls}")
                        tests.append((segment, subject))
                        folder, share = "test", SHORT
                    samples = self.studio.say(TARGET, voice, share)
                    write_sphere(root / "data" / folder / f"{segment}.sph", samples, "alaw")
            for model, subject in models:
                trials += [f"{model}\t{s}\ta\t{'target' if subject == o else 'nontarget'}" for s, o in tests]
        if part == "dev":
            test_key += tables.pop(f"docs/sre16_{part}_enrollment_segment_key.tsv")[1:]
        for name, lines in tables.items():
            write_lines(root / name, lines)


def _phase1(call: int, pin1: str, pin2: str, gender1: str, gender2: str) -> str:
    return f"sw_{call}.sph,960508,{pin1},{pin2},301,{gender1},{gender2},5"


def _phase2(call: int, pin1: str, pin2: str, gender1: str, gender2: str) -> str:
    return f"{call},970125,{pin1},{pin2},{gender1},{gender2},5"


def _phase3(call: int, pin1: str, pin2: str, gender1: str, gender2: str) -> str:
    return f"{call},971021,301,{pin1},{pin2},{gender1},{gender2},5"


def _cellular(call: int, pin1: str, pin2: str, gender1: str, gender2: str) -> str:
    return f"{call},{pin1},{pin2},{gender1},{gender2},GSM"


CALLSTAT = {
    "LDC98S75": _phase1,
    "LDC99S79": _phase2,
    "LDC2002S06": _phase3,
    "LDC2001S13": _cellular,
    "LDC2004S07": _cellular,
}


def make(out: Path, seed: int = 0, speakers: int = 20, seconds: float = 7.5, spoken: bool = True) -> Path:
    """Write the miniature below `out`; returns its corpora.yaml. Not spoken: noise, for tests that do not listen."""
    Miniature(out, Studio(seed, seconds, spoken), speakers).write()
    return out / "corpora.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all random draws (0)")
    parser.add_argument("--speakers", type=int, default=20, help="training speakers, a multiple of 10 (20)")
    parser.add_argument("--seconds", type=float, default=7.5, help="length of a side, 2 or more (7.5)")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.speakers < 10 or options.speakers % 10 or options.seconds < 2 or options.seed < 0:
        parser.error("want --speakers a multiple of 10, --seconds 2 or more, --seed 0 or more")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty; name a new folder")
    print(make(options.out, options.seed, options.speakers, options.seconds))


if __name__ == "__main__":
    main()
