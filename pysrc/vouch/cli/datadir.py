"""The data-directory tools: Kaldi's utils/*.sh under the same names and options."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError


def _validate_options(tool: str, usage: str, args: tuple[int, int]) -> ToolOptions:
    options = ToolOptions(
        tool,
        usage,
        "Checks that the files of a Kaldi data directory are sorted (C order), well formed and about the same\n"
        "utterances and speakers. Prints a line for each problem: file, line, reason, fix; exits 1 if there is one.",
        args,
    )
    options.add("no-feats", False, "feats.scp need not exist (it is checked if it does)")
    options.add("no-text", False, "text need not exist (it is checked if it does)")
    options.add("no-wav", False, "wav.scp need not exist (it is checked if it does)")
    options.add("no-spk-sort", False, "utt2spk need not be sorted by speaker as well as by utterance")
    options.add("non-print", False, "text may hold control characters")
    options.add("check-audio", False, "check that the audio files of wav.scp exist on disk")
    return options


def _checks(options: SimpleNamespace) -> dict[str, bool]:
    return {
        "feats": not options.no_feats,
        "text": not options.no_text,
        "wav": not options.no_wav,
        "speaker_sorted": not options.no_spk_sort,
        "printable": not options.non_print,
        "audio": options.check_audio,
    }


def validate(argv: list[str]) -> int | None:
    options, (directory,) = _validate_options("validate-data-dir", "[options] DATA_DIR", (1, 1)).parse(argv)
    from vouch.io.datadir_check import check_data_dir

    report = check_data_dir(Path(directory), **_checks(options))
    for message in report.warnings:
        warn(message)
    for message in report.problems():
        print(message, file=sys.stderr)
    if report.count:
        problems = "1 problem" if report.count == 1 else f"{report.count} problems"
        raise VouchError(f"{directory} is not a valid data directory: {problems}, see above")
    log(f"{directory} is a valid data directory: {report.utterances} utterances, {report.speakers} speakers")
    return 0


def fix(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "fix-data-dir",
        "[options] DATA_DIR",
        "Sorts the files of a data directory (C order), merges equal lines, keeps the utterances that all files\n"
        "have, and makes spk2utt from utt2spk. The files that change are kept in DATA_DIR/.backup.",
        (1, 1),
    )
    tool.add("utt-extra-files", "", "further files to filter by utterance, separated by spaces")
    tool.add("spk-extra-files", "", "further files to filter by speaker, separated by spaces")
    options, (directory,) = tool.parse(argv)
    from vouch.io.datadir_fix import fix_data_dir

    for line in fix_data_dir(Path(directory), options.utt_extra_files.split(), options.spk_extra_files.split()):
        log(line)
    return 0


def combine(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "combine-data",
        "[options] DEST_DIR SOURCE_DIR...",
        "Merges data directories. A file is combined when every source has it; utt2uniq and segments are made up\n"
        "for a source that lacks them (segments from its utt2dur).",
        (2, None),
    )
    tool.add("extra-files", "", "further files to merge, separated by spaces")
    tool.add("skip-fix", False, "do not fix the result as fix-data-dir does")
    options, (destination, *sources) = tool.parse(argv)
    from vouch.io.datadir_derive import combine_data_dirs

    paths = [Path(source) for source in sources]
    for line in combine_data_dirs(Path(destination), paths, options.extra_files.split(), fix=not options.skip_fix):
        log(line)
    return 0


def copy(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "copy-data-dir",
        "[options] SOURCE_DIR DEST_DIR",
        "Copies a data directory, with other utterance and speaker ids if asked. Recording ids stay where there is\n"
        "a segments file; in trials the test utterances change and the enrollment models stay.",
        (2, 2),
    )
    tool.add("utt-prefix", "", "put before every utterance id")
    tool.add("utt-suffix", "", "put behind every utterance id")
    tool.add("spk-prefix", "", "put before every speaker id")
    tool.add("spk-suffix", "", "put behind every speaker id")
    tool.add("validate-opts", "", "options of validate-data-dir for the copy, such as --no-spk-sort")
    options, (source, destination) = tool.parse(argv)
    for name in ("utt_prefix", "utt_suffix", "spk_prefix", "spk_suffix"):
        if getattr(options, name).split() not in ([], [getattr(options, name)]):
            raise VouchError(f"--{name.replace('_', '-')} must not hold white space")
    checker = _validate_options("validate-data-dir", "[options]", (0, 0))
    checks, _ = checker.parse(["--print-args=false", *shlex.split(options.validate_opts)])
    present = {"feats": "no-feats", "text": "no-text", "wav": "no-wav"}
    from vouch.io.datadir_derive import copy_data_dir

    count = copy_data_dir(
        Path(source),
        Path(destination),
        utterance_affixes=(options.utt_prefix, options.utt_suffix),
        speaker_affixes=(options.spk_prefix, options.spk_suffix),
        validate={check: value for check, value in _checks(checks).items() if check not in present or not value},
    )
    log(f"copied {count} utterances from {source} to {destination}")
    return 0


def subset(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "subset-data-dir",
        "[--random|--speakers|--shortest|--first|--last|--per-spk] SOURCE_DIR N DEST_DIR\n"
        "       vouch subset-data-dir --utt-list=FILE|--spk-list=FILE SOURCE_DIR DEST_DIR",
        "Writes a data directory with N utterances of another, evenly spread over it unless an option says which.",
        (2, 3),
    )
    tool.add("random", False, "N randomly chosen utterances")
    tool.add("speakers", False, "randomly chosen whole speakers, until there are N utterances")
    tool.add("shortest", False, "the N shortest utterances, by utt2num_frames or utt2dur")
    tool.add("first", False, "the first N utterances")
    tool.add("last", False, "the last N utterances")
    tool.add("per-spk", False, "N utterances of each speaker, where it has as many")
    tool.add("utt-list", "", "the utterances in this file (first field of each line)")
    tool.add("spk-list", "", "the speakers in this file (first field of each line)")
    tool.add("seed", 0, "of the random choice of --random and --speakers")
    options, args = tool.parse(argv)
    ways = [
        way
        for way in ("random", "speakers", "shortest", "first", "last", "per-spk", "utt-list", "spk-list")
        if getattr(options, way.replace("-", "_"))
    ]
    if len(ways) > 1:
        raise VouchError(f"--{ways[0]} and --{ways[1]} exclude each other; give one")
    way = ways[0] if ways else "evenly"
    by_list = way.endswith("-list")
    if len(args) != (2 if by_list else 3):
        raise VouchError(f"got {len(args)} arguments; usage: vouch {tool.tool} {' or '.join(tool.usage.splitlines())}")
    from vouch.io.datadir import read_utt2spk
    from vouch.io.datadir_derive import choose_utterances, distribute

    source, destination = Path(args[0]), Path(args[-1])
    if destination.exists() and source.resolve() == destination.resolve():
        raise VouchError(f"{destination}: is both source and destination; give another destination")
    if by_list:
        file = options.utt_list or options.spk_list
        wanted = _read_ids(file)
        utterances, speakers = read_utt2spk(source)
        unknown = wanted - set(utterances if way == "utt-list" else speakers)
        if unknown:
            first = min(unknown).decode(errors="backslashreplace")
            warn(f"{file}: {len(unknown)} of {len(wanted)} ids are not in {source}/utt2spk (first '{first}')")
        chosen = choose_utterances(source, way, wanted=wanted)
    else:
        chosen = choose_utterances(source, way, _count(args[1], "utterances"), seed=options.seed)
    for message in distribute(source, [chosen], [destination]):
        warn(message)
    log(f"{destination}: {len(chosen)} utterances of {source}")
    return 0


def _count(text: str, what: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise VouchError(f"the number of {what} must be a whole number over 0, not '{text}'")
    return int(text)


def split(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "split-data",
        "[--per-utt] DATA_DIR N",
        "Splits a data directory into DATA_DIR/splitN/1 to N with about equally many utterances, each speaker in one\n"
        "part; with --per-utt into DATA_DIR/splitNutt/1 to N without regard to speakers. Does nothing when the parts\n"
        "are there and newer than the files of DATA_DIR.",
        (2, 2),
    )
    tool.add("per-utt", False, "divide the utterances of a speaker, too")
    options, (directory, number) = tool.parse(argv)
    from vouch.io.datadir_derive import split_data_dir

    warnings = split_data_dir(Path(directory), _count(number, "parts"), per_utterance=options.per_utt)
    if warnings is None:
        log(f"{directory} is split into {number} already")
    for message in warnings or ():
        warn(message)
    return 0


def _read_ids(path: str) -> set[bytes]:
    """The first field of each line."""
    try:
        with open(path, "rb") as file:
            ids = set()
            for number, line in enumerate(file, 1):
                fields = line.split(None, 1)
                if not fields:
                    raise VouchError(f"{path}:{number}: is empty; a list has an id in each line")
                ids.add(fields[0])
            return ids
    except OSError as error:
        raise VouchError(f"cannot read the list {path}: {error.strerror}") from None


def _with_input(path: str | None, work: Callable[[BinaryIO, str], None]) -> None:
    """Do the work on the file, or on stdin without one (or for '-')."""
    if path in (None, "-"):
        work(sys.stdin.buffer, "standard input")
        return
    try:
        with open(path, "rb") as file:
            work(file, path)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise VouchError(f"cannot read {path}: {error.strerror}") from None


def filter_scp(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "filter-scp",
        "[--exclude] [-f N] ID_LIST [FILE] > OUT",
        "Prints the lines of FILE (or of standard input) whose field N stands in ID_LIST, of which only the first\n"
        "field of each line counts.",
        (1, 2),
    )
    tool.add("print-args", False, "echo the command line on stderr")
    tool.add("exclude", False, "print the lines whose field is not in ID_LIST")
    tool.add("field", 1, "the field to look at, counted from 1 (short form: -f N)")
    options, args = tool.parse(_with_long_field(argv))
    if options.field < 1:
        raise VouchError(f"-f counts fields from 1, not {options.field}")
    known, index = _read_ids(args[0]), options.field - 1

    def work(file: BinaryIO, name: str) -> None:
        for number, line in enumerate(file, 1):
            fields = line.split(None, index + 1)
            if len(fields) <= index:
                raise VouchError(
                    f"{name}:{number}: has {len(fields)} fields, -f asks for field {index + 1}; mend the line"
                )
            if (fields[index] in known) != options.exclude:
                sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    _with_input(args[1] if len(args) > 1 else None, work)
    return 0


def _with_long_field(argv: list[str]) -> list[str]:
    """Write `-f N`, where options stand, as `--field=N`."""
    words, rest = [], list(argv)
    while rest and (rest[0].startswith("--") or rest[0] == "-f"):
        word = rest.pop(0)
        if word == "-f":
            if not rest:
                raise VouchError("-f needs a number: -f N")
            word = f"--field={rest.pop(0)}"
        words.append(word)
        if word == "--":
            break
    return words + rest


def _read_fields(file: BinaryIO, name: str, least: int, most: int | None) -> list[list[bytes]]:
    rows = []
    for number, line in enumerate(file, 1):
        fields = line.split()
        if len(fields) < least or (most and len(fields) > most):
            wanted = str(least) if most == least else f"{least} or more"
            raise VouchError(f"{name}:{number}: has {len(fields)} fields, want {wanted}; mend the line")
        rows.append(fields)
    return rows


def utt2spk_to_spk2utt(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "utt2spk-to-spk2utt",
        "[UTT2SPK] > SPK2UTT",
        "Turns `utterance speaker` lines (of standard input without a file) into `speaker utterance...` lines.",
        (0, 1),
    )
    tool.add("print-args", False, "echo the command line on stderr")
    _, args = tool.parse(argv)
    from vouch.io.datadir import spk2utt_lines

    def work(file: BinaryIO, name: str) -> None:
        rows = _read_fields(file, name, 2, 2)
        for line in spk2utt_lines([row[0] for row in rows], [row[1] for row in rows]):
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    _with_input(args[0] if args else None, work)
    return 0


def spk2utt_to_utt2spk(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "spk2utt-to-utt2spk",
        "[SPK2UTT] > UTT2SPK",
        "Turns `speaker utterance...` lines (of standard input without a file) into `utterance speaker` lines.",
        (0, 1),
    )
    tool.add("print-args", False, "echo the command line on stderr")
    _, args = tool.parse(argv)

    def work(file: BinaryIO, name: str) -> None:
        for speaker, *utterances in _read_fields(file, name, 2, None):
            for utterance in utterances:
                sys.stdout.buffer.write(utterance + b" " + speaker + b"\n")
        sys.stdout.buffer.flush()

    _with_input(args[0] if args else None, work)
    return 0


def get_utt2dur(argv: list[str]) -> int | None:
    tool = ToolOptions(
        "get-utt2dur",
        "[options] DATA_DIR",
        "Writes utt2dur, the duration of each utterance in seconds: from segments, else from utt2num_frames, else\n"
        "from the headers of the audio files (what comes through a pipe is read). Does nothing when there is one.",
        (1, 1),
    )
    tool.add("frame-shift", 0.01, "seconds a frame, for utt2num_frames; the file frame_shift counts when not given")
    tool.add("num-threads", 8, "audio files looked at at once")
    tool.add("allow-pipes", True, "run the command pipes of wav.scp")
    options, (directory,) = tool.parse(argv)
    from vouch.io.durations import has_utt2dur, write_utt2dur

    if options.num_threads < 1:
        raise VouchError(f"--num-threads must be 1 or more, not {options.num_threads}")
    if has_utt2dur(Path(directory)):
        log(f"{directory}/utt2dur is there already")
        return 0
    source = write_utt2dur(
        Path(directory),
        frame_shift=options.frame_shift if tool.given("frame-shift") else None,
        threads=options.num_threads,
        allow_pipes=options.allow_pipes,
    )
    log(f"{directory}/utt2dur: made from {source}")
    return 0
