"""How near an output must come to the reference, by stage, as issue 3's table asks; nothing here is fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Bar(NamedTuple):
    """A name for the table, and what gives (deviation, most allowed) pairs of two arrays of one shape."""

    name: str
    measure: Callable[[np.ndarray, np.ndarray], list[tuple[str, float, float]]]


def _largest(bound: float) -> Callable[[np.ndarray, np.ndarray], list[tuple[str, float, float]]]:
    def measure(found: np.ndarray, wanted: np.ndarray) -> list[tuple[str, float, float]]:
        return [("max", float(np.abs(found - wanted).max(initial=0.0)), bound)]

    return measure


def _spectrum_16k(found: np.ndarray, wanted: np.ndarray) -> list[tuple[str, float, float]]:
    off = np.abs(found - wanted)
    return [
        ("rms", float(np.sqrt(np.mean(off**2))), 5e-4),
        ("99.9 %", float(np.quantile(off, 0.999)), 5e-3),
        ("max", float(off.max()), 2e-2),
    ]


def _relative(bound: float) -> Callable[[np.ndarray, np.ndarray], list[tuple[str, float, float]]]:
    def measure(found: np.ndarray, wanted: np.ndarray) -> list[tuple[str, float, float]]:
        scale = float(np.linalg.norm(wanted)) or 1.0
        return [("rel", float(np.linalg.norm(found - wanted)) / scale, bound)]

    return measure


def _rows(bound: float) -> Callable[[np.ndarray, np.ndarray], list[tuple[str, float, float]]]:
    def measure(found: np.ndarray, wanted: np.ndarray) -> list[tuple[str, float, float]]:
        signs = np.where((found * wanted).sum(axis=-1, keepdims=True) < 0, -1.0, 1.0)
        return _relative(bound)(found * signs, wanted)

    return measure


EXACT = Bar("exact", _largest(0.0))
SPECTRUM_8K = Bar("max 1e-3", _largest(1e-3))
SPECTRUM_16K = Bar("rms 5e-4, 99.9 % 5e-3, max 2e-2", _spectrum_16k)
NORMALISED = Bar("max 2e-5", _largest(2e-5))
MODEL = Bar("relative 1e-5", _relative(1e-5))
ROWS = Bar("relative 1e-5, up to row sign", _rows(1e-5))
SCORES = Bar("max 2e-4", _largest(2e-4))
POSTERIORS = Bar("max 1e-4", _largest(1e-4))
LOGGED = Bar("printed numbers, relative 2e-2", _relative(2e-2))
STEPS = Bar("3 integer steps", _largest(3.0))
ITERATION_1 = Bar("relative norm 1e-3", _relative(1e-3))
ITERATION_4 = Bar("relative norm 5e-3", _relative(5e-3))
ITERATION_5 = Bar("relative norm 2e-2", _relative(2e-2))


class Check(NamedTuple):
    """One comparison: the worst share of the bar that was used, and whether it holds."""

    stage: str
    bar: str
    name: str
    arrays: int
    worst: str
    share: float  # of what is allowed; above 1 it fails


def compare(
    stage: str, name: str, bar: Bar, found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]
) -> list[Check]:
    """The arrays of one output against the reference ones; a missing array, or one of another shape, fails."""
    missing = [key for key in wanted if key not in found]
    shapes = [key for key in wanted if key in found and np.shape(found[key]) != np.shape(wanted[key])]
    if missing or shapes:
        what = f"missing: {missing[:3]}" if missing else f"another shape: {shapes[:3]}"
        return [Check(stage, bar.name, name, len(wanted), what, float("inf"))]
    pooled = [
        np.concatenate([np.asarray(arrays[key], dtype=np.float64).ravel() for key in wanted])
        if bar in (SPECTRUM_8K, SPECTRUM_16K)
        else None
        for arrays in (found, wanted)
    ]
    pairs = (
        [(pooled[0], pooled[1])]
        if pooled[0] is not None
        else [(np.asarray(found[key], dtype=np.float64), np.asarray(wanted[key], dtype=np.float64)) for key in wanted]
    )
    measures = [entry for pair in pairs for entry in bar.measure(*pair)]
    share, label, value = max((_share(value, bound), label, value) for label, value, bound in measures)
    return [Check(stage, bar.name, name, len(wanted), f"{label} {value:.2g}", share)]


def _share(value: float, bound: float) -> float:
    if not np.isfinite(value):
        return float("inf")
    return value / bound if bound else (0.0 if value == 0 else float("inf"))


def table(checks: list[Check]) -> str:
    """One line a stage and bar: how many arrays, and the worst deviation of them."""
    lines = [f"{'stage':16s} {'arrays':>6s}  {'worst':16s} {'of bar':>7s}  bar"]
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        groups.setdefault((check.stage, check.bar), []).append(check)
    for (stage, bar), group in groups.items():
        worst = max(group, key=lambda check: check.share)
        arrays = sum(check.arrays for check in group)
        lines.append(f"{stage:16s} {arrays:6d}  {worst.worst:16s} {100 * worst.share:6.1f}%  {bar}  ({worst.name})")
    return "\n".join(lines)
