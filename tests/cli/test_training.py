"""`vouch train` on made features, and what they refuse."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from vouch.cli import main
from vouch.cli.training_data import read_training_data
from vouch.io.tables import TableWriter, read_table

YAML = """
network:
  backbone: {type: tdnn, channels: 8, pooled_channels: 12}
  pooling: {type: attentive_statistics, hidden_dim: 4}
  embedding_dim: 6
  hidden_dim: 6
objective:
  type: supervised
  head: {type: am_softmax}
  optimizer: {type: adam}
training: {epochs: 1, batch_size: 4, min_frames: 30, max_frames: 40}
"""
LENGTHS = [60, 25, 80, 41, 24, 120]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A training data directory of six utterances and three speakers, and a model trained on it."""
    path = tmp_path_factory.mktemp("training")
    data = path / "data"
    data.mkdir()
    generator = np.random.default_rng(0)
    with TableWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp", "matrix", 3) as writer:
        for i, frames in enumerate(LENGTHS):
            writer.write(f"s{i // 2}-u{i}", generator.normal(size=(frames, 5)).astype(np.float32))
    (data / "utt2spk").write_text("".join(f"s{i // 2}-u{i} s{i // 2}\n" for i in range(6)))
    (data / "utt2num_frames").write_text("".join(f"s{i // 2}-u{i} {n}\n" for i, n in enumerate(LENGTHS)))
    (path / "x.yaml").write_text(YAML)
    assert main(["train", str(path / "x.yaml"), str(data), str(path / "model")]) == 0
    return path


def test_a_model_directory_says_what_was_trained(folder):
    assert (folder / "model" / "speakers.txt").read_text() == "s0\ns1\ns2\n"
    config = (folder / "model" / "config.yaml").read_text()
    assert "learning_rate: 0.001" in config  # resolved: defaults are written too


def test_a_finished_training_is_not_repeated(folder, capsys):
    before = (folder / "model" / "final.pt").stat().st_mtime_ns
    assert main(["train", str(folder / "x.yaml"), str(folder / "data"), str(folder / "model")]) == 0
    assert (folder / "model" / "final.pt").stat().st_mtime_ns == before
    assert "is there already; --force=true trains again" in capsys.readouterr().err


