"""`vouch train`, `vouch show-config`."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.model_dir import check_same_training, find_device, forget_training, revision
from vouch.cli.options import ToolOptions
from vouch.cli.threads import keep_freed_memory
from vouch.errors import VouchError

if TYPE_CHECKING:
    import torch

    from vouch.cli.training_data import TrainingData
    from vouch.objectives.base import Objective
    from vouch.training.distributed import Processes
    from vouch.training.engine import Trainer


def show_config(argv: list[str]) -> int:
    """Check a system's YAML and print it, or one value of it."""
    options = ToolOptions(
        "show-config",
        "[options] <system.yaml> ...",
        "Check the YAML of a system and print it resolved: every key with its value; several systems one by one.",
        (1, None),
    )
    options.add(
        "get",
        "",
        "print only these values, one a line: keys as backend.lda_dim, or KEY=WHERE-THERE-IS-NONE, separated by commas",
    )
    opts, paths = options.parse(["--print-args=false", *argv])
    import yaml

    from vouch.io.config import read_config
    from vouch.system import resolve

    for path in paths:
        config = resolve(read_config(path), path)
        if not opts.get:
            sys.stdout.write(yaml.safe_dump(config, sort_keys=False))
        for asked in filter(None, opts.get.split(",")):
            key, _, default = asked.partition("=")
            value = _value(config, key, path, default)
            if isinstance(value, list):
                value = "+".join(map(str, value))
            print(str(value).lower() if isinstance(value, bool) else value)
    return 0


