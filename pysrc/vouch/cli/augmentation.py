"""`vouch augment-data-dir`: a copy of a data directory whose wav.scp adds rooms, noises or another speed by pipes.

Choices and defaults are those of Kaldi's steps/data/augment_data_dir.py and reverberate_data_dir.py as egs/sre16/v2
calls them.
"""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

SNRS = {"noise": "15:10:5:0", "music": "15:10:8:5", "babble": "20:17:15:13"}

# (recording, random numbers) -> the tool and its options
Plan = Callable[[str, random.Random], list[str]]


def augment_data_dir(argv: list[str]) -> None:
    """Write an augmented copy of a data directory."""
    parser = ToolOptions(
        "augment-data-dir",
        "--type=TYPE [options] SOURCE_DIR DESTINATION_DIR",
        "Writes a data directory whose wav.scp takes the recordings of SOURCE_DIR through `vouch wav-reverberate` or "
        "`vouch wav-speed`. reverb: a random impulse response. noise: noises one after the other. music: one piece "
        "below the whole recording. babble: other speakers of SOURCE_DIR, or of --noises, below the whole recording. "
        "These keep the speakers and end the utterance ids in -TYPE. speed: utterances and speakers are new ones, with "
        "the prefix spFACTOR-. Choices depend on --seed and the recording only. utt2uniq names the original utterance. "
        "Durations come from utt2dur, which is made in SOURCE_DIR where it is missing.",
        (2, 2),
    )
    parser.add("type", "", "what to do", choices=("reverb", "noise", "music", "babble", "speed"))
    parser.add("rirs", "", "impulse responses: a list `KEY FILE` or a folder of recordings (reverb)")
    parser.add("noises", "", "recordings to add: a list `KEY FILE` or a folder (noise, music, babble)")
    parser.add("snrs", "", "signal-to-noise ratios in dB; empty: noise 15:10:5:0, music 15:10:8:5, babble 20:17:15:13")
    parser.add("interval", 1.0, "seconds between two noises (noise)")
    parser.add("num-talkers", "3:4:5:6:7", "numbers of other speakers (babble)")
    parser.add("factor", 0.9, "speed factor (speed)")
    parser.add("seed", 0, "seed of the choices")
    options, (source, destination) = parser.parse(argv)
    if not options.type:
        raise VouchError("--type is needed: one of reverb, noise, music, babble, speed")
    if Path(source).resolve() == Path(destination).resolve():
        raise VouchError(f"source and destination are both {source}; give another destination")
    count = _augment(Path(source), Path(destination), options)
    log(f"Wrote {count} recordings ({options.type}) to {destination}")


def _augment(source: Path, destination: Path, options: SimpleNamespace) -> int:
    from vouch.io.datadir import read_bytes, require_directory, staged_directory, tidy_lines
    from vouch.io.streams import open_output

    require_directory(source)
    lines = tidy_lines(read_bytes(source / "wav.scp"), "wav.scp")
    recordings = dict(os.fsdecode(line).split(" ", 1) for line in _with_value(source / "wav.scp", lines))
    plan = _plan(source, recordings, options)
    prefix, suffix = (f"sp{options.factor:g}-", "") if options.type == "speed" else ("", f"-{options.type}")
    renamed = sorted((os.fsencode(f"{prefix}{recording}{suffix}"), recording) for recording in recordings)
    with staged_directory(destination) as stage:
        with open_output(str(stage / "wav.scp")) as file:
            for key, recording in renamed:
                rng = random.Random(f"{options.seed} {options.type} {recording}")
                file.write(key + os.fsencode(f" {_pipe(recordings[recording], plan(recording, rng))}\n"))
        _write_lists(source, stage, prefix.encode(), suffix.encode(), options)
    return len(renamed)


