"""Made rooms and noises: the image method against a sum written out, and properties of every kind."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vouch.signal.noises import NOISES, music
from vouch.signal.rooms import ABSORPTION, HEIGHT, SIDES, Room, _arrivals, draw_room, room_impulse_response

RATE = 8000


def room(absorption: float = 0.5) -> Room:
    return Room(np.array([5.0, 4.0, 3.0]), np.array([1.0, 1.5, 1.2]), np.array([3.5, 2.5, 1.7]), absorption)


def test_the_images_are_those_of_allen_and_berkley() -> None:
    """All images within 12 m, one by one: positions (1 − 2u) s + 2 n L and |n − u| + |n| walls for each axis."""
    here, reach, wanted = room(), 12.0, []
    for n in itertools.product(range(-4, 5), repeat=3):
        for u in itertools.product((0, 1), repeat=3):
            place = [(1 - 2 * u[i]) * here.source[i] + 2 * n[i] * here.size[i] for i in range(3)]
            distance = np.linalg.norm(np.array(place) - here.microphone)
            walls = sum(abs(n[i] - u[i]) + abs(n[i]) for i in range(3))
            if distance <= reach:
                wanted.append((distance, np.sqrt(0.5) ** walls / (4 * np.pi * distance)))
    distance, amplitude = _arrivals(here, reach)
    assert len(distance) == len(wanted)
    order = np.lexsort((amplitude, distance.round(9)))
    np.testing.assert_allclose(
        np.stack([distance, amplitude], axis=1)[order], sorted((round(d, 9), a) for d, a in wanted), rtol=1e-6
    )


def test_the_direct_sound_is_the_peak_and_comes_at_its_time() -> None:
    here = room(absorption=0.9)
    response = room_impulse_response(here, RATE)
    delay = np.linalg.norm(here.source - here.microphone) / 343.0 * RATE
    assert np.argmax(response) == pytest.approx(delay, abs=1)
    assert np.abs(response).max() == 1.0


def test_the_energy_decays_by_60_db_within_the_reverberation_time() -> None:
    """Schroeder's backward integral falls from −5 to −25 dB in a third of Eyring's RT60, within a factor of 1.5."""
    here = room(absorption=0.3)
    response = room_impulse_response(here, RATE)
    decay = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response**2))
    time = (np.argmax(decay < -25) - np.argmax(decay < -5)) / RATE
    assert 1 / 1.5 < 3 * time / here.reverberation_time < 1.5


@pytest.mark.parametrize("kind", SIDES)
def test_rooms_are_within_their_ranges_and_repeatable(kind: str) -> None:
    for seed in range(20):
        here = draw_room(kind, np.random.default_rng(seed))
        assert SIDES[kind][0] <= here.size[:2].min() and here.size[:2].max() <= SIDES[kind][1]
        assert HEIGHT[0] <= here.size[2] <= HEIGHT[1]
        assert ABSORPTION[0] <= here.absorption <= ABSORPTION[1]
        assert 0.1 <= np.linalg.norm(here.source - here.microphone) <= 5.0
        for point in (here.source, here.microphone):
            assert np.all(point > 0) and np.all(point < here.size)
        response = room_impulse_response(here, RATE)
        assert np.isfinite(response).all() and len(response) <= 2 * RATE + 1
    again = draw_room(kind, np.random.default_rng(19))
    assert np.array_equal(room_impulse_response(again, RATE), response)


@pytest.mark.parametrize("name", [*NOISES, "music"])
@pytest.mark.parametrize("size", [300, 24000])
def test_noises_are_loud_finite_and_repeatable(name: str, size: int) -> None:
    make = NOISES.get(name, music)
    for seed in range(4):
        samples = make(size, RATE, np.random.default_rng(seed))
        assert samples.shape == (size,) and np.isfinite(samples).all()
        assert np.abs(samples).max() == pytest.approx(1.0)
        assert np.array_equal(samples, make(size, RATE, np.random.default_rng(seed)))
        assert not np.array_equal(samples, make(size, RATE, np.random.default_rng(seed + 100)))
