"""Held-out speech: which training utterances are kept apart, and what the networks make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch

from vouch.errors import VouchError
from vouch.metrics.eer import equal_error_rate
from vouch.metrics.probe import families
from vouch.objectives.base import Batch, Objective
from vouch.training.distributed import Processes
from vouch.training.domain_probe import domain_probe
from vouch.training.loading import ChunkSource, prepare
from vouch.training.options import HeldOutOptions, TrainingOptions
from vouch.training.precision import autocast
from vouch.training.sampling import Chunks, Sampler

_BATCH_FRAMES = 32_000  # of held-out speech at once
_SPLIT = 6007  # keeps the numbers drawn here apart from those of the samplers


def hold_out(labels: np.ndarray, groups: np.ndarray, options: HeldOutOptions, seed: int) -> np.ndarray:
    """Which utterances are held out: bool (utterances,).

    labels (utterances,) are the numbers of the speakers; groups (utterances,) those of the recordings: copies of one
    recording (reverberated, noisy, at another speed) are held out together, or training would have heard them. So
    speakers who share recordings, as a speaker and its speed copies, give the same ones. Every speaker gives its
    share of recordings, drawn at random, two at least, for one makes no target pair, and keeps one at least; where the
    share is less than two, some speakers give two and the others none, so that the whole comes to the share. Of unit
    `speakers` a share of them, drawn at random, is held out with all that they have.
    Raises VouchError when this leaves no target or no nontarget pairs.
    """
    size, voices = int(groups.max()) + 1, families(labels, groups)
    recordings = np.unique(voices * size + groups)
    _, first, counts = np.unique(recordings // size, return_index=True, return_counts=True)
    generator = np.random.default_rng((seed, _SPLIT))
    if options.unit == "speakers":
        return _whole_speakers(voices, counts, options, generator)
    wanted = counts * options.share * min(1.0, options.most / max(1.0, len(labels) * options.share))
    give = np.floor(wanted + 0.5).astype(np.int64)
    few = generator.permutation(np.flatnonzero(wanted < 2))
    give[few] = 2 * np.diff(np.floor(np.cumsum(wanted[few]) / 2 + 1e-9), prepend=0.0)
    give = np.minimum(give, counts - 1)
    give[give < 2] = 0
    if np.count_nonzero(give) < 2:
        raise VouchError(
            f"training.held_out.share {options.share} of {len(labels)} utterances gives fewer than two speakers with "
            f"two recordings each; raise it, or set it to 0"
        )
    chosen = [s + generator.permutation(c)[:g] for s, c, g in zip(first, counts, give, strict=True) if g]
    return np.isin(groups, recordings[np.concatenate(chosen)] % size)


def _whole_speakers(
    voices: np.ndarray, counts: np.ndarray, options: HeldOutOptions, generator: np.random.Generator
) -> np.ndarray:
    """Speakers (with those who share their recordings) up to the share of the utterances, two at least."""
    present, sizes = np.unique(voices, return_counts=True)
    order = generator.permutation(len(present))
    behind = np.cumsum(sizes[order])
    number = max(2, int(np.searchsorted(behind, min(options.share * len(voices), options.most), "right")))
    chosen = order[:number]
    if number >= len(present) or not (counts[chosen] > 1).any():
        raise VouchError(
            f"training.held_out.share {options.share} of {len(present)} speakers leaves none to train on, or none with "
            f"two recordings to measure; lower it, or set it to 0"
        )
    return np.isin(voices, present[chosen])


def hold_out_target(groups: np.ndarray, options: HeldOutOptions, seed: int) -> np.ndarray:
    """Which utterances of the unlabelled domain are held out: bool (utterances,), the share of the recordings, drawn
    at random, all copies of one together; groups (utterances,) are the numbers of the recordings.

    Two at least, which the domain probe wants. Raises VouchError when this leaves none to train on.
    """
    recordings = np.unique(groups)
    share = options.share * min(1.0, options.most / max(1.0, options.share * len(groups)))
    number = max(2, int(share * len(recordings)))
    if number >= len(recordings):
        raise VouchError(
            f"training.held_out.share {options.share} of {len(recordings)} target recordings is {number}, which leaves "
            f"none to train on; set it to 0"
        )
    chosen = np.random.default_rng((seed, _SPLIT, 1)).permutation(recordings)[:number]
    return np.isin(groups, chosen)


class KeptIn:
    """A sampler of some utterances, asked for by their numbers among all.

    Arguments: sampler (of the kept utterances); kept (utterances,) their numbers.
    """

    def __init__(self, sampler: Sampler, kept: np.ndarray) -> None:
        self._sampler, self._kept = sampler, kept
        self.batches_per_epoch, self.group = sampler.batches_per_epoch, sampler.group

    def batch(self, epoch: int, position: int, length: int | None = None) -> Chunks:
        """As Sampler.batch."""
        chunks = self._sampler.batch(epoch, position, length)
        return chunks._replace(utterances=self._kept[chunks.utterances])


class HeldOut(NamedTuple):
    """Held-out utterances: where they are read from, their numbers there (utterances,), labels and groups
    (utterances,), frames (utterances,), the longest piece that is taken of one, and the shortest; and those of the
    other domain (their labels do not matter)."""

    source: ChunkSource
    indices: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    num_frames: np.ndarray
    max_frames: int
    min_frames: int
    target: HeldOut | None = None

    def evaluate(
        self, objective: Objective, device: torch.device, precision: str, processes: Processes
    ) -> dict[str, float]:
        """`eer` in per cent over all pairs of different recordings; where the objective classifies, mean `accuracy`
        and `loss`; with a target `domain_probe`, vouch.training.domain_probe.

        Of an utterance its middle max_frames are taken. The scores are cosines of embeddings from which their mean is
        subtracted. Utterances of like lengths make a batch, in which shorter ones are repeated up to the longest, as in
        training. The processes share the batches.
        """
        was_training = objective.training
        objective.eval()
        embeddings, rows = self._embed(objective, device, precision, processes)
        figures = {"eer": 100 * pairwise_eer(embeddings, self.labels, self.groups)}
        if objective.classifies:
            loss, accuracy = rows.mean(0, dtype=np.float64)
            figures |= {"accuracy": float(accuracy), "loss": float(loss)}
        if self.target is not None:
            others, _ = self.target._embed(objective, device, precision, processes)
            groups = self.target.groups + self.groups.max() + 1  # their numbers mean other recordings
            figures["domain_probe"] = domain_probe(embeddings, others, self.groups, groups)
        objective.train(was_training)
        return figures

    def _embed(
        self, objective: Objective, device: torch.device, precision: str, processes: Processes
    ) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings float64 (utterances, embedding_dim), and losses and accuracies (utterances, 2), or (utterances, 0)
        where the objective does not classify."""
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for number, (places, length) in enumerate(self._batches()):
            if number % processes.world != processes.rank:
                continue
            starts = np.maximum(self.num_frames[places] - length, 0) // 2
            read = self.source.read_chunks(self.indices[places], starts, length)
            content = read if isinstance(read, tuple) else (read,)
            tensors = tuple(torch.from_numpy(part) for part in content)
            batch = Batch(
                tensors if isinstance(read, tuple) else tensors[0], torch.from_numpy(self.labels[places]), [], 1.0
            )
            batch = prepare(batch, self.source, device)
            lengths = torch.full((len(places),), batch.features.shape[1], device=device)
            with torch.inference_mode(), autocast(precision, device):
                embeddings, figures = objective.evaluate(batch.features, lengths, batch.labels)
            columns = [figures[name].float().cpu().numpy() for name in ("loss", "accuracy") if objective.classifies]
            rows = np.array(columns, np.float32).reshape(-1, len(places)).T
            found.append((places, embeddings.float().cpu().numpy(), rows))
        found = [part for parts in processes.gather(found) for part in parts]
        order = np.argsort(np.concatenate([part[0] for part in found]))
        embeddings = np.concatenate([part[1] for part in found])[order].astype(np.float64)
        return embeddings, np.concatenate([part[2] for part in found])[order]

    def _batches(self) -> list[tuple[np.ndarray, int]]:
        """Places (utterances,) among the held-out ones and a length: one batch after the other, short ones first."""
        frames = np.clip(self.num_frames, self.min_frames, self.max_frames)
        order = np.argsort(frames, kind="stable")
        batches, first = [], 0
        for last in range(1, len(order) + 1):
            if last == len(order) or frames[order[last]] * (last - first + 1) > _BATCH_FRAMES:
                batches.append((order[first:last], int(frames[order[last - 1]])))
                first = last
        return batches


