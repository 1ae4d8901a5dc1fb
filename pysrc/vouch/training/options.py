"""The `training` entry of a system's YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vouch.training.averaging import CheckpointAverage, ExponentialAverage, Plain
from vouch.training.precision import DTYPES
from vouch.training.schedules import Cosine, Schedule
from vouch.training.source_options import StoredFeatures, WaveformOptions

_LONGEST = 100_000  # frames of a chunk


@dataclass
class HeldOutOptions:
    """The `held_out` entry: training speech that is kept apart to watch the training.

    share (of the utterances; 0: none), unit (recordings: of every speaker; speakers: whole ones, whom the training then
    never hears), most (utterances in all), max_frames (of an utterance), criterion (eer, accuracy, loss, or transfer:
    which epoch is the best; transfer is (EER + 1 %) times the accuracy of the domain probe, both as small as possible,
    which needs no label of the target: ours), keep_best (checkpoints of so many best epochs; without
    held-out speech of the last ones), patience (epochs without a better one after which the training ends; 0: it runs
    to its end).
    """

    share: float = 0.0
    unit: str = "recordings"
    most: int = 2000
    max_frames: int = 1000
    criterion: str = "eer"
    keep_best: int = 1
    patience: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 0.5:
            raise ValueError(f"share {self.share} is not within 0 to 0.5")
        if self.unit not in ("recordings", "speakers"):
            raise ValueError(f"unit '{self.unit}', want recordings or speakers")
        if self.criterion not in ("eer", "accuracy", "loss", "transfer"):
            raise ValueError(f"criterion '{self.criterion}', want eer, accuracy, loss or transfer")
        for name, least in (("most", 1), ("max_frames", 1), ("keep_best", 1), ("patience", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}, want {least} or more")
        if self.unit == "speakers" and self.criterion in ("accuracy", "loss"):
            raise ValueError(f"criterion {self.criterion} means nothing for speakers that are never heard; want eer")
        if self.patience and not self.share:
            raise ValueError("patience wants a share of held-out utterances above 0")


@dataclass
class TrainingOptions:
    """The `training` entry of a system's YAML.

    epochs; batch_size (chunks a step, over all processes and accumulated parts); min_frames and max_frames (length of
    the chunks); workers (processes that read ahead); checkpoint_minutes (between two checkpoints); seed; precision
    (float32; bfloat16 or float16: matrix products in 16 bits, parameters in 32; float32 all the same on a device that
    has no instructions for it); accumulate (parts that a process cuts its share of a batch into, to save memory;
    batch norm sees a part at a time); skip_limit (updates in a row with a loss or gradient that is not finite before
    the training stops); compile (the networks, by torch.compile); sampler (which chunks, vouch.training.sampling);
    schedule (of the learning rate, vouch.training.schedules); averaging (of the weights, vouch.training.averaging);
    held_out; source (of the chunks, vouch.training.source_options).
    """

    epochs: int = 10
    batch_size: int = 64
    min_frames: int = 200
    max_frames: int = 400
    workers: int = 0
    checkpoint_minutes: float = 10.0
    seed: int = 0
    precision: str = "float32"
    accumulate: int = 1
    skip_limit: int = 10
    compile: bool = False
    sampler: dict[str, Any] = field(default_factory=lambda: {"type": "random"})
    schedule: Schedule = field(default_factory=Cosine)
    averaging: Plain | ExponentialAverage | CheckpointAverage = field(default_factory=Plain)
    held_out: HeldOutOptions = field(default_factory=HeldOutOptions)
    source: StoredFeatures | WaveformOptions = field(default_factory=StoredFeatures)

    def __post_init__(self) -> None:
        if not 0 < self.min_frames <= self.max_frames <= _LONGEST:
            raise ValueError(
                f"min_frames {self.min_frames} to max_frames {self.max_frames} is not a range up to {_LONGEST}"
            )
        for name, least in (("epochs", 0), ("workers", 0), ("batch_size", 2), ("skip_limit", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}, want {least} or more")
        if not 1 <= self.accumulate <= self.batch_size // 2:
            raise ValueError(f"accumulate {self.accumulate}, want 1 to half the batch_size, {self.batch_size // 2}")
        if self.checkpoint_minutes < 0:
            raise ValueError(f"checkpoint_minutes {self.checkpoint_minutes}, want 0 or more")
        if self.seed >= 2**31:
            raise ValueError(f"seed {self.seed}, want less than 2^31")
        if self.held_out.share and self.held_out.max_frames < self.min_frames:
            raise ValueError(f"held_out.max_frames wants min_frames {self.min_frames} or more")
        if self.precision not in DTYPES:
            raise ValueError(f"precision '{self.precision}', want {', '.join(DTYPES)}")
