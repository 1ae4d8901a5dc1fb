"""From YAML to a system: defaults, checks, and messages that name the key."""

import pytest
import torch
import yaml

from vouch.errors import VouchError
from vouch.io.config import read_config
from vouch.system import build_objective, ivector_options, resolve

BASE = {
    "network": {"backbone": {"type": "tdnn", "channels": 8, "pooled_channels": 10}, "pooling": {"type": "statistics"}},
    "objective": {"type": "supervised", "head": {"type": "softmax"}, "optimizer": {"type": "adam"}},
}


def _with(**changes) -> dict:
    config = yaml.safe_load(yaml.safe_dump(BASE))
    for path, value in changes.items():
        *above, last = path.split("__")
        entry = config
        for key in above:
            entry = entry.setdefault(key, {})
        entry[last] = value
    return config


def test_defaults_are_filled_in_and_resolving_again_changes_nothing():
    resolved = resolve(BASE, "x.yaml")
    assert resolved["network"]["embedding_dim"] == 512 and resolved["backend"]["lda_dim"] == 150
    assert resolve(resolved, "x.yaml") == resolved


@pytest.mark.parametrize("path", ["conf", "conf/mini", "conf/small"])
def test_every_system_of_the_project_builds_and_embeds(root, path):
    files = sorted((root / path).glob("*.yaml"))
    known = {"xvector", "asp", "ivector", "average", "attention", "statistics", "attentive", "resnet34", "ecapa"}
    assert {f.stem for f in files} >= known
    for file in files:
        config = resolve(read_config(file), str(file))
        if config["kind"] == "joint":
            assert {*config["systems"]} <= known
            continue
        if config["kind"] == "ivector":
            ubm, extractor = ivector_options(config)
            assert config["backend"]["lda_dim"] <= extractor.dim and ubm.start_gaussians < ubm.gaussians
            continue
        objective = build_objective(config, feature_dim=23, num_speakers=3).eval()
        embedding = objective.embed(torch.randn(2, 40, 23), torch.tensor([40, 30]))
        assert embedding.shape == (2, config["network"]["embedding_dim"])


