"""New data directories out of others: combined, copied under other ids, a subset, split into parts.

After Kaldi's utils/combine_data.sh, copy_data_dir.sh, subset_data_dir.sh and split_data.sh. A destination is
written beside itself and moved into place, so that an error leaves it as it was.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from vouch.errors import VouchError
from vouch.io.datadir import (
    ALL_FILES,
    FRAME_SHIFT,
    KINDS,
    RECORDING,
    SPEAKER,
    TRIAL,
    UTTERANCE,
    is_increasing,
    line_keys,
    merge_lines,
    present_files,
    read_bytes,
    read_pairs,
    read_utt2spk,
    require_directory,
    segment_recordings,
    show,
    spk2utt_lines,
    staged_directory,
    tidy_lines,
    write_bytes,
    write_lines,
)
from vouch.io.datadir_check import check_data_dir
from vouch.io.datadir_fix import fix_data_dir

Owners = dict[bytes, tuple[int, ...]]  # id -> the parts it goes to


def _refuse_same(source: Path, destination: Path) -> None:
    if destination.exists() and source.resolve() == destination.resolve():
        raise VouchError(f"{destination}: is both source and destination; give another destination")


def combine_data_dirs(
    destination: Path, sources: Sequence[Path], extra_files: Sequence[str] = (), *, fix: bool = True
) -> list[str]:
    """Merge data directories; returns what was done, a line each.

    A file is combined when every source has it, except: utt2uniq, which stands for the utterance itself in a
    source without it, and segments, where a source without it gets whole recordings, which needs its utt2dur.
    Raises VouchError when sources differ about one id, and when their frame_shift differs.
    """
    for source in sources:
        read_utt2spk(source)
        _refuse_same(source, destination)
    report = []
    shifts = {read_bytes(source / FRAME_SHIFT).strip() for source in sources if (source / FRAME_SHIFT).is_file()}
    if len(shifts) > 1:
        found = ", ".join(sorted(map(show, shifts)))
        raise VouchError(
            f"{destination}: the sources have several frame shifts ({found}); make the features alike first"
        )
    with staged_directory(destination) as stage:
        for name in dict.fromkeys((*KINDS, *extra_files)):
            having = [source for source in sources if (source / name).is_file()]
            paths = [source / name for source in having]
            if len(having) == len(sources) or (having and name in ("utt2uniq", "segments")):
                for source in sources:
                    if source not in having:
                        paths.append(_stand_in(source, name, stage, len(paths)))
                write_lines(stage / name, merge_lines(paths, name)[1])
                for path in paths[len(having) :]:
                    path.unlink()
                report.append(f"{destination}: combined {name}")
            elif having:
                lacking = next(source for source in sources if source not in having)
                report.append(f"{destination}: {name} is not combined: {lacking} has none")
            elif name in extra_files:
                raise VouchError(f"{sources[0]}/{name}: no such file; leave it out of --extra-files")
        if shifts and all((source / FRAME_SHIFT).is_file() for source in sources):
            write_bytes(stage / FRAME_SHIFT, shifts.pop() + b"\n")
        write_lines(stage / "spk2utt", sorted(spk2utt_lines(*read_utt2spk(stage))))
        if fix:
            report += [line.replace(str(stage), str(destination)) for line in fix_data_dir(stage, backup=False)]
    return report


def _stand_in(source: Path, name: str, stage: Path, number: int) -> Path:
    """utt2uniq or segments of a source that has none, in a file of the stage."""
    if name == "utt2uniq":
        lines = [utterance + b" " + utterance for utterance in read_utt2spk(source)[0]]
    elif (source / "utt2dur").is_file():
        pairs = zip(*read_pairs(source / "utt2dur"), strict=True)
        lines = [b" ".join((utterance, utterance, b"0", duration)) for utterance, duration in pairs]
    else:
        raise VouchError(
            f"{source}: has neither segments, which another source has, nor utt2dur; run vouch get-utt2dur {source}"
        )
    path = stage / f".{name}.{number}"
    write_lines(path, lines)
    return path


def copy_data_dir(
    source: Path,
    destination: Path,
    *,
    utterance_affixes: tuple[str, str] = ("", ""),
    speaker_affixes: tuple[str, str] = ("", ""),
    validate: dict[str, bool] | None = None,
) -> int:
    """Copy a data directory with a (prefix, suffix) for utterance and speaker ids; returns the number of utterances.

    Recording ids stay where there are segments; in trials the test utterance changes, the enrollment model stays.
    `validate` goes to check_data_dir. Raises VouchError when the copy is not valid, with nothing written.
    """
    _refuse_same(source, destination)
    read_utt2spk(source)
    affixes = {
        UTTERANCE: tuple(map(os.fsencode, utterance_affixes)),
        SPEAKER: tuple(map(os.fsencode, speaker_affixes)),
    }
    affixes[RECORDING] = (b"", b"") if (source / "segments").is_file() else affixes[UTTERANCE]
    with staged_directory(destination) as stage:
        for name in present_files(source):
            index = KINDS[name].index
            lines = tidy_lines(read_bytes(source / name), name)
            if index == TRIAL:
                lines = _affix_field(lines, 1, affixes[UTTERANCE])
            else:
                lines = _affix_field(lines, 0, affixes[index])
            if name == "utt2spk":
                lines = _affix_field(lines, 1, affixes[SPEAKER])
            keys = line_keys(name, lines)
            if not is_increasing(keys):  # a suffix may change the order
                lines = [lines[i] for i in sorted(range(len(lines)), key=keys.__getitem__)]
            write_lines(stage / name, lines)
        utterances, speakers = read_utt2spk(stage)
        write_lines(stage / "spk2utt", sorted(spk2utt_lines(utterances, speakers)))
        if (source / FRAME_SHIFT).is_file():
            write_bytes(stage / FRAME_SHIFT, read_bytes(source / FRAME_SHIFT))
        options = {"wav": (stage / "wav.scp").is_file(), "feats": (stage / "feats.scp").is_file()}
        options["text"] = (stage / "text").is_file()
        problems = check_data_dir(stage, **(options | (validate or {}))).problems()
        if problems:
            raise VouchError(problems[0].replace(str(stage), str(destination)) + "; nothing written")
    return len(utterances)


def _affix_field(lines: list[bytes], field: int, affixes: tuple[bytes, ...]) -> list[bytes]:
    prefix, suffix = affixes
    if not prefix and not suffix:
        return lines
    changed = []
    for line in lines:
        fields = line.split(b" ", field + 1)
        fields[field] = prefix + fields[field] + suffix
        changed.append(b" ".join(fields))
    return changed


def distribute(
    source: Path, parts: Sequence[Sequence[bytes]], destinations: Sequence[Path], *, trials: bool = True
) -> list[str]:
    """Write part j of the utterances of `source`, with all that belongs to them, to destination j.

    Every file is read once, its order kept; a file that has nothing for a part is not written there. trials: the
    trials of the part's utterances too. Returns a warning for each file that lacks utterances of the parts.
    """
    utterances, speakers = read_utt2spk(source)
    only = [(j,) for j in range(len(parts))]
    owners: dict[str, Owners] = {UTTERANCE: {u: only[j] for j, part in enumerate(parts) for u in part}}
    owners[SPEAKER] = _owners_of(speakers, utterances, owners[UTTERANCE], only)
    owners[RECORDING] = owners[UTTERANCE]
    if (source / "segments").is_file():
        lines = tidy_lines(read_bytes(source / "segments"), "segments")
        recordings = segment_recordings(source / "segments", lines)
        owners[RECORDING] = _owners_of(recordings, line_keys("segments", lines), owners[UTTERANCE], only)
    warnings = []
    with ExitStack() as stack:
        stages = [stack.enter_context(staged_directory(destination)) for destination in destinations]
        for name in present_files(source):
            index = KINDS[name].index
            if index == TRIAL and not trials:
                continue
            lines = tidy_lines(read_bytes(source / name), name)
            keys = line_keys(name, lines)
            if index == TRIAL:
                keys, index = [key.split(b" ")[-1] for key in keys], UTTERANCE
            elif len(found := owners[index].keys() - set(keys)):
                warnings.append(
                    f"{source}/{name}: lacks {len(found)} of {len(owners[index])} ids (first '{show(min(found))}'); "
                    f"run fix_data_dir.sh {source}"
                )
            outputs: list[list[bytes]] = [[] for _ in parts]
            for key, line in zip(keys, lines, strict=True):
                for j in owners[index].get(key, ()):
                    outputs[j].append(line)
            for stage, output in zip(stages, outputs, strict=True):
                if output:
                    write_lines(stage / name, output)
        for stage in stages:
            write_lines(stage / "spk2utt", sorted(spk2utt_lines(*read_utt2spk(stage))))
            if (source / FRAME_SHIFT).is_file():
                write_bytes(stage / FRAME_SHIFT, read_bytes(source / FRAME_SHIFT))
    return warnings


def _owners_of(ids: Iterable[bytes], utterances: Iterable[bytes], owners: Owners, only: list[tuple[int]]) -> Owners:
    """The parts of each speaker or recording, from those of its utterances."""
    found: Owners = {}
    for key, utterance in zip(ids, utterances, strict=True):
        for part in owners.get(utterance, ()):
            parts = found.get(key)
            if parts is None:
                found[key] = only[part]
            elif part not in parts:
                found[key] = (*parts, part)
    return found


def _evenly(items: Sequence[bytes], count: int) -> list[bytes]:
    return [items[i * len(items) // count] for i in range(count)]


def choose_utterances(
    source: Path, how: str, count: int = 0, wanted: Sequence[bytes] = (), seed: int = 0
) -> list[bytes]:
    """Utterances of a subset, as subset_data_dir.sh chooses them.

    how: "evenly" (spread over the file), "first", "last", "shortest" (by utt2num_frames, else utt2dur),
    "random", "speakers" (whole speakers in random order until there are `count`), "per-spk" (up to `count` of each),
    "utt-list", "spk-list" (those in `wanted`). Raises VouchError when there are fewer than asked, or none.
    """
    utterances, speakers = read_utt2spk(source)
    if how == "utt-list":
        known = set(wanted)
        chosen = [utterance for utterance in utterances if utterance in known]
    elif how == "spk-list":
        known = set(wanted)
        chosen = [u for u, speaker in zip(utterances, speakers, strict=True) if speaker in known]
    elif count < 1:
        raise VouchError(f"the number of utterances must be 1 or more, not {count}")
    elif how == "per-spk":
        groups = (line.split()[1:] for line in spk2utt_lines(utterances, speakers))
        chosen = [u for group in groups for u in _evenly(group, min(count, len(group)))]
    elif count > len(utterances):
        raise VouchError(f"{source}/utt2spk: has {len(utterances)} utterances, not {count}; ask for fewer")
    elif how == "random":
        chosen = sorted(random.Random(seed).sample(utterances, count))
    elif how == "speakers":
        groups = sorted(line.split()[1:] for line in spk2utt_lines(utterances, speakers))
        random.Random(seed).shuffle(groups)
        chosen = []
        while len(chosen) < count:
            chosen += groups.pop()
    elif how == "shortest":
        chosen = [utterance for _, utterance in sorted(_lengths(source, utterances))[:count]]
    else:
        choose = {"evenly": _evenly, "first": lambda u, n: u[:n], "last": lambda u, n: u[-n:]}[how]
        chosen = choose(utterances, count)
    if not chosen:
        raise VouchError(f"{source}/utt2spk: has nothing of the list; check the ids of the list")
    return chosen


def _lengths(source: Path, utterances: list[bytes]) -> list[tuple[float, bytes]]:
    for name in ("utt2num_frames", "utt2dur"):
        if (source / name).is_file():
            length_of = dict(zip(*read_pairs(source / name), strict=True))
            try:
                return [(float(length_of[utterance]), utterance) for utterance in utterances]
            except KeyError as error:
                raise VouchError(
                    f"{source}/{name}: lacks '{show(error.args[0])}'; run fix_data_dir.sh {source}"
                ) from None
            except ValueError:
                raise VouchError(f"{source}/{name}: has a value that is no number; run validate_data_dir.sh") from None
    raise VouchError(f"{source}: has neither utt2num_frames nor utt2dur; run vouch get-utt2dur {source}")


def split_data_dir(source: Path, count: int, *, per_utterance: bool = False, force: bool = False) -> list[str] | None:
    """Split a data directory into `count` parts: source/splitN/J, or source/splitNutt/J per utterance.

    Speakers stay whole unless per_utterance; the parts are neighbours in order of speakers, with as even a number
    of utterances as that allows. Returns the warnings; None when the parts are newer than every file of `source`,
    and nothing had to be done. Raises VouchError when there are more parts than speakers, or than utterances.
    """
    if count < 1:
        raise VouchError(f"the number of parts must be 1 or more, not {count}")
    folder = source / f"split{count}{'utt' if per_utterance else ''}"
    destinations = [folder / str(j + 1) for j in range(count)]
    require_directory(source)
    if not force and all(_is_current(source, destination) for destination in destinations):
        return None
    utterances, speakers = read_utt2spk(source)
    if per_utterance:
        groups = [[utterance] for utterance in utterances]
    else:
        pairs = zip(speakers, utterances, strict=True)
        if not is_increasing(utterances) or any(a > b for a, b in zip(speakers, speakers[1:], strict=False)):
            pairs = iter(sorted(pairs))
        groups = [[utterance for _, utterance in run] for _, run in groupby(pairs, key=lambda pair: pair[0])]
    if count > len(groups):
        advice = "ask for fewer parts" if per_utterance else "ask for fewer parts, or give --per-utt"
        what = "utterances" if per_utterance else "speakers"
        raise VouchError(f"{source}: cannot split {len(groups)} {what} into {count} parts; {advice}")
    return distribute(source, _balance(groups, count), destinations, trials=False)


def _is_current(source: Path, part: Path) -> bool:
    names = [name for name in present_files(source, ALL_FILES) if name != "trials"]
    if not names or present_files(part, ALL_FILES) != names:
        return False
    return all((source / name).stat().st_mtime_ns <= (part / name).stat().st_mtime_ns for name in names)


def _balance(groups: list[list[bytes]], count: int) -> list[list[bytes]]:
    """Cut the groups into `count` runs, each end as near as it can be to its share of all utterances."""
    total = sum(map(len, groups))
    parts: list[list[bytes]] = []
    done = next_group = 0
    for j in range(count):
        part: list[bytes] = []
        share = total * (j + 1) / count
        last = len(groups) - (count - j - 1)  # leave one group for each later part
        while next_group < last:
            size = len(groups[next_group])
            if part and done + size - share > share - done:
                break
            part += groups[next_group]
            done += size
            next_group += 1
        parts.append(part)
    return parts