def train(argv: list[str]) -> int:
    """Train a system."""
    options = ToolOptions(
        "train",
        "[options] <system.yaml> <train-data-dir> <model-dir>",
        "Train the system of a YAML on a data directory with feats.scp (as steps/prepare_feats_for_training.sh makes), "
        "utt2num_frames, utt2spk and, for held-out speech, utt2uniq; or, with training.source type waveforms, on one "
        "with wav.scp, utt2spk and, where there is one, vad.scp. Writes config.yaml, speakers.txt, train.jsonl, "
        "checkpoints/ and final.pt into the model directory. Called again, it continues from the last checkpoint, or "
        "says that the model is finished. Started by torchrun (steps/train.sh --num-processes or --num-gpus), its "
        "processes share every batch.",
        (3, 3),
    )
    options.add(
        "device",
        "auto",
        "where to compute; auto takes a GPU if there is one",
        choices=("auto", "cpu", "cuda"),
    )
    options.add("num-threads", 0, "threads of the CPU computation; 0: as the environment says")
    options.add("target", "", "data directory of unlabelled speech of another domain, for objectives with an adversary")
    # not "start", which torchrun takes for the beginning of an option of its own
    options.add("start-from", "", "model directory whose networks a system with the key `start` begins with")
    options.add("force", False, "train again from the start, whatever is there")
    options.add("dry-run", False, "print sizes, computation, memory and batches of the training, and do nothing")
    opts, (config_path, data, model) = options.parse(argv)
    # GNU OpenMP lets its threads sleep between the many small operations of a training when it counts more of them
    # than cores, and waking them costs more than the operations: on two cores 5 to 20 times.
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    # oneDNN keeps what it compiled for the last 1024 shapes, and chunks have hundreds of lengths: an x-vector grew from
    # 0.6 to 2.1 GB in 300 steps, with this to 1.1 GB in the same time.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    keep_freed_memory()
    import torch

    from vouch.io.checkpoints import one_at_a_time
    from vouch.io.config import read_config
    from vouch.system import resolve
    from vouch.training.distributed import Processes

    config = resolve(read_config(config_path), config_path)
    if config["kind"] != "network":
        how = "train it with vouch train-ivector-system" if config["kind"] == "ivector" else "it has nothing to train"
        raise VouchError(f"{config_path} is no network but of kind {config['kind']}; {how}")
    content = _open_data(config, data)
    target = _open_target(config, opts.target, config_path, content)
    start = _open_start(config, opts.start_from, config_path)
    processes = Processes()
    if opts.dry_run:
        return _dry_run(config, content, target, processes)
    device = find_device(opts.device, processes.local_rank)
    if opts.num_threads > 0:
        torch.set_num_threads(opts.num_threads)
    folder = Path(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VouchError(f"cannot make {folder}: {error.strerror}; choose another model directory") from None
    torch.set_flush_denormal(True)  # moments of parameters that no longer move shrink to where a processor is slow
    try:
        waiting = partial(warn, f"another process is training in {folder}; waiting for it")
        with one_at_a_time(folder / ".lock", waiting) if processes.first else nullcontext():
            processes.start(device)
            return _train(opts.force, config, content, target, start, folder, data, device, processes)
    finally:
        processes.end()
        torch.set_flush_denormal(False)


def _open_data(config: dict, data: str, fewest_speakers: int = 2) -> TrainingData:
    """Features of archives, or recordings, as training.source says."""
    from vouch.cli.training_data import read_training_data
    from vouch.system import training_options
    from vouch.training.source_options import WaveformOptions

    run = training_options(config)
    if not isinstance(run.source, WaveformOptions):
        return read_training_data(data, fewest_speakers)
    from vouch.cli.waveform_data import open_waveforms

    return open_waveforms(data, config["features"], run.source, run.seed, fewest_speakers)


def _open_target(config: dict, data: str, path: str, source: TrainingData) -> TrainingData | None:
    """The other domain's speech, whose speakers do not matter, for an objective that wants one."""
    from vouch.system import wants_target

    wanted = wants_target(config)
    if bool(data) == wanted:
        if not data:
            return None
        content = _open_data(config, data, fewest_speakers=1)
        if len(content.source) and content.source.shape(0)[1] != source.source.shape(0)[1]:
            raise VouchError(
                f"--target={data} has features of {content.source.shape(0)[1]} dims, the training data have "
                f"{source.source.shape(0)[1]}; make both with the same configuration"
            )
        return content._replace(labels=content.labels * 0)
    objective = f"{path} has objective {config['objective']['type']}"
    if data:
        raise VouchError(f"--target={data}: {objective}, which takes no target; leave it out")
    raise VouchError(f"{objective}, which wants unlabelled speech of another domain; give --target")


def _take_over(objective: Objective, begun_with: dict, kind: str, start: Path) -> None:
    """Begin with the networks of a trained system: all of them, or, where its objective is of another type, the
    embedding network alone."""
    from torch import nn

    from vouch.io import checkpoints

    target, networks = objective, begun_with["networks"]
    if begun_with["config"]["objective"]["type"] != kind:
        target = nn.ModuleDict({"network": objective.network})
        networks = {name: value for name, value in networks.items() if name.startswith("network.")}
    try:
        checkpoints.load_networks(target, networks, start)
    except VouchError as error:
        reason = str(error).partition(";")[0]
        raise VouchError(f"{reason}; a system starts from one of the same network, features and head") from None


def _open_start(config: dict, model: str, path: str) -> Path | None:
    """The final.pt that a fine-tuning starts from."""
    if bool(model) != bool(config["start"]):
        if model:
            raise VouchError(f"--start-from={model}: {path} has no key start; leave the option out, or add the key")
        raise VouchError(f"{path} starts from the system {config['start']}; give its model directory as --start-from")
    if not model:
        return None
    final = Path(model) / "final.pt"
    if not final.is_file():
        raise VouchError(f"--start-from={model} has no final.pt; train that system first")
    return final


def _train(
    force: bool,
    config: dict,
    content: TrainingData,
    target: TrainingData | None,
    start: Path | None,
    folder: Path,
    data: str,
    device: torch.device,
    processes: Processes,
) -> int:
    """Train in a model directory that no other training uses."""
    import torch

    from vouch.io import checkpoints
    from vouch.io.config import write_config
    from vouch.system import build_objective
    from vouch.training.distributed import has_batch_norm

    say, caution = (log, warn) if processes.first else (_nothing, _nothing)
    archive, speakers = content.source, content.speakers
    if force and processes.first:
        forget_training(folder)
    processes.wait()
    features = content.fingerprint() + (target.fingerprint() if target else "")
    begun_with = None
    if start:
        begun_with = checkpoints.load(start, "networks", "config", "speakers")
        checkpoints.check_speakers(start.parent / "speakers.txt", speakers, data)
        features += checkpoints.fingerprint(begun_with["networks"])
    check_same_training(folder, config, speakers, features, data)
    if (folder / "final.pt").exists():
        say(f"{folder}/final.pt is there already; --force=true trains again")
        return 0
    processes.wait()  # all have looked
    if processes.first:
        checkpoints.write_speakers(folder / "speakers.txt", speakers)
        write_config(folder / "config.yaml", config)

    feature_dim = archive.shape(0)[1]
    torch.manual_seed(config["training"]["seed"])
    objective = build_objective(config, feature_dim, len(speakers), device)
    if begun_with:
        _take_over(objective, begun_with, config["objective"]["type"], start)
    extra = {
        "config": config,
        "speakers": speakers,
        "feature_dim": feature_dim,
        "features": features,
        "revision": revision(),
    }
    trainer = _trainer(objective, config, content, target, folder, extra, device, processes)
    if trainer.resume():
        say(f"continuing from {trainer.last_checkpoint} after step {trainer.step}")
    elif start:
        say(f"starting from {start}")
    run = trainer.options
    size = sum(p.numel() for p in objective.parameters())
    held_out = f" ({len(trainer.held_out.indices)} held out)" if trainer.held_out else ""
    other = f", {len(target.labels)} of another domain" if target else ""
    together = f" in {processes.world} processes" if processes.world > 1 else ""
    say(
        f"{len(speakers)} speakers, {len(archive)} utterances{held_out}{other}, {content.num_frames.sum()} frames of "
        f"{feature_dim} dims; {size} parameters; {run.epochs} epochs of {trainer.sampler.batches_per_epoch} batches "
        f"on {device.type}{together}, {trainer.precision}"
    )
    if trainer.precision != run.precision:
        caution(f"this device has no fast {run.precision}: training in {trainer.precision}")
    if processes.world > 1 and device.type == "cpu" and has_batch_norm(objective):
        caution(
            f"batch norm is not synchronised over processes on the CPU: each sees its own "
            f"{run.batch_size // processes.world} chunks of a batch, and the result depends on the number of processes"
        )
    networks, epochs = trainer.run(report=None if sys.stderr.isatty() else say)
    if processes.first:
        checkpoints.save(folder / "final.pt", {"networks": networks, "epochs": epochs, **extra})
    which = f" (of epoch {', '.join(map(str, epochs))})" if epochs else ""
    say(f"wrote {folder}/final.pt{which}")
    processes.wait()
    return 0


def _trainer(
    objective: Objective,
    config: dict,
    content: TrainingData,
    target: TrainingData | None,
    folder: Path,
    extra: dict,
    device: torch.device,
    processes: Processes,
) -> Trainer:
    from vouch.system import build_sampler, build_target_sampler, training_options
    from vouch.training.engine import Trainer
    from vouch.training.sampling import PairedSampler
    from vouch.training.validation import hold_out, hold_out_target, keep_apart

    run = training_options(config)
    sampler, held_out = keep_apart(
        content,
        hold_out(content.labels, content.groups, run.held_out, run.seed) if run.held_out.share else None,
        run,
        lambda num_frames, labels: build_sampler(config, num_frames, labels),
    )
    if target is not None:
        target_sampler, target_held_out = keep_apart(
            target,
            hold_out_target(target.groups, run.held_out, run.seed) if run.held_out.share else None,
            run,
            lambda num_frames, _: build_target_sampler(config, num_frames),
        )
        sampler = PairedSampler(sampler, target_sampler)
        held_out = held_out and held_out._replace(target=target_held_out)
    source = target and target.source
    return Trainer(
        objective, content.source, content.labels, sampler, run, folder, extra, device, processes, held_out, source
    )


def _dry_run(config: dict, content: TrainingData, target: TrainingData | None, processes: Processes) -> int:
    """Print what the training would take."""
    import torch

    from vouch.nn.complexity import complexity
    from vouch.system import build_objective
    from vouch.training.estimate import training_memory

    feature_dim = content.source.shape(0)[1]
    objective = build_objective(config, feature_dim, len(content.speakers))
    parameters, products = complexity(objective.network, feature_dim, config["training"]["max_frames"])
    trainer = _trainer(objective, config, content, target, Path(), {}, torch.device("cpu"), processes)
    run, batches = trainer.options, trainer.sampler.batches_per_epoch
    last = trainer.sampler.batch(0, batches - 1)  # the largest batch
    together = len((last.source if target else last).utterances)
    chunks = -(-together // (processes.world * run.accumulate))
    memory = training_memory(objective, feature_dim, run, chunks)
    held_out = len(trainer.held_out.indices) if trainer.held_out else 0
    total = sum(p.numel() for p in objective.parameters())
    lines = {
        "speakers": f"{len(content.speakers)}",
        "utterances": f"{len(content.labels)}, {held_out} of them held out",
        "frames": f"{content.num_frames.sum()} of {feature_dim} dims",
        "parameters": f"{parameters} of the embedding network, {total} with the heads of the training",
        "multiply-adds": f"{products * 100 / run.max_frames / 1e6:.4g} million per second of speech (100 frames)",
        "batches": f"{batches} an epoch of {together} chunks, {run.epochs * batches} in {run.epochs} epochs",
        "memory": f"{memory.parameters / 2**20:.0f} MiB of parameters, gradients and optimizer, and "
        f"{memory.activations / 2**20:.0f} MiB kept for the backward pass of {chunks} chunks of {run.max_frames} "
        f"frames; PyTorch itself comes to it",
    }
    for name, text in lines.items():
        print(f"{name + ':':15s}{text}")
    return 0


def _nothing(message: str) -> None:
    """What the other processes of a training say."""


def _value(config: dict, key: str, path: str, default: str) -> object:
    """The value of a key as backend.lda_dim; the default, unless it is empty, where there is none."""
    value: object = config
    for word in key.split("."):
        if not isinstance(value, dict) or word not in value:
            if default:
                return default
            raise VouchError(f"--get: {path} has no key '{key}'; `vouch show-config {path}` shows all")
        value = value[word]
    return value