@pytest.mark.parametrize("systems", [["a"], ["a", "a"], ["a", 3], []])
def test_a_joint_system_wants_two_others(systems):
    assert resolve({"kind": "joint", "systems": ["a", "b"]}, "x.yaml")["backend"]["lda_dim"] == 150
    with pytest.raises(VouchError, match=r"x.yaml: systems: want the names of two or more systems"):
        resolve({"kind": "joint", "systems": systems}, "x.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__epoch": 3}, r"x.yaml: unknown key 'training.epoch'; did you mean 'epochs'\?"),
        ({"network__backbone__chanels": 3}, r"unknown key 'network.backbone.chanels'; did you mean 'channels'\?"),
        ({"training__epochs": "many"}, r"training.epochs: want a whole number, not 'many'"),
        ({"training__epochs": True}, r"training.epochs: want a whole number, not 'True'"),
        ({"training__batch_size": 2.5}, r"training.batch_size: want a whole number"),
        ({"training__min_frames": 900}, r"training: min_frames 900 to max_frames 400 is not a range"),
        (
            {"objective__head__type": "softmx"},
            r"objective.head.type: there is no head 'softmx'; did you mean 'softmax'\?",
        ),
        (
            {"objective__optimizer__type": "lion"},
            r"objective.optimizer: optimizer type 'lion', want sgd, adam or rmsprop",
        ),
        ({"training__warmup": 0.1}, r"unknown key 'training.warmup'"),
        ({"training__schedule__type": "cosin"}, r"training.schedule.type: there is no schedule 'cosin'; .* 'cosine'\?"),
        ({"training__schedule__warmup": 1.5}, r"x.yaml: training.schedule: warmup 1.5 is not a share"),
        ({"training__averaging": {"type": "none", "decay": 0.9}}, r"unknown key 'training.averaging.decay'"),
        ({"training__held_out__share": 0.9}, r"x.yaml: training.held_out: share 0.9 is not within 0 to 0.5"),
        ({"training__held_out__criterion": "transfer"}, r"transfer wants another domain, which objective supervised"),
        (
            {"training__held_out": {"unit": "speakers", "criterion": "loss"}},
            r"loss means nothing for speakers that are",
        ),
        ({"training__held_out__patience": 3}, r"patience wants a share of held-out utterances above 0"),
        ({"training__sampler": 3}, r"training.sampler: want a mapping with 'type'"),
        ({"training__precision": "float8"}, r"training: precision 'float8', want float32, bfloat16, float16"),
        ({"training__accumulate": 40}, r"accumulate 40, want 1 to half the batch_size"),
        ({"network__pooling": "statistics"}, r"network.pooling: want a mapping with 'type'"),
        ({"backend": {"lda_dim": 513}}, r"backend.lda_dim 513 is above network.embedding_dim 512"),
        ({"backend": {"lda_dim": 0}}, r"backend: lda_dim and plda_iterations want 1 or more"),
        ({"training__max_frames": 10**8}, r"is not a range up to 100000"),
        ({"network": None}, r"network: want 'key: value' lines"),
        ({"training__min_frames": 14}, r"training.min_frames must be above 14, the frames that the backbone takes"),
        ({"network__embedding_dim": -3}, r"embedding_dim -3 and hidden_dim 512, want 1 or more"),
        ({"objective__optimizer__learning_rate": -1.0}, r"objective.optimizer: learning_rate -1.0, want more than 0"),
        ({"objective__optimizer__learning_rate": float("nan")}, r"learning_rate: want a finite number, not 'nan'"),
        ({"objective__optimizer__weight_decay": ".inf"}, r"weight_decay: want a number, not '.inf'"),
        ({"objective__optimizer__weight_decay": float("inf")}, r"weight_decay: want a finite number, not 'inf'"),
        (
            {"network__embedding_dim": 0},
            r"these values make no network: embedding_dim 0 and hidden_dim 512, want 1 or more",
        ),
        ({"network__pooling": {"type": "attention", "hidden_dim": 0}}, r"a layer has no outputs"),
        ({"training__seed": -1}, r"seed -1, want 0 or more"),
        (
            {"training__held_out": {"share": 0.1, "max_frames": 100}},
            r"held_out.max_frames wants min_frames 200 or more",
        ),
        ({"training__source": {"type": "waveforms", "speeds": 0.9}}, r"source.speeds: want a \[list\], not '0.9'"),
        ({"training__source": {"type": "waveforms", "speeds": [0.9, 0.9]}}, r"speeds: one is there twice"),
        (
            {"objective__head": {"type": "am_softmax", "scale": 0}},
            r"scale 0.0 and margin 0.2 of the head, want more than 0",
        ),
        (
            {"objective__head": {"type": "aam_softmax", "margin_ramp": 5}},
            r"margin_ramp 5.0 of the head is not within 0 to 1",
        ),
        ({"objective__head__type": [1]}, r"objective.head.type: there is no head '\[1\]'"),
        ({"features": "plp"}, r"features: 'plp' is unknown; want mfcc or fbank"),
        ({"objective__num_speakers": 3}, r"unknown key 'objective.num_speakers'"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(VouchError, match=message):
        resolve(_with(**changes), "x.yaml")


def test_a_missing_entry_is_named():
    config = _with()
    del config["objective"]["head"]
    with pytest.raises(VouchError, match=r"'objective.head' is missing"):
        resolve(config, "x.yaml")


def test_numbers_without_a_point_are_numbers():
    resolved = resolve(_with(objective__optimizer__learning_rate="1e-3"), "x.yaml")
    assert resolved["objective"]["optimizer"]["learning_rate"] == 1e-3


def test_base_is_overridden_key_by_key_and_type_by_type(tmp_path):
    (tmp_path / "base.yaml").write_text("a: {type: x, p: 1}\nb: {p: 1, q: 2}\n")
    (tmp_path / "top.yaml").write_text("base: base.yaml\na: {type: y}\nb: {q: 3}\n")
    assert read_config(tmp_path / "top.yaml") == {"a": {"type": "y"}, "b": {"p": 1, "q": 3}}
    (tmp_path / "base.yaml").write_text("base: top.yaml\n")
    with pytest.raises(VouchError, match="'base' leads back"):
        read_config(tmp_path / "top.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"x.yaml:\d+: not valid YAML"),
        ("- a", "want a mapping"),
        ("a: {b: 1,\n c: 2,\n b: 3}", "x.yaml:3: not valid YAML: key 'b' comes twice"),
        ("a: 1 # caf\udce9", r"x.yaml: not UTF-8 text; save it"),
        ("base: nothing.yaml", r"nothing.yaml, the 'base' of .*x.yaml: No such file"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, text, message):
    (tmp_path / "x.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(VouchError, match=message):
        read_config(tmp_path / "x.yaml")


IVECTOR = {"kind": "ivector", "ubm": {"gaussians": 8, "start_gaussians": 4}, "extractor": {"dim": 200}}


def test_the_defaults_of_an_ivector_system():
    resolved = resolve(IVECTOR, "x.yaml")
    assert resolved["ubm"]["selected"] == 20 and resolved["frontend"]["delta_window"] == 3
    assert resolve(resolved, "x.yaml") == resolved


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "ivektor"}, "x.yaml: kind: 'ivektor' is unknown; want network, ivector, joint"),
        ({"network": {}}, "unknown key 'network'"),
        ({"ubm": {"gausians": 8}}, "unknown key 'ubm.gausians'; did you mean 'gaussians'"),
        ({"ubm": {"gaussians": 8}}, "ubm: start_gaussians is 1024, want 1 to the 8 gaussians"),
        ({"extractor": {"dim": 100}}, "backend.lda_dim is above extractor.dim; want at most 100"),
        ({"extractor": {"iterations": 0}}, "extractor: dim wants 2 or more, iterations 1 or more"),
        ({"frontend": {"delta_order": -1}}, "frontend: num_ceps and delta_order want 0 or more"),
        ({"ubm": {"start_gaussians": 4, "gaussians": 8, "selected": 300}}, "selected \\(at most 255\\)"),
    ],
)
def test_mistakes_of_an_ivector_system_are_named(changes, message):
    with pytest.raises(VouchError, match=message):
        resolve(IVECTOR | changes, "x.yaml")
