"""Checks of a data directory, after Kaldi's utils/validate_data_dir.sh, that name file, line, reason and fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vouch.io.datadir import (
    FRAME_SHIFT,
    KINDS,
    RECORDING,
    SPEAKER,
    UTTERANCE,
    has_control_characters,
    is_increasing,
    present_files,
    require_directory,
    show,
    spk2utt_lines,
    split_keys,
    split_lines,
)
from vouch.io.datadir_values import (
    SHOWN,
    VALUE_CHECKS,
    CheckedFile,
    Report,
    check_audio,
    check_segments,
    places,
    to_number,
)


def check_data_dir(
    directory: Path,
    *,
    feats: bool = True,
    text: bool = True,
    wav: bool = True,
    speaker_sorted: bool = True,
    printable: bool = True,
    audio: bool = False,
) -> Report:
    """Check every known file of a data directory; an empty `problems()` means that it is valid.

    feats, text, wav: feats.scp, text, wav.scp must exist. speaker_sorted: utt2spk must be in the order of its
    speakers too. printable: control characters in text are wrong. audio: the audio files must exist on disk.
    Raises VouchError when the directory does not exist.
    """
    require_directory(directory)
    report = Report(directory)
    required = {"utt2spk": "", "spk2utt": "make it: utt2spk_to_spk2utt.sh DIR/utt2spk > DIR/spk2utt"}
    for name, wanted in (("wav.scp", wav), ("feats.scp", feats), ("text", text)):
        if wanted:
            required[name] = f"make it, or give --no-{name.partition('.')[0]} if this is by design"
    for name, fix in required.items():
        if not (directory / name).is_file():
            report.add(name, "missing file", None, f"no such file; {fix or 'every data directory needs it'}")
    utt2spk = _read(report, "utt2spk", printable)
    if utt2spk is None:
        return report
    report.utterances = len(utt2spk.keys)
    if speaker_sorted:
        _check_speaker_order(report, utt2spk)
    _check_spk2utt(report, utt2spk, printable)
    speakers = sorted(set(utt2spk.rests))
    report.speakers = len(speakers)
    if len(speakers) == 1:
        report.warnings.append(f"{directory}/utt2spk: only one speaker; statistics by speaker will not work")
    reference = {UTTERANCE: utt2spk.keys, RECORDING: utt2spk.keys, SPEAKER: speakers}
    owner = {UTTERANCE: "utt2spk", RECORDING: "utt2spk", SPEAKER: "utt2spk"}
    if (directory / "segments").is_file():
        owner[RECORDING] = "segments"
        if not (directory / "wav.scp").is_file() and not wav:
            report.add("segments", "no wav.scp", None, "stands without wav.scp; add wav.scp or remove segments")
    del utt2spk
    for name in present_files(directory)[1:]:
        if name == "trials":
            continue
        file = _read(report, name, printable)
        if file is None:
            continue
        index = KINDS[name].index
        _compare_keys(report, file, index, reference[index], owner[index])
        if name == "segments":
            recordings = check_segments(report, file)
            reference[RECORDING] = sorted(set(recordings))
        elif name in VALUE_CHECKS:
            VALUE_CHECKS[name](report, file)
        if name == "wav.scp" and audio:
            check_audio(report, file)
        del file
    if (directory / "trials").is_file():
        _check_trials(report, set(reference[UTTERANCE]), printable)
    _check_frame_shift(report)
    return report


def _read(report: Report, name: str, printable: bool) -> CheckedFile | None:
    """Read a file and check its characters, its order and the number of fields; None when there is none."""
    fix = f"run fix_data_dir.sh {report.directory}"
    path = report.directory / name
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        report.add(name, "not readable", None, f"cannot be read: {error.strerror}; check its permissions")
        return None
    if not data:
        report.add(name, "empty file", None, "is empty; make it again, or remove it")
        return None
    if not data.endswith(b"\n"):
        report.add(name, "no newline", data.count(b"\n") + 1, f"the last line has no newline: {fix}")
    _check_characters(report, name, data, printable or name != "text")
    lines = split_lines(data)
    keys, rests = split_keys(data, lines)
    if b"" in keys:
        for number in places(keys, lambda key: not key):
            report.add(name, "empty line", number, f"is empty: {fix}")
    if data[:1] in b" \t" or b"\n " in data or b"\n\t" in data:
        for number in places(lines, lambda line: line[:1] in (b" ", b"\t") and bool(line.strip())):
            report.add(name, "space in front", number, f"begins with white space: {fix}")
    del lines
    if name != "trials":
        _check_order(report, name, keys)
    if name != "spk2utt":
        _check_fields(report, name, data, keys, rests)
    return CheckedFile(name, keys, rests)


def _check_characters(report: Report, name: str, data: bytes, printable: bool) -> None:
    if data.startswith(b"\xef\xbb\xbf"):
        report.add(name, "byte-order mark", 1, "begins with a byte-order mark; save it as UTF-8 without one")
    if b"\r" in data:
        fix = f"run fix_data_dir.sh {report.directory}"
        for number in places(split_lines(data), lambda line: b"\r" in line):
            report.add(name, "carriage return", number, f"has a carriage return (a Windows line end): {fix}")
    if printable and has_control_characters(data):
        for number in places(split_lines(data), has_control_characters):
            report.add(name, "control character", number, "has a control character; remove it")
    if not data.isascii():
        for number in places(split_lines(data), lambda line: not _is_utf8(line)):
            report.add(name, "not UTF-8", number, "is not UTF-8; convert the file with iconv")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _check_order(report: Report, name: str, keys: list[bytes]) -> None:
    if is_increasing(keys):
        return
    first: dict[bytes, int] = {}
    for number, key in enumerate(keys, 1):
        if not key:
            continue
        if key in first:
            report.add(
                name, "key twice", number, f"key '{show(key)}' stands again (first in line {first[key]}); remove one"
            )
        first.setdefault(key, number)
    for number in range(1, len(keys)):
        if b"" < keys[number] < keys[number - 1]:
            report.add(
                name,
                "not sorted",
                number + 1,
                f"key '{show(keys[number])}' comes before '{show(keys[number - 1])}' of line {number}: "
                f"sort it (fix_data_dir.sh {report.directory})",
            )


def _check_fields(report: Report, name: str, data: bytes, keys: list[bytes], rests: list[bytes]) -> None:
    _, least, most = KINDS[name]
    if most == 2 and data.count(b" ") == len(keys) and b"" not in rests and not any(c in data for c in b"\t\r\v\f"):
        return
    if most is None:
        if least == 1 or b"" not in rests:
            return
        for number, (key, rest) in enumerate(zip(keys, rests, strict=True), 1):
            if key and not rest:
                report.add(
                    name, "fields", number, f"'{show(key)}' stands alone, want {least} fields or more; mend the line"
                )
        return
    for number, (key, rest) in enumerate(zip(keys, rests, strict=True), 1):
        count = 1 + len(rest.split())
        if key and count != most:
            report.add(
                name, "fields", number, f"'{show(key)}' has {count} fields in its line, want {most}; mend the line"
            )


def _check_speaker_order(report: Report, utt2spk: CheckedFile) -> None:
    speakers = utt2spk.rests
    if all(map(bytes.__le__, speakers, speakers[1:])) or not is_increasing(utt2spk.keys):
        return
    for i in range(1, len(speakers)):
        if speakers[i] < speakers[i - 1]:
            report.add(
                "utt2spk",
                "speaker order",
                i + 1,
                f"utterances are sorted but speaker '{show(speakers[i])}' comes after '{show(speakers[i - 1])}': "
                "make speaker ids the prefixes of their utterance ids, or give --no-spk-sort",
            )


def _check_spk2utt(report: Report, utt2spk: CheckedFile, printable: bool) -> None:
    file = _read(report, "spk2utt", printable)
    if file is None:
        return
    expected = dict(line.partition(b" ")[::2] for line in spk2utt_lines(utt2spk.keys, utt2spk.rests))
    fix = f"run fix_data_dir.sh {report.directory}"
    for number, (speaker, utterances) in enumerate(zip(file.keys, file.rests, strict=True), 1):
        if not speaker or utterances == expected.get(speaker):
            continue
        if not utterances:
            message = f"speaker '{show(speaker)}' has no utterances"
        elif speaker not in expected:
            message = f"speaker '{show(speaker)}' is not in utt2spk"
        elif utterances.split() == expected[speaker].split():
            continue
        else:
            message = f"the utterances of speaker '{show(speaker)}' are not those of utt2spk"
        report.add("spk2utt", "not as utt2spk", number, f"{message}: {fix}")
    missing = sorted(expected.keys() - set(file.keys))
    if missing:
        report.add("spk2utt", "speakers missing", None, f"{_some(missing, 'speaker')} of utt2spk missing: {fix}")


def _some(keys: Sequence[bytes], what: str) -> str:
    shown = ", ".join(f"'{show(key)}'" for key in keys[:SHOWN])
    return f"{len(keys)} {what}{'s' if len(keys) > 1 else ''} ({shown}{', ...' if len(keys) > SHOWN else ''})"


def _compare_keys(report: Report, file: CheckedFile, index: str, reference: list[bytes], owner: str) -> None:
    if file.keys == reference:
        return
    known, found = set(reference), set(file.keys)
    fix = f"fix_data_dir.sh {report.directory}"
    missing = sorted(known - found)
    if missing:
        message = f"{_some(missing, index)} of {owner} missing: make the lines, or drop these with {fix}"
        report.add(file.name, "missing", None, message)
    if found - known - {b""}:
        for number in places(file.keys, lambda key: bool(key) and key not in known):
            message = f"{index} '{show(file.keys[number - 1])}' is not in {owner}: {fix} removes it"
            report.add(file.name, f"not in {owner}", number, message)


def _check_trials(report: Report, utterances: set[bytes], printable: bool) -> None:
    file = _read(report, "trials", printable)
    if file is None:
        return
    before = b""
    for number, (model, rest) in enumerate(zip(file.keys, file.rests, strict=True), 1):
        fields = rest.split()
        if len(fields) != 2:
            continue
        utterance, label = fields
        if label not in (b"target", b"nontarget"):
            report.add("trials", "label", number, f"'{show(label)}' is not target or nontarget; mend the line")
        if utterance not in utterances:
            fix = f"fix_data_dir.sh {report.directory} removes it"
            report.add(
                "trials", "not in utt2spk", number, f"test utterance '{show(utterance)}' is not in utt2spk: {fix}"
            )
        trial = model + b" " + utterance
        if trial == before:
            report.add("trials", "trial twice", number, f"trial '{show(trial)}' stands again; remove one")
        elif trial < before:
            fix = f"sort it (fix_data_dir.sh {report.directory})"
            report.add("trials", "not sorted", number, f"trial '{show(trial)}' comes before '{show(before)}': {fix}")
        before = trial


def _check_frame_shift(report: Report) -> None:
    path = report.directory / FRAME_SHIFT
    if path.is_file():
        text = path.read_bytes().strip()
        if not to_number(text) > 0:
            report.add(FRAME_SHIFT, "value", None, f"'{show(text)}' is not a number of seconds over 0; mend the file")
