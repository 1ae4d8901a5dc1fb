"""Impulse responses of random shoebox rooms by the image-source method.

J. Allen and D. Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4), 1979; ranges of
the rooms after T. Ko et al., "A study on data augmentation of reverberant speech for robust speech recognition",
ICASSP 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

SPEED_OF_SOUND = 343.0  # m/s
OVERSAMPLING = 8  # arrivals are placed on a grid this much finer than the samples, then low-pass filtered
LONGEST = 2.0  # seconds: no response is longer
HIGH_PASS = 80.0  # Hz: the images are all positive pulses; Allen and Berkley take their low frequencies away
SIDES = {"small": (1.0, 10.0), "medium": (10.0, 30.0), "large": (30.0, 50.0)}  # metres, length and width
HEIGHT = (2.0, 5.0)
ABSORPTION = (0.2, 0.8)
DISTANCE = (0.1, 5.0)  # metres between source and microphone; below 0.1 m there is no room to hear
WALL_GAP = 0.1  # metres: neither stands in a wall


@dataclass(frozen=True)
class Room:
    """A room: size, source and microphone (3,) in metres; energy absorption of its walls, 0 to 1."""

    size: np.ndarray
    source: np.ndarray
    microphone: np.ndarray
    absorption: float

    @property
    def reverberation_time(self) -> float:
        """RT60 in seconds by Eyring's formula."""
        x, y, z = self.size
        surface = 2 * (x * y + y * z + x * z)
        return float(24 * np.log(10) / SPEED_OF_SOUND * x * y * z / (-surface * np.log1p(-self.absorption)))


def draw_room(kind: str, rng: np.random.Generator) -> Room:
    """A room of a kind of SIDES; source and microphone uniform in it, again until their distance fits DISTANCE."""
    size = np.array([rng.uniform(*SIDES[kind]), rng.uniform(*SIDES[kind]), rng.uniform(*HEIGHT)])
    absorption = float(rng.uniform(*ABSORPTION))
    while True:
        source, microphone = rng.uniform(WALL_GAP, size - WALL_GAP), rng.uniform(WALL_GAP, size - WALL_GAP)
        if DISTANCE[0] <= np.linalg.norm(source - microphone) <= DISTANCE[1]:
            return Room(size, source, microphone, absorption)


def room_impulse_response(room: Room, rate: int) -> np.ndarray:
    """Impulse response (samples,) float64 at `rate` Hz, its peak scaled to 1.

    Images are taken up to the room's RT60 (60 dB down) after emission, at most LONGEST, at least the direct sound and
    50 ms. Each wall reflects the amplitude √(1 − absorption) at all frequencies. Arrivals are rounded to 1/OVERSAMPLING
    of a sample, low-pass filtered, and high-pass filtered (Butterworth, order 2) at HIGH_PASS.
    """
    direct = float(np.linalg.norm(room.source - room.microphone)) / SPEED_OF_SOUND
    longest = max(direct + 0.05, min(room.reverberation_time, LONGEST))
    distance, amplitude = _arrivals(room, longest * SPEED_OF_SOUND)
    index = np.rint(distance * (OVERSAMPLING * rate / SPEED_OF_SOUND)).astype(np.int64)
    fine = np.bincount(index, weights=amplitude, minlength=int(longest * rate * OVERSAMPLING) + 1)
    response = signal.resample_poly(fine, 1, OVERSAMPLING)
    response = signal.sosfilt(signal.butter(2, HIGH_PASS, "highpass", fs=rate, output="sos"), response)
    return response / np.max(np.abs(response))


def _arrivals(room: Room, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances in metres (images,) up to `reach`, and amplitudes, of the direct sound and all images."""
    (x2, xn), (y2, yn), (z2, zn) = (
        _axis(*axis, reach) for axis in zip(room.size, room.source, room.microphone, strict=True)
    )
    yz2 = (y2[:, None] + z2[None, :]).ravel()
    yzn = (yn[:, None] + zn[None, :]).ravel()
    near = yz2 <= reach * reach
    yz2, yzn = yz2[near], yzn[near]
    square = (x2[:, None] + yz2[None, :]).ravel()
    inside = square <= reach * reach
    distance = np.sqrt(square[inside])
    walls = (xn[:, None] + yzn[None, :]).ravel()[inside]
    gain = np.sqrt(1 - room.absorption) ** np.arange(walls.max() + 1)
    return distance, gain[walls] / (4 * np.pi * distance)


def _axis(side: float, source: float, microphone: float, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Squared offsets to the images along one axis, and the number of walls met (Allen and Berkley, eq. 8 to 10)."""
    order = np.arange(-int(reach / (2 * side)) - 1, int(reach / (2 * side)) + 2)
    straight = 2 * order * side + source - microphone
    mirrored = 2 * order * side - source - microphone
    offset = np.concatenate([straight, mirrored])
    walls = np.concatenate([2 * np.abs(order), np.abs(order - 1) + np.abs(order)])
    near = np.abs(offset) <= reach
    return np.square(offset[near]), walls[near]
