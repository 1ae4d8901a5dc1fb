"""From a system's YAML to its networks and objective: the only place that knows all names.

The schema of an entry is the signature of what it builds: its keys are the arguments, their types the annotations,
their defaults the defaults. Adding a component is adding its class to COMPONENTS.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import typing
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import nn

from vouch.errors import VouchError
from vouch.nn.cnn5 import CNN5
from vouch.nn.dictionary_pooling import DictionaryPooling, GhostVLAD, NetVLAD
from vouch.nn.ecapa import ECAPA
from vouch.nn.embedding import EmbeddingNetwork, UnitEmbeddingNetwork
from vouch.nn.ftdnn import FTDNN
from vouch.nn.heads import AAMSoftmax, AMSoftmax, ASoftmax, Softmax
from vouch.nn.pooling import (
    AttentionPooling,
    AttentiveStatisticsPooling,
    ChannelAttentiveStatisticsPooling,
    MeanPooling,
    PoolingInParts,
    StatisticsPooling,
)
from vouch.nn.resnet import ResNet34, ResNet50
from vouch.nn.resnet1d import ResNet1d
from vouch.nn.tdnn import ETDNN, TDNN
from vouch.objectives.base import Objective, Optimizer
from vouch.objectives.centre import JointCentre
from vouch.objectives.danse import Danse
from vouch.objectives.gan import Gan
from vouch.objectives.metric import Metric
from vouch.objectives.metric_losses import AngularPrototypical, GE2EContrast, GE2ESoftmax, Prototypical
from vouch.objectives.pair_losses import Contrastive, Triplet
from vouch.objectives.seef_aldr import SeefAldr
from vouch.objectives.supervised import Supervised
from vouch.training.averaging import CheckpointAverage, ExponentialAverage, Plain
from vouch.training.ivector_options import ExtractorOptions, UbmOptions
from vouch.training.options import HeldOutOptions, TrainingOptions
from vouch.training.sampling import SAMPLERS, RandomSampler, Sampler
from vouch.training.schedules import Constant, Cosine, Exponential, Linear, Step
from vouch.training.source_options import StoredFeatures, WaveformOptions

COMPONENTS: dict[str, dict[str, Callable[..., Any]]] = {
    "backbone": {
        "tdnn": TDNN,
        "etdnn": ETDNN,
        "ftdnn": FTDNN,
        "resnet34": ResNet34,
        "resnet50": ResNet50,
        "resnet1d": ResNet1d,
        "ecapa_tdnn": ECAPA,
        "cnn5": CNN5,
    },
    "pooling": {
        "mean": MeanPooling,
        "statistics": StatisticsPooling,
        "attention": AttentionPooling,
        "attentive_statistics": AttentiveStatisticsPooling,
        "channel_attentive_statistics": ChannelAttentiveStatisticsPooling,
        "lde": DictionaryPooling,
        "netvlad": NetVLAD,
        "ghostvlad": GhostVLAD,
    },
    "head": {
        "softmax": Softmax,
        "a_softmax": ASoftmax,
        "am_softmax": AMSoftmax,
        "aam_softmax": AAMSoftmax,
    },
    "loss": {
        "ge2e_softmax": GE2ESoftmax,
        "ge2e_contrast": GE2EContrast,
        "prototypical": Prototypical,
        "angular_prototypical": AngularPrototypical,
        "triplet": Triplet,
        "contrastive": Contrastive,
    },
    "objective": {
        "supervised": Supervised,
        "danse": Danse,
        "gan": Gan,
        "metric": Metric,
        "joint_centre": JointCentre,
        "seef_aldr": SeefAldr,
    },
    "sampler": SAMPLERS,
    "schedule": {"cosine": Cosine, "linear": Linear, "exponential": Exponential, "step": Step, "constant": Constant},
    "averaging": {"none": Plain, "exponential": ExponentialAverage, "checkpoints": CheckpointAverage},
    "source": {"features": StoredFeatures, "waveforms": WaveformOptions},
}
_FRAMES_OF_A_PART = 8  # of the time at least, where a pooling has parts: a ResNet makes one of so many
# Of `training`: their default types.
_TRAINING_PARTS = {"sampler": "random", "schedule": "cosine", "averaging": "none", "source": "features"}
# Arguments that the code fills in: no keys of the YAML.
_FILLED = {
    "backbone": {"feature_dim"},
    "pooling": {"channels"},
    "head": {"in_dim", "num_speakers"},
    "loss": set(),
    "objective": {"network", "second_network", "feature_dim", "num_speakers"},
    "sampler": {"num_frames", "labels", "batch_size", "min_frames", "max_frames", "seed"},
    "schedule": set(),
    "averaging": set(),
    "source": set(),
}


@dataclasses.dataclass
class BackendOptions:
    """The `backend` entry of a system's YAML: what steps/train_backend.sh estimates.

    lda_dim (where none is given, 150 or the embedding's dims if they are fewer); plda_iterations (of EM); speed_copies
    (also learn from the speed-perturbed copies of the training speech, as speakers of their own); within_scale and
    between_scale (of the adaptation; Kaldi's egs/sre16 has 0.75 and 0.25).
    """

    lda_dim: int = 150
    plda_iterations: int = 10
    speed_copies: bool = False
    within_scale: float = 0.75
    between_scale: float = 0.25

    def __post_init__(self) -> None:
        if self.lda_dim < 1 or self.plda_iterations < 1 or min(self.within_scale, self.between_scale) < 0:
            raise ValueError("lda_dim and plda_iterations want 1 or more, within_scale and between_scale 0 or more")


@dataclasses.dataclass
class FrontendOptions:
    """The `frontend` entry of an i-vector system: what is made of the features before normalisation.

    num_ceps (the first so many columns of the features; 0: all); delta_order and delta_window (differences over time;
    order 0: none).
    """

    num_ceps: int = 0
    delta_order: int = 2
    delta_window: int = 3

    def __post_init__(self) -> None:
        if min(self.num_ceps, self.delta_order) < 0 or self.delta_window < 1:
            raise ValueError("num_ceps and delta_order want 0 or more, delta_window 1 or more")


@dataclasses.dataclass
class _IvectorSystem:
    """The keys of the YAML of an i-vector system."""

    ubm: dict
    extractor: dict
    kind: str = "ivector"
    features: str = "mfcc"
    frontend: dict = dataclasses.field(default_factory=dict)
    backend: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class _JointSystem:
    """The keys of the YAML of a joint system: its embeddings are those of the named systems, one behind the other."""

    systems: list
    kind: str = "joint"
    backend: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class _System:
    """The keys of a whole YAML; `pooling` belongs to the network but takes its channels from the backbone.

    start: the system whose trained networks this one starts from (fine-tuning); empty: fresh ones.
    """

    network: dict
    objective: dict
    kind: str = "network"
    features: str = "mfcc"
    start: str = ""
    training: dict = dataclasses.field(default_factory=dict)
    backend: dict = dataclasses.field(default_factory=dict)


def resolve(config: dict[str, Any], path: str) -> dict[str, Any]:
    """Check a configuration and fill in every default.

    Raises VouchError naming the file, the key, what is wrong, and the nearest known key.
    """
    kind = config.get("kind", "network")
    schemas = {"network": _System, "ivector": _IvectorSystem, "joint": _JointSystem}
    if kind not in schemas:
        raise VouchError(f"{path}: kind: '{kind}' is unknown; want {', '.join(schemas)}")
    top = _check(config, schemas[kind], path, "")
    if kind == "joint":
        return _resolve_joint(top, path)
    if top["features"] not in ("mfcc", "fbank"):
        raise VouchError(f"{path}: features: '{top['features']}' is unknown; want mfcc or fbank")
    return _resolve_ivector(top, path) if kind == "ivector" else _resolve_network(top, path)


def _resolve_joint(top: dict[str, Any], path: str) -> dict[str, Any]:
    systems = top["systems"]
    if not all(isinstance(name, str) for name in systems) or len({*systems}) != len(systems) or len(systems) < 2:
        raise VouchError(
            f"{path}: systems: want the names of two or more systems, like [ecapa, ivector], not {systems}"
        )
    top["backend"] = _check(top["backend"], BackendOptions, path, "backend.")
    _construct(BackendOptions, top["backend"], path, "backend")
    return top


def _resolve_ivector(top: dict[str, Any], path: str) -> dict[str, Any]:
    entries = {
        "frontend": FrontendOptions,
        "ubm": UbmOptions,
        "extractor": ExtractorOptions,
        "backend": BackendOptions,
    }
    for key, kind in entries.items():
        top[key] = _check(top[key], kind, path, f"{key}.")
        _construct(kind, top[key], path, key)
    if top["backend"]["lda_dim"] > top["extractor"]["dim"]:
        raise VouchError(f"{path}: backend.lda_dim is above extractor.dim; want at most {top['extractor']['dim']}")
    return top


def _resolve_network(top: dict[str, Any], path: str) -> dict[str, Any]:
    network = _check(top["network"], EmbeddingNetwork, path, "network.")
    for part in ("backbone", "pooling"):
        network[part] = _component(part, network[part], path, f"network.{part}.")
    objective = _component("objective", top["objective"], path, "objective.")
    for part in _modules_of(objective["type"]):
        objective[part] = _component(part, objective[part], path, f"objective.{part}.")
    for key, kind in _entries_of(objective["type"]).items():
        objective[key] = _check(objective[key], kind, path, f"objective.{key}.")
        if kind is Optimizer:
            _construct(Optimizer, objective[key], path, f"objective.{key}")
    top.update(network=network, objective=objective)
    top["training"] = _resolve_training(top["training"], path)
    _check_objective(top, path)
    given = top["backend"]
    top["backend"] = _check(given, BackendOptions, path, "backend.")
    if "lda_dim" not in given:
        top["backend"]["lda_dim"] = max(1, min(top["backend"]["lda_dim"], network["embedding_dim"]))
    _construct(BackendOptions, top["backend"], path, "backend")
    try:
        with warnings.catch_warnings(action="ignore"):  # of torch about layers without outputs
            trial = build_objective(top, feature_dim=20, num_speakers=2)
        if not all(parameter.numel() for parameter in trial.parameters()):
            raise ValueError("a layer has no outputs; want sizes of 1 or more")
        context = trial.network.backbone.context
    except (ValueError, RuntimeError, ZeroDivisionError, IndexError) as error:
        raise VouchError(f"{path}: these values make no network: {str(error).splitlines()[0]}") from None
    if top["backend"]["lda_dim"] > network["embedding_dim"]:
        raise VouchError(
            f"{path}: backend.lda_dim {top['backend']['lda_dim']} is above network.embedding_dim "
            f"{network['embedding_dim']}; want at most that"
        )
    if top["training"]["min_frames"] <= context:
        raise VouchError(f"{path}: training.min_frames must be above {context}, the frames that the backbone takes")
    return top


def _check_objective(top: dict[str, Any], path: str) -> None:
    """Does the training give the objective what it wants?"""
    name, training = top["objective"]["type"], top["training"]
    kind, sampler, criterion = COMPONENTS["objective"][name], training["sampler"], training["held_out"]["criterion"]
    if criterion == "transfer" and not kind.wants_target:
        raise VouchError(
            f"{path}: training.held_out.criterion transfer wants another domain, which objective {name} does not take; "
            f"want eer, accuracy or loss"
        )
    if top["objective"].get("embedding") == "eliminated" and training["held_out"]["share"]:
        raise VouchError(
            f"{path}: training.held_out would keep the epoch whose eliminated embedding tells the speakers best, "
            f"which is what it shall forget; set its share to 0"
        )
    if not kind.classifies and criterion in ("accuracy", "loss"):
        raise VouchError(
            f"{path}: training.held_out.criterion {criterion} wants a classifier, which objective {name} has not; "
            f"want eer"
        )
    if not kind.classifies and top["network"]["hidden_dim"]:
        raise VouchError(
            f"{path}: network.hidden_dim is of a layer behind the embedding, for a classifier, which objective {name} "
            f"has not; set it to 0"
        )
    parts, shortest = top["objective"].get("time_parts", 1), training["min_frames"]
    if parts > 1 and parts * _FRAMES_OF_A_PART > shortest:
        raise VouchError(
            f"{path}: objective.time_parts {parts}: want parts of {_FRAMES_OF_A_PART} frames or more, but chunks may "
            f"have {shortest} (training.min_frames)"
        )
    if not kind.wants_groups:
        return
    if sampler["type"] != "speaker_balanced" or min(sampler["speakers"], sampler["utterances"]) < 2:
        raise VouchError(
            f"{path}: training.sampler: objective {name} compares the chunks of a batch; want {{type: "
            f"speaker_balanced, speakers: P, utterances: K}} with 2 or more of each"
        )
    if training["accumulate"] > 1:
        raise VouchError(
            f"{path}: training.accumulate {training['accumulate']}: objective {name} compares all chunks of a batch, "
            f"which cannot be cut into parts; set it to 1"
        )


def _resolve_training(entry: dict[str, Any], path: str) -> dict[str, Any]:
    training = _check(entry, TrainingOptions, path, "training.")
    for part, default in _TRAINING_PARTS.items():
        given = training[part]
        given = {"type": default, **given} if isinstance(given, dict) else given
        training[part] = _component(part, given, path, f"training.{part}.")
    training["held_out"] = _check(training["held_out"], HeldOutOptions, path, "training.held_out.")
    _construct(HeldOutOptions, training["held_out"], path, "training.held_out")
    for part in ("schedule", "averaging", "source"):
        _construct(lambda part=part, **entry: _build(part, entry), training[part], path, f"training.{part}")
    _construct(lambda **entry: _options(entry), training, path, "training")
    return training


def build_network(config: dict[str, Any], feature_dim: int, eliminating: bool = False) -> EmbeddingNetwork:
    """The embedding network of a resolved configuration, with fresh parameters from torch's generator; eliminating:
    the other one of seef_aldr."""
    parts = dict(config["network"])
    backbone = _build("backbone", parts.pop("backbone"), feature_dim=feature_dim)
    pooling = _build("pooling", parts.pop("pooling"), channels=backbone.out_channels)
    if eliminating and config["objective"]["time_parts"] > 1:
        pooling = PoolingInParts(pooling, config["objective"]["time_parts"])
    return (UnitEmbeddingNetwork if eliminating else EmbeddingNetwork)(backbone, pooling, **parts)


def build_objective(
    config: dict[str, Any], feature_dim: int, num_speakers: int, device: torch.device | str = "cpu"
) -> Objective:
    """The objective of a resolved configuration with its networks and optimizers, on a device.

    The first parameters come from torch's generator of the CPU, so that they are the same on every device.
    """
    parts, sizes = dict(config["objective"]), {"feature_dim": feature_dim, "num_speakers": num_speakers}
    network = build_network(config, feature_dim).to(device)
    given = {"head": {"in_dim": network.out_dim, "num_speakers": num_speakers}, "loss": {}}
    modules = {key: _build(key, parts.pop(key), **given[key]).to(device) for key in _modules_of(parts["type"])}
    filled = {key: kind(**parts.pop(key)) for key, kind in _entries_of(parts["type"]).items()}
    wanted = inspect.signature(COMPONENTS["objective"][parts["type"]]).parameters
    filled |= {name: value for name, value in sizes.items() if name in wanted}
    if "second_network" in wanted:
        filled["second_network"] = build_network(config, feature_dim, eliminating=True).to(device)
    return _build("objective", parts, network=network, **modules, **filled)


def _modules_of(objective: str) -> list[str]:
    """The arguments of a type of objective that are networks of COMPONENTS: its head, or its loss."""
    hints = typing.get_type_hints(COMPONENTS["objective"][objective].__init__)
    return [name for name in ("head", "loss") if hints.get(name) is nn.Module]


def _entries_of(objective: str) -> dict[str, Callable[..., Any]]:
    """The arguments of a type of objective that have entries of their own in the YAML."""
    hints = typing.get_type_hints(COMPONENTS["objective"][objective].__init__)
    return {name: kind for name, kind in hints.items() if kind is Optimizer or dataclasses.is_dataclass(kind)}


def training_options(config: dict[str, Any]) -> TrainingOptions:
    """The engine's options of a resolved configuration."""
    return _options(config["training"])


def build_sampler(config: dict[str, Any], num_frames: np.ndarray, labels: np.ndarray) -> Sampler:
    """The sampler of a resolved configuration over utterances: num_frames (utterances,), labels (utterances,).

    Raises VouchError when it does not fit them.
    """
    training = config["training"]
    filled = {key: training[key] for key in ("batch_size", "min_frames", "max_frames", "seed")}
    try:
        return _build("sampler", training["sampler"], num_frames=num_frames, labels=labels, **filled)
    except ValueError as error:
        raise VouchError(f"training.sampler: {error}") from None


def build_target_sampler(config: dict[str, Any], num_frames: np.ndarray) -> Sampler:
    """The sampler of the unlabelled domain over its utterances, num_frames (utterances,): at random, batch_size at a
    time. (Its epochs are of a hundred batches or more, so that few utterances make batches of that size, too.)"""
    training = config["training"]
    filled = {key: training[key] for key in ("batch_size", "min_frames", "max_frames", "seed")}
    samples = -(-100 * training["batch_size"] // len(num_frames))
    return RandomSampler(num_frames, np.zeros(len(num_frames), np.int64), **filled, samples_per_utterance=samples)


def wants_target(config: dict[str, Any]) -> bool:
    """Does a resolved configuration train on unlabelled speech of another domain?"""
    return config["kind"] == "network" and COMPONENTS["objective"][config["objective"]["type"]].wants_target


def _options(entry: dict[str, Any]) -> TrainingOptions:
    parts = {part: _build(part, entry[part]) for part in ("schedule", "averaging", "source")}
    return TrainingOptions(**{**entry, **parts, "held_out": HeldOutOptions(**entry["held_out"])})


def ivector_options(config: dict[str, Any]) -> tuple[UbmOptions, ExtractorOptions]:
    """The options of the UBM and the extractor of a resolved configuration."""
    return UbmOptions(**config["ubm"]), ExtractorOptions(**config["extractor"])


def _build(kind: str, entry: dict[str, Any], **filled: Any) -> Any:
    arguments = {key: value for key, value in entry.items() if key != "type"}
    return COMPONENTS[kind][entry["type"]](**filled, **arguments)


def _construct(kind: Callable[..., Any], entry: dict[str, Any], path: str, where: str) -> None:
    try:
        kind(**entry)
    except ValueError as error:
        raise VouchError(f"{path}: {where}: {error}") from None


def _component(kind: str, entry: Any, path: str, where: str) -> dict[str, Any]:
    known = COMPONENTS[kind]
    if not isinstance(entry, dict) or "type" not in entry:
        raise VouchError(f"{path}: {where.rstrip('.')}: want a mapping with 'type', one of {', '.join(known)}")
    if not isinstance(entry["type"], str) or entry["type"] not in known:
        hint = _nearest(str(entry["type"]), list(known))
        raise VouchError(f"{path}: {where}type: there is no {kind} '{entry['type']}'; {hint}")
    rest = {key: value for key, value in entry.items() if key != "type"}
    return {"type": entry["type"], **_check(rest, known[entry["type"]], path, where, _FILLED[kind])}


def _check(
    entry: Any, kind: Callable[..., Any], path: str, where: str, filled: frozenset | set = frozenset()
) -> dict[str, Any]:
    """The entry with the defaults of kind's signature; keys and types checked against it."""
    hints = typing.get_type_hints(kind if dataclasses.is_dataclass(kind) else kind.__init__)
    entries = (
        {f.name for f in dataclasses.fields(kind) if f.default_factory is not dataclasses.MISSING}
        if dataclasses.is_dataclass(kind)
        else set()
    )
    wanted = {name: p for name, p in inspect.signature(kind).parameters.items() if name not in filled}
    if not isinstance(entry, dict):
        raise VouchError(f"{path}: {where.rstrip('.') or 'the file'}: want 'key: value' lines, not '{entry}'")
    for key in entry:
        if key not in wanted:
            raise VouchError(f"{path}: unknown key '{where}{key}'; {_nearest(str(key), list(wanted))}")
    checked: dict[str, Any] = {}
    for name, parameter in wanted.items():
        if name in entry:
            checked[name] = _typed(entry[name], hints[name], f"{path}: {where}{name}")
        elif parameter.default is inspect.Parameter.empty:
            raise VouchError(f"{path}: '{where}{name}' is missing; see conf/xvector.yaml")
        else:
            checked[name] = {} if name in entries else parameter.default
    return checked


def _typed(value: Any, kind: Any, where: str) -> Any:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a [list]"}
    if kind is float and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)  # YAML reads 1e-3, without a point, as a text
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is float and isinstance(value, float) and not math.isfinite(value):
        raise VouchError(f"{where}: want a finite number, not '{value}'")
    if kind in names and (not isinstance(value, kind) or (kind is not bool and isinstance(value, bool))):
        raise VouchError(f"{where}: want {names[kind]}, not '{value}'")
    return value


def _nearest(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, 1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