def _with_value(path: Path, lines: list[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines, 1):
        if b" " not in line:
            raise VouchError(f"{path}:{number}: '{os.fsdecode(line)}' is not KEY FILE; mend the line")
        yield line


def _pipe(rxfilename: str, command: list[str]) -> str:
    """The recording through a `vouch` tool, as an entry of wav.scp."""
    words = " ".join(["vouch", *map(shlex.quote, command)])
    if rxfilename.endswith("|"):
        return f"{rxfilename[:-1].rstrip()} | {words} - - |"
    return f"{words} {shlex.quote(rxfilename)} - |"


# --- what to do with a recording --------------------------------------------------------------------------------------


def _plan(source: Path, recordings: dict[str, str], options: SimpleNamespace) -> Plan:
    if options.type == "speed":
        if not 0.1 <= options.factor <= 10 or options.factor == 1:
            raise VouchError(f"--factor must be from 0.1 to 10 and not 1, not {options.factor:g}")
        return lambda recording, rng: ["wav-speed", f"--factor={options.factor:g}"]
    from vouch.io.wave_tables import list_recordings

    if options.type == "reverb":
        responses = list(list_recordings(options.rirs, "--rirs").values())
        return lambda recording, rng: ["wav-reverberate", f"--impulse-response={rng.choice(responses)}"]
    snrs = _numbers(options.snrs or SNRS[options.type], "--snrs")
    if options.type == "noise":
        return _noise_plan(source, recordings, snrs, options)
    if options.type == "music":
        music = _without_commas(list(list_recordings(options.noises, "--noises").values()))
        return lambda recording, rng: _repeated([rng.choice(music)], snrs, rng)
    counts = [int(count) for count in _numbers(options.num_talkers, "--num-talkers")]
    if min(counts) < 1:
        raise VouchError(f"--num-talkers must be at least 1, not '{options.num_talkers}'")
    talker = _talkers(source, recordings, options)
    return lambda recording, rng: _repeated([talker(recording, rng) for _ in range(rng.choice(counts))], snrs, rng)


def _noise_plan(source: Path, recordings: dict[str, str], snrs: list[float], options: SimpleNamespace) -> Plan:
    """Noises one after the other over the whole recording, with a pause between."""
    from vouch.cli.wave_commands import WaveCache
    from vouch.io.wave_tables import list_recordings

    if options.interval < 0:
        raise VouchError(f"--interval must not be negative, not {options.interval:g}")
    reader = WaveCache()
    noises = []
    for name in _without_commas(list(list_recordings(options.noises, "--noises").values())):
        wave = reader.read(name)
        noises.append((name, wave.samples.shape[1] / wave.rate))
    durations = _durations(source, recordings)

    def plan(recording: str, rng: random.Random) -> list[str]:
        names, starts, time = [], [], 0.0
        while time < durations[recording]:
            name, duration = rng.choice(noises)
            names.append(name)
            starts.append(round(time, 3))
            time += duration + options.interval
        return _add(names, starts, snrs, rng)

    return plan


def _talkers(source: Path, recordings: dict[str, str], options: SimpleNamespace) -> Plan:
    """A function (recording, random numbers) -> a recording of somebody else."""
    from vouch.io.wave_tables import list_recordings

    if options.noises:
        names = _without_commas(list(list_recordings(options.noises, "--noises").values()))
        return lambda recording, rng: rng.choice(names)
    speaker_of = _recording_speakers(source, recordings)
    recordings_of: dict[str, list[str]] = {}
    for recording, name in zip(recordings, _without_commas(list(recordings.values())), strict=True):
        recordings_of.setdefault(speaker_of[recording], []).append(name)
    speakers = sorted(recordings_of)
    if len(speakers) < 2:
        raise VouchError(f"{source} has one speaker, so there are no others for babble; give --noises")
    place = {speaker: number for number, speaker in enumerate(speakers)}

    def talker(recording: str, rng: random.Random) -> str:
        other = rng.randrange(len(speakers) - 1)
        other += other >= place[speaker_of[recording]]
        return rng.choice(recordings_of[speakers[other]])

    return talker


def _repeated(names: list[str], snrs: list[float], rng: random.Random) -> list[str]:
    return [*_add(names, [0.0] * len(names), snrs, rng), "--repeat-additive-signals=true"]


def _add(names: list[str], starts: list[float], snrs: list[float], rng: random.Random) -> list[str]:
    return [
        "wav-reverberate",
        f"--additive-signals={','.join(names)}",
        f"--start-times={','.join(f'{start:g}' for start in starts)}",
        f"--snrs={','.join(f'{rng.choice(snrs):g}' for _ in names)}",
    ]


# --- what is there ----------------------------------------------------------------------------------------------------


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(number) for number in text.split(":")]
    except ValueError:
        raise VouchError(f"{option} takes numbers separated by colons, not '{text}'") from None


def _without_commas(names: list[str]) -> list[str]:
    for name in names:
        if "," in name:
            raise VouchError(f"'{name}' has a comma, which separates noises for wav-reverberate; rename the file")
    return names


