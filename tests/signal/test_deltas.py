"""Differences over time: the formula frame by frame, properties, and Kaldi's own output."""

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.signal.deltas import add_deltas, delta_filters

RNG = np.random.default_rng(5)


def slowly(features: np.ndarray, order: int, window: int) -> np.ndarray:
    """One frame and one tap after the other; order i's taps by the nested sums over windows."""
    frames, dims = features.shape
    taps = {0: 1.0}
    blocks = []
    for number in range(order + 1):
        if number:
            norm = sum(j * j for j in range(-window, window + 1))
            nested: dict[int, float] = {}
            for j in range(-window, window + 1):
                for k, value in taps.items():
                    nested[j + k] = nested.get(j + k, 0.0) + j * value / norm
            taps = nested
        block = np.zeros((frames, dims))
        for frame in range(frames):
            for offset, value in taps.items():
                block[frame] += value * features[min(max(frame + offset, 0), frames - 1)]
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


@pytest.mark.parametrize("order, window", [(0, 2), (1, 1), (2, 2), (2, 3), (3, 4)])
@pytest.mark.parametrize("frames", [1, 2, 5, 40])
def test_the_formula(frames: int, order: int, window: int) -> None:
    features = RNG.normal(size=(frames, 3)).astype(np.float32)
    found = add_deltas(features, order, window)
    assert found.dtype == np.float32 and found.shape == (frames, 3 * (order + 1))
    np.testing.assert_allclose(found, slowly(features, order, window), atol=2e-6)


def test_a_line_has_its_slope_and_no_curvature() -> None:
    line = (7.0 + 0.5 * np.arange(60))[:, None]
    inside = add_deltas(line, 2, 3)[6:-6]
    np.testing.assert_allclose(inside[:, 1], 0.5, atol=1e-6)
    np.testing.assert_allclose(inside[:, 2], 0.0, atol=1e-6)


def test_filters_are_odd_and_even() -> None:
    for number, taps in enumerate(delta_filters(3, 2)):
        np.testing.assert_allclose(taps[::-1], (-1) ** number * taps, atol=1e-15)
        assert len(taps) == 1 + 4 * number


@pytest.mark.parametrize("order, window", [(-1, 2), (2, 0), (2, -1), (1000, 2)])
def test_impossible_options(order: int, window: int) -> None:
    with pytest.raises(VouchError, match="--delta-order"):
        add_deltas(np.ones((3, 2)), order, window)


def test_no_frames() -> None:
    with pytest.raises(VouchError, match="no frames"):
        add_deltas(np.ones((0, 2)))


@pytest.mark.parametrize(
    "mfcc, deltas, order, window",
    [
        ("mfcc_sre16v1_8k", "deltas_o2_w3_8k", 2, 3),
        ("mfcc_sre16v1_8k", "deltas_tool_default_8k", 2, 2),
        ("mfcc_sre16v2_edge", "deltas_o2_w3_edge", 2, 3),
    ],
)
def test_kaldis_deltas(golden, mfcc: str, deltas: str, order: int, window: int) -> None:
    source, expected = np.load(golden / "mfcc" / f"{mfcc}.npz"), np.load(golden / "deltas" / f"{deltas}.npz")
    assert expected.files
    for key in expected.files:
        np.testing.assert_allclose(add_deltas(source[key], order, window), expected[key], atol=2e-5, rtol=0)
