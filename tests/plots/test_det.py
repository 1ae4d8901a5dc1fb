"""DET plots: the same bytes each time, and curves where they belong."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.image import imread
from scipy.special import ndtr

from vouch.plots.det import DetCurve, det_png


def curve(system: str, backend: str, separation: float) -> DetCurve:
    thresholds = np.linspace(-6, 8, 400)
    p_fa, p_miss = 1 - ndtr(thresholds), ndtr(thresholds - separation)
    return DetCurve(system, backend, p_fa, p_miss, 100 * ndtr(-separation / 2))


def test_same_curves_same_bytes_in_any_order():
    curves = [curve("xvector", "plda", 3), curve("asp", "cosine", 2.5)]
    first = det_png(curves, "source")
    assert first.startswith(b"\x89PNG")
    assert first == det_png(curves[::-1], "source")
    assert first != det_png(curves, "target")
    assert b"Software" not in first and b"Creation" not in first


def test_a_better_system_is_nearer_to_the_origin():
    """Mean column of the coloured pixels: a Gaussian DET is a straight line, further left for the better system."""

    def column(separation: float) -> float:
        image = imread(io.BytesIO(det_png([curve("s", "b", separation)], "t")))[:, :, :3]
        coloured = image.max(axis=2) - image.min(axis=2) > 0.3
        coloured[image.shape[0] // 2 :] = False  # the legend is below
        return float(np.mean(np.nonzero(coloured)[1]))

    assert column(3) < column(2) - 20


def test_curves_without_inner_points_and_many_systems():
    perfect = DetCurve("s", "b", np.array([1.0, 0, 0]), np.array([0.0, 0, 1]), 0.0)
    chance = DetCurve("t", "b", np.linspace(1, 0, 50), np.linspace(0, 1, 50), 50.0)
    many = [curve(f"system{i}", f"backend{j}", 2 + i / 4 + j / 3) for i in range(4) for j in range(3)]
    for curves in ([perfect], [perfect, chance], many):
        assert imread(io.BytesIO(det_png(curves, "t"))).shape[:2] == (960, 960)


def test_of_many_curves_the_best_twelve_are_drawn():
    many = [curve(f"system{i:02d}", "plda", 3 - i / 20) for i in range(20)]
    shown = det_png(many, "t")
    assert shown == det_png([*many[:12], *(curve(f"other{i}", "cosine", 1) for i in range(8))], "t")
    assert shown != det_png([*many[1:12], *many[13:], many[12], curve("system00", "plda", 3.5)], "t")