class Speech(Protocol):
    """Training speech, as vouch.cli.training_data.TrainingData."""

    source: ChunkSource
    labels: np.ndarray
    num_frames: np.ndarray
    groups: np.ndarray


def keep_apart(
    speech: Speech, out: np.ndarray | None, run: TrainingOptions, build: Callable[[np.ndarray, np.ndarray], Sampler]
) -> tuple[Sampler | KeptIn, HeldOut | None]:
    """A sampler of the utterances that are not held out, made by build(num_frames, labels), and those that are: out
    (utterances,), or None for none."""
    if out is None:
        return build(speech.num_frames, speech.labels), None
    kept = np.flatnonzero(~out)
    held_out = HeldOut(
        speech.source,
        np.flatnonzero(out),
        speech.labels[out],
        speech.groups[out],
        speech.num_frames[out],
        run.held_out.max_frames,
        run.min_frames,
    )
    return KeptIn(build(speech.num_frames[kept], speech.labels[kept]), kept), held_out


def pairwise_eer(embeddings: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    """Equal error rate in [0, 1] of the cosines of centred embeddings (utterances, dims) over all pairs that are not
    of one recording; labels and groups (utterances,). Not a number where the embeddings are not finite."""
    if not np.isfinite(embeddings).all():
        return float("nan")
    centred = embeddings - embeddings.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    rows, columns = np.triu_indices(len(unit), 1)
    same_speaker = labels[rows] == labels[columns]
    trial = ~(same_speaker & (groups[rows] == groups[columns]))
    scores = (unit @ unit.T)[rows, columns]
    return equal_error_rate(scores[trial & same_speaker], scores[trial & ~same_speaker])[0]