def _refused(capsys, *words: str) -> str:
    assert main([*words]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1
    return lines[0]


def test_another_configuration_or_other_speakers_are_refused(folder, tmp_path, capsys):
    (tmp_path / "y.yaml").write_text(YAML.replace("epochs: 1", "epochs: 2"))
    model, data = str(folder / "model"), folder / "data"
    text = _refused(capsys, "train", str(tmp_path / "y.yaml"), str(data), model)
    assert "training.epochs was 1, now 2" in text and "--force=true" in text
    other = tmp_path / "data"
    other.mkdir()
    for name in ("feats.scp", "utt2num_frames"):
        (other / name).write_text((data / name).read_text())
    (other / "utt2spk").write_text((data / "utt2spk").read_text().replace(" s1", " s7"))
    text = _refused(capsys, "train", str(folder / "x.yaml"), str(other), model)
    assert "speakers.txt does not fit: speaker 2 is 's1'" in text and "'s2'" in text


def test_features_that_changed_since_the_training_are_noticed(folder, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("utt2spk", "utt2num_frames"):
        (data / name).write_text((folder / "data" / name).read_text())
    with TableWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp", "matrix", 3) as writer:
        for key, matrix in read_table(f"scp:{folder}/data/feats.scp"):
            writer.write(key, matrix + 0.1)
    words = ["train", str(folder / "x.yaml"), str(data), str(folder / "model")]
    text = _refused(capsys, *words)
    assert "final.pt was trained on other features" in text and "--force=true trains again" in text
    (data / "feats.scp").write_text((folder / "data" / "feats.scp").read_text())
    assert main(words) == 0  # the same features from elsewhere are the same


def test_speakers_that_changed_places_are_noticed(folder, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("feats.scp", "utt2num_frames"):
        (data / name).write_text((folder / "data" / name).read_text())
    speakers = "".join(f"s{i // 2}-u{i} s{(i // 2 + 1) % 3}\n" for i in range(6))  # the same three, of other utterances
    (data / "utt2spk").write_text(speakers)
    text = _refused(capsys, "train", str(folder / "x.yaml"), str(data), str(folder / "model"))
    assert "with other speakers of its utterances, than" in text


def test_settings_that_do_not_change_the_result_may_change(folder, tmp_path, capsys):
    (tmp_path / "y.yaml").write_text(YAML.replace("epochs: 1,", "epochs: 1, workers: 1, checkpoint_minutes: 3,"))
    assert main(["train", str(tmp_path / "y.yaml"), str(folder / "data"), str(folder / "model")]) == 0
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("content", [[1, 2], {"networks": {}}])
def test_a_file_of_torch_that_is_no_checkpoint(folder, tmp_path, capsys, content):
    for name in ("config.yaml", "speakers.txt"):
        (tmp_path / name).write_text((folder / "model" / name).read_text())
    torch.save(content, tmp_path / "final.pt")
    text = _refused(capsys, "train", str(folder / "x.yaml"), str(folder / "data"), str(tmp_path))
    assert "final.pt is not a checkpoint of vouch" in text


def test_a_model_directory_that_cannot_be_made(folder, capsys):
    text = _refused(capsys, "train", str(folder / "x.yaml"), str(folder / "data"), str(folder / "x.yaml" / "model"))
    assert "Not a directory; choose another model directory" in text


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("utt2spk", "s0-u0 s0\n", "lacks 5 utterances of"),
        ("utt2spk", "".join(f"s{i // 2}-u{i} one\n" for i in range(6)), "has 1 speaker, training wants two or more"),
        ("utt2num_frames", "".join(f"s{i // 2}-u{i} 0\n" for i in range(6)), "utterance s0-u0 has '0' frames"),
        (
            "utt2spk",
            "".join(f"s{i // 2}-u{i} s{i // 2}\n" for i in range(6)).replace("s1-u3 s1\n", "s1-u3 s1\ns1-u3 s2\n"),
            "utt2spk:5: utterance s1-u3 comes again",
        ),
    ],
)
def test_broken_data_directories(folder, tmp_path, capsys, file, text, message):
    for name in ("feats.scp", "utt2num_frames", "utt2spk"):
        (tmp_path / name).write_text((folder / "data" / name).read_text())
    (tmp_path / file).write_text(text)
    assert message in _refused(capsys, "train", str(folder / "x.yaml"), str(tmp_path), str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(folder, tmp_path, capsys):
    words = ["train", "--device=cuda", str(folder / "x.yaml"), str(folder / "data"), str(tmp_path / "model")]
    assert "torch sees no GPU here" in _refused(capsys, *words)


def test_show_config(folder, capsys):
    assert main(["show-config", "--get=objective.head.scale", str(folder / "x.yaml")]) == 0
    assert capsys.readouterr().out == "30.0\n"
    assert main(["show-config", "--get=network.depth=7,kind", str(folder / "x.yaml")]) == 0
    assert capsys.readouterr().out == "7\nnetwork\n"
    assert "has no key 'network.depth'" in _refused(
        capsys, "show-config", "--get=network.depth", str(folder / "x.yaml")
    )


def test_two_trainings_of_one_model_take_turns(folder, tmp_path):
    words = [sys.executable, "-m", "vouch", "train", folder / "x.yaml", folder / "data", tmp_path / "model"]
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("LOG wrote" in text for text in said) == sum("final.pt is there already" in text for text in said) == 1


def test_lists_in_another_order_and_with_more_lines(folder, tmp_path):
    data = folder / "data"
    (tmp_path / "feats.scp").write_text((data / "feats.scp").read_text())
    for name in ("utt2spk", "utt2num_frames"):
        lines = [*(data / name).read_text().splitlines(), "a-first 7", "z-last 7"]
        (tmp_path / name).write_text("\n".join(sorted(lines, reverse=True)) + "\n")
    content = read_training_data(tmp_path)
    assert content.num_frames.tolist() == LENGTHS and content.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert content.speakers == ["s0", "s1", "s2"] and len(set(content.groups)) == 6
    (tmp_path / "utt2uniq").write_text("".join(f"s{i // 2}-u{i} r{i % 3}\n" for i in range(6)))
    assert read_training_data(tmp_path).groups.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_dry_run_says_what_a_training_takes_and_does_nothing(folder, tmp_path, capsys):
    (tmp_path / "z.yaml").write_text(
        YAML.replace("epochs: 1", "epochs: 7, accumulate: 2, averaging: {type: exponential}")
    )
    words = [str(tmp_path / "z.yaml"), str(folder / "data"), str(tmp_path / "model")]
    assert main(["train", "--dry-run", *words]) == 0
    shown = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert not (tmp_path / "model").exists()
    saved = torch.load(folder / "model" / "final.pt", weights_only=True)["networks"]
    sizes = {name: value.numel() for name, value in saved.items() if "running" not in name and "batches" not in name}
    network = sum(size for name, size in sizes.items() if name.startswith("network."))
    assert shown["parameters"].split()[0] == str(network) and f" {sum(sizes.values())} with" in shown["parameters"]
    assert shown["batches"].strip() == "3 an epoch of 4 chunks, 21 in 7 epochs"
    assert shown["frames"].split()[0] == str(sum(LENGTHS))
    # Multiply-adds of 40 frames by hand: five TDNN layers, attention over 26 frames, two weighted sums, embedding.
    by_hand = 8 * (5 * 5 * 36 + 8 * 3 * 32 + 8 * 3 * 26 + 8 * 26) + 12 * 8 * 26 + 26 * (12 * 4 + 4 + 24) + 24 * 6
    assert float(shown["multiply-adds"].split()[0]) == pytest.approx(by_hand * 100 / 40 / 1e6, rel=1e-3)
    assert "of 2 chunks of 40 frames" in shown["memory"]


def test_held_out_recordings_decide_which_epoch_is_used(tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    generator = np.random.default_rng(0)
    keys = [f"s{s}-r{r}-{copy}" for s in range(3) for r in range(8) for copy in ("a", "b")]
    with TableWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp", "matrix", 3) as writer:
        for key in keys:
            writer.write(key, (generator.normal(size=(50, 5)) + int(key[1])).astype(np.float32))
    (data / "utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in keys))
    (data / "utt2num_frames").write_text("".join(f"{key} 50\n" for key in keys))
    (data / "utt2uniq").write_text("".join(f"{key} {key[:-2]}\n" for key in keys))
    held_out = "held_out: {share: 0.25, max_frames: 50, keep_best: 2}, epochs: 3"
    (tmp_path / "x.yaml").write_text(YAML.replace("epochs: 1", held_out))
    assert main(["train", str(tmp_path / "x.yaml"), str(data), str(tmp_path / "model")]) == 0
    said = capsys.readouterr().err
    assert "48 utterances (12 held out)" in said and "% of the time waiting for data" in said
    lines = [json.loads(line) for line in (tmp_path / "model" / "train.jsonl").read_text().splitlines()]
    epochs = {line["epoch"]: line["held_out"]["eer"] for line in lines if "held_out" in line}
    final = torch.load(tmp_path / "model" / "final.pt", weights_only=True)
    assert len(epochs) == 3 and len(final["epochs"]) == 1 and epochs[final["epochs"][0]] == min(epochs.values())
    assert len(list((tmp_path / "model" / "checkpoints").glob("epoch-*.pt"))) == 2
    assert {"config", "speakers", "revision", "features"} <= set(final)


DANSE = """
network:
  backbone: {type: resnet1d, channels: 8}
  pooling: {type: statistics}
  trunk_layers: 1
  trunk_dim: 8
  embedding_dim: 6
  hidden_dim: 0
  activation: elu
objective:
  type: danse
  head: {type: am_softmax}
  optimizer: {type: adam}
  discriminator: {hidden_dim: 4}
  discriminator_optimizer: {type: rmsprop, learning_rate: 0.003}
training:
  epochs: 2
  batch_size: 4
  min_frames: 20
  max_frames: 30
  held_out: {share: 0.4, unit: speakers, criterion: transfer}
"""


@pytest.fixture
def target(tmp_path):
    """A data directory of unlabelled speech."""
    data = tmp_path / "target"
    data.mkdir()
    generator = np.random.default_rng(5)
    with TableWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp", "matrix", 3) as writer:
        for i in range(9, 25):
            writer.write(f"t{i:02}", generator.normal(size=(40, 5)).astype(np.float32) + 1)
    (data / "utt2spk").write_text("".join(f"t{i:02} t{i:02}\n" for i in range(9, 25)))
    (data / "utt2num_frames").write_text("".join(f"t{i:02} 40\n" for i in range(9, 25)))
    return data


def test_a_training_with_a_target(folder, target, tmp_path, capsys):
    (tmp_path / "d.yaml").write_text(DANSE)
    words = ["train", f"--target={target}", str(tmp_path / "d.yaml"), str(folder / "data"), str(tmp_path / "model")]
    assert main(words) == 0
    assert ", 16 of another domain" in capsys.readouterr().err
    *_, figures, held_out = map(json.loads, (tmp_path / "model" / "train.jsonl").read_text().splitlines())
    assert {"discriminator_loss", "discriminator_accuracy", "adversarial_loss", "spread"} <= set(figures)
    assert 0 <= held_out["held_out"]["domain_probe"] <= 1
    (target / "utt2spk").write_text("".join(f"t{i:02} unknown\n" for i in range(9, 25)))
    assert main(words) == 0  # the target's speakers do not matter: it is the same training
    assert "final.pt is there already" in capsys.readouterr().err
    assert main([*words[:1], "--dry-run", *words[1:-1], str(tmp_path / "other")]) == 0
    assert "1 an epoch of 4 chunks" in capsys.readouterr().out


def test_a_target_that_is_missing_or_not_wanted(folder, target, tmp_path, capsys):
    (tmp_path / "d.yaml").write_text(DANSE)
    rest = [str(folder / "data"), str(tmp_path / "model")]
    text = _refused(capsys, "train", str(tmp_path / "d.yaml"), *rest)
    assert "d.yaml has objective danse, which wants unlabelled speech of another domain; give --target" in text
    with TableWriter(f"ark,scp:{tmp_path}/wide.ark,{target}/feats.scp", "matrix", 3) as writer:
        for i in range(9, 25):
            writer.write(f"t{i:02}", np.ones((40, 7), np.float32))
    text = _refused(capsys, "train", f"--target={target}", str(tmp_path / "d.yaml"), *rest)
    assert "target has features of 7 dims, the training data have 5; make both with the same configuration" in text
    text = _refused(capsys, "train", f"--target={target}", str(folder / "x.yaml"), *rest)
    assert "has objective supervised, which takes no target; leave it out" in text
    assert not (tmp_path / "model").exists()


def test_a_training_that_starts_from_another_model(folder, tmp_path, capsys):
    from vouch.io.checkpoints import load

    fresh = YAML.replace("epochs: 1", "epochs: 0")
    (tmp_path / "y.yaml").write_text("start: x\n" + fresh.replace("type: am_softmax", "type: am_softmax, margin: 0.4"))
    data, start = str(folder / "data"), f"--start-from={folder}/model"
    words = ["train", start, str(tmp_path / "y.yaml"), data, str(tmp_path / "model")]
    assert main(words) == 0
    begun, trained = (load(path / "model" / "final.pt", "networks")["networks"] for path in (tmp_path, folder))
    assert begun.keys() == trained.keys() and all(torch.equal(begun[name], trained[name]) for name in trained)
    (tmp_path / "z.yaml").write_text(fresh)
    assert main(["train", str(tmp_path / "z.yaml"), data, str(tmp_path / "fresh")]) == 0
    untrained = load(tmp_path / "fresh" / "final.pt", "networks")["networks"]
    assert not torch.equal(untrained["head.weight"], trained["head.weight"])
    # the model that it starts from is a part of what a training is
    words[1] = f"--start-from={tmp_path}/fresh"
    assert "from another start" in _refused(capsys, *words)


def test_a_start_with_another_objective_gives_the_embedding_network_alone(folder, tmp_path):
    """As contrastive training after softmax."""
    from vouch.io.checkpoints import load

    metric = YAML[: YAML.index("objective")].replace("hidden_dim: 6", "hidden_dim: 0")
    metric += "objective: {type: metric, loss: {type: contrastive}, optimizer: {}}\n"
    metric += "training: {epochs: 0, batch_size: 4, min_frames: 30, max_frames: 40, "
    metric += "sampler: {type: speaker_balanced, speakers: 2, utterances: 2}}\n"
    (tmp_path / "y.yaml").write_text("start: x\n" + metric)
    (tmp_path / "s.yaml").write_text(YAML.replace("hidden_dim: 6", "hidden_dim: 0"))
    data = str(folder / "data")
    assert main(["train", str(tmp_path / "s.yaml"), data, str(tmp_path / "softmax")]) == 0
    words = ["train", f"--start-from={tmp_path}/softmax", str(tmp_path / "y.yaml"), data, str(tmp_path / "model")]
    assert main(words) == 0
    begun, trained = (load(tmp_path / name / "final.pt", "networks")["networks"] for name in ("model", "softmax"))
    shared = [name for name in begun if name.startswith("network.")]
    assert shared and all(torch.equal(begun[name], trained[name]) for name in shared)
    assert "head.weight" in trained and "head.weight" not in begun


@pytest.mark.parametrize("change, option, message", [
    ("start: x\n", "", "starts from the system x; give its model directory as --start"),
    ("", "--start-from=model", "has no key start"),
    ("start: x\n", "--start-from=nowhere", "--start-from=nowhere has no final.pt"),
    ("start: x\nfeatures: fbank\n", "--start-from=model", ""),
])  # fmt: skip
def test_a_start_that_is_missing_or_not_wanted(folder, tmp_path, capsys, change, option, message):
    (tmp_path / "y.yaml").write_text(change + YAML)
    words = ["train", *([option.replace("model", f"{folder}/model")] if option else [])]
    words += [str(tmp_path / "y.yaml"), str(folder / "data"), str(tmp_path / "new")]
    if message:
        assert message in _refused(capsys, *words)
        assert not (tmp_path / "new" / "final.pt").exists()
    else:
        assert main(words) == 0


def test_a_start_of_other_speakers_or_another_network(folder, tmp_path, capsys):
    other = tmp_path / "data"
    other.mkdir()
    for name in ("feats.scp", "utt2num_frames"):
        (other / name).write_text((folder / "data" / name).read_text())
    (other / "utt2spk").write_text((folder / "data" / "utt2spk").read_text().replace(" s1", " s7"))
    (tmp_path / "y.yaml").write_text("start: x\n" + YAML)
    words = [f"--start-from={folder}/model", str(tmp_path / "y.yaml")]
    assert "speaker 2 is 's1'" in _refused(capsys, "train", *words, str(other), str(tmp_path / "a"))
    (tmp_path / "y.yaml").write_text("start: x\n" + YAML.replace("channels: 8", "channels: 9"))
    assert "of another architecture" in _refused(capsys, "train", *words, str(folder / "data"), str(tmp_path / "b"))
