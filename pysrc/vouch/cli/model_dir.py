"""What a model directory was begun with, and where its work runs: shared by the commands that train."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.errors import VouchError

if TYPE_CHECKING:
    import torch


def find_device(name: str, number: int = 0) -> torch.device:
    """The device of --device auto, cpu or cuda; `number` chooses among GPUs. Raises VouchError when it is not there."""
    import torch

    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if not count:
        raise VouchError("--device=cuda, but torch sees no GPU here; use --device=cpu")
    if number >= count:
        raise VouchError(f"process {number} of this machine wants a GPU, but torch sees {count}; start fewer processes")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def revision() -> str:
    """The git revision of this code, `-dirty` after it where files were changed; its version where git knows none."""
    from vouch import __version__

    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        tracked = subprocess.run([*command[:3], "ls-files", "--error-unmatch", __file__], capture_output=True)
        described = subprocess.run(command, capture_output=True, text=True)
    except OSError:  # there is no git here
        return __version__
    return described.stdout.strip() if tracked.returncode == described.returncode == 0 else __version__


def forget_training(folder: Path) -> None:
    """Remove what an earlier training left in a model directory."""
    for old in ("final.pt", "checkpoints/last.pt", "config.yaml", "speakers.txt", "train.jsonl"):
        (folder / old).unlink(missing_ok=True)
    for old in [*folder.glob("checkpoints/epoch-*.pt"), *folder.glob("tensorboard/events.*")]:
        old.unlink(missing_ok=True)


def check_same_training(folder: Path, config: dict, speakers: list[str], features: str, data: str) -> None:
    """A model directory goes on only with the configuration, the speakers and the data that it was begun with.

    Raises VouchError naming what differs.
    """
    from vouch.io import checkpoints

    if not (folder / "config.yaml").exists():
        return
    checkpoints.check_speakers(folder / "speakers.txt", speakers, data)
    check_configuration(folder, config)
    for file in (folder / "final.pt", folder / "checkpoints" / "last.pt"):
        if file.exists() and checkpoints.load(file, "features")["features"] != features:
            raise VouchError(
                f"{file} was trained on other features, or with other speakers of its utterances, than {data} has now, "
                f"or from another start; --force=true trains again (run.sh --force true, from its stage on), or choose "
                f"another model directory"
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
            f"{folder} was begun with another configuration: {', '.join(different)}; go on with the old value, or "
            f"train from the start with --force=true (run.sh --force true, from its stage on), or choose another model "
            f"directory"
        )


# Keys that do not change what a training arrives at; the backend is trained after it, and anew each time.
_FREE = {"": {"backend"}, "training.": {"workers", "checkpoint_minutes", "skip_limit"}}


def _differences(there: dict, here: dict, where: str) -> Iterator[str]:
    """What differs and concerns the training."""
    for key in sorted({*there, *here} - _FREE.get(where, set())):
        a, b = there.get(key), here.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{where}{key}.")
        elif a != b:
            yield f"{where}{key} was {a}, now {b}"
