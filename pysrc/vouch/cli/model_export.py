"""A trained network for others to use: export-model, export-onnx."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.model_backend import BACKENDS, ModelBackend
from vouch.cli.options import ToolOptions
from vouch.cli.trained_model import add_model_option, least_frames, model_folder, open_network
from vouch.errors import VouchError

if TYPE_CHECKING:
    from vouch.nn.embedding import EmbeddingNetwork

_TOLERANCE = 1e-4  # of an ONNX file, as a share of the largest value of the embeddings
_BACKEND_FILES = ("mean.vec", "mean_adapt.vec", "lda.mat", *(name for name in BACKENDS if name.startswith("plda")))


def export_model(argv: list[str]) -> int:
    """A folder of all that the use of a trained network needs."""
    options = ToolOptions(
        "export-model",
        "[options] <model-dir> <out-dir>",
        "Write a folder to hand on, which embed, verify, export-onnx and extract-embeddings take as a model: the "
        "weights of the embedding network, without those of the training speakers (nor their names) and of "
        "adversaries, the settings of its features, and, where there are some, its backends and their calibrations. "
        "All is read and checked.",
        (2, 2),
    )
    _, (model, out) = options.parse(argv)
    folder = model_folder(model)
    import torch

    from vouch.cli.front_end import SETTINGS, FrontEnd
    from vouch.io import checkpoints
    from vouch.io.config import write_config

    network, saved = open_network(folder, torch.device("cpu"))
    if saved["config"].get("objective", {}).get("embedding") == "eliminated":
        raise VouchError(
            f"{folder} is scored by its eliminated embedding, an ablation; export a system of the purified"
        )
    FrontEnd(folder, saved["config"]["features"], saved["feature_dim"])
    copied = [Path(name) for name in SETTINGS]
    copied += [Path("backend") / name for name in _BACKEND_FILES if (folder / "backend" / name).exists()]
    for name in BACKENDS:
        own = {"cosine": "mean.vec", "cosine_adapt": "mean_adapt.vec"}.get(name, name)
        if Path("backend") / own in copied:
            backend = ModelBackend(folder, name, "auto", network.embedding_dim)
            if backend.calibration is not None:
                copied.append(backend.calibration_file.relative_to(folder))
    config = {"kind": "network", "features": saved["config"]["features"], "network": saved["config"]["network"]}
    content = {"networks": {f"network.{name}": value for name, value in network.state_dict().items()}}
    content |= {"config": config, "feature_dim": saved["feature_dim"]}
    content |= {name: saved[name] for name in ("revision",) if name in saved}
    with _new_folder(Path(out)) as new:
        checkpoints.save(new / "final.pt", content)
        write_config(new / "config.yaml", config)
        for name in copied:
            (new / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, new / name)
    log(f"wrote {out}: final.pt, config.yaml, {', '.join(map(str, copied))}")
    if not (folder / "backend").is_dir():
        warn(
            f"there is no {folder}/backend: {out} makes embeddings, and no scores (run.sh --stage 7 makes the backend)"
        )
    return 0


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when the block ends well, and else goes. Raises VouchError when `out`
    is there already."""
    if out.exists():
        raise VouchError(f"{out} is there already; remove it, or choose another folder")
    beside = out.with_name(f"{out.name}.tmp.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        yield beside
        beside.rename(out)
    except OSError as error:
        raise VouchError(f"cannot write {out}: {error.strerror}; choose another folder") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def export_onnx(argv: list[str]) -> int:
    """A trained network as an ONNX file."""
    options = ToolOptions(
        "export-onnx",
        "[options] --model=DIR <out.onnx>",
        "Write the embedding network as an ONNX file, from input 'features' (batch, frames, dims), the voiced and "
        "normalised frames, all utterances of a batch of one length, to output 'embedding' (batch, embedding_dim); "
        "batch and frames are free. Where the package onnxruntime is installed, the file's embeddings are compared "
        "with PyTorch's at several lengths, and nothing is written where they differ by more than 1e-4 of their size.",
        (1, 1),
    )
    add_model_option(options)
    opts, (out,) = options.parse(argv)
    folder = model_folder(opts.model)
    import torch

    _require_packages()
    network, saved = open_network(folder, torch.device("cpu"))
    content = _onnx(network, saved["feature_dim"])
    from vouch.io.streams import open_output

    _check(content, network, saved["feature_dim"])
    with open_output(out) as stream:
        stream.write(content)
    log(
        f"wrote {out}, {len(content)} bytes: features (batch, frames, {saved['feature_dim']}) to embedding (batch, "
        f"{network.embedding_dim})"
    )
    return 0


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise VouchError(
            f"there is no package {error.name}, which the export wants: {sys.executable} -m pip install onnx "
            f"onnxscript onnxruntime"
        ) from None


def _onnx(network: EmbeddingNetwork, dim: int) -> bytes:
    """The ONNX file of a network in evaluation mode."""
    import logging
    import warnings

    import torch
    from torch import Tensor, nn

    class Embedding(nn.Module):
        """The embedding as `forward`, which is what is exported."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, features: Tensor) -> Tensor:
            return self.network.embed(features, None)

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages that nobody asked for
    least = least_frames(network)
    with warnings.catch_warnings(action="ignore"):  # of torch about itself
        program = torch.onnx.export(
            Embedding().eval(),
            (torch.zeros(2, 8 * least, dim),),
            dynamo=True,
            input_names=["features"],
            output_names=["embedding"],
            dynamic_shapes={"features": {0: torch.export.Dim("batch"), 1: torch.export.Dim("frames", min=least)}},
            verbose=False,
        )
    model = program.model_proto
    for part in (model.graph, *model.graph.node):
        part.ClearField("metadata_props")  # paths and lines of this program
    return model.SerializeToString()


def _check(content: bytes, network: EmbeddingNetwork, dim: int) -> None:
    """Raises VouchError when the ONNX file and the network differ on noise of several lengths."""
    try:
        import onnxruntime
    except ImportError:
        warn(
            f"the file was not checked: there is no package onnxruntime; {sys.executable} -m pip install onnxruntime, "
            f"and export again"
        )
        return
    import torch

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    least = least_frames(network)
    for batch, frames in ((1, least), (3, least + 41), (2, 300), (1, 1501)):
        features = torch.randn(batch, frames, dim, generator=generator)
        with torch.inference_mode():
            wanted = network.embed(features, None).numpy()
        (found,) = session.run(None, {"features": features.numpy()})
        deviation = float(abs(found - wanted).max() / abs(wanted).max())
        if not deviation <= _TOLERANCE:
            raise VouchError(
                f"the ONNX file is not the network: its embeddings of {frames} frames differ by {deviation:.2g} of "
                f"their size; nothing was written"
            )
        log(f"{batch} x {frames} frames: ONNX and PyTorch differ by {deviation:.1e} of the largest value")
