"""Limited-memory BFGS one evaluation at a time, with the step rule of Kaldi's OptimizeLbfgs."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

MEMORY = 10  # pairs of step and gradient change that are kept
ARMIJO, CURVATURE = 1e-4, 0.9  # c1 and c2 of the Wolfe conditions
MOST_FAILURES = 25  # trials of one line search; then it starts afresh
TINY = 1e-20


class Lbfgs:
    """Minimises a function: evaluate it and its gradient at `proposed`, hand both to `update`, and so on.

    Algorithms 7.4 and 7.5 of Nocedal & Wright, Numerical Optimization (2nd edition). A step that breaks the Armijo
    condition is halved, one that breaks the curvature condition is doubled, and by the square root of the factor each
    time the two alternate. `best` is the point of the lowest value so far. All points are `(dims,)` float64.
    """

    def __init__(self, start: np.ndarray) -> None:
        self.proposed = np.array(start, dtype=np.float64)
        self.best, self.best_value = self.proposed, math.inf
        self._point = self.proposed
        self._value, self._gradient = math.inf, np.zeros_like(self.proposed)
        self._pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=MEMORY)
        self._inverse_hessian = 1.0
        self._searching = False

    def update(self, value: float, gradient: np.ndarray) -> None:
        """Take in the function's value and gradient (dims,) at `proposed`, and propose the next point."""
        if value < self.best_value:
            self.best, self.best_value = self.proposed, value
        if self._searching:
            self._search(value, gradient)
        else:
            self._begin_line(value, gradient)

    def _begin_line(self, value: float, gradient: np.ndarray) -> None:
        self._value, self._gradient = value, gradient
        self.proposed = self._point - self._direction(gradient)
        self._searching = True
        self._factor, self._failures, self._last_failure = 2.0, 0, ""

    def _direction(self, gradient: np.ndarray) -> np.ndarray:
        """The inverse Hessian times the gradient, by the two loops of algorithm 7.4."""
        if self._pairs:
            step, change, _ = self._pairs[-1]
            self._inverse_hessian = float(step @ change) / float(change @ change)  # equation 7.20
        q, weights = gradient.copy(), []
        for step, change, rho in reversed(self._pairs):
            weights.append(rho * float(step @ q))
            q -= weights[-1] * change
        q *= self._inverse_hessian
        for (step, change, rho), weight in zip(self._pairs, reversed(weights), strict=True):
            q += (weight - rho * float(change @ q)) * step
        return q

    def _search(self, value: float, gradient: np.ndarray) -> None:
        step = self.proposed - self._point
        slope_before, slope_here = float(step @ self._gradient), float(step @ gradient)
        if not value <= self._value + ARMIJO * slope_before:
            self._try_again("too long", value, gradient)
        elif not slope_here >= CURVATURE * slope_before:
            self._try_again("too short", value, gradient)
        else:
            self._accept(step, value, gradient)

    def _accept(self, step: np.ndarray, value: float, gradient: np.ndarray) -> None:
        change = gradient - self._gradient
        product = float(change @ step)
        if not (product > TINY and step.any()):
            self._restart(value, gradient)
            return
        self._pairs.append((step, change, 1.0 / product))
        self._point = self.proposed
        self._begin_line(value, gradient)

    def _try_again(self, failure: str, value: float, gradient: np.ndarray) -> None:
        if self._last_failure not in ("", failure):
            self._factor = math.sqrt(self._factor)
        self._last_failure = failure
        self._failures += 1
        scale = 1.0 / self._factor if failure == "too long" else self._factor
        trial = scale * self.proposed + (1.0 - scale) * self._point
        moved = float(np.linalg.norm(trial - self.proposed))
        same_value = abs(self._value - value) < 1e-8 * abs(self._value)
        rounding = failure == "too long" and same_value and moved <= 1e-8 * float(np.linalg.norm(trial))
        if self._failures > MOST_FAILURES or moved == 0 or rounding:
            self._restart(value, gradient)
        else:
            self.proposed = trial

    def _restart(self, value: float, gradient: np.ndarray) -> None:
        """Forget the pairs, and go on from the better of the two ends of the line."""
        self._pairs.clear()
        if value < self._value:
            self._point = self.proposed
            self._begin_line(value, gradient)
        else:
            self._begin_line(self._value, self._gradient)
