"""Numbers of frames, reflection at the edges, windows."""

from __future__ import annotations

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.signal.frames import FrameOptions, samples_of_frames, window_function


@pytest.mark.parametrize("samples, frames", [(0, 0), (39, 0), (40, 1), (119, 1), (120, 2), (13386, 167), (152, 2)])
def test_number_of_frames_without_snipping(samples: int, frames: int) -> None:
    assert FrameOptions(sample_frequency=8000, snip_edges=False).num_frames(samples) == frames


@pytest.mark.parametrize("samples, frames", [(0, 0), (199, 0), (200, 1), (279, 1), (280, 2), (13386, 165)])
def test_number_of_frames_with_snipping(samples: int, frames: int) -> None:
    assert FrameOptions(sample_frequency=8000).num_frames(samples) == frames


def reflect(index: int, size: int) -> int:
    """One step at a time, as the definition says."""
    while not 0 <= index < size:
        index = -index - 1 if index < 0 else 2 * size - 1 - index
    return index


@pytest.mark.parametrize("size", [41, 60, 152, 200, 1000, 1037])
def test_edges_are_reflected_with_the_edge_sample_repeated(size: int) -> None:
    options = FrameOptions(sample_frequency=8000, snip_edges=False)
    signal = np.arange(size, dtype=np.float32)
    count = options.num_frames(size)
    stretch = samples_of_frames(signal, 0, count, options)
    for frame in range(count):
        start = options.first_sample(frame)
        wanted = [reflect(start + i, size) for i in range(options.window_size)]
        shift = frame * options.window_shift
        assert np.array_equal(stretch[shift : shift + options.window_size], wanted)


def test_frame_sizes_are_truncated() -> None:
    options = FrameOptions(sample_frequency=11025, frame_length=25, frame_shift=10)
    assert (options.window_size, options.window_shift, options.padded_size) == (275, 110, 512)


def test_odd_transform_and_empty_frames_are_refused() -> None:
    with pytest.raises(VouchError, match="odd"):
        FrameOptions(sample_frequency=11025, round_to_power_of_two=False)
    with pytest.raises(VouchError, match="--frame-length"):
        FrameOptions(sample_frequency=8000, frame_length=0.1)


def test_windows() -> None:
    size = FrameOptions().window_size
    middle = {"hanning": 1.0, "hamming": 1.0, "povey": 1.0, "sine": 1.0, "blackman": 1.0, "rectangular": 1.0}
    ends = {"hanning": 0.0, "hamming": 0.08, "povey": 0.0, "sine": 0.0, "blackman": 0.0, "rectangular": 1.0}
    for name in middle:
        window = window_function(FrameOptions(window_type=name))
        assert window.shape == (size,)
        np.testing.assert_allclose(window, window[::-1], atol=1e-12)
        assert window[0] == pytest.approx(ends[name], abs=1e-12)
        assert window.max() == pytest.approx(middle[name], abs=1e-3)
