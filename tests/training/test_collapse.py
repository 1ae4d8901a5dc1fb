"""The watch on adversarial games names each collapse once, and nothing else."""

import pytest

from vouch.training.collapse import CollapseWatch

GUESSES = "the discriminator only guesses while the speakers are forgotten"
ONE_DIRECTION = "all embeddings point in one direction"


def _line(accuracy: float, discriminator: float | None = None, spread: float = 0.9) -> dict[str, float]:
    line = {"loss": 5 * (1.1 - accuracy), "accuracy": accuracy, "spread": spread}
    return line if discriminator is None else {**line, "discriminator_accuracy": discriminator}


def _named(watch: CollapseWatch, *lines: dict[str, float]) -> list[str]:
    return [word for word in map(watch.look, lines) if word]


@pytest.mark.parametrize("before", [_line(0.95), _line(0.95, 0.8)], ids=["in the pre-training", "in the game"])
def test_forgotten_speakers_are_named_once(before):
    watch = CollapseWatch()
    assert not _named(watch, *[before] * 10)
    (named,) = _named(watch, *[_line(0.02, 0.51)] * 40)
    assert named.startswith(GUESSES)
    assert not _named(watch, *[before] * 10)
    assert len(_named(watch, *[_line(0.02, 0.49)] * 10)) == 1  # again, after it was over


def test_what_is_no_collapse():
    assert not _named(CollapseWatch(), *[_line(0.95, 0.8)] * 10, *[_line(0.95, 0.5)] * 10)  # the aim of the game
    assert not _named(CollapseWatch(), *[_line(0.95, 0.8)] * 10, *[_line(0.3, 0.9)] * 10)  # not the adversary's doing
    dear = {**_line(0.93, 0.5), "loss": 9.0}  # a margin that grows
    assert not _named(CollapseWatch(), *[_line(0.95, 0.8)] * 10, *[dear] * 10)
    assert not _named(CollapseWatch(), *[{"loss": 1.0, "accuracy": 0.5}] * 10)  # no game


def test_vanishing_spread_is_named_at_once_and_survives_a_checkpoint():
    watch = CollapseWatch()
    assert watch.look(_line(0.9, 0.7, spread=0.01)).startswith(ONE_DIRECTION)
    again = CollapseWatch()
    again.load_state_dict(watch.state_dict())
    assert again.look(_line(0.9, 0.7, spread=0.01)) == ""
    assert again.look(_line(0.9, 0.7)) == "" and again.look(_line(0.9, 0.7, spread=0.04)).startswith(ONE_DIRECTION)
