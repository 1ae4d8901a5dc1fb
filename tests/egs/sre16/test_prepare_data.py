"""egs/sre16/v1/local/prepare_data.sh on the miniature: what it leaves, of all corpora and of a part of them."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from preparations import lines, snapshot, table
from sre16_trees import DIRECTORIES, LOCAL, prepare, read

from vouch.cli.wave_commands import in_process_commands
from vouch.io.audio import read_wave


@pytest.fixture(scope="module")
def out(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = snapshot(corpora)
    out = tmp_path_factory.mktemp("prepared") / "the data"
    done = prepare(corpora / "corpora.yaml", out)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert snapshot(corpora) == before
    return out


def samples(entry: str) -> np.ndarray:
    wave = read_wave(entry, commands=in_process_commands(allow_pipes=False), allow_pipes=False)
    assert wave.rate == 8000 and len(wave.samples) == 1
    return wave.samples[0]


def side(path: Path, channel: int) -> np.ndarray:
    return soundfile.read(path, dtype="int16", always_2d=True)[0][:, channel - 1]


TRIALS = {
    "sre16_eval_test": {"trials", "trials_tgl", "trials_yue", "trial_info.tsv"},
    "sre16_dev_test": {"trials", "trials_ceb", "trials_cmn", "trial_info.tsv"},
}


def test_every_directory_and_table_is_there(out: Path) -> None:
    assert {path.name for path in out.iterdir()} == {*DIRECTORIES, "sources.tsv", "corpora.tsv", "log"}
    for name in DIRECTORIES:
        assert {path.name for path in (out / name).iterdir()} == {"wav.scp", "utt2spk", "spk2utt"} | (
            {"spk2gender"} if name in ("sre", "swbd") else set()
        ) | TRIALS.get(name, set())
    assert (out / "log/warnings.txt").read_text() == ""


def test_utterances_of_the_speaker_list(out: Path, corpora: Path) -> None:
    utt2spk, wavs, genders = (table(out / "sre" / name) for name in ("utt2spk", "wav.scp", "spk2gender"))
    expected = {}
    for line in lines(corpora / "SLR15/speaker_list"):
        speaker, gender, source, stem, channel = line.split()
        expected[f"{speaker}-sre{source[-2:]}-{stem}-{channel.lower()}"] = speaker, "AB".index(channel) + 1, stem
        assert genders[speaker] == gender
    assert expected == {
        name: (speaker, *expected.get(name, (0, 0, 0))[1:]) for name, speaker in utt2spk.items() if "-sre0" in name
    }
    for name, (_, channel, stem) in list(expected.items())[::5]:
        (path,) = corpora.rglob(f"{stem}.sph")
        np.testing.assert_array_equal(samples(wavs[name]), side(path, channel))


def test_sre08_and_sre10_take_models_and_target_trials(out: Path, corpora: Path) -> None:
    utt2spk, wavs = table(out / "sre/utt2spk"), table(out / "sre/wav.scp")
    keys = corpora / "LDC2011S08/data/keys/NIST_SRE08_KEYS.v0.1"
    speakers, expected = {}, set()
    for line in lines(keys / "model-keys/NIST_SRE08_short2.model.key"):
        model, _, segment, speakers[model] = line.split(",")
        expected.add(f"{speakers[model]}_SRE08_{segment[:-2]}_{segment[-1].upper()}")
    for line in lines(keys / "trial-keys/NIST_SRE08_short2-short3.trial.key"):
        model, segment, channel, label = line.split(",")[:4]
        if label == "target":
            expected.add(f"{speakers[model]}_SRE08_{segment}_{channel.upper()}")
    assert {name for name in utt2spk if "_SRE08_" in name} == expected and len(expected) == 18
    assert wavs["120101_SRE08_taaam_A"].startswith("vouch wav-cut --channel=1 '")
    # Six models with a training side and two target sides each; the one that is NOT_SCORED has no speaker.
    sre10 = Counter(speaker for name, speaker in utt2spk.items() if "_SRE10_" in name)
    assert sre10 == {str(number): 3 for number in range(120101, 120107)}
    path = corpora / "LDC2017S06/eval/data/phonecall/tel/taaax.sph"
    assert np.array_equal(samples(wavs["120101_SRE10_taaax_A"]), side(path, 1))


def test_mixer6_calls_and_interviews(out: Path, corpora: Path) -> None:
    base = corpora / "LDC2013S03/mx6_speech"
    wavs = {name: entry for name, entry in table(out / "sre/wav.scp").items() if "_MX6_" in name}
    call, time, *row = lines(base / "docs/mx6_calls.csv")[1].split(",")
    a, b = row[2], row[10]
    path = base / f"data/ulaw_sphere/53/{time}_{call}.sph"
    assert np.array_equal(samples(wavs[f"{b}_MX6_{call}_B"]), side(path, 2)) and f"{a}_MX6_{call}_A" in wavs
    microphones = Counter(name.rpartition("_")[2] for name in wavs)
    assert microphones == {"A": 3, "B": 3, "02": 4, **{f"{number:02d}": 4 for number in range(4, 14)}}
    session, *_, start, end = lines(base / "docs/mx6_ivcomponents.csv")[1].split(",")
    date, clock, _, speaker = session.split("_")
    heard = samples(wavs[f"{speaker}_MX6_{date}_{clock}_02"])
    assert len(heard) == round((float(end) - float(start)) * 8000)
    whole = side(base / f"data/pcm_flac/CH02/{session}_CH02.flac", 1)[round(float(start) * 16000) :: 2]
    assert np.corrcoef(heard, whole[: len(heard)])[0, 1] > 0.95


def test_switchboards_have_both_sides_under_their_pins(out: Path, corpora: Path) -> None:
    wavs, genders = table(out / "swbd/wav.scp"), table(out / "swbd/spk2gender")
    columns = {  # first column, pins and genders of a line; the names of utterances
        "LDC98S75": ("docs/callstat.tbl", 2, 5, "sw_{}_{}_{}", ""),
        "LDC99S79": ("docs/callstat.tbl", 2, 4, "sw_{}_sw_{}_{}", "sw_"),
        "LDC2002S06": ("docs/callstat.tbl", 3, 5, "sw_{}_sw_{}_{}", "sw_"),
        "LDC2001S13": ("docs/swb_callstats.tbl", 1, 3, "sw_{}-swbdc_sw_{}_{}", "sw_"),
        "LDC2004S07": ("docs/swb_callstats.tbl", 1, 3, "sw_{}-swbdc_sw_{}_{}", "sw_"),
    }
    expected = set()
    for number, (name, pins, sexes, form, prefix) in columns.items():
        for line in lines(corpora / number / name):
            fields = line.split(",")
            stem = fields[0].removesuffix(".sph")
            for which in (0, 1):
                pin = fields[pins + which]
                expected.add(form.format(pin, stem, which + 1))
                assert genders[f"sw_{pin}"] == fields[sexes + which].lower()
        (path,) = (corpora / number).rglob(f"{prefix}{stem}.sph")
        assert np.array_equal(samples(wavs[form.format(pin, stem, 2)]), side(path, 2))
    assert set(wavs) == expected and len(expected) == 32


def test_sre16_directories(out: Path, corpora: Path) -> None:
    enrolled = [line.split("\t")[:2] for line in lines(corpora / "R149_0_1/docs/sre16_eval_enrollment.tsv")[1:]]
    assert table(out / "sre16_eval_enroll/utt2spk") == {f"{model}-{segment}": model for model, segment in enrolled}
    sizes = Counter(model for model, _ in enrolled)
    assert Counter(sizes.values()) == {1: 4, 3: 4}
    tests = {path.stem for path in (corpora / "R149_0_1/data/test").iterdir()}
    assert table(out / "sre16_eval_test/utt2spk") == {stem: stem for stem in tests} and len(tests) == 60
    entry = table(out / "sre16_eval_test/wav.scp")[min(tests)]
    assert entry == str(corpora / f"R149_0_1/data/test/{min(tests)}.sph")
    assert np.array_equal(samples(entry), side(Path(entry), 1))
    for part, count in (("major", 40), ("minor", 20)):
        assert len(table(out / f"sre16_{part}/utt2spk")) == count
        assert all(u == s for u, s in table(out / f"sre16_{part}/utt2spk").items())


def test_trials_have_their_languages_genders_sizes_and_telephones(out: Path, corpora: Path) -> None:
    docs, metadata = corpora / "R149_0_1/docs", corpora / "R149_0_1/metadata"

    def rows(path: Path) -> list[list[str]]:
        return [line.split("\t") for line in lines(path)[1:]]

    calls = dict(rows(docs / "sre16_eval_segment_key.tsv") + rows(docs / "sre16_eval_enrollment_segment_key.tsv"))
    languages = dict(rows(metadata / "calls.tsv"))
    sides = {call: (subject, phone) for call, _, subject, phone in rows(metadata / "call_sides.tsv")}
    sexes = {subject: sex.lower() for subject, sex, _ in rows(metadata / "subjects.tsv")}
    enrolled: dict[str, list[str]] = {}
    for model, segment, _ in rows(docs / "sre16_eval_enrollment.tsv"):
        enrolled.setdefault(model, []).append(calls[segment])
    expected = []
    for model, segment, _, label in rows(docs / "sre16_eval_trial_key.tsv"):
        phones = {sides[call][1] for call in enrolled[model]}
        match = "same" if sides[calls[segment]][1] in phones else "different"
        sex, language = sexes[sides[enrolled[model][0]][0]], languages[calls[segment]]
        expected.append([model, segment, label, sex, language, str(len(enrolled[model])), match])
    header, *found = (line.split("\t") for line in lines(out / "sre16_eval_test/trial_info.tsv"))
    assert header == ["model", "segment", "target", "gender", "language", "enrollment_segments", "phone_match"]
    assert found == sorted(expected)
    assert len(Counter(tuple(row[3:]) for row in found)) == 16  # gender x language x size x telephone
    test = out / "sre16_eval_test"
    for name, language in (("trials", ""), ("trials_tgl", "tgl"), ("trials_yue", "yue")):
        assert lines(test / name) == [" ".join(row[:3]) for row in found if language in ("", row[4])]


def test_sources_count_what_is_in_the_directories(out: Path) -> None:
    header, *rows = (line.split("\t") for line in lines(out / "sources.tsv"))
    assert header == ["corpus", "name", "utterances", "speakers", "seconds", "warnings"]
    counts = {row[0]: int(row[2]) for row in rows}
    sizes = {name: len(lines(out / name / "utt2spk")) for name in DIRECTORIES}
    assert sum(counts.values()) == sum(sizes.values()) and counts["R149_0_1"] == 76
    parts = ("sre16_major", "sre16_minor", "sre16_dev_enroll", "sre16_dev_test")
    seconds = sum(len(samples(entry)) for part in parts for entry in table(out / part / "wav.scp").values()) / 8000
    assert {row[0]: row[4] for row in rows}["LDC2016E46"] == str(round(seconds))
    assert all(row[5] == "0" for row in rows)
    assert [row[3] for row in rows if row[0] in ("R149_0_1", "LDC2016E46", "LDC2017S06")] == ["6", "8", "-"]


def test_a_second_call_leaves_files_and_times_alone(out: Path, corpora: Path) -> None:
    (out / "sre/feats.scp").write_text("of a later stage\n")
    before = snapshot(out)
    done = prepare(corpora, out)  # by the folder: its corpora.yaml
    assert done.returncode == 0, done.stderr
    assert snapshot(out) == before
    (out / "sre/feats.scp").unlink()


def test_a_changed_corpus_replaces_its_directory_alone(damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert prepare(damaged, out).returncode == 0
    before = snapshot(out)
    info = damaged / "R149_0_1/metadata/call_sides.tsv"
    info.write_text(info.read_text().replace("7001\n", "9999\n", 1))
    assert prepare(damaged, out).returncode == 0
    changed = {name for name, state in snapshot(out).items() if state != before[name]}
    assert {name.split("/")[0] for name in changed} == {"sre16_eval_test"}
    shutil.rmtree(damaged / "LDC2016E46_SRE16_Call_My_Net_Training_Data")
    text = (damaged / "corpora.yaml").read_text()
    (damaged / "corpora.yaml").write_text("".join(f"{x}\n" for x in text.splitlines() if "LDC2016E46" not in x))
    assert prepare(damaged, out).returncode == 0
    assert not (out / "sre16_major").exists()  # or the recipe would adapt to what is not there


# --- where the corpora lie -------------------------------------------------------------------------------------------


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def test_a_part_of_the_corpora_in_a_folder_by_their_numbers(corpora: Path, out: Path, tmp_path: Path) -> None:
    """The tables of some lie folders further down, as in the LDC's releases, beside other sets of the same form."""
    folder = tmp_path / "some discs"
    link(corpora / "LDC2011S08", folder / "ldc2011s08_sre08_test/d1")
    link(corpora / "LDC2011S05", folder / "LDC2011S05")
    link(corpora / "LDC2017S06", folder / "LDC2017S06/data")
    link(corpora / "R149_0_1", folder / "LDC2019S20/data/eval/R149_0_1")
    shutil.copytree(corpora / "R149_0_1/metadata", folder / "LDC2019S20/data/dev/R148_0_0/metadata")
    (folder / "LDC2019S20/data/dev/R148_0_0/metadata/calls.tsv").write_text("call_id\tlanguage_id\n1\tcmn\n")
    link(corpora / "LDC2016E46_SRE16_Call_My_Net_Training_Data", folder / "LDC2016E46_SRE16_Call_My_Net_Training_Data")
    (folder / "LDC2011S089").mkdir()  # another number
    (folder / "readme.txt").touch()
    done = prepare(folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "LDC2006S44" in done.stdout and "Mixer 6, 4,410 calls, 1,425 interviews: " in done.stdout
    assert not (tmp_path / "out/swbd").exists()
    assert [line.split("\t")[0] for line in lines(tmp_path / "out/corpora.tsv")] == [
        "LDC2011S08", "LDC2011S05", "LDC2017S06", "R149_0_1", "LDC2016E46"
    ]  # fmt: skip
    expected = [x for x in lines(out / "sre/utt2spk") if "_SRE08_" in x or "_SRE10_" in x]
    assert lines(tmp_path / "out/sre/utt2spk") == expected
    for name in ("trials", "trials_tgl", "trials_yue", "trial_info.tsv", "utt2spk"):
        assert lines(tmp_path / "out/sre16_eval_test" / name) == lines(out / "sre16_eval_test" / name)
    entry = table(tmp_path / "out/sre/wav.scp")["120101_SRE08_taaam_A"]
    assert len(samples(entry)) == len(samples(table(out / "sre/wav.scp")["120101_SRE08_taaam_A"]))


def yaml_of(tmp_path: Path, corpora: Path, *numbers: str, extra: str = "") -> Path:
    places = {line.split(": ")[0]: line.split(": ")[1] for line in lines(corpora / "corpora.yaml")}
    path = tmp_path / "list.yaml"
    path.write_text("".join(f"{number}: '{corpora / places[number]}'\n" for number in numbers) + extra)
    return path


def test_without_the_evaluation_there_is_training_data(corpora: Path, tmp_path: Path) -> None:
    (tmp_path / "noises").mkdir()
    done = prepare(yaml_of(tmp_path, corpora, "LDC98S75", extra="LDC2013S03:\nmusan: noises\n"), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "R149_0_1     SRE16 evaluation: the evaluation: training data only" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"swbd", "sources.tsv", "corpora.tsv", "log"}
    assert lines(tmp_path / "out/corpora.tsv")[1] == f"musan\t{tmp_path}/noises"


def test_releases_whose_speakers_are_elsewhere_are_passed_over_with_a_warning(corpora: Path, tmp_path: Path) -> None:
    listed = yaml_of(tmp_path, corpora, "LDC2006S44", "LDC2011S05", "LDC98S75")
    done = read(listed, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "speaker_list: it is not given, so LDC2006S44 cannot be used" in done.stderr
    assert "LDC2011S08 is not given, which has its keys" in done.stderr


def test_keys_of_a_release_that_is_not_given_are_no_warnings(corpora: Path, tmp_path: Path) -> None:
    done = read(yaml_of(tmp_path, corpora, "LDC2011S08", "LDC2011S01", "speaker_list"), tmp_path / "out")
    assert done.returncode == 0 and not done.stderr
    assert "LDC2011S08: 6 keys have no file in the releases of this year that are given" in done.stdout
    assert "LDC2011S01: 2 keys have no file" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LDC2017SO6: {0}/LDC2017S06\n", "unknown corpus 'LDC2017SO6'; did you mean LDC2017S06?"),
        ("LDC2011S08: {0}/nowhere\n", "nowhere does not exist"),
        ("LDC2011S08: [1]\n", "the path of LDC2011S08 is [1]"),
        ("just words\n", "want a mapping"),
        ("LDC2011S08: {0}/LDC2011S08\nLDC2011S08: {0}/LDC2011S08\n", "comes twice"),
        ("R149_0_1: {0}/R149_0_1\nLDC2019S20: {0}/R149_0_1\n", "R149_0_1 is there twice"),
        ("R149_0_1: {0}/R149_0_1\n", "no labelled corpus is given"),
        ("LDC2017S06: {0}/LDC98S75\n", "LDC2017S06: no keys/coreext.modelkey.csv in "),
        ("LDC98S75: {0}/LDC2002S06\n", "LDC98S75: no recording of "),
        ("LDC98S75: {0}/corpora.yaml\n", "is not a folder"),
        ("LDC98S75: {0}/LDC98S75\nLDC2016E46: {0}/R149_0_1\n", "no usable recording in data/unlabeled/major"),
        ("speaker_list: {0}/LDC98S75\nLDC2006S44: {0}/LDC2006S44\n", "there is no file"),
    ],
)
def test_a_wrong_list_is_one_line(corpora: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.yaml").write_text(text.replace("{0}", str(corpora)))
    done = read(tmp_path / "list.yaml", tmp_path / "out")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert len(errors) == 1 and message in errors[0]
    assert not (tmp_path / "out/.tmp").exists()


def test_wrong_places(corpora: Path, tmp_path: Path) -> None:
    done = prepare(tmp_path / "none.yaml", tmp_path / "out")
    assert done.returncode == 1 and "none.yaml does not exist" in done.stderr
    (tmp_path / "empty").mkdir()
    done = prepare(tmp_path / "empty", tmp_path / "out")
    assert done.returncode == 1 and "neither corpora.yaml nor folders" in done.stderr
    for name in ("LDC98S75 disc 1", "LDC98S75 disc 2"):
        (tmp_path / "two" / name).mkdir(parents=True)
    done = prepare(tmp_path / "two", tmp_path / "out")
    assert done.returncode == 1 and "LDC98S75 is there twice" in done.stderr
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_into_a_corpus(corpora: Path) -> None:
    before = snapshot(corpora), sorted(corpora.rglob("*"))
    for out in (corpora / "LDC98S75", corpora / "LDC98S75/new"):
        done = prepare(corpora, out)
        assert done.returncode == 1 and "lies inside the corpus LDC98S75" in done.stderr
    assert (snapshot(corpora), sorted(corpora.rglob("*"))) == before


def test_help_and_a_wrong_call() -> None:
    done = subprocess.run(["bash", str(LOCAL / "prepare_data.sh"), "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for word in ("--corpora PATH", "LDC2013S03", "trial_info.tsv", "--seed N"):
        assert word in done.stdout
    done = subprocess.run(["bash", str(LOCAL / "prepare_data.sh"), "out"], capture_output=True, text=True)
    assert done.returncode == 1 and "usage" in done.stderr
