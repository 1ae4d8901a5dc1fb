"""What the user of the scripts sees of bad input: one line that names it and the fix, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from recipe_runs import ROOT, call, refused, succeed

from vouch.io.tables import TableWriter

RUN = ["bash", ROOT / "run.sh"]
RATE = 8000
TINY = """features: mfcc
network:
  backbone: {type: tdnn, channels: 8, pooled_channels: 8}
  pooling: {type: statistics}
  embedding_dim: 8
  hidden_dim: 8
objective:
  type: supervised
  head: {type: softmax}
  optimizer: {type: adam, learning_rate: 1.0e-3}
training: {epochs: 1, batch_size: 4, min_frames: 20, max_frames: 30}
"""


def sound(seconds: float, seed: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (int(seconds * RATE), channels)).astype(np.float32)


def make_data_dir(folder: Path, utterances: int) -> Path:
    """A data directory of short noises: speakers s0, s1, ... of ten utterances."""
    (folder / "wav").mkdir(parents=True)
    names = [f"s{n // 10}-u{n % 10}" for n in range(utterances)]
    for seed, name in enumerate(names):
        soundfile.write(folder / "wav" / f"{name}.wav", sound(0.3, seed), RATE, subtype="PCM_16")
    (folder / "wav.scp").write_text("".join(f"{name} {folder}/wav/{name}.wav\n" for name in names))
    (folder / "utt2spk").write_text("".join(f"{name} {name[:2]}\n" for name in names))
    succeed("bash", "-c", '. ./path.sh; utt2spk_to_spk2utt.sh "$1/utt2spk" >"$1/spk2utt"', "bash", folder)
    return folder


def spoil(path: Path, how: str) -> None:
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "nan":
        samples = sound(0.3, 0)
        samples[100] = np.nan
        soundfile.write(path, samples, RATE, subtype="FLOAT")
    elif how == "rate":
        soundfile.write(path, sound(0.3, 0), 16000, subtype="PCM_16")
    elif how == "stereo":
        soundfile.write(path, sound(0.3, 0, channels=2), RATE, subtype="PCM_16")


def make_mfcc(data: Path) -> list[object]:
    return ["bash", ROOT / "steps/make_mfcc.sh", "--nj", "1", data]


def remains(folder: Path, *names: str) -> list[Path]:
    """Files of these names, whole or temporary, below a folder."""
    return [path for name in names for path in folder.rglob(f"{name}*") if path.is_file()]


# --- corpora ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
def test_a_corpus_that_is_not_there(tmp_path: Path, there: bool) -> None:
    corpus = tmp_path / "corpus"
    if there:
        corpus.mkdir()
    preparation = ROOT / "local/prepare_speechocean762.sh"
    error = refused(*RUN, "--prepare", preparation, "--corpus", corpus, "--out", tmp_path / "out")
    assert str(corpus) in error and ("give the folder" in error or "--help" in error)
    assert not remains(tmp_path / "out", "wav.scp", "utt2spk")


# --- recordings -------------------------------------------------------------------------------------------------------


def test_lost_recordings_are_named_and_too_many_stop_the_step(tmp_path: Path) -> None:
    data = make_data_dir(tmp_path / "data", 60)
    whole = {name: (data / f"wav/{name}.wav").read_bytes() for name in ("s0-u1", "s1-u2", "s2-u3", "s3-u4")}
    for name, how in zip(whole, ("truncated", "empty", "nan", "truncated"), strict=True):
        spoil(data / f"wav/{name}.wav", how)
    done = call(*make_mfcc(data))  # 56 of 60 are less than 95 %
    assert done.returncode != 0
    assert "error: only 56 of 60 utterances succeeded, want 95 %" in done.stderr
    assert (
        sum(line.startswith("WARNING") for line in done.stderr.splitlines()) == 3
    )  # the first reasons; the log has all
    log = (data / "log/make_mfcc.1.log").read_text()
    for name in whole:
        assert any(line.startswith("WARNING") and name in line for line in log.splitlines()), name
    assert not (data / "feats.scp").exists()

    (data / "wav/s3-u4.wav").write_bytes(whole["s3-u4"])  # mended: the same command goes on, 57 of 60 are enough
    said = succeed(*make_mfcc(data))
    assert "warning: 3 of 60 utterances have no features" in said
    for name in ("s0-u1", "s1-u2", "s2-u3"):
        assert any(line.startswith("WARNING") and name in line for line in said.splitlines()), said
    kept = [line.split()[0] for line in (data / "feats.scp").read_text().splitlines()]
    assert len(kept) == 57 and not {"s0-u1", "s1-u2", "s2-u3"} & set(kept)


@pytest.mark.parametrize(
    ("how", "fix"), [("rate", "--sample-frequency=8000"), ("stereo", "--channel=")], ids=["rate", "stereo"]
)
def test_another_rate_or_number_of_channels_stops_at_once(tmp_path: Path, how: str, fix: str) -> None:
    data = make_data_dir(tmp_path / "data", 10)
    spoil(data / "wav/s0-u3.wav", how)
    error = refused(*make_mfcc(data))
    assert "s0-u3" in error and fix in error
    assert not remains(data, "feats.scp", "mfcc.1.ark", "mfcc.1.scp")


# --- trials -----------------------------------------------------------------------------------------------------------


def make_embeddings(folder: Path, keys: list[str], name: str) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(keys))
    with TableWriter(f"ark,scp:{folder}/{name}.ark,{folder}/{name}.scp", "vector") as writer:
        for key in keys:
            writer.write(key, rng.normal(size=8).astype(np.float32))
    (folder / "num_utts").write_text("".join(f"{key} 1\n" for key in keys))
    return folder


def make_scoring(folder: Path, models: int, tests: int) -> list[object]:
    """The arguments of steps/score.sh on random embeddings, with all trials of models and tests."""
    (folder / "data").mkdir(parents=True)
    model_keys, test_keys = [f"m{n:03d}" for n in range(models)], [f"t{n:03d}" for n in range(tests)]
    enroll = make_embeddings(folder / "enroll", model_keys, "spk_embedding")
    test = make_embeddings(folder / "test", test_keys, "embedding")
    make_embeddings(folder / "train", ["x", "y"], "embedding")
    (folder / "data/trials").write_text("".join(f"{m} {t} nontarget\n" for m in model_keys for t in test_keys))
    mean = folder / "mean.vec"
    succeed("bash", "-c", '. ./path.sh; vouch ivector-mean "scp:$1" "$2"', "bash", folder / "train/embedding.scp", mean)
    score = ["bash", ROOT / "steps/score.sh", "--backends", "cosine", folder, mean, enroll, test]
    return [*score, folder / "data", folder / "scores", "list"]


def test_every_unknown_key_of_the_trials_is_listed_before_scoring(tmp_path: Path) -> None:
    score = make_scoring(tmp_path, 2, 2)
    with (tmp_path / "data/trials").open("a") as trials:
        trials.write("m000 nobody-1 target\nm000 nobody-2 target\nnomodel t000 target\n")
    done = call(*score)
    assert done.returncode != 0 and "error:" in done.stderr
    for key in ("nobody-1", "nobody-2", "nomodel"):
        assert key in done.stdout + done.stderr
    assert not (tmp_path / "scores").exists()


# --- options, stages, settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "99"], "stages 99 to 9 are not within 1 to 9"),
        (["--stage", "5", "--stop-stage", "3"], "stages 5 to 3"),
        (["--stage", "two"], "'two' is not a number"),
        (["--sytems", "asp"], "unknown option --sytems; did you mean --systems?"),
        (["asp"], "unexpected argument 'asp'"),
        (["--systems", ""], "--systems is empty"),
        (["--prepare", "local/nothing.sh"], "no data-preparation script 'local/nothing.sh'"),
        (["--conf", "conf/nothing"], "no settings folder"),
        (["--systems", "xvektor", "--conf", "conf/mini"], "there is no system 'xvektor'"),
        (
            ["--systems", "joint ecapa ivector", "--conf", "conf/small"],
            "joins ecapa, which is not before it in --systems",
        ),
        (["--systems", "joint", "--conf", "conf/small"], "joins ecapa, which is not before it in --systems"),
        (["--systems", "attentiv"], "there is no system 'attentiv' in conf or a folder of it"),
        (["--device", "gpu"], "--device 'gpu', want auto, cpu or cuda"),
        (["--noise", "/nothing"], "there is no '/nothing' (--noise"),
        (["--fusions", "asp+ivector+asp"], "'asp+ivector+asp' has a system twice"),
        (["--fusions", "asp"], "'asp' is one system"),
        (["--fusions", "asp+"], "'asp+' is one system"),
        (["--fusions", "asp+xvektor"], "'xvektor' of 'asp+xvektor' is not among --systems"),
        (["--fusions", "asp:lda+ivector:plda"], "'asp:lda' of 'asp:lda+ivector:plda' is not SYSTEM, SYSTEM:BACKEND"),
        (["--fusions", "asp:plda+ivector"], "names a backend for some of its systems"),
        (["--fusions", "asp=0+ivector=1"], "'asp=0' of 'asp=0+ivector=1' is not SYSTEM"),
        (["--fusions", "asp=1.2.3+ivector=1"], "'asp=1.2.3' of"),
        (["--stage", "6"], "data/train/utt2spk is missing or empty; make it first: run.sh --stage 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_calls_stop_before_any_work(tmp_path: Path, options: list[str], message: str) -> None:
    error = refused(*RUN, "--out", tmp_path / "out", *options, cwd=tmp_path)
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("training: {epoch: 3}", "unknown key 'training.epoch'; did you mean 'epochs'?"),
        ("training: {epochs: many}", "training.epochs: want a whole number, not 'many'"),
    ],
    ids=["unknown key", "wrong type"],
)
def test_a_wrong_yaml_stops_before_any_work(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/mine.yaml").write_text(f"base: {ROOT}/conf/mini/asp.yaml\n{line}\n")
    error = refused(*RUN, "--out", tmp_path / "out", "--conf", tmp_path / "conf", "--systems", "mine")
    assert message in error and "conf/mine.yaml" in error
    assert not (tmp_path / "out").exists()


def test_embeddings_without_a_model_name_the_stage_to_run(tmp_path: Path) -> None:
    for part in ("train", "enroll", "test"):
        (tmp_path / "data" / part).mkdir(parents=True)
        (tmp_path / "data" / part / "utt2spk").write_text("u u\n")
    error = refused(*RUN, "--stage", "6", "--out", tmp_path, "--conf", "conf/mini", "--systems", "asp")
    assert "exp/asp/final.pt is missing or empty; make it first: run.sh --stage 5 --systems asp" in error
    assert not (tmp_path / "exp").exists()


def test_an_adversarial_system_wants_speech_of_the_target(tmp_path: Path) -> None:
    for part in ("train", "enroll", "test"):
        (tmp_path / "data" / part).mkdir(parents=True)
        (tmp_path / "data" / part / "utt2spk").write_text("u u\n")
    error = refused(*RUN, "--stage", "2", "--out", tmp_path, "--conf", "conf/mini", "--systems", "asp danse lsgan")
    assert "systems danse lsgan want unlabelled speech of the target domain" in error and "data/adapt, which" in error
    assert not (tmp_path / "data/mfcc").exists()


# --- models -----------------------------------------------------------------------------------------------------------


def make_training_data(folder: Path) -> Path:
    folder.mkdir()
    names = [f"s{s}-u{u}" for s in range(4) for u in range(3)]
    rng = np.random.default_rng(0)
    with TableWriter(f"ark,scp:{folder}/feats.ark,{folder}/feats.scp", compression_method=3) as writer:
        for name in names:
            writer.write(name, rng.normal(size=(60, 23)).astype(np.float32))
    (folder / "utt2spk").write_text("".join(f"{name} {name[:2]}\n" for name in names))
    (folder / "utt2num_frames").write_text("".join(f"{name} 60\n" for name in names))
    return folder


def train(system: Path, data: Path, model: Path) -> list[object]:
    return ["bash", ROOT / "steps/train.sh", "--device", "cpu", "--num-threads", "1", system, data, model]


def test_a_model_of_another_architecture_is_refused_and_stays(tmp_path: Path) -> None:
    data, model = make_training_data(tmp_path / "data"), tmp_path / "model"
    (tmp_path / "a.yaml").write_text(TINY)
    (tmp_path / "b.yaml").write_text(TINY.replace("pooled_channels: 8", "pooled_channels: 16"))
    succeed(*train(tmp_path / "a.yaml", data, model))
    final, last = (model / "final.pt").read_bytes(), (model / "checkpoints/last.pt").read_bytes()

    error = refused(*train(tmp_path / "b.yaml", data, model))
    assert "was begun with another configuration: network.backbone.pooled_channels was 8, now 16" in error
    assert "--force=true" in error and (model / "final.pt").read_bytes() == final

    for name in ("config.yaml", "final.pt"):
        (model / name).unlink()
    error = refused(*train(tmp_path / "b.yaml", data, model))
    assert f"{model}/checkpoints/last.pt is of another architecture" in error and "there" in error
    assert not (model / "final.pt").exists() and (model / "checkpoints/last.pt").read_bytes() == last

    saved = torch.load(model / "checkpoints/last.pt", weights_only=True)
    saved["config"]["network"]["backbone"]["pooled_channels"] = 16
    torch.save(saved, model / "final.pt")
    vectors = tmp_path / "x.ark"
    error = refused("vouch", "extract-embeddings", "--device=cpu", model, f"scp:{data}/feats.scp", f"ark:{vectors}")
    assert f"{model}/final.pt is of another architecture" in error and not remains(tmp_path, "x.ark")


# --- a full disk ------------------------------------------------------------------------------------------------------


def with_quota(kilobytes: int, command: list[object]) -> list[object]:
    """The command where no file may grow beyond this: writing more is an error, as on a full disk."""
    return ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *command]


def test_features_beyond_a_quota(tmp_path: Path) -> None:
    data = make_data_dir(tmp_path / "data", 40)
    error = refused(*with_quota(16, make_mfcc(data)))
    assert "mfcc.1.ark: File too large" in error
    assert not remains(data, "feats.scp", "mfcc.1.ark", "mfcc.1.scp")
    succeed(*make_mfcc(data))


def test_features_on_a_full_disk(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=16k none "$1"'
    small = tmp_path / "small"
    small.mkdir()
    if call("unshare", "--mount", "bash", "-c", mount, "bash", small).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    data = make_data_dir(tmp_path / "data", 40)
    step = f'{mount}; small=$1; shift; code=0; "$@" || code=$?; ls -A "$small" >"$small.left"; exit $code'
    command = [*make_mfcc(data), tmp_path / "log", small]  # the archives go to the small disk
    error = refused("unshare", "--mount", "bash", "-c", step, "bash", small, *command)
    assert "No space left on device" in error and str(small) in error
    left = (tmp_path / "small.left").read_text().split()
    assert not [name for name in left if name.startswith("mfcc")] and not (data / "feats.scp").exists()


def test_a_checkpoint_beyond_a_quota(tmp_path: Path) -> None:
    data, model = make_training_data(tmp_path / "data"), tmp_path / "model"
    (tmp_path / "a.yaml").write_text(TINY)
    command = train(tmp_path / "a.yaml", data, model)
    error = refused(*with_quota(8, command))
    assert f"cannot write {model}/checkpoints/last.pt" in error and "is the disk full?" in error
    assert not remains(model, "last.pt", "final.pt")
    succeed(*command)


def test_scores_beyond_a_quota(tmp_path: Path) -> None:
    score = make_scoring(tmp_path, 40, 40)
    error = refused(*with_quota(8, score))
    assert "cosine.scores: File too large" in error
    assert not remains(tmp_path / "scores", "cosine.scores")
    succeed(*score)
    assert len((tmp_path / "scores/list/cosine.scores").read_text().splitlines()) == 1600
