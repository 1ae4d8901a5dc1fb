"""A small training that the tests of the engine share; as a program, a training to be killed or run by torchrun:
`python engine_examples.py FOLDER RESULT '{"epochs": 3, ...}'` writes the final parameters to RESULT."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vouch.nn.embedding import EmbeddingNetwork
from vouch.nn.heads import AMSoftmax
from vouch.nn.pooling import AttentiveStatisticsPooling
from vouch.nn.tdnn import TDNN
from vouch.objectives.adversarial import DiscriminatorOptions
from vouch.objectives.base import Objective, Optimizer
from vouch.objectives.centre import JointCentre
from vouch.objectives.danse import Danse
from vouch.objectives.gan import Gan
from vouch.objectives.metric import Metric
from vouch.objectives.seef_aldr import AdversaryOptions, DecoderOptions, SeefAldr
from vouch.objectives.supervised import Supervised
from vouch.system import COMPONENTS
from vouch.training.averaging import ExponentialAverage
from vouch.training.distributed import Processes
from vouch.training.engine import Trainer
from vouch.training.options import HeldOutOptions, TrainingOptions
from vouch.training.sampling import PairedSampler, RandomSampler, SpeakerBalancedSampler
from vouch.training.validation import HeldOut, KeptIn, hold_out, hold_out_target


class Source:
    """Speakers, two at first, whose frames differ in level and in variance, drowned in noise."""

    def __init__(self, utterances: int = 8, speakers: int = 2) -> None:
        generator = np.random.default_rng(0)
        self.keys = [f"utt{i}" for i in range(utterances)]
        self.labels = np.arange(utterances) % speakers
        self.features = [(generator.normal(size=(70, 5)) * (1 + y) + y).astype(np.float32) for y in self.labels]

    def read_chunks(self, indices: np.ndarray, starts: np.ndarray, length: int, place=None) -> np.ndarray:
        return np.stack([self.features[i][s : s + length] for i, s in zip(indices, starts, strict=True)])


class WithoutBatchNorm(nn.Module):
    """A network whose output for a chunk does not depend on the others: mean over time, affine layers."""

    out_dim, trunk_dim, embedding_dim = 6, 16, 16

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.pooling, self.norm, self.layers = nn.Linear(5, 16), *(nn.Identity() for _ in range(3))
        self.embedding, self.segment = nn.Linear(16, 16), nn.Sequential(nn.Tanh(), nn.Linear(16, 6))

    def trunk(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        return self.backbone(features).relu().mean(1)

    def embed(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        return self.embedding(self.trunk(features, lengths))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.segment(self.embed(features, None))


def objective(
    channels: int = 8,
    batch_norm: bool = True,
    speakers: int = 2,
    device: str = "cpu",
    dropout: float = 0.1,
    optimizer: str = "adam",
    kind: str = "supervised",
) -> Objective:
    """An objective with fresh parameters of seed 1; kind: supervised, joint_centre, seef_ and an adversary_form, a
    metric loss, danse, or the loss of a GAN."""
    torch.manual_seed(1)
    if batch_norm:
        network = EmbeddingNetwork(TDNN(5, channels, 12), AttentiveStatisticsPooling(12, 6), 6, 6, dropout)
    else:
        network = WithoutBatchNorm()
    head = AMSoftmax(6, speakers, scale=10.0, margin=0.1)
    own = Optimizer(optimizer, learning_rate=0.02, clip_norm=1.0)
    if kind == "supervised":
        return Supervised(network.to(device), head.to(device), own)
    if kind == "joint_centre":
        return JointCentre(network.to(device), head.to(device), own, Optimizer("sgd", 0.01, 0.0), speakers)
    if kind.startswith("seef_"):
        twin = copy.deepcopy(network)
        adversary = Optimizer("adam", 0.02), AdversaryOptions(8, 1), DecoderOptions(8, 2)
        form = kind.removeprefix("seef_")
        return SeefAldr(network.to(device), head.to(device), twin.to(device), 5, speakers, own, *adversary, form)
    if kind in COMPONENTS["loss"]:
        return Metric(network.to(device), COMPONENTS["loss"][kind]().to(device), own)
    parts = network.to(device), head.to(device), own, Optimizer("rmsprop", 0.003, 0.0), DiscriminatorOptions(8, 1)
    if kind == "danse":
        return Danse(*parts, pretraining=0.2)
    return Gan(*parts, speakers, loss=kind, pretraining=0.2)


def trainer(
    folder: Path,
    source: Source | None = None,
    model: Objective | None = None,
    device: str = "cpu",
    processes: Processes | None = None,
    samples_per_utterance: int = 2,
    **changes: Any,
) -> Trainer:
    """A trainer in the folder; changes are training options. Batches of a metric objective have all speakers but one,
    or two, and as many chunks of each."""
    source = source or Source()
    settings = {"epochs": 3, "batch_size": 4, "min_frames": 30, "max_frames": 50, "seed": 1, **changes}
    run = TrainingOptions(**settings)
    folder.mkdir(exist_ok=True)
    frames = np.array([len(f) for f in source.features])
    model = model or objective(device=device)
    limits = (run.batch_size, run.min_frames, run.max_frames, run.seed)
    if model.wants_groups:
        speakers = max(2, int(source.labels.max()))
        kind, own = SpeakerBalancedSampler, (speakers, run.batch_size // speakers)
    else:
        kind, own = RandomSampler, (samples_per_utterance,)
    held_out, groups = None, np.arange(len(frames))
    if run.held_out.share:
        out = hold_out(source.labels, groups, run.held_out, run.seed)
        kept, places = np.flatnonzero(~out), np.flatnonzero(out)
        sampler = KeptIn(kind(frames[kept], source.labels[kept], *limits, *own), kept)
        held_out = HeldOut(source, places, source.labels[out], groups[out], frames[out], 60, run.min_frames)
    else:
        sampler = kind(frames, source.labels, *limits, *own)
    target = None
    if model.wants_target:
        target = Source(16)
        target.features = [features + 1 for features in target.features]
        out = hold_out_target(np.arange(16), HeldOutOptions(share=0.4), run.seed)
        rest = np.flatnonzero(~out)
        target_frames = np.array([len(f) for f in target.features])
        other = KeptIn(RandomSampler(target_frames[rest], target.labels[rest], *limits, 20), rest)
        sampler = PairedSampler(sampler, other)
        places = np.flatnonzero(out)
        apart = HeldOut(target, places, target.labels[out], places, target_frames[out], 60, run.min_frames)
        held_out = held_out and held_out._replace(target=apart)
    extra = {"speakers": ["a", "b"]}
    where = torch.device(device)
    return Trainer(model, source, source.labels, sampler, run, folder, extra, where, processes, held_out, target)


def parameters(trained: Trainer) -> torch.Tensor:
    """All parameters and buffers."""
    return torch.cat([v.flatten().float().cpu() for v in trained.objective.state_dict().values()])


def full_options() -> dict[str, Any]:
    """Everything that has a state: an average, held-out speech, best epochs."""
    held_out = HeldOutOptions(share=0.25, max_frames=60, keep_best=2)
    return {"averaging": ExponentialAverage(0.9), "held_out": held_out, "checkpoint_minutes": 0.0}


def main() -> None:
    folder, result, given = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(1)
    processes = Processes()
    device = given.pop("device", "cpu")
    where = torch.device(device, processes.local_rank) if device == "cuda" else torch.device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    processes.start(where)
    model = objective(**given.pop("objective", {}), device=str(where))
    if given.pop("full", False):
        given = {**full_options(), **given}
    source = Source(32, given.pop("speakers", 2))
    trained = trainer(folder, source, model, str(where), processes, **given)
    trained.resume()
    networks, _ = trained.run(report=lambda line: None)
    if processes.first:
        torch.save({"final": networks, "last": parameters(trained), "step": trained.step}, result)
    processes.wait()
    processes.end()


if __name__ == "__main__":
    main()
