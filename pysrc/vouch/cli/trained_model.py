"""A trained network in its model directory, alone or with what turns recordings into its embeddings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vouch.nn.embedding import EmbeddingNetwork

MAX_FRAMES = 10_000  # longer recordings are embedded in pieces
_MIN_FRAMES = 25
_ENCODERS = {"purified": "network", "eliminated": "eliminating"}  # by the embedding that they make


def open_network(folder: Path, device: torch.device, embedding: str = "") -> tuple[EmbeddingNetwork, dict[str, Any]]:
    """The trained embedding network on the device, for evaluation, and what else final.pt has: `config`,
    `feature_dim`, ... A directory of a training has speakers.txt, too, and both must agree; one of export-model has
    none. embedding: purified or eliminated, of a system with both (empty: that which its YAML names)."""
    from torch import nn

    from vouch.io import checkpoints
    from vouch.system import build_network

    path = folder / "final.pt"
    saved = checkpoints.load(path, "networks", "config", "feature_dim")
    if "speakers" in saved:
        checkpoints.check_speakers(folder / "speakers.txt", saved["speakers"], str(path))
    objective = saved["config"].get("objective", {})
    if embedding and objective.get("type") != "seef_aldr":
        raise VouchError(f"--embedding={embedding}: {folder} has one embedding; only objective seef_aldr has two")
    which = embedding or objective.get("embedding", "purified")
    part = _ENCODERS[which]
    own = {name: value for name, value in saved["networks"].items() if name.startswith(f"{part}.")}
    if not own:
        raise VouchError(f"{path} has no network of the {which} embedding; train with rest: encoder, or train again")
    network = build_network(saved["config"], saved["feature_dim"], eliminating=part == "eliminating")
    checkpoints.load_networks(nn.ModuleDict({part: network}), own, path)
    return network.to(device).eval(), saved


def least_frames(network: EmbeddingNetwork) -> int:
    """The fewest frames that an embedding is made of."""
    return max(_MIN_FRAMES, network.backbone.context + 1)


def check_finite_embedding(embedding: np.ndarray, whose: str, model: Path) -> None:
    """Raises VouchError when the embedding has NaN or infinite values."""
    import numpy as np

    if not np.isfinite(embedding).all():
        raise VouchError(f"the embedding of {whose} is not finite; train {model} again, or look at its features")


def add_model_option(options: ToolOptions) -> None:
    """Offer --model, which `model_folder` asks for."""
    options.add("model", "", "folder of a trained network: exp/SYSTEM of a recipe, or one of export-model")


def add_recording_options(options: ToolOptions) -> None:
    """Offer what tools that embed recordings share."""
    add_model_option(options)
    options.add("channel", -1, "channel of the recordings, 0 is the first; -1 wants one channel")
    options.add("allow-pipes", True, "run a recording that is a command, 'ffmpeg -i a.mp3 -f wav - |'")
    options.add("num-threads", 1, "processor cores")
    options.add("device", "auto", "where to compute; auto takes a GPU if there is one", choices=("auto", "cpu", "cuda"))


def model_folder(model: str) -> Path:
    """The folder of a network. Raises VouchError when none is named, it is not there, or it is another system's."""
    folder = Path(model)
    if not model:
        raise VouchError("--model is needed: the folder of a trained network, as --model=exp/resnet34")
    if not folder.is_dir():
        raise VouchError(f"there is no folder {model}; give exp/SYSTEM of a recipe, or one of vouch export-model")
    if (folder / "final.ie").exists() or (not (folder / "final.pt").exists() and _is_joint(folder)):
        raise VouchError(
            f"{model} is an i-vector or joint system, and this takes networks; its embeddings are made by the recipe "
            f"(run.sh --stage 6)"
        )
    return folder


def _is_joint(folder: Path) -> bool:
    from vouch.io.config import read_config

    return (folder / "config.yaml").exists() and read_config(folder / "config.yaml").get("kind") == "joint"


class RecordingModel:
    """A network with its front end: recordings to embeddings. Raises VouchError where its folder is not whole."""

    def __init__(self, opts: SimpleNamespace) -> None:
        if opts.num_threads < 1 or opts.channel < -1:
            raise VouchError(f"--num-threads={opts.num_threads} --channel={opts.channel}: want 1 or more, -1 or more")
        self.folder, self._threads = model_folder(opts.model), opts.num_threads
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")  # as in vouch train
        import torch

        from vouch.cli.front_end import FrontEnd
        from vouch.cli.model_dir import find_device

        self._device = find_device(opts.device)
        torch.set_num_threads(1)  # threads compute batches of their own
        self._network, saved = open_network(self.folder, self._device)
        self.embedding_dim = self._network.embedding_dim
        self._front_end = FrontEnd(
            self.folder, saved["config"]["features"], saved["feature_dim"], opts.channel, opts.allow_pipes
        )

    def embed(self, recordings: Iterable[tuple[str, str]]) -> Iterator[tuple[str, np.ndarray]]:
        """(key, embedding (embedding_dim,) float32) of every (key, recording), as extract-embeddings makes them.

        Raises VouchError naming the first that cannot be embedded.
        """
        from torch.backends import cudnn

        from vouch.training.extraction import embed_utterances

        with cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            for key, embedding in embed_utterances(
                self._network, self._frames(recordings), self._device, MAX_FRAMES, self._threads
            ):
                check_finite_embedding(embedding, key, self.folder)
                yield key, embedding

    def _frames(self, recordings: Iterable[tuple[str, str]]) -> Iterator[tuple[str, np.ndarray]]:
        least = least_frames(self._network)
        for key, name in recordings:
            frames = self._front_end(name)
            if len(frames) < least:
                raise VouchError(f"{name} has {len(frames)} voiced frames, want {least} or more; record more speech")
            yield key, frames
