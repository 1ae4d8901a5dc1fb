"""Pictures of features that a decoder made from disentangled embeddings."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402 - the backend is chosen first


class Panel(NamedTuple):
    """title; features (frames, dims)."""

    title: str
    features: np.ndarray


def panels_png(rows: Sequence[Sequence[Panel]]) -> bytes:
    """A grid of pictures, time to the right and bins upwards, all on one scale of colours; the bytes of a PNG, the same
    for the same panels."""
    figure = Figure(figsize=(4.5 * len(rows[0]), 2.6 * len(rows)), dpi=100, layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    # what a decoder makes is smoother than speech: the originals would leave it one colour without their outliers cut
    low, high = np.percentile(np.concatenate([panel.features.ravel() for row in rows for panel in row]), [2, 98])
    for own_axes, row in zip(axes, rows, strict=True):
        for own, panel in zip(own_axes, row, strict=True):
            image = own.imshow(
                panel.features.T, origin="lower", aspect="auto", interpolation="nearest", vmin=low, vmax=high
            )
            own.set_title(panel.title, fontsize="small")
            own.set_xlabel("frames", fontsize="small")
            own.set_ylabel("bins", fontsize="small")
    figure.colorbar(image, ax=axes, shrink=0.8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
