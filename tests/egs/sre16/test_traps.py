"""What is wrong in real releases: each a warning with file and line and the row skipped, or an error and nothing
written."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from miniature import Side, write_call, write_sphere
from preparations import edit, lines, table
from sre16_trees import prepare, read

from vouch.cli.wave_commands import in_process_commands
from vouch.io.audio import read_wave

MODELS = "LDC2011S08/data/keys/NIST_SRE08_KEYS.v0.1/model-keys/NIST_SRE08_short2.model.key"
SEGMENT = "LDC2011S08/data/short3/faaas.sph"  # of lines 1 and 3 of the trial key
MX6 = "LDC2013S03/mx6_speech"
SEGMENTS = "R149_0_1/docs/sre16_eval_segment_key.tsv"
TRIAL_KEY = "R149_0_1/docs/sre16_eval_trial_key.tsv"
ENROLLMENT = "R149_0_1/docs/sre16_eval_enrollment.tsv"


def names(folder: Path) -> set[str]:
    """Utterances of all labelled directories."""
    return {name for part in ("sre", "swbd") for name in table(folder / part / "utt2spk")}


@pytest.fixture(scope="module")
def whole(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories of the undamaged miniature."""
    out = tmp_path_factory.mktemp("whole")
    assert read(corpora, out).returncode == 0
    return out / ".tmp"


def first_line(path: Path, number: int = 1) -> str:
    return lines(path)[number - 1]


# --- tables that are written otherwise, and mean the same -------------------------------------------------------------


def with_carriage_returns(root: Path) -> None:
    for path in [*root.rglob("*.tbl"), *root.rglob("*.tsv"), *root.rglob("*.key"), *root.rglob("*.trn")]:
        path.write_bytes(path.read_bytes().replace(b"\n", b" \r\n") + b"\x1a")


def with_marks_and_old_letters(root: Path) -> None:
    for path in [*root.rglob("*.csv"), *root.rglob("*.tsv"), root / "SLR15/speaker_list"]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    for path in root.rglob("*.tbl"):
        path.write_bytes(b"# Universit\xe4t\n; table\n\n" + path.read_bytes())


def with_other_headers(root: Path) -> None:
    for path in root.rglob("*.csv"):
        text = path.read_text().splitlines(keepends=True)
        path.write_text("".join(text[1:]) if not any(c.isdigit() for c in text[0][:3]) else "".join(text))
    keys = root / MODELS
    keys.write_text("model,gender,segment,speaker\n" + keys.read_text())


def with_columns_in_another_order(root: Path) -> None:
    for path in (root / "R149_0_1").rglob("*.tsv"):
        rows = [line.split("\t") for line in lines(path)]
        path.write_text("".join("\t".join(["id9", *row[::-1]]) + "\n" for row in rows).replace("id9", "row", 1))


def with_quotation_marks(root: Path) -> None:
    """A field with a comma before those that are read, and ends of lines of old systems."""
    path = root / MX6 / "docs/mx6_calls.csv"
    rows = [line.split(",") for line in lines(path)]
    path.write_text("".join(",".join([row[0], row[1], '"no, not yet"', *row[3:]]) + "\r" for row in rows))


def with_capital_letters(root: Path) -> None:
    for path in sorted((root / "LDC98S75").rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.upper()))
    (root / "LDC98S75/DATA/DISC1/sw_x.SPH").write_bytes(b"")  # in no table
    (root / "LDC98S75/DATA/DISC1/._SW_10001.SPH").write_bytes(b"of another system")
    base = root / "R149_0_1"
    (base / "data/test").rename(base / "data/TEST")
    for path in list((base / "data/TEST").iterdir()):
        path.rename(path.with_name(path.name.upper()))
    (base / "data").rename(base / "Data")


@pytest.mark.parametrize(
    "change",
    [
        with_carriage_returns,
        with_marks_and_old_letters,
        with_other_headers,
        with_columns_in_another_order,
        with_quotation_marks,
    ],
)
def test_other_forms_of_tables_are_read_alike(damaged: Path, whole: Path, tmp_path: Path, change: Callable) -> None:
    change(damaged)
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0 and not done.stderr
    here = tmp_path / "out/.tmp"
    assert names(here) == names(whole)
    for name in ("sre/spk2gender", "swbd/spk2gender", "sre16_eval_test/trial_info.tsv", "sre16_eval_enroll/utt2spk"):
        assert lines(here / name) == lines(whole / name)


def test_capital_letters_of_files_and_folders(damaged: Path, whole: Path, tmp_path: Path) -> None:
    with_capital_letters(damaged)
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0 and not done.stderr
    here = tmp_path / "out/.tmp"
    assert names(here) == names(whole)
    assert lines(here / "sre16_eval_test/trial_info.tsv") == lines(whole / "sre16_eval_test/trial_info.tsv")
    assert "DISC1/SW_10001.SPH" in "".join(lines(here / "swbd/wav.scp"))


