"""Each schedule against its formula."""

import numpy as np
import pytest

from vouch.training.schedules import Constant, Cosine, Exponential, Linear, Schedule, Step

PROGRESS = np.linspace(0.1, 1.0, 19)
DONE = (PROGRESS - 0.1) / 0.9


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Cosine(0.1, 0.02), 0.02 + 0.49 * (1 + np.cos(np.pi * DONE))),
        (Linear(0.1, 0.02), 1 - 0.98 * DONE),
        (Exponential(0.1, 0.02), np.exp(np.log(0.02) * DONE)),
        (Step(0.1, 0.5, 0.25), 0.5 ** np.floor(DONE / 0.25 + 1e-9)),
        (Constant(0.1), np.ones_like(DONE)),
    ],
)
def test_after_a_linear_rise_each_follows_its_formula(schedule: Schedule, expected):
    np.testing.assert_allclose([schedule.factor(p) for p in PROGRESS], expected, rtol=1e-12)
    assert [schedule.factor(p) for p in (0.025, 0.05, 0.075)] == pytest.approx([0.25, 0.5, 0.75])
    assert 0 < schedule.factor(0.0) <= 1e-3  # the first step moves


def test_the_steps_fall_where_they_are_said_to():
    factors = [Step(0.0, 0.1, 0.3).factor(p) for p in (0.0, 0.299, 0.3, 0.6, 0.9, 1.0)]
    assert factors == pytest.approx([1, 1, 0.1, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        (Cosine, {"warmup": 1.0}, "warmup 1.0 is not a share"),
        (Linear, {"final_rate": 1.5}, "final_rate 1.5"),
        (Exponential, {"final_rate": 0.0}, "above 0"),
        (Step, {"every": 0.0}, "factor and every"),
    ],
)
def test_values_out_of_range(kind, keys, message):
    with pytest.raises(ValueError, match=message):
        kind(**keys)
