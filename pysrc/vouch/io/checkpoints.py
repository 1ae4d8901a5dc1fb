"""Files of a training: checkpoints, the final model, its speakers.txt, its train.jsonl."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vouch.errors import VouchError
from vouch.io.streams import open_output


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values; beside the target first, so that a killed run leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        torch.save(content, beside)
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        beside.unlink(missing_ok=True)
        raise VouchError(f"cannot write {path}: {error}; is the disk full?") from None


def remove_unfinished(folder: Path) -> None:
    """Remove what killed calls of `save` left in a folder that no other process writes to."""
    for path in folder.glob("*.pt.tmp.*"):
        path.unlink(missing_ok=True)


def load(path: Path, *keys: str) -> dict[str, Any]:
    """Read what `save` wrote, on the CPU. Raises VouchError when it is missing, cut off or something else, and when
    it has not these keys."""
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip() is not None:
                raise ValueError("its bytes have changed")
        saved = torch.load(path, map_location="cpu", weights_only=True)
        lacking = sorted({*keys} - {*saved.keys()})
        if lacking:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        return saved
    except FileNotFoundError:
        raise VouchError(f"there is no {path}; train the system first (run.sh)") from None
    except Exception as error:  # of any type, as the reader meets arbitrary bytes
        reason = str(error) if type(error) is ValueError else "it is truncated or something else"
        raise VouchError(f"{path} is not a checkpoint of vouch: {reason}; remove it and train from the start") from None


def load_networks(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Put the parameters of a checkpoint into the networks. Raises VouchError naming what does not fit."""
    own = module.state_dict()
    wrong = [
        f"{name} is {tuple(state[name].shape) if name in state else 'missing'} there, {tuple(own[name].shape)} here"
        for name in own
        if name not in state or state[name].shape != own[name].shape
    ]
    wrong += [f"{name} is unknown here" for name in state if name not in own]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise VouchError(
            f"{path} is of another architecture: {wrong[0]}{more}; "
            f"give the configuration it was trained with, or train again with --force=true"
        )
    module.load_state_dict(state)


def fingerprint(state: dict[str, torch.Tensor]) -> str:
    """The same text for the same parameters, 64 characters."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode() + value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_speakers(path: Path, speakers: list[str]) -> None:
    """speakers.txt: line i names the speaker of classifier output i."""
    with open_output(str(path)) as file:
        file.write("".join(f"{speaker}\n" for speaker in speakers).encode())


def check_speakers(path: Path, speakers: list[str], whose: str) -> None:
    """Compare speakers.txt with the speakers of `whose`; raises VouchError with the first difference."""
    try:
        written = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise VouchError(f"cannot read {path}: {error.strerror}; it belongs to the model beside it") from None
    if written == speakers:
        return
    where = next((i for i, (a, b) in enumerate(zip(written, speakers, strict=False)) if a != b), None)
    if where is None:
        what = f"it has {len(written)} speakers, {whose} has {len(speakers)}"
    else:
        what = f"speaker {where + 1} is '{written[where]}', in {whose} '{speakers[where]}'"
    raise VouchError(f"{path} does not fit: {what}; train again with --force=true, or give the data it was trained on")


@contextlib.contextmanager
def one_at_a_time(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file; `waiting` is called once when another process has it. It ends with its holder."""
    with open(path, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TrainingLog:
    """train.jsonl: one JSON object a line. Opened at a step, it drops the lines of later steps: they come again."""

    def __init__(self, path: Path, step: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        try:
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        except (ValueError, KeyError, TypeError):
            raise VouchError(f"{path} has a line that is not one of a training's log; remove the file") from None
        with open_output(str(path)) as file:
            file.write("".join(kept).encode())
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)

    def write(self, figures: dict[str, Any]) -> None:
        """Append a line; `step` must be among the figures. What is no number becomes null."""
        self._file.write(json.dumps(_without_nan(figures), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
