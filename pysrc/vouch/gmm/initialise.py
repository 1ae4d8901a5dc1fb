"""A first diagonal GMM from frames in memory: random frames as means, then EM, splitting on the way.

Source: Kaldi's tool gmm-global-init-from-feats. `T` frames, `D` dims, `G` Gaussians.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vouch.errors import VouchError
from vouch.gmm import diagonal
from vouch.gmm.models import LARGEST, DiagGmm, DiagStats

_PERTURB = 0.1  # standard deviations by which the halves of a split Gaussian move apart
FRAMES_PER_GAUSSIAN = 10


class FrameReservoir:
    """A random subset of at most `capacity` frames of all that were added; every frame has the same chance.

    The frames are kept in float32. `seen` is the number of frames added, `frames` `(T, D)` those that were kept.
    """

    def __init__(self, capacity: int, rng: np.random.Generator) -> None:
        if capacity < 1:
            raise VouchError(f"{capacity} frames to keep; want 1 or more")
        self._capacity, self._rng = capacity, rng
        self._kept: np.ndarray | None = None
        self.seen = 0

    def add(self, features: np.ndarray) -> None:
        """Take in frames `(T, D)`. Raises VouchError when they have another dimension than those before, or NaN."""
        if not len(features):
            return
        if self._kept is None:  # memory of the frames that never come is not touched
            self._kept = np.empty((self._capacity, features.shape[1]), dtype=np.float32)
        if features.shape[1] != self._kept.shape[1]:
            raise VouchError(
                f"{features.shape[1]} dims where the features before have {self._kept.shape[1]}: make them all alike"
            )
        if not -LARGEST <= features.min() <= features.max() <= LARGEST:  # False with NaN
            raise VouchError(f"NaN, infinity or a number beyond {LARGEST:g} in it: make these features again")
        room = min(max(self._capacity - self.seen, 0), len(features))
        self._kept[self.seen : self.seen + room] = features[:room]
        late = features[room:]
        numbers = self.seen + room + 1 + np.arange(len(late))
        late = late[self._rng.random(len(late)) < self._capacity / numbers]
        self._kept[self._rng.integers(self._capacity, size=len(late))] = late
        self.seen += len(features)

    @property
    def frames(self) -> np.ndarray:
        return np.zeros((0, 0), np.float32) if self._kept is None else self._kept[: min(self.seen, self._capacity)]


def random_start(features: np.ndarray, num_gauss: int, rng: np.random.Generator) -> DiagGmm:
    """Equal weights, means on `num_gauss` different random frames of `(T, D)`, the variance of all frames.

    Raises VouchError with fewer than ten frames for each Gaussian, or when nothing varies.
    """
    frames = len(features)
    if num_gauss < 1:
        raise VouchError(f"{num_gauss} Gaussians to start with; want 1 or more")
    if frames < FRAMES_PER_GAUSSIAN * num_gauss:
        raise VouchError(
            f"{frames} frames are too few for {num_gauss} Gaussians: give at least {FRAMES_PER_GAUSSIAN * num_gauss} "
            "frames (features, --num-frames), or fewer Gaussians (--num-gauss-init)"
        )
    mean, square = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for _, part in diagonal.frame_blocks(features, features.shape[1]):
        mean += part.sum(axis=0) / frames
        square += (part**2).sum(axis=0) / frames
    variance = square - mean**2
    if not np.isfinite(variance).all():
        raise VouchError("the features hold NaN or infinity: make them again")
    flat = np.flatnonzero(variance <= 0)
    if len(flat):
        raise VouchError(f"column {flat[0]} of the features is the same in all frames: leave it out")
    means = np.asarray(features[rng.choice(frames, num_gauss, replace=False)], dtype=np.float64)
    inv_vars = np.tile(1 / variance, (num_gauss, 1))
    return diagonal.make(np.full(num_gauss, 1 / num_gauss), means * inv_vars, inv_vars)


def grow(
    gmm: DiagGmm,
    e_step: Callable[[DiagGmm], DiagStats],
    num_gauss: int,
    num_iters: int,
    options: diagonal.EstimateOptions,
    rng: np.random.Generator,
    report: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
) -> DiagGmm:
    """`num_iters` iterations of EM; in the first half of them Gaussians are split, up to `num_gauss`.

    e_step gives the statistics of all frames for a model; report and warn take the lines of the log. As in Kaldi the
    Gaussians to add are shared out evenly over num_iters // 2 iterations and the rest of that division is added later;
    with fewer of them than iterations none is added, which is warned of.
    """
    current = len(gmm.weights)
    step = 0
    if num_gauss > current:
        if num_iters < 2:
            raise VouchError(
                f"--num-iters={num_iters} leaves no iteration to split {current} Gaussians to {num_gauss}: give 2 or "
                "more, or --num-gauss-init=0"
            )
        step = (num_gauss - current) // (num_iters // 2)
    for iteration in range(num_iters):
        stats = e_step(gmm)
        report(
            f"Likelihood per frame on iteration {iteration} was {stats.log_likelihood / stats.frames:.6g} over "
            f"{stats.frames:.6g} frames."
        )
        estimate = diagonal.estimate(gmm, stats, options)
        for note in estimate.notes:
            warn(note)
        gmm = estimate.gmm
        report(
            f"Objective-function change on iteration {iteration} was {estimate.objective_change / estimate.count:.6g} "
            f"over {estimate.count:.6g} frames."
        )
        following = min(num_gauss, current + step)
        if following > len(gmm.weights):
            report(f"Splitting to {following} Gaussians.")
            gmm = diagonal.split(gmm, following, _PERTURB, rng)
            current = following
    if len(gmm.weights) < num_gauss:
        warn(f"the model has {len(gmm.weights)} of {num_gauss} Gaussians; more iterations or frames give more")
    return gmm


def init_diag_gmm(
    features: np.ndarray,
    num_gauss: int,
    num_gauss_init: int,
    num_iters: int,
    options: diagonal.EstimateOptions,
    rng: np.random.Generator,
    report: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
    threads: int = 1,
) -> DiagGmm:
    """Train a diagonal GMM on frames `(T, D)` from nothing, as gmm-global-init-from-feats.

    num_gauss_init: Gaussians to start from; 0 or more than num_gauss: num_gauss. Raises VouchError as `random_start`.
    """
    if not 0 < num_gauss_init <= num_gauss:
        num_gauss_init = num_gauss
    report(f"Initializing GMM means from random frames to {num_gauss_init} Gaussians.")
    start = random_start(features, num_gauss_init, rng)
    parts = np.array_split(features, threads)
    with ThreadPoolExecutor(threads) as pool:

        def e_step(gmm: DiagGmm) -> DiagStats:
            return add_stats(list(pool.map(lambda part: diagonal.accumulate(gmm, part), parts)))

        return grow(start, e_step, num_gauss, num_iters, options, rng, report, warn)


def add_stats(parts: list[DiagStats]) -> DiagStats:
    """The sum of statistics that all have means and variances, in their order."""
    return DiagStats(*(sum(values[1:], values[0]) for values in zip(*parts, strict=True)))