# --- rows that are skipped --------------------------------------------------------------------------------------------


def short_row(root: Path) -> None:
    with open(root / "LDC2002S06/docs/callstat.tbl", "a") as out:
        out.write("20009,971021\n")


def call_twice(root: Path) -> None:
    path = root / "LDC98S75/docs/callstat.tbl"
    with open(path, "a") as out:
        out.write(first_line(path).replace(",301,", ",302,") + "\n")


def mixer_call_twice(root: Path) -> None:
    path = root / MX6 / "docs/mx6_calls.csv"
    with open(path, "a") as out:
        out.write(first_line(path, 2) + "\n")


def listed_twice(root: Path) -> None:
    with open(root / "SLR15/speaker_list", "a") as out:
        out.write(first_line(root / "SLR15/speaker_list") + "\n")


def two_speakers(root: Path) -> None:
    with open(root / "SLR15/speaker_list", "a") as out:
        out.write("120199 f sre2004 taaa A\n")


def two_files(root: Path) -> None:
    """The first in sorted order is the right one."""
    (root / "LDC98S75/data/disc9").mkdir()
    shutil.copy(root / "LDC98S75/data/disc1/sw_10001.sph", root / "LDC98S75/data/disc9")
    with open(root / "LDC98S75/data/disc9/sw_10001.sph", "ab") as out:
        out.write(b"more")


def call_of_two_files(root: Path) -> None:
    edit(root / "LDC99S79/docs/callinfo.tbl", "sw_11502.sph,960502", "sw_11503.sph,960502")


def call_of_other_pins(root: Path) -> None:
    path = root / "LDC99S79/docs/callinfo.tbl"
    fields = first_line(path).split(",")
    edit(path, first_line(path), ",".join([*fields[:2], "9999", *fields[3:]]))


def unknown_gender(root: Path) -> None:
    path = root / "LDC2001S13/docs/swb_callstats.tbl"
    fields = first_line(path).split(",")
    edit(path, first_line(path), ",".join([*fields[:3], "X", *fields[4:]]))


def subject_without_gender(root: Path) -> None:
    edit(root / MX6 / "docs/mx6_subjs.csv", "120101,M", "120101,")


def subject_not_listed(root: Path) -> None:
    edit(root / MX6 / "docs/mx6_subjs.csv", "120101,M,1970,PA\n", "")


def other_gender(root: Path) -> None:
    """SRE10 says f of a speaker that is m in SRE04."""
    edit(root / "LDC2017S06/eval/train/coreext.trn", "20001 m", "20001 f")


def other_gender_in_a_call(root: Path) -> None:
    path = root / "LDC2004S07/docs/swb_callstats.tbl"
    fields = first_line(path).split(",")
    other = {"M": "F", "F": "M"}[fields[3]]
    edit(path, first_line(path), ",".join([*fields[:3], other, *fields[4:]]))


def unknown_channel(root: Path) -> None:
    edit(root / "SLR15/speaker_list", "sre2004 taaa A", "sre2004 taaa X")


def no_file(root: Path) -> None:
    (root / SEGMENT).unlink()


def broken_link(root: Path) -> None:
    (root / SEGMENT).unlink()
    (root / SEGMENT).symlink_to("gone.sph")


def cut_off(root: Path) -> None:
    (root / SEGMENT).write_bytes((root / SEGMENT).read_bytes()[:-10])


def empty(root: Path) -> None:
    (root / SEGMENT).write_bytes(b"")


def one_channel_of_two(root: Path) -> None:
    path = root / "LDC2006S44/tb01/taaa.sph"
    write_sphere(path, soundfile.read(path, dtype="int16")[0][:, 0])


def call_with_one_channel(root: Path) -> None:
    path = root / "LDC98S75/data/disc1/sw_10001.sph"
    write_sphere(path, soundfile.read(path, dtype="int16")[0].mean(1).astype(np.int16))


def interview_without_times(root: Path) -> None:
    path = root / MX6 / "docs/mx6_ivcomponents.csv"
    edit(path, first_line(path, 2), ",".join([*first_line(path, 2).split(",")[:7], "9", "8.5"]))


def interview_after_the_end(root: Path) -> None:
    path = root / MX6 / "docs/mx6_ivcomponents.csv"
    edit(path, first_line(path, 2), ",".join([*first_line(path, 2).split(",")[:7], "90", "95"]))


