"""DET curves (Martin et al., The DET curve in assessment of detection task performance, Eurospeech 1997)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from scipy.special import ndtri

matplotlib.use("Agg")
from matplotlib import colormaps  # noqa: E402 - the backend is chosen first
from matplotlib.figure import Figure  # noqa: E402

_TICKS = np.array([0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99]) / 100
_STYLES = ("-", "--", ":", "-.", (0, (8, 2)), (0, (4, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (10, 2, 1, 2)))


class DetCurve(NamedTuple):
    """One system and backend: false-alarm and miss rates in [0, 1] `(points,)`, and the EER in %."""

    system: str
    backend: str
    p_fa: np.ndarray
    p_miss: np.ndarray
    eer: float


_MOST = 12  # curves that can be told apart


def det_png(curves: Sequence[DetCurve], title: str) -> bytes:
    """Draw DET curves on probit axes; returns the bytes of a PNG, the same for the same curves.

    A colour is a system, a line style a backend; the legend, best first, gives the EER. Of more than 12 curves the 12
    with the lowest EER are drawn. The axes reach from the smallest rate that one trial can make (not below 0.01 %) to
    60 %, or higher when a curve crosses the EER line there.
    """
    number = len(curves)
    curves = sorted(curves, key=lambda curve: (curve.eer, curve.system, curve.backend))[:_MOST]
    figure = Figure(figsize=(8, 8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    systems = sorted({curve.system for curve in curves})
    backends = sorted({curve.backend for curve in curves})
    palette = colormaps["tab10" if len(systems) <= 10 else "tab20"].colors
    for curve in curves:
        inside = (curve.p_fa > 0) & (curve.p_fa < 1) & (curve.p_miss > 0) & (curve.p_miss < 1)
        axes.plot(
            ndtri(curve.p_fa[inside]),
            ndtri(curve.p_miss[inside]),
            color=palette[systems.index(curve.system) % len(palette)],
            linestyle=_STYLES[backends.index(curve.backend) % len(_STYLES)],
            linewidth=1.4,
            label=f"{curve.system} {curve.backend}: {curve.eer:.2f} %",
        )
    low, high = _limits(curves)
    ticks = _TICKS[(low <= _TICKS) & (high >= _TICKS)]
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(ndtri(ticks), labels)
    axes.set_yticks(ndtri(ticks), labels)
    axes.set_xlim(ndtri(low), ndtri(high))
    axes.set_ylim(ndtri(low), ndtri(high))
    axes.plot(ndtri([low, high]), ndtri([low, high]), color="0.6", linewidth=0.8, label="EER line")
    axes.set_aspect("equal")
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_xlabel("false alarm rate (%)")
    axes.set_ylabel("miss rate (%)")
    axes.set_title(title)
    best = f" (the best {len(curves)} of {number})" if number > len(curves) else ""
    axes.legend(title=f"system backend: EER{best}", fontsize="small", loc="lower left")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _limits(curves: Sequence[DetCurve]) -> tuple[float, float]:
    rates = np.concatenate([np.concatenate([curve.p_fa, curve.p_miss]) for curve in curves])
    smallest = max(rates[rates > 0].min(initial=0.01), _TICKS[0])
    low = max(tick for tick in _TICKS if tick <= smallest)
    crossing = max(float(np.max(np.minimum(curve.p_fa, curve.p_miss))) for curve in curves)
    high = next((tick for tick in _TICKS if tick >= max(0.6, crossing + 0.05)), _TICKS[-1])
    return float(low), float(high)
