"""`vouch embed`: the embeddings of the recipe's steps, recordings of any rate, and what is refused; export-model."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile
from model_examples import DIM, RATE, SPEAKERS, speech, write_backend, write_model, write_speech
from recipe_runs import ROOT, succeed

from vouch.cli import main
from vouch.io.tables import TableWriter, read_table


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("embed") / "model")


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> str:
    return write_speech(tmp_path_factory.mktemp("speech") / "a.wav", speech(0))


def embed(model, *words: str) -> dict[str, np.ndarray]:
    out = model.parent / "out.ark"
    assert main(["embed", f"--model={model}", f"--out=ark:{out}", *map(str, words)]) == 0
    return dict(read_table(f"ark:{out}", "vector"))


def refused(capsys, *words: object) -> str:
    capsys.readouterr()
    assert main([*map(str, words)]) == 1
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if ": error: " in line]
    assert len(lines) == 1 and "Traceback" not in said.err and not said.out
    return lines[0]


def assert_near(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == np.float32 and found.shape == wanted.shape == (DIM,)
    assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)


def write_data(folder, names: dict[str, str]):
    """A data directory of these recordings."""
    folder.mkdir()
    (folder / "wav.scp").write_text("".join(f"{key} {name}\n" for key, name in sorted(names.items())))
    for file in ("utt2spk", "spk2utt"):
        (folder / file).write_text("".join(f"{key} {key}\n" for key in sorted(names)))
    return folder


def test_embeddings_are_those_of_the_steps(model, tmp_path):
    names = {f"u{i}": write_speech(tmp_path / f"u{i}.wav", speech(i)) for i in range(3)}
    names["flac"] = str(tmp_path / "u.flac")
    soundfile.write(names["flac"], speech(9).astype(np.int16), RATE)
    data = write_data(tmp_path / "data", names)
    for step, *words in (
        ("make_mfcc.sh", "--compress", "false", "--feature-config", model / "features.conf", data),
        ("compute_vad.sh", "--vad-config", model / "vad.conf", data),
        ("extract_embeddings.sh", "--cmn-config", model / "cmn.conf", "--device", "cpu", model, data, tmp_path / "e"),
    ):
        succeed("bash", ROOT / "steps" / step, "--nj", 1, *words)
    wanted = dict(read_table(f"scp:{tmp_path}/e/embedding.scp", "vector"))
    found = embed(model, "--num-threads=2", *names.values())
    assert list(found) == list(names.values())
    for key, name in names.items():
        assert_near(found[name], wanted[key])


def test_filter_banks_and_a_higher_rate_are_those_of_the_tools(tmp_path, capsys):
    model = write_model(tmp_path / "model", "fbank")
    (model / "cmn.conf").write_text("--norm-vars=true\n--cmn-window=80\n")
    name = write_speech(tmp_path / "a.wav", speech(1, 44_100), rate=44_100)
    write_data(tmp_path / "data", {"a": name})
    chain = [
        ["compute-fbank-feats", f"--config={model}/features.conf", "--allow-downsample=true"],
        ["compute-vad", f"--config={model}/vad.conf"],
        ["apply-cmvn-sliding", f"--config={model}/cmn.conf"],
    ]
    for tool, source, target in zip(chain, ("data/wav.scp", "f", "f"), ("f", "v", "n"), strict=True):
        source = f"scp:{tmp_path}/{source}" if source == "data/wav.scp" else f"ark:{tmp_path}/{source}"
        assert main([*tool, source, f"ark:{tmp_path}/{target}"]) == 0
    tables = [f"ark:{tmp_path}/{name}" for name in ("n", "v", "s", "e")]
    assert main(["select-voiced-frames", *tables[:3]]) == 0
    assert main(["extract-embeddings", str(model), *tables[2:]]) == 0
    capsys.readouterr()
    assert_near(embed(model, name)[name], dict(read_table(tables[3], "vector"))["a"])
    said = capsys.readouterr().err
    assert f"LOG {name}: resampled from 44100 to 16000 Hz" in said and "WARNING" not in said


def test_a_lower_rate_is_raised_and_warned_of(model, recording, tmp_path, capsys):
    name = write_speech(tmp_path / "low.wav", speech(0, 8000), rate=8000)
    found = embed(model, name)[name]
    said = capsys.readouterr().err
    assert f"LOG {name}: resampled from 8000 to 16000 Hz" in said
    assert f"WARNING {name} has nothing above 4000 Hz, and this model listens up to 7600 Hz" in said
    assert np.isfinite(found).all() and not np.allclose(found, embed(model, recording)[recording], rtol=1e-3)


def test_what_a_recording_holds_decides_with_dither_too(recording, tmp_path):
    model = write_model(tmp_path / "model", dither=1)
    copy = shutil.copy(recording, tmp_path / "another name.wav").rename(tmp_path / "other.wav")
    found = embed(model, recording, copy)
    assert_near(found[str(copy)], found[recording])


def test_channels(model, recording, tmp_path, capsys):
    stereo = write_speech(tmp_path / "stereo.wav", speech(3)[:25_000], speech(0)[:25_000])
    mono = write_speech(tmp_path / "mono.wav", speech(0)[:25_000])
    asked = "has 2 channels; choose one with --channel=0 to 1"
    assert f"{stereo} {asked}" in refused(capsys, "embed", f"--model={model}", stereo)
    assert "2 channels, and no channel 2" in refused(capsys, "embed", f"--model={model}", "--channel=2", stereo)
    assert_near(embed(model, "--channel=1", stereo)[stereo], embed(model, mono)[mono])
    assert "1 channels, and no channel 1" in refused(capsys, "embed", f"--model={model}", "--channel=1", mono)


def bad_recordings(folder) -> dict[str, str]:
    """File -> why it is refused."""
    write_speech(folder / "silent.wav", np.zeros(32_000))
    write_speech(folder / "short.wav", speech(0)[8000:9600])
    write_speech(folder / "tiny.wav", np.ones(3) * 1000)
    write_speech(folder / "slow.wav", speech(0), rate=500)
    soundfile.write(folder / "loud.wav", np.resize([1e25, -1e25], 16_000), RATE, subtype="FLOAT")
    whole = (folder / "short.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[:2000])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("RIFF is not all that it takes")
    (folder / "song.mp3").write_bytes(b"ID3" + bytes(100))
    (folder / "folder.wav").mkdir()
    return {
        "silent.wav": "none of its 200 frames is voiced",
        "short.wav": "has 10 voiced frames, want 25 or more",
        "tiny.wav": "lasts 0.000188 s, less than a frame",
        "slow.wav": "has 500 Hz; want 1000 to 192000",
        "loud.wav": "its features are not finite",
        "cut.wav": "it was cut off",
        "empty.wav": "it is empty",
        "text.wav": "it is a RIFF file, but not wav",
        "song.mp3": "it is not wav, flac or NIST sphere",
        "folder.wav": "Is a directory",
        "missing.wav": "No such file",
    }


def test_recordings_that_are_refused_are_named_and_nothing_is_written(model, recording, tmp_path, capsys):
    (tmp_path / "out").write_text("of before")
    for name, why in bad_recordings(tmp_path).items():
        words = ["embed", f"--model={model}", f"--out=ark:{tmp_path}/out", recording, tmp_path / name]
        line = refused(capsys, *words)
        assert str(tmp_path / name) in line and why in line
        assert (tmp_path / "out").read_text() == "of before" and not list(tmp_path.glob("out?*"))


def test_forms_of_the_output(model, recording, tmp_path, capsys):
    assert main(["embed", "--model", str(model), recording]) == 0
    words = capsys.readouterr().out.split()
    found = embed(model, recording)[recording]
    assert words[0] == recording and words[1] == "[" and words[-1] == "]"
    np.testing.assert_allclose(np.array(words[2:-1], float), found, rtol=1e-5)
    out = f"ark,scp:{tmp_path}/e.ark,{tmp_path}/e.scp"
    assert main(["embed", f"--model={model}", f"--out={out}", recording]) == 0
    np.testing.assert_array_equal(dict(read_table(f"scp:{tmp_path}/e.scp", "vector"))[recording], found)


def test_names_that_cannot_be_keys(model, recording, capsys):
    assert "'a b.wav' has a space" in refused(capsys, "embed", f"--model={model}", "a b.wav")
    assert "is given twice" in refused(capsys, "embed", f"--model={model}", recording, recording)


def test_a_list_gives_the_keys_and_may_hold_commands(model, recording, tmp_path, capsys):
    (tmp_path / "list").write_text(f"a {recording}\nb cat '{recording}' |\n")
    found = embed(model, f"scp:{tmp_path}/list")
    assert list(found) == ["a", "b"]
    assert_near(found["b"], embed(model, recording)[recording])
    words = ["embed", f"--model={model}", f"scp:{tmp_path}/list"]
    assert "give nothing beside it" in refused(capsys, *words, recording)
    assert "pipes are not allowed" in refused(capsys, *words[:2], "--allow-pipes=false", words[2])
    (tmp_path / "list").write_text("")
    assert "has no recordings" in refused(capsys, *words)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: (m / "features.conf").unlink(), "features.conf: run.sh puts it there"),
        (lambda m: (m / "vad.conf").unlink(), "vad.conf: run.sh puts it there"),
        (lambda m: (m / "cmn.conf").unlink(), "cmn.conf: run.sh puts it there"),
        (lambda m: (m / "features.conf").write_text("--num-ceps=13\n"), "makes features of 13 dims, "),
        (lambda m: (m / "vad.conf").write_text("--cmn-window=3\n"), "vad.conf:1: unknown option --cmn-window"),
        (lambda m: (m / "final.pt").write_bytes((m / "final.pt").read_bytes()[:-500]), "is not a checkpoint of vouch"),
        (lambda m: (m / "final.pt").unlink(), "final.pt; train the system first"),
        (lambda m: (m / "speakers.txt").write_text("x\n"), "speakers.txt does not fit"),
        (lambda m: (m / "final.ie").write_text(""), "is an i-vector or joint system"),
        (shutil.rmtree, "there is no folder"),
    ],
)
def test_model_folders_that_are_refused(model, recording, tmp_path, capsys, damage, message):
    damaged = shutil.copytree(model, tmp_path / "damaged")
    damage(damaged)
    line = refused(capsys, "embed", f"--model={damaged}", recording)
    assert message in line and str(damaged) in line
    refused(capsys, "export-model", damaged, tmp_path / "exported")
    assert not list(tmp_path.glob("exported*"))


def test_options_that_are_refused(model, recording, tmp_path, capsys):
    assert "--model is needed" in refused(capsys, "embed", recording)
    (tmp_path / "config.yaml").write_text("kind: joint\nsystems: [a, b]\n")
    assert "i-vector or joint system" in refused(capsys, "embed", f"--model={tmp_path}", recording)
    assert "want 1 or more" in refused(capsys, "embed", f"--model={model}", "--num-threads=0", recording)


def test_an_exported_model_is_the_same_without_its_speakers(tmp_path, recording, capsys):
    model = write_model(tmp_path / "model")
    write_backend(model, adapted=True)
    (model / "calibration").mkdir()
    (model / "calibration" / "plda").write_text("slope 2\noffset 1\nprior 0.01\n")
    (model / "calibration" / "log").write_text("of the recipe")
    out = tmp_path / "new" / "exported"
    assert main(["export-model", str(model), str(out)]) == 0
    backend = ("mean.vec", "mean_adapt.vec", "lda.mat", "plda", "plda_adapt", "plda_coral", "plda_coral_plus")
    files = {"final.pt", "config.yaml", "features.conf", "vad.conf", "cmn.conf", "calibration/plda"}
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == files | {f"backend/{n}" for n in backend}
    content = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
    assert not any(name.encode() in content for name in SPEAKERS) and b"head" not in content
    assert b"ann-of-the-training" in (model / "final.pt").read_bytes()  # it would be found
    np.testing.assert_array_equal(embed(out, recording)[recording], embed(model, recording)[recording])
    with TableWriter(f"ark:{tmp_path}/frames", "matrix") as writer:
        writer.write("u", np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32))
    for folder in (model, out):
        tables = [f"ark:{tmp_path}/frames", f"ark:{tmp_path}/{folder.name}.ark"]
        assert main(["extract-embeddings", str(folder), *tables]) == 0
    assert (tmp_path / "model.ark").read_bytes() == (tmp_path / "exported.ark").read_bytes()
    for backend in ("cosine", "plda_coral"):
        words = [f"--backend={backend}", recording, recording]
        capsys.readouterr()
        for folder in (model, out):
            assert main(["verify", f"--model={folder}", *words]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first == second
    assert "is there already" in refused(capsys, "export-model", model, out)


def test_an_exported_model_has_whole_backends_only(tmp_path, capsys):
    model = write_model(tmp_path / "model")
    write_backend(model)
    (model / "backend" / "lda.mat").unlink()
    assert "there is no " in refused(capsys, "export-model", model, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
    shutil.rmtree(model / "backend")
    assert main(["export-model", str(model), str(tmp_path / "out")]) == 0
    assert "makes embeddings, and no scores" in capsys.readouterr().err
