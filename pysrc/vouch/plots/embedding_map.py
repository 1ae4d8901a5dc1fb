"""Maps of embeddings in two dimensions, coloured by domain and by speaker, and several embeddings side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import colormaps  # noqa: E402 - the backend is chosen first
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

_DOMAINS = ("source", "target")
_MARKERS = ("o", "^")


class EmbeddingMap(NamedTuple):
    """title; points (utterances, 2); domains (utterances,), 0 source, 1 target; speakers (utterances,) names, "" for
    those that are not shown by colour."""

    title: str
    points: np.ndarray
    domains: np.ndarray
    speakers: Sequence[str]


def place(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """embeddings (utterances, dims) -> points (utterances, 2) by t-SNE of their directions.

    Source: van der Maaten & Hinton 2008, as scikit-learn has it; perplexity 30, or a third of the utterances where
    they are fewer than 90, started from the principal components (ours). Raises ValueError for fewer than four.
    """
    from sklearn.manifold import TSNE

    if len(embeddings) < 4:
        raise ValueError(f"{len(embeddings)} embeddings make no map, want four or more")
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    perplexity = min(30.0, (len(unit) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(unit.astype(np.float32))


def maps_png(maps: Sequence[EmbeddingMap]) -> bytes:
    """Two pictures of each map beside each other, by domain and by speaker; the bytes of a PNG, the same for the
    same maps."""
    figure = Figure(figsize=(12, 5.5 * len(maps)), dpi=100, layout="constrained")
    axes = figure.subplots(len(maps), 2, squeeze=False)
    for (by_domain, by_speaker), shown in zip(axes, maps, strict=True):
        _by_domain(by_domain, shown)
        _by_speaker(by_speaker, shown)
    return _png(figure)


def sets_png(titles: Sequence[str], points: Sequence[np.ndarray], speakers: Sequence[str]) -> bytes:
    """Pictures of points (utterances, 2) of several sets of embeddings of the same utterances beside each other, each
    speaker (utterances,) in a colour; the bytes of a PNG, the same for the same points.

    After figures 3 and 4 of 1912.02608, which show purified and eliminated embeddings of some speakers.
    """
    figure = Figure(figsize=(6 * len(titles) + 1.5, 5.5), dpi=100, layout="constrained")
    axes = figure.subplots(1, len(titles), squeeze=False)[0]
    names = np.array(speakers)
    for own, title, own_points in zip(axes, titles, points, strict=True):
        for number, speaker in enumerate(sorted(set(speakers))):
            _speaker(own, own_points[names == speaker], number, speaker)
        own.set_title(title)
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="x-small")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    for own in figure.axes:
        own.set_xticks([])
        own.set_yticks([])
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _by_domain(axes: Axes, shown: EmbeddingMap) -> None:
    for domain, name in enumerate(_DOMAINS):
        points = shown.points[shown.domains == domain]
        axes.scatter(*points.T, s=14, marker=_MARKERS[domain], color=f"C{domain}", alpha=0.6, linewidths=0, label=name)
    axes.set_title(f"{shown.title}: domains")
    axes.legend(loc="best")


def _by_speaker(axes: Axes, shown: EmbeddingMap) -> None:
    speakers = np.array(shown.speakers)
    axes.scatter(*shown.points[speakers == ""].T, s=6, color="0.85", linewidths=0)
    for number, speaker in enumerate(sorted({speaker for speaker in shown.speakers if speaker})):
        own = speakers == speaker
        _speaker(axes, shown.points[own], number, speaker, _MARKERS[int(shown.domains[own][0])])
    axes.set_title(f"{shown.title}: some speakers")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="x-small")


def _speaker(axes: Axes, points: np.ndarray, number: int, name: str, marker: str = "o") -> None:
    colour = colormaps["tab20"].colors[number % 20]
    axes.scatter(*points.T, s=22, marker=marker, color=colour, linewidths=0, label=name)
