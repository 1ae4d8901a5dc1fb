"""What the check of a data directory finds: each fault, in its file and line, with the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from vouch.errors import VouchError
from vouch.io.datadir_check import check_data_dir

GOOD = {
    "utt2spk": "a-1 a\na-2 a\nb-1 b\n",
    "spk2utt": "a a-1 a-2\nb b-1\n",
    "wav.scp": "a-1 /1.wav\na-2 sox '/2 x.wav' -t wav - |\nb-1 /3.wav\n",
    "feats.scp": "a-1 f:1\na-2 f:2\nb-1 f:3[0:9]\n",
    "text": "a-1 caf\u00e9 au lait\na-2\nb-1 x\n",
    "utt2dur": "a-1 1.5\na-2 2e-1\nb-1 3\n",
    "utt2num_frames": "a-1 150\na-2 20\nb-1 300\n",
    "spk2gender": "a m\nb f\n",
    "trials": "m1 a-1 target\nm1 b-1 nontarget\nm10 a-1 target\n",
    "frame_shift": "0.01\n",
}
SEGMENTED = {
    **GOOD,
    "wav.scp": "r1 /1.wav\nr2 /2.wav\n",
    "segments": "a-1 r1 0 1.5\na-2 r1 1.5 1.7\nb-1 r2 0.0 3\n",
    "reco2dur": "r1 4\nr2 5\n",
    "reco2file_and_channel": "r1 r1 A\nr2 r2 B\n",
}


def found(folder: Path, files: dict[str, str | bytes], **options: bool) -> list[str]:
    """The problems of a directory of these files, without the folder."""
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return [line.replace(str(folder), "D") for line in check_data_dir(folder, **options).problems()]


@pytest.mark.parametrize("files", [GOOD, SEGMENTED], ids=["whole", "segmented"])
def test_a_valid_directory_has_no_problems(tmp_path, files):
    assert found(tmp_path, files) == []
    report = check_data_dir(tmp_path)
    assert (report.utterances, report.speakers, report.warnings) == (3, 2, [])


FAULTS = [
    (
        "utt2spk",
        "a-2 a\na-1 a\nb-1 b\n",
        "D/utt2spk:2: key 'a-1' comes before 'a-2' of line 1: sort it (fix_data_dir.sh D)",
    ),
    ("utt2spk", "a-1 a\na-1 a\na-2 a\nb-1 b\n", "D/utt2spk:2: key 'a-1' stands again (first in line 1)"),
    ("utt2spk", "a-1 b\na-2 a\nb-1 b\n", "D/utt2spk:2: utterances are sorted but speaker 'a' comes after 'b'"),
    ("utt2spk", "a-1 a\na-2\nb-1 b\n", "D/utt2spk:2: 'a-2' has 1 fields in its line, want 2"),
    ("utt2spk", "a-1 a x\na-2 a\nb-1 b\n", "D/utt2spk:1: 'a-1' has 3 fields in its line, want 2"),
    ("utt2spk", "a-1 a\na-2 a\n", "D/wav.scp:3: recording 'b-1' is not in utt2spk"),
    ("utt2spk", "", "D/utt2spk: is empty"),
    ("spk2utt", "a a-1 a-2\nb b-1\nc\n", "D/spk2utt:3: speaker 'c' has no utterances: run fix_data_dir.sh D"),
    ("spk2utt", "a a-1\nb b-1\n", "D/spk2utt:1: the utterances of speaker 'a' are not those of utt2spk"),
    ("spk2utt", "a a-1 a-2\n", "D/spk2utt: 1 speaker ('b') of utt2spk missing"),
    ("wav.scp", "a-1 /1.wav\nb-1 /3.wav\n", "D/wav.scp: 1 recording ('a-2') of utt2spk missing"),
    ("wav.scp", "a-1\na-2 /2.wav\nb-1 /3.wav\n", "D/wav.scp:1: 'a-1' stands alone, want 2 fields or more"),
    ("wav.scp", "a-1 ~/1.wav\na-2 /2.wav\nb-1 /3.wav\n", "D/wav.scp:1: ~ is not expanded"),
    ("feats.scp", "a-1 f:1\r\na-2 f:2\nb-1 f:3\n", "D/feats.scp:1: has a carriage return"),
    ("feats.scp", "a-1 f:1\na-2 f:2\nb-1 f:3", "D/feats.scp:3: the last line has no newline"),
    ("feats.scp", "a-1 f:1\n\na-2 f:2\nb-1 f:3\n", "D/feats.scp:2: is empty: run fix_data_dir.sh D"),
    ("feats.scp", " a-1 f:1\na-2 f:2\nb-1 f:3\n", "D/feats.scp:1: begins with white space"),
    ("feats.scp", "a-1 f:1\na-2 f:2\nb-1 f:3\nc-1 f:4\n", "D/feats.scp:4: utterance 'c-1' is not in utt2spk"),
    ("feats.scp", "a-1 f:1\na-2 f\x01:2\nb-1 f:3\n", "D/feats.scp:2: has a control character"),
    ("text", b"a-1 caf\xe9\na-2\nb-1 x\n", "D/text:1: is not UTF-8"),
    ("text", b"\xef\xbb\xbfa-1 x\na-2\nb-1 x\n", "D/text:1: begins with a byte-order mark"),
    ("text", "a-1 x\na-2 y </s>\nb-1 x\n", "D/text:2: holds one of <s>, </s>, #0"),
    ("utt2dur", "a-1 1.5\na-2 0\nb-1 3\n", "D/utt2dur:2: 'a-2' has '0', want a number of seconds over 0"),
    ("utt2dur", "a-1 1.5\na-2 2\nb-1 nan\n", "D/utt2dur:3: 'b-1' has 'nan', want a number"),
    ("utt2num_frames", "a-1 1.5\na-2 2\nb-1 3\n", "D/utt2num_frames:1: 'a-1' has '1.5', want a whole number"),
    ("utt2num_frames", "a-1 1\na-2 00\nb-1 3\n", "D/utt2num_frames:2: 'a-2' has '00', want a whole number"),
    ("spk2gender", "a m\nb male\n", "D/spk2gender:2: 'b' has 'male', want m or f"),
    ("spk2gender", "a m\nb f\nc f\n", "D/spk2gender:3: speaker 'c' is not in utt2spk"),
    ("trials", "m1 a-1 target\nm1 zz target\n", "D/trials:2: test utterance 'zz' is not in utt2spk"),
    ("trials", "m1 a-1 yes\n", "D/trials:1: 'yes' is not target or nontarget"),
    ("trials", "m1 a-1\n", "D/trials:1: 'm1' has 2 fields in its line, want 3"),
    ("trials", "m2 a-1 target\nm1 a-1 target\n", "D/trials:2: trial 'm1 a-1' comes before 'm2 a-1'"),
    ("trials", "m1 a-1 target\nm1 a-1 target\n", "D/trials:2: trial 'm1 a-1' stands again"),
    ("frame_shift", "ten\n", "D/frame_shift: 'ten' is not a number"),
    ("segments", "a-1 r1 0 1.5\na-2 r1 1.5 1.5\nb-1 r2 0 3\n", "D/segments:2: utterance 'a-2' goes from 1.5 to 1.5 s"),
    ("segments", "a-1 r1 0 1.5\na-2 r1 1 end\nb-1 r2 0 3\n", "D/segments:2: utterance 'a-2' goes from 1 to end s"),
    ("segments", "a-1 r1 0 1.5\na-2 r9 0 1\nb-1 r2 0 3\n", "D/wav.scp: 1 recording ('r9') of segments missing"),
    ("reco2dur", "r1 4\nr2 -5\n", "D/reco2dur:2: 'r2' has '-5'"),
    ("reco2file_and_channel", "r1 r1 A\nr2 r2 C\n", "D/reco2file_and_channel:2: the channel is not A or B"),
]


@pytest.mark.parametrize(("name", "text", "message"), FAULTS, ids=[m[2:40] for _, _, m in FAULTS])
def test_each_fault_is_told_with_its_place(tmp_path, name, text, message):
    whole = SEGMENTED if name in SEGMENTED and name not in GOOD else GOOD
    lines = found(tmp_path, {**whole, name: text})
    assert any(line.startswith(message) for line in lines), lines


@pytest.mark.parametrize("name", ["utt2spk", "spk2utt", "wav.scp", "feats.scp", "text"])
def test_a_required_file_is_missed(tmp_path, name):
    lines = found(tmp_path, {key: text for key, text in GOOD.items() if key != name})
    assert any(line.startswith(f"D/{name}: no such file") for line in lines)


def test_options_allow_what_they_say(tmp_path):
    lean = {name: GOOD[name] for name in ("utt2spk", "spk2utt")}
    assert found(tmp_path, lean, feats=False, text=False, wav=False) == []
    assert len(found(tmp_path, lean, feats=False)) == 2
    other = {"utt2spk": "a-1 b\na-2 a\n", "spk2utt": "a a-2\nb a-1\n"}
    assert found(tmp_path, other, feats=False, text=False, wav=False, speaker_sorted=False) == []
    unprintable = {"text": "a-1 \x01\na-2 x\n"}
    options = {"feats": False, "wav": False, "speaker_sorted": False}
    assert found(tmp_path, unprintable, **options, printable=False) == []
    assert len(found(tmp_path, unprintable, **options)) == 1


def test_audio_files_are_looked_for_on_request(tmp_path):
    (tmp_path / "x y.wav").touch()
    wav = f"a-1 {tmp_path}/x y.wav\na-2 sox nothing.wav - |\nb-1 {tmp_path}/nothing.wav\n"
    files = {**GOOD, "wav.scp": wav}
    assert found(tmp_path, files) == []
    assert found(tmp_path, files, audio=True) == [
        "D/wav.scp:3: the audio file D/nothing.wav of 'b-1' does not exist; check the path"
    ]


def test_many_problems_of_a_kind_are_counted(tmp_path):
    wav = "".join(f"a-{i:02d} ~/x\n" for i in range(9))
    files = {
        "utt2spk": wav.replace("~/x", "a"),
        "wav.scp": wav,
        "spk2utt": "a " + wav.replace(" ~/x\n", " ").strip() + "\n",
    }
    lines = found(tmp_path, files, feats=False, text=False)
    assert len(lines) == 4 and lines[-1] == "D/wav.scp: and 6 more like this (tilde)"
    report = check_data_dir(tmp_path, feats=False, text=False)
    assert report.count == 9 and "only one speaker" in report.warnings[0]


def test_a_missing_directory_is_an_error(tmp_path):
    with pytest.raises(VouchError, match="nowhere: no such data directory"):
        check_data_dir(tmp_path / "nowhere")