def interview_to_the_end(root: Path) -> None:
    path = root / MX6 / "docs/mx6_ivcomponents.csv"
    edit(path, first_line(path, 2), ",".join([*first_line(path, 2).split(",")[:8], "95"]))


def bad_calls(root: Path) -> None:
    """A call that Kaldi's scripts leave out too, without a word."""
    path = root / "LDC2001S13/docs/swb_callstats.tbl"
    edit(path, "40001,", "40019,")
    (root / "LDC2001S13/data/sw_40001.sph").rename(root / "LDC2001S13/data/sw_40019.sph")


def pin_of_nobody(root: Path) -> None:
    path = root / "LDC2004S07/docs/swb_callstats.tbl"
    fields = first_line(path).split(",")
    edit(path, first_line(path), ",".join([fields[0], "0", *fields[2:]]))


def one_person_on_both_sides(root: Path) -> None:
    path = root / "LDC98S75/docs/callstat.tbl"
    fields = first_line(path).split(",")
    edit(path, first_line(path), ",".join([*fields[:3], fields[2], *fields[4:]]))


def speaker_with_a_space(root: Path) -> None:
    path = root / "LDC2017S06/eval/keys/coreext.modelkey.csv"
    edit(path, "20001,120101", "20001,120 101")


def subject_twice(root: Path) -> None:
    with open(root / MX6 / "docs/mx6_subjs.csv", "a") as out:
        out.write("120101,F,1970,PA\n")


def model_of_two_speakers(root: Path) -> None:
    with open(root / MODELS, "a") as out:
        out.write("10001,f,taaam:a,120104\n")


def scored_model_of_two_speakers(root: Path) -> None:
    with open(root / "LDC2017S06/eval/keys/coreext.modelkey.csv", "a") as out:
        out.write("20001,120107\n")


def trial_of_no_model(root: Path) -> None:
    with open(root / "LDC2017S06/eval/keys/coreext-coreext.trialkey.csv", "a") as out:
        out.write("28888,uaaax,a,target\n" * 3)


def no_trials(root: Path) -> None:
    (root / "LDC2017S06/eval/keys/coreext-coreext.trialkey.csv").write_text("modelid,segment,channel,targettype\n")


def two_tables(root: Path) -> None:
    """The first in sorted order is the right one."""
    shutil.copytree(root / "LDC98S75/docs", root / "LDC98S75/other/docs")
    (root / "LDC98S75/discs").mkdir()
    (root / "LDC98S75/docs").rename(root / "LDC98S75/discs/docs")
    edit(root / "LDC98S75/other/docs/callstat.tbl", "M", "F")


def other_size(root: Path) -> None:
    path = root / ENROLLMENT
    model = next(name for name, count in Counter(line.split()[0] for line in lines(path)).items() if count == 3)
    edit(path, next(line for line in lines(path) if line.startswith(model)) + "\n", "")


def label_against_the_subjects(root: Path) -> None:
    edit(root / TRIAL_KEY, "\tnontarget\n", "\ttarget\n")


