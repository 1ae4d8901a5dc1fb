"""Schedules of the learning rate: factors on its peak, as functions of the share of the training that is done.

All rise linearly over the first `warmup` of the training, and are 1 at its end.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """Arguments: warmup (share of the training in which the rate rises)."""

    def __init__(self, warmup: float = 0.05) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup {warmup} is not a share of the training, 0 to below 1")
        self.warmup = warmup

    def factor(self, progress: float) -> float:
        """Factor on the peak learning rate at `progress` in [0, 1] of the training."""
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)  # the first step moves, too
        return self.after(min((progress - self.warmup) / (1 - self.warmup), 1.0))

    @abstractmethod
    def after(self, done: float) -> float:
        """The factor at `done` in [0, 1] of what follows the warm-up."""


class _Falling(Schedule):
    """Arguments: warmup; final_rate (last learning rate over the peak)."""

    def __init__(self, warmup: float = 0.05, final_rate: float = 0.01) -> None:
        super().__init__(warmup)
        if not 0 <= final_rate <= 1:
            raise ValueError(f"final_rate {final_rate} is not a share of the peak, 0 to 1")
        self.final_rate = final_rate


class Cosine(_Falling):
    """Half a cosine down to final_rate. Source: Loshchilov & Hutter 2017 (1608.03983), equation 5, no restarts."""

    def after(self, done: float) -> float:
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * done))


class Linear(_Falling):
    """A straight line down to final_rate."""

    def after(self, done: float) -> float:
        return 1 + (self.final_rate - 1) * done


class Exponential(_Falling):
    """final_rate ** done: the same ratio each step, as Kaldi's nnet3 trainings and WeSpeaker's ExponentialDecrease."""

    def __init__(self, warmup: float = 0.05, final_rate: float = 0.01) -> None:
        super().__init__(warmup, final_rate)
        if final_rate == 0:
            raise ValueError("final_rate of an exponential schedule wants to be above 0")

    def after(self, done: float) -> float:
        return self.final_rate**done


class Step(Schedule):
    """Times `factor` each time that a share `every` of what follows the warm-up is over.

    Arguments: warmup, factor, every.
    """

    def __init__(self, warmup: float = 0.05, factor: float = 0.1, every: float = 0.25) -> None:
        super().__init__(warmup)
        if not (0 < factor <= 1 and 0 < every <= 1):
            raise ValueError("factor and every want to be above 0 and at most 1")
        self.times, self.every = factor, every

    def after(self, done: float) -> float:
        return self.times ** math.floor(done / self.every + 1e-9)


class Constant(Schedule):
    """The peak to the end."""

    def after(self, done: float) -> float:
        return 1.0
