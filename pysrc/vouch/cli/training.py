"""`vouch train`, `vouch show-config`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vouch.io.feature_archive import FeatureArchive


def show_config(argv: list[str]) -> int:
    """Check a system's YAML and print it, or one value of it."""
    options = ToolOptions(
        "show-config",
        "[options] <system.yaml>",
        "Check the YAML of a system and print it resolved: every key with its value.",
        (1, 1),
    )
    options.add("get", "", "print only these values, one a line: keys as backend.lda_dim, separated by commas")
    opts, (path,) = options.parse(["--print-args=false", *argv])
    import yaml

    from vouch.io.config import read_config
    from vouch.system import resolve

    config = resolve(read_config(path), path)
    if not opts.get:
        sys.stdout.write(yaml.safe_dump(config, sort_keys=False))
        return 0
    print("\n".join([str(_value(config, key, path)) for key in opts.get.split(",")]))
    return 0


def train(argv: list[str]) -> int:
    """Train a system."""
    options = ToolOptions(
        "train",
        "[options] <system.yaml> <train-data-dir> <model-dir>",
        "Train the system of a YAML on a data directory with feats.scp (as steps/prepare_feats_for_training.sh makes), "
        "utt2num_frames and utt2spk. Writes config.yaml, speakers.txt, train.jsonl, checkpoints/ and final.pt into the "
        "model directory. Called again, it continues from the last checkpoint, or says that the model is finished.",
        (3, 3),
    )
    options.add(
        "device",
        "auto",
        "where to compute; auto takes a GPU if there is one",
        choices=("auto", "cpu", "cuda"),
    )
    options.add("num-threads", 0, "threads of the CPU computation; 0: as the environment says")
    options.add("force", False, "train again from the start, whatever is there")
    opts, (config_path, data, model) = options.parse(argv)
    # GNU OpenMP lets its threads sleep between the many small operations of a training when it counts more of them
    # than cores, and waking them costs more than the operations: on two cores 5 to 20 times.
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    import numpy as np
    import torch

    from vouch.io.checkpoints import one_at_a_time
    from vouch.io.config import read_config
    from vouch.io.feature_archive import FeatureArchive
    from vouch.system import resolve

    folder = Path(model)
    config = resolve(read_config(config_path), config_path)
    if config["kind"] != "network":
        raise VouchError(f"{config_path} is an i-vector system; train it with vouch train-ivector-system")
    archive = FeatureArchive(Path(data) / "feats.scp")
    utt2spk = _utterance_map(Path(data) / "utt2spk", archive)
    speakers = sorted(set(utt2spk))
    if len(speakers) < 2:
        raise VouchError(f"{data}/utt2spk has {len(speakers)} speaker, training wants two or more")
    number = {speaker: i for i, speaker in enumerate(speakers)}
    labels = np.array([number[s] for s in utt2spk], np.int64)
    frames = np.array(frame_counts(Path(data) / "utt2num_frames", archive), np.int64)
    feature_dim = archive.shape(0)[1]

    folder.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)  # moments of parameters that no longer move shrink to where a processor is slow
    try:
        with one_at_a_time(folder / ".lock", lambda: warn(f"another process is training in {folder}; waiting for it")):
            return _train(opts, config, archive, speakers, labels, frames, feature_dim, folder, data)
    finally:
        torch.set_flush_denormal(False)


