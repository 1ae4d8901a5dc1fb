"""Schedules over the training, as functions of the share of it that is done."""

from __future__ import annotations

import math


def learning_rate_factor(progress: float, warmup: float, final: float) -> float:
    """Factor on the peak learning rate: linear rise over the first `warmup`, then half a cosine down to `final`.

    Source: Loshchilov & Hutter 2017 (1608.03983), equation 5 without restarts; the linear warm-up is the custom.
    """
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    done = (progress - warmup) / (1 - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