WARNINGS: list[tuple[Callable, str, str]] = [  # damage, what the one kind of warning says, a pattern of what is lost
    (short_row, "LDC2002S06: {}/LDC2002S06/docs/callstat.tbl:5: 2 columns, want at least 7: '20009,971021'", ""),
    (call_twice, "callstat.tbl:5: call sw_10001 stands already at {}/LDC98S75/docs/callstat.tbl:1", ""),
    (mixer_call_twice, "mx6_calls.csv:5: call 5301 stands already at ", ""),
    (listed_twice, "speaker_list:13: 120101-sre04-taaa-a stands already at {}/SLR15/speaker_list:1", ""),
    (two_speakers, "speaker_list:13: the same recording is of speaker 120101 at {}/SLR15/speaker_list:1", ""),
    (two_files, "disc1/sw_10001.sph and {}/LDC98S75/data/disc9/sw_10001.sph, and they differ", ""),
    (call_of_two_files, "callstat.tbl:2: its sides have two files, sw_11503.sph ({}", "sw_11502_"),
    (call_of_other_pins, "callstat.tbl:1: its pins are ", "sw_11501_"),
    (unknown_gender, "swb_callstats.tbl:1: the gender of pin 1207 is 'X', not M or F", "1207-swbdc_sw_40001_1"),
    (subject_without_gender, "mx6_subjs.csv:2: the gender of 120101 is '', not M or F", "120101_MX6"),
    (subject_not_listed, "subject 120101 is not in {}/LDC2013S03/mx6_speech/docs/mx6_subjs.csv", "120101_MX6"),
    (other_gender, "coreext.trn:1: speaker 120101 is f here, and m at {}/SLR15/speaker_list:1", "120101_SRE10"),
    (other_gender_in_a_call, "docs/swb_callstats.tbl:1: speaker sw_", "sw_45001_1"),
    (unknown_channel, "speaker_list:1: 'X' is not channel A or B", "120101-sre04-taaa-a"),
    (no_file, "short3.trial.key:1: there is no audio file faaas", "SRE08_faaas"),
    (broken_link, "short3.trial.key:1: {}/" + SEGMENT + ": cannot read the audio: No such file", "SRE08_faaas"),
    (cut_off, "short3.trial.key:3: {}/" + SEGMENT + ": cannot read the audio: it was cut off", "SRE08_faaas"),
    (empty, "faaas.sph: cannot read the audio: it is empty", "SRE08_faaas"),
    (one_channel_of_two, "speaker_list:2: {}/LDC2006S44/tb01/taaa.sph has no channel 2, but 1", "sre04-taaa-b"),
    (call_with_one_channel, "sw_10001.sph has one channel for both sides", "sw_10001_"),
    (interview_without_times, "mx6_ivcomponents.csv:2: 9 to 8.5 s is no stretch of time", "_134900_"),
    (interview_after_the_end, "mx6_ivcomponents.csv:2: {}/LDC2013S03", "_134900_"),
    (interview_to_the_end, "_CH02.flac ends before 95 s; it is taken to its end", ""),
    (bad_calls, "", "sw_40001_"),
    (pin_of_nobody, "docs/swb_callstats.tbl:1: side 1 of call sw_45001 has the pin '0'", "sw_45001_1"),
    (one_person_on_both_sides, "callstat.tbl:1: pin ", "_sw_10001_"),
    (speaker_with_a_space, "coreext.trn:1: '120 101' is no name of a speaker", "120101_SRE10"),
    (subject_twice, ": subject 120101 is F here, and M at {}/LDC2013S03/mx6_speech/docs/mx6_subjs.csv:2", ""),
    (
        model_of_two_speakers,
        "short2.model.key:7: model 10001 is of speaker 120104 here, and of 120101 at {}",
        "120101_SRE08",
    ),
    (
        scored_model_of_two_speakers,
        ": model 20001 is of speaker 120107 here, and of 120101 at {}/LDC2017S06/eval/keys",
        "120101_SRE10",
    ),
    (trial_of_no_model, ": '28888' is no model or label that is known", ""),
    (no_trials, "coreext-coreext.trialkey.csv: it has no rows", "_SRE10_u"),
    (two_tables, "discs/docs/callstat.tbl and {}/LDC98S75/other/docs/callstat.tbl differ; the first is taken", ""),
    (other_size, "has 2 enrollment segments, not 1 or 3", ""),
    (label_against_the_subjects, "sre16_eval_trial_key.tsv:9: 1001_sre16 ", ""),
]