def _train(
    opts: SimpleNamespace,
    config: dict,
    archive: FeatureArchive,
    speakers: list[str],
    labels: np.ndarray,
    frames: np.ndarray,
    feature_dim: int,
    folder: Path,
    data: str,
) -> int:
    """Train in a model directory that no other process uses."""
    import torch

    from vouch.io import checkpoints
    from vouch.io.config import write_config
    from vouch.system import build_objective, training_options
    from vouch.training.engine import Trainer

    if opts.force:
        for old in ("final.pt", "checkpoints/last.pt", "config.yaml", "speakers.txt", "train.jsonl"):
            (folder / old).unlink(missing_ok=True)
    features = archive.fingerprint(frames)
    _check_same_training(folder, config, speakers, features, data)
    if (folder / "final.pt").exists():
        log(f"{folder}/final.pt is there already; --force=true trains again")
        return 0
    checkpoints.write_speakers(folder / "speakers.txt", speakers)
    write_config(folder / "config.yaml", config)

    device = find_device(opts.device)
    if opts.num_threads > 0:
        torch.set_num_threads(opts.num_threads)
    run = training_options(config)
    torch.manual_seed(run.seed)
    objective = build_objective(config, feature_dim, len(speakers))
    extra = {"config": config, "speakers": speakers, "feature_dim": feature_dim, "features": features}
    trainer = Trainer(objective, archive, labels, frames, run, folder, extra, device)
    if trainer.resume():
        log(f"continuing from {trainer.last_checkpoint} after step {trainer.step}")
    size = sum(p.numel() for p in objective.parameters())
    log(
        f"{len(speakers)} speakers, {len(archive)} utterances, {frames.sum()} frames of {feature_dim} dims; "
        f"{size} parameters; {run.epochs} epochs of {trainer.sampler.batches_per_epoch} batches on {device.type}, "
        f"{trainer.precision}"
    )
    if trainer.precision != run.precision:
        warn(f"this processor has no instructions for {run.precision}: training in {trainer.precision}")
    trainer.run(report=None if sys.stderr.isatty() else log)
    networks = {name: value.cpu() for name, value in objective.state_dict().items()}
    checkpoints.save(folder / "final.pt", {"networks": networks, **extra})
    log(f"wrote {folder}/final.pt")
    return 0


def _value(config: dict, key: str, path: str) -> object:
    """The value of a key as backend.lda_dim."""
    value: object = config
    for word in key.split("."):
        if not isinstance(value, dict) or word not in value:
            raise VouchError(f"--get: {path} has no key '{key}'; `vouch show-config {path}` shows all")
        value = value[word]
    return value


def find_device(name: str) -> torch.device:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise VouchError("--device=cuda, but torch sees no GPU here; use --device=cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _utterance_map(path: Path, archive: FeatureArchive) -> list[str]:
    """The value of every utterance of the archive in a two-column file."""
    from vouch.io.tables import read_token_lines

    values = dict(read_token_lines(str(path), fields=(2, 2)))
    missing = [key for key in archive.keys if key not in values]
    if missing:
        raise VouchError(
            f"{path} lacks {len(missing)} utterances of {archive.path}, {missing[0]} the first; "
            f"run utils/fix_data_dir.sh {path.parent}"
        )
    return [values[key] for key in archive.keys]


def frame_counts(path: Path, archive: FeatureArchive) -> list[int]:
    counts = _utterance_map(path, archive)
    wrong = next((i for i, c in enumerate(counts) if not c.isdigit() or int(c) < 1), None)
    if wrong is not None:
        raise VouchError(
            f"{path}: utterance {archive.keys[wrong]} has '{counts[wrong]}' frames, want 1 or more; "
            f"make the features again with steps/prepare_feats_for_training.sh"
        )
    return [int(c) for c in counts]


def _check_same_training(folder: Path, config: dict, speakers: list[str], features: str, data: str) -> None:
    """A model directory goes on only with the configuration, the speakers and the features that it was begun with."""
    from vouch.io import checkpoints

    if not (folder / "config.yaml").exists():
        return
    checkpoints.check_speakers(folder / "speakers.txt", speakers, data)
    check_configuration(folder, config)
    for file in (folder / "final.pt", folder / "checkpoints" / "last.pt"):
        if file.exists() and checkpoints.load(file)["features"] != features:
            raise VouchError(
                f"{file} was trained on other features than {data} has now; "
                f"--force=true trains again (run.sh --stage 5 --force true), or choose another model directory"
            )


def check_configuration(folder: Path, config: dict) -> None:
    """Raises VouchError when the model directory was begun with another configuration than this resolved one."""
    from vouch.io.config import read_config
    from vouch.system import resolve

    path = folder / "config.yaml"
    if not path.exists():
        return
    different = list(_differences(resolve(read_config(path), str(path)), config, ""))
    if different:
        raise VouchError(
            f"{folder} was begun with another configuration: {', '.join(different)}; "
            f"--force=true trains it again (run.sh --stage 5 --force true), or choose another model directory"
        )


def _differences(there: dict, here: dict, where: str) -> Iterator[str]:
    """What differs and concerns the training: the backend is trained after it, and anew each time."""
    for key in sorted({*there, *here} - ({"backend"} if not where else set())):
        a, b = there.get(key), here.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{where}{key}.")
        elif a != b:
            yield f"{where}{key} was {a}, now {b}"
