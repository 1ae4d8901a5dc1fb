"""`vouch extract-embeddings`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.cli.trained_model import MAX_FRAMES, check_finite_embedding, least_frames, open_network
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

_REPORT_SECONDS = 15.0


def extract_embeddings(argv: list[str]) -> int:
    """Embeddings of the utterances of a feature table."""
    options = ToolOptions(
        "extract-embeddings",
        "[options] <model-dir> <features-rspecifier> <embeddings-wspecifier>",
        "Write the embedding of every utterance. The features must be as in training: mean-normalised, without "
        "silence. An utterance of fewer than --min-frames frames is left out with a warning; one of more than "
        "--max-frames is cut into equal pieces whose embeddings are averaged (an i-vector system takes all "
        "frames at once). Utterances of like length are computed together; the embeddings do not depend on it.",
        (3, 3),
    )
    options.add("min-frames", 0, "leave out utterances with fewer frames; 0: 25, or more where the network takes more")
    options.add("max-frames", MAX_FRAMES, "longest piece that is embedded at once")
    options.add("batch-frames", 0, "most frames that are computed together; 0: 4,000 on a CPU, 100,000 on a GPU")
    options.add(
        "embedding",
        "",
        "which, of a system that has two (objective seef_aldr); empty: that which its YAML names",
        choices=("", "purified", "eliminated"),
    )
    options.add("num-threads", 1, "processor cores of this job; an i-vector system takes one")
    options.add(
        "device",
        "auto",
        "where to compute; auto takes a GPU if there is one",
        choices=("auto", "cpu", "cuda"),
    )
    opts, (model, rspecifier, wspecifier) = options.parse(argv)
    if opts.min_frames < 0 or opts.max_frames < max(opts.min_frames, 1):
        raise VouchError(f"--min-frames={opts.min_frames} to --max-frames={opts.max_frames} is not a range of lengths")
    if opts.num_threads < 1 or opts.batch_frames < 0:
        raise VouchError(
            f"--num-threads={opts.num_threads} --batch-frames={opts.batch_frames}: want 1 or more threads, 0 or "
            f"more frames"
        )
    if (Path(model) / "final.ie").exists():
        if opts.embedding:
            raise VouchError(
                f"--embedding={opts.embedding}: {model} is an i-vector system; objective seef_aldr has two"
            )
        from vouch.cli.ivector_system import extract_ivectors

        return extract_ivectors(opts, Path(model), rspecifier, wspecifier)
    return _extract(opts, Path(model), rspecifier, wspecifier)


def _extract(opts: SimpleNamespace, model: Path, rspecifier: str, wspecifier: str) -> int:
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")  # as in vouch train: every length is another shape
    import torch
    from torch.backends import cudnn

    from vouch.cli.model_dir import find_device
    from vouch.io.tables import TableWriter
    from vouch.training.extraction import embed_utterances

    device = find_device(opts.device)
    network, saved = open_network(model, device, opts.embedding)
    least = network.backbone.context + 1
    min_frames = opts.min_frames or least_frames(network)
    if min_frames < least:
        raise VouchError(f"--min-frames={min_frames} is too few for this network, which wants {least} or more")
    if opts.max_frames < 2 * least:
        raise VouchError(f"--max-frames={opts.max_frames} makes pieces too short for this network; give {2 * least}")
    utterances = _Utterances(rspecifier, min_frames, saved["feature_dim"], model / "final.pt")
    torch.set_num_threads(1)  # threads compute batches of their own
    done, started = 0, time.monotonic()
    reported = started
    with (
        cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),  # so that the batch does not matter
        TableWriter(wspecifier, "vector") as writer,
    ):
        for utterance, embedding in embed_utterances(
            network, utterances, device, opts.max_frames, opts.num_threads, opts.batch_frames
        ):
            check_finite_embedding(embedding, utterance, model)
            writer.write(utterance, embedding)
            done += 1
            now = time.monotonic()
            if now - reported > _REPORT_SECONDS:
                reported = now
                log(f"{done} embeddings, {done / (now - started):.1f} utterances/s")
        if not done:
            raise VouchError(f"all {utterances.short} utterances of {rspecifier} have fewer than {min_frames} frames")
    log(
        f"wrote {done} embeddings of {utterances.frames} frames in {time.monotonic() - started:.1f} s on "
        f"{device.type}; {utterances.short} utterances were too short"
    )
    return 0


class _Utterances:
    """The utterances of a feature table that are long enough; `short` counts the others, `frames` what was given."""

    def __init__(self, rspecifier: str, min_frames: int, feature_dim: int, model: Path) -> None:
        self.rspecifier, self.min_frames = rspecifier, min_frames
        self.feature_dim, self.model = feature_dim, model
        self.short = self.frames = 0

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        import numpy as np

        from vouch.io.tables import read_table

        for utterance, features in read_table(self.rspecifier, "matrix"):
            if len(features) < self.min_frames:
                warn(f"{utterance} has {len(features)} frames, fewer than --min-frames={self.min_frames}: left out")
                self.short += 1
                continue
            if features.shape[1] != self.feature_dim:
                raise VouchError(
                    f"{utterance} has {features.shape[1]} dims a frame, {self.model} was trained on {self.feature_dim};"
                    f" give features made with the configuration of the training"
                )
            if not np.isfinite(features).all():
                raise VouchError(f"{utterance} has features that are not finite numbers; make its features again")
            self.frames += len(features)
            yield utterance, features.astype(np.float32, copy=False)