@pytest.mark.parametrize(("damage", "message", "lost"), WARNINGS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_row_is_skipped_with_its_place(
    damaged: Path, whole: Path, tmp_path: Path, damage: Callable, message: str, lost: str
) -> None:
    damage(damaged)
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    warnings = lines(tmp_path / "out/log/warnings.txt")
    assert bool(warnings) == bool(message)
    assert any(message.format(damaged) in line for line in warnings) or not message, warnings
    assert all(line.split(": warning: ")[0] == "prepare_data.py" for line in done.stderr.splitlines())
    gone = names(whole) - names(tmp_path / "out/.tmp")
    assert gone == {name for name in names(whole) if lost and lost in name} and bool(gone) == bool(lost)
    assert names(tmp_path / "out/.tmp") <= names(whole)
    counted = {row.split("\t")[0]: int(row.split("\t")[5]) for row in lines(tmp_path / "out/.tmp/sources.tsv")[1:]}
    assert sum(counted.values()) == len(warnings)


def test_two_files_the_first_is_taken(damaged: Path, whole: Path, tmp_path: Path) -> None:
    two_files(damaged)
    assert read(damaged, tmp_path / "out").returncode == 0
    entries = "".join(lines(tmp_path / "out/.tmp/swbd/wav.scp"))
    assert "disc1/sw_10001.sph" in entries and "disc9" not in entries


def test_a_missing_disc_is_a_few_lines_and_all_of_them_in_the_log(damaged: Path, whole: Path, tmp_path: Path) -> None:
    for path in (damaged / MX6 / "data/pcm_flac").rglob("*.flac"):
        if "CH02" not in path.name:
            path.unlink()
    done = prepare(damaged, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(shown) == 4 and "mx6_ivcomponents.csv:2: there is no audio file 20090701_" in shown[0]
    assert shown[-1].startswith("prepare_data.py: warning: LDC2013S03: keys without a file: 40 in all, see ")
    assert len(lines(tmp_path / "out/log/warnings.txt")) == 40
    assert len(names(whole)) - len(names(tmp_path / "out")) == 40
    row = [line for line in lines(tmp_path / "out/sources.tsv") if line.startswith("LDC2013S03")]
    assert row[0].endswith("\t40") and done.stdout.count(" 40\n") == 1


def test_links_in_circles_and_files_that_two_releases_share(damaged: Path, whole: Path, tmp_path: Path) -> None:
    os.symlink(damaged / "LDC2011S09", damaged / "LDC2011S09/data/train/again")
    os.symlink(damaged / "LDC2011S09/data/train", damaged / "LDC2011S10/data/test/also")
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0 and not done.stderr
    assert names(tmp_path / "out/.tmp") == names(whole)


def test_another_rate_and_a_microphone_file_of_sre(damaged: Path, whole: Path, tmp_path: Path) -> None:
    path = damaged / "LDC2017S06/eval/data/phonecall/tel/taaax.sph"
    tone = (8000 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)).astype(np.int16)
    write_call(path, Side(0, tone), Side(1, tone), rate=16000)
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "LDC2017S06: 1 files have 16000 Hz; vouch wav-cut resamples them to 8000" in done.stdout
    entry = table(tmp_path / "out/.tmp/sre/wav.scp")["120101_SRE10_taaax_A"]
    assert entry.startswith("vouch wav-cut --channel=1 --sample-frequency=8000 '")
    wave = read_wave(entry, commands=in_process_commands())
    assert wave.rate == 8000 and wave.samples.shape == (1, 8000)


# --- Mixer 6's choice -------------------------------------------------------------------------------------------------


def test_a_seed_chooses_among_the_microphones(whole: Path) -> None:
    from corpora.mixer6 import choose
    from corpora.recordings import Recording

    def recording(number: int) -> Recording:
        return Recording(f"u{number}", "s", "m", Path("x"), 1, "LDC2013S03", "t:1")

    every = [recording(number) for number in range(300)]
    chosen = choose(every, 100, 0)
    assert len(set(chosen)) == 100 and set(chosen) <= set(every)
    assert choose(every[::-1], 100, 0) == chosen  # whatever order the files are found in
    assert len({*choose(every, 100, 1)} & {*chosen}) < 60
    assert len({*choose(every[1:], 100, 0)} & {*chosen}) >= 99  # a file less changes one
    assert set(choose(every, 1000, 0)) == set(every)


# --- SRE16 ------------------------------------------------------------------------------------------------------------


def trials_of(out: Path) -> list[str]:
    return lines(out / ".tmp/sre16_eval_test/trials")


def test_trials_of_a_lost_segment_are_left_out(damaged: Path, whole: Path, tmp_path: Path) -> None:
    first, second = (line.split("\t")[0] for line in lines(damaged / SEGMENTS)[1:3])
    (damaged / f"R149_0_1/data/test/{first}.sph").unlink()
    (damaged / f"R149_0_1/data/test/{second}.sph").write_bytes(b"NIST_1A\n   1024\n")
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (
        f"sre16_eval_trial_key.tsv:2: test segment {first} has no usable file; its 2 trials are left out" in done.stderr
    )
    assert "R149_0_1: 4 trials are left out" in done.stdout
    kept = [line for line in lines(whole / "sre16_eval_test/trials") if not {first, second} & {*line.split()}]
    assert trials_of(tmp_path / "out") == kept and len(kept) == 116


def test_a_model_keeps_its_size_when_a_file_is_lost(damaged: Path, whole: Path, tmp_path: Path) -> None:
    model, segment, _ = lines(damaged / ENROLLMENT)[2].split("\t")
    (damaged / f"R149_0_1/data/enrollment/{segment}.sph").unlink()
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0 and f"enrollment.tsv:3: there is no data/enrollment/{segment}.sph" in done.stderr
    assert f"{model}-{segment}" not in table(tmp_path / "out/.tmp/sre16_eval_enroll/utt2spk")
    name = ".tmp/sre16_eval_test/trial_info.tsv"  # NIST's partitions are by the table
    assert lines(tmp_path / "out" / name) == lines(whole / name.removeprefix(".tmp/"))


def test_the_same_trial_twice_is_one(damaged: Path, whole: Path, tmp_path: Path) -> None:
    path = damaged / TRIAL_KEY
    path.write_text(path.read_text() + lines(path)[1] + "\n")
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0 and "sre16_eval_trial_key.tsv:122: 1001_sre16 " in done.stderr
    assert trials_of(tmp_path / "out") == lines(whole / "sre16_eval_test/trials")


def test_without_telephones_the_partition_is_a_dash(damaged: Path, tmp_path: Path) -> None:
    path = damaged / "R149_0_1/metadata/call_sides.tsv"
    path.write_text("".join("\t".join(line.split("\t")[:3]) + "\n" for line in lines(path)))
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0
    assert "sre16_eval_trial_key.tsv: the telephones of 120 trials are not told" in done.stderr
    info = lines(tmp_path / "out/.tmp/sre16_eval_test/trial_info.tsv")[1:]
    assert {line.split("\t")[6] for line in info} == {"-"}


@pytest.mark.parametrize("name", ["metadata/subjects.tsv", "metadata/call_sides.tsv"])
def test_without_a_table_of_people_the_gender_is_a_dash(damaged: Path, whole: Path, tmp_path: Path, name: str) -> None:
    (damaged / "R149_0_1" / name).unlink()
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0
    assert f"R149_0_1: no {name.rpartition('/')[2]}, which tells genders or telephones" in done.stderr
    assert "sre16_eval_trial_key.tsv: the genders of 120 trials are not told" in done.stderr
    found, wanted = (
        [line.split("\t") for line in lines(folder / "sre16_eval_test/trial_info.tsv")[1:]]
        for folder in (tmp_path / "out/.tmp", whole)
    )
    assert {row[3] for row in found} == {"-"}
    assert [row[:3] + row[4:6] for row in found] == [row[:3] + row[4:6] for row in wanted]


def test_a_call_of_two_people_is_told_apart_by_its_side(damaged: Path, whole: Path, tmp_path: Path) -> None:
    path = damaged / "R149_0_1/metadata/call_sides.tsv"
    header, *rows = lines(path)
    own = [row.replace("\tb\t", "\ta\t") for row in rows]
    others = ["\t".join([row.split("\t")[0], "b", "50001", "1234"]) for row in rows]
    path.write_text("\n".join([header, *others, *own]) + "\n")
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 0 and not done.stderr
    name = "sre16_eval_test/trial_info.tsv"
    assert lines(tmp_path / "out/.tmp" / name) == lines(whole / name)


def test_one_lost_telephone_hides_what_it_decides(damaged: Path, tmp_path: Path) -> None:
    path = damaged / "R149_0_1/metadata/call_sides.tsv"
    edit(path, lines(path)[1], lines(path)[1].rpartition("\t")[0] + "\t")  # the only call of the first model
    assert read(damaged, tmp_path / "out").returncode == 0
    info = [line.split("\t") for line in lines(tmp_path / "out/.tmp/sre16_eval_test/trial_info.tsv")[1:]]
    assert {row[6] for row in info if row[0] == "1001_sre16"} == {"-"}
    assert Counter(row[6] for row in info)["-"] == 15


def no_enrollment(root: Path) -> None:
    path = root / ENROLLMENT
    path.write_text("".join(f"{line}\n" for line in lines(path) if "1001_sre16" not in line))


def no_enrollment_audio(root: Path) -> None:
    (root / f"R149_0_1/data/enrollment/{lines(root / ENROLLMENT)[1].split()[1]}.sph").unlink()


def contradicting_trial(root: Path) -> None:
    path = root / TRIAL_KEY
    path.write_text(path.read_text() + lines(path)[1].replace("target", "nontarget") + "\n")


def unknown_label(root: Path) -> None:
    edit(root / TRIAL_KEY, "\tnontarget\n", "\timpostor\n")


def other_language(root: Path) -> None:
    path = root / "R149_0_1/metadata/calls.tsv"
    edit(path, lines(path)[2], lines(path)[2].replace("tgl", "ceb"))


def no_language(root: Path) -> None:
    path = root / "R149_0_1/metadata/calls.tsv"
    edit(path, lines(path)[2] + "\n", "")


def segment_without_call(root: Path) -> None:
    edit(root / SEGMENTS, lines(root / SEGMENTS)[1] + "\n", "")


def enrollment_without_call(root: Path) -> None:
    path = root / "R149_0_1/docs/sre16_eval_enrollment_segment_key.tsv"
    edit(path, lines(path)[1] + "\n", "")


def call_without_subject(root: Path) -> None:
    path = root / "R149_0_1/metadata/call_sides.tsv"
    edit(path, lines(path)[1] + "\n", "")


def subject_without_sex(root: Path) -> None:
    edit(root / "R149_0_1/metadata/subjects.tsv", "50001\tM\t", "50001\t\t")


def unknown_subject(root: Path) -> None:
    edit(root / "R149_0_1/metadata/subjects.tsv", "50001\tM\t1990\n", "")


def model_of_two_genders(root: Path) -> None:
    path = root / "R149_0_1/docs/sre16_eval_enrollment.tsv"
    path.write_text(path.read_text() + "1001_sre16\t" + lines(path)[-1].split("\t")[1] + "\ta\n")


def segment_of_two_calls(root: Path) -> None:
    with open(root / SEGMENTS, "a") as out:
        out.write(lines(root / SEGMENTS)[1].split("\t")[0] + "\t90003\n")


def call_of_two_languages(root: Path) -> None:
    with open(root / "R149_0_1/metadata/calls.tsv", "a") as out:
        out.write("90002\tyue\n")


def subject_of_two_sexes(root: Path) -> None:
    with open(root / "R149_0_1/metadata/subjects.tsv", "a") as out:
        out.write("50001\tF\t1990\n")


def own_enrollment(root: Path) -> None:
    """Model 1001's own enrollment segment among its test segments."""
    stem = lines(root / ENROLLMENT)[1].split()[1]
    shutil.copy(root / f"R149_0_1/data/enrollment/{stem}.sph", root / "R149_0_1/data/test")
    for path, line in ((SEGMENTS, f"{stem}\t90001"), (TRIAL_KEY, f"1001_sre16\t{stem}\ta\ttarget")):
        with open(root / path, "a") as out:
            out.write(line + "\n")


def other_side(root: Path) -> None:
    edit(root / TRIAL_KEY, "\ta\tnontarget\n", "\tb\tnontarget\n")


def only_targets(root: Path) -> None:
    path = root / TRIAL_KEY
    path.write_text("".join(f"{line}\n" for line in lines(path) if "nontarget" not in line))


def in_utf16(root: Path) -> None:
    path = root / "LDC2013S03/mx6_speech/docs/mx6_calls.csv"
    path.write_text(path.read_text(), encoding="utf-16")


def two_subjects_of_a_call(root: Path) -> None:
    path = root / "R149_0_1/metadata/call_sides.tsv"
    path.write_text(path.read_text() + "90001\ta\t50004\t7777\n90001\ta\t50005\t7777\n")


def segment_in_the_unlabelled(root: Path) -> None:
    stem = lines(root / SEGMENTS)[1].split()[0]
    target = root / f"LDC2016E46_SRE16_Call_My_Net_Training_Data/data/unlabeled/major/{stem}.sph"
    shutil.copy(root / f"R149_0_1/data/test/{stem}.sph", target)


def segment_in_the_training(root: Path) -> None:
    """By a link of another name."""
    stem = lines(root / ENROLLMENT)[1].split()[1]
    path = root / "LDC2006S44/tb01/taaa.sph"
    path.unlink()
    path.symlink_to(root / f"R149_0_1/data/enrollment/{stem}.sph")


def lost_line_of_callinfo(root: Path) -> None:
    path = root / "LDC99S79/docs/callinfo.tbl"
    path.write_text("".join(f"{line}\n" for line in lines(path)[1:]))


def no_trials_left(root: Path) -> None:
    for path in (root / "R149_0_1/data/test").iterdir():
        path.unlink()


def no_unlabelled(root: Path) -> None:
    folder = root / "LDC2016E46_SRE16_Call_My_Net_Training_Data/data/unlabeled/major"
    for path in folder.iterdir():
        path.write_bytes(b"")


def no_table(root: Path) -> None:
    (root / "R149_0_1/metadata/calls.tsv").unlink()


def compressed_list(root: Path) -> None:
    import gzip

    path = root / "SLR15/speaker_list"
    path.write_bytes(gzip.compress(path.read_bytes()))


ERRORS: list[tuple[Callable, str]] = [
    (no_enrollment, "sre16_eval_trial_key.tsv:2: the trials of model 1001_sre16 cannot be scored: it is not enrolled"),
    (no_enrollment_audio, "sre16_eval_trial_key.tsv:2: the trials of model 1001_sre16 cannot be scored: no audio"),
    (contradicting_trial, "trial_key.tsv:122: 1001_sre16 aaoaac_sre16 is nontarget here, and target at {}/R149"),
    (unknown_label, "trial_key.tsv:9: 'impostor' is neither target nor nontarget"),
    (other_language, "calls.tsv:3: the language of segment aaoaac_sre16 is 'ceb', not tgl or yue"),
    (no_language, "sre16_eval_segment_key.tsv:2: call 90002 is not in {}/R149_0_1/metadata/calls.tsv"),
    (
        segment_without_call,
        "trial_key.tsv:2: segment aaoaac_sre16 has no call in {}/R149_0_1/docs/sre16_eval_segment_key",
    ),
    (enrollment_without_call, "sre16_eval_enrollment.tsv:2: segment aahaab_sre16 has no call in {}/R149_0_1/docs/"),
    (call_without_subject, "enrollment_segment_key.tsv:2: call 90001 of segment aahaab_sre16 is not in {}/R149_0_1"),
    (subject_without_sex, "subjects.tsv:2: the sex of subject 50001 is '', not M or F"),
    (unknown_subject, "call_sides.tsv:2: subject 50001 is not in {}/R149_0_1/metadata/subjects.tsv"),
    (
        model_of_two_genders,
        "sre16_eval_enrollment.tsv:2: model 1001_sre16 is enrolled with the subjects 50001 and 50011",
    ),
    (segment_of_two_calls, "segment_key.tsv:62: the call_id of aaoaac_sre16 is '90003' here, and '90002' at {}"),
    (call_of_two_languages, "the language_id of 90002 is 'yue' here, and 'tgl' at {}/R149_0_1/metadata/calls.tsv:3"),
    (subject_of_two_sexes, "the sex of 50001 is 'F' here, and 'M' at {}/R149_0_1/metadata/subjects.tsv:2"),
    (own_enrollment, "trial_key.tsv:122: model 1001_sre16 is enrolled with aahaab_sre16 itself"),
    (other_side, "sre16_eval_trial_key.tsv:9: side 'b': segments are of side a"),
    (only_targets, "R149_0_1: all trials of docs/sre16_eval_trial_key.tsv that have audio are target trials"),
    (in_utf16, "mx6_calls.csv is UTF-16"),
    (
        two_subjects_of_a_call,
        "call_sides.tsv:79: call 90001 has another subject above, and nothing tells whose aahaab_sre16 is",
    ),
    (segment_in_the_unlabelled, "aaoaac_sre16.sph is in LDC2016E46 too ("),
    (segment_in_the_training, "aahaab_sre16.sph is in LDC2006S44 too ({}/LDC2006S44/tb01/taaa.sph)"),
    (lost_line_of_callinfo, "callinfo.tbl has 7 lines, and {}/LDC99S79/docs/callstat.tbl 4: want two lines"),
    (no_trials_left, "R149_0_1: no trial of docs/sre16_eval_trial_key.tsv has audio"),
    (no_unlabelled, "LDC2016E46: no usable recording in data/unlabeled/major"),
    (no_table, "R149_0_1: no metadata/calls.tsv in {}/R149_0_1"),
    (compressed_list, "speaker_list is compressed; unpack it"),
]


@pytest.mark.parametrize(("damage", "message"), ERRORS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_would_make_results_wrong_is_an_error(
    damaged: Path, tmp_path: Path, damage: Callable, message: str
) -> None:
    damage(damaged)
    done = read(damaged, tmp_path / "out")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert len(errors) == 1 and message.format(damaged) in errors[0], done.stderr
    assert not (tmp_path / "out/.tmp").exists()


# --- compressed sphere ------------------------------------------------------------------------------------------------


def compress(path: Path) -> None:
    """A header as of a shorten-compressed file; what follows it is half as long, and is not read here."""
    data = path.read_bytes()
    header = (
        data[:1024].rstrip(b" \0").replace(b"sample_coding -s4 ulaw", b"sample_coding -s26 ulaw,embedded-shorten-v2.00")
    )
    path.write_bytes(header.ljust(1024) + data[1024 : 1024 + len(data) // 2])


def test_compressed_files_need_sph2pipe(damaged: Path, tmp_path: Path) -> None:
    compress(damaged / "LDC98S75/data/disc1/sw_10001.sph")
    for path in (damaged / "LDC2011S05").rglob("*.sph"):
        compress(path)
    none = ":".join(part for part in os.environ["PATH"].split(":") if not (Path(part) / "sph2pipe").exists())
    done = read(damaged, tmp_path / "out", PATH=none)
    assert done.returncode == 1
    assert "4 files are compressed sphere (3 of LDC2011S05, 1 of LDC98S75), e.g. " in done.stderr
    assert "sph2pipe_v2.5" in done.stderr and not (tmp_path / "out/.tmp").exists()

    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sph2pipe").write_text("#!/bin/sh\n")
    (tools / "sph2pipe").chmod(0o755)
    done = read(damaged, tmp_path / "out", PATH=f"{tools}:{none}")
    assert done.returncode == 0 and not done.stderr
    wavs = table(tmp_path / "out/.tmp/sre/wav.scp") | table(tmp_path / "out/.tmp/swbd/wav.scp")
    (entry,) = (wavs[name] for name in wavs if name.endswith("_sw_10001_2"))
    quoted = str(damaged / "LDC98S75/data/disc1/sw_10001.sph").replace("'", "'\"'\"'")
    assert entry == f"sph2pipe -f wav -p -c 2 '{quoted}' |"
    assert sum(entry.startswith("sph2pipe") for entry in wavs.values()) == 8