def _durations(source: Path, recordings: dict[str, str]) -> dict[str, float]:
    """Seconds of each recording: of utt2dur, or with segments up to the end of the last segment."""
    from vouch.io.datadir import read_pairs
    from vouch.io.durations import has_utt2dur, write_utt2dur

    if (source / "segments").is_file():
        durations = dict.fromkeys(recordings, 0.0)
        for where, (_, recording, _, end) in _segments(source):
            if recording not in durations:
                raise VouchError(f"{where}: recording '{recording}' is not in wav.scp; run fix_data_dir.sh {source}")
            durations[recording] = max(durations[recording], _seconds(end, where))
        return durations
    if not has_utt2dur(source):
        log(f"{source} has no utt2dur; making it")
        write_utt2dur(source)
    keys, values = read_pairs(source / "utt2dur")
    where = f"{source}/utt2dur"
    durations = {os.fsdecode(key): _seconds(value, where) for key, value in zip(keys, values, strict=True)}
    _require_all(recordings, durations, source, "utt2dur")
    return durations


def _recording_speakers(source: Path, recordings: dict[str, str]) -> dict[str, str]:
    """The speaker of each recording; with segments, of its first segment."""
    from vouch.io.datadir import read_utt2spk

    utterances, speakers = read_utt2spk(source)
    speaker_of = {os.fsdecode(key): os.fsdecode(value) for key, value in zip(utterances, speakers, strict=True)}
    if (source / "segments").is_file():
        of_utterance, speaker_of = speaker_of, {}
        for where, (utterance, recording, _, _) in _segments(source):
            if utterance not in of_utterance:
                raise VouchError(f"{where}: utterance '{utterance}' is not in utt2spk; run fix_data_dir.sh {source}")
            speaker_of.setdefault(recording, of_utterance[utterance])
    _require_all(recordings, speaker_of, source, "utt2spk")
    return speaker_of


def _seconds(text: str | bytes, where: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise VouchError(f"{where}: '{os.fsdecode(text)}' is not a time in seconds; mend the line")
    return seconds


def _segments(source: Path) -> Iterator[tuple[str, list[str]]]:
    from vouch.io.tables import read_token_lines

    for number, fields in enumerate(read_token_lines(str(source / "segments"), (4, 4)), 1):
        yield f"{source}/segments:{number}", fields


def _require_all(recordings: dict[str, str], known: dict[str, object], source: Path, name: str) -> None:
    for recording in recordings:
        if recording not in known:
            raise VouchError(f"{source}/{name} lacks '{recording}' of wav.scp; run fix_data_dir.sh {source}")


# --- the other files of the directory ---------------------------------------------------------------------------------


def _write_lists(source: Path, stage: Path, prefix: bytes, suffix: bytes, options: SimpleNamespace) -> None:
    from vouch.io.datadir import present_files, read_bytes, read_utt2spk, spk2utt_lines, tidy_lines, write_lines

    slower = 1 / options.factor if options.type == "speed" else 1.0

    def new(utterance: bytes) -> bytes:
        return prefix + utterance + suffix

    pairs = sorted((new(utterance), prefix + speaker) for utterance, speaker in zip(*read_utt2spk(source), strict=True))
    write_lines(stage / "utt2spk", [b" ".join(pair) for pair in pairs])
    write_lines(stage / "spk2utt", spk2utt_lines(*map(list, zip(*pairs, strict=True))))
    for name in present_files(source, ("text", "utt2lang", "utt2dur", "reco2dur", "segments", "utt2uniq")):
        lines = []
        for number, line in enumerate(tidy_lines(read_bytes(source / name), name), 1):
            key, _, rest = line.partition(b" ")
            where = f"{source / name}:{number}"
            if name in ("utt2dur", "reco2dur"):
                rest = b"%.5f" % (_seconds(rest, where) * slower)
            elif name == "segments":
                recording, *times = rest.split()
                rest = b" ".join([new(recording), *(b"%.5f" % (_seconds(time, where) * slower) for time in times)])
            lines.append(new(key) + b" " + rest)
        write_lines(stage / name, sorted(lines))
    if not (source / "utt2uniq").is_file():
        utterances = read_utt2spk(source)[0]
        write_lines(stage / "utt2uniq", sorted(new(utterance) + b" " + utterance for utterance in utterances))
    for name in present_files(source, ("spk2gender",)):
        lines = tidy_lines(read_bytes(source / name), name)
        write_lines(stage / name, sorted(prefix + line for line in lines))
