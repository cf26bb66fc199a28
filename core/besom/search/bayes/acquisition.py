"""How promising a point is: the logarithm of expected improvement times the chance that the run succeeds.

Expected improvement below `best` for a value of mean m and deviation s is s h(z), z = (best - m) / s, h(z) =
phi(z) + z Phi(z). Its logarithm is computed so that it keeps a gradient where the improvement itself would
underflow (Ament et al. 2023, "Unexpected improvements to expected improvement for Bayesian optimization").
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erfcx, log_ndtr

from besom.search.bayes.gp import Posterior
from besom.search.bayes.kernel import Array

_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)
_ROOT_HALF_PI = math.sqrt(0.5 * math.pi)
CAUTION = 2.0
"""How many times the log chance to succeed counts: a crash costs a run, and the people who wait for it."""

_FAR = -1e3  # from here on h(z) = phi(z) / z^2 to all digits


def log_improvement(z: Array) -> Array:
    """Give log(phi(z) + z Phi(z)) for any z."""
    safe = np.maximum(z, _FAR)
    near = np.minimum(safe, 0.0)
    # For z < 0: h = phi (1 + z Phi / phi); where that cancels, its series 1/z^2 - 3/z^4.
    rest = 1.0 + near * _ROOT_HALF_PI * erfcx(-near / math.sqrt(2.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        series = (1.0 - 3.0 / near**2) / near**2
    rest = np.where(near < -100.0, series, rest)
    below = -0.5 * np.square(np.minimum(z, 0.0)) - _LOG_ROOT_2PI
    below += np.where(z < _FAR, -2.0 * np.log(np.maximum(-z, 1.0)), np.log(np.maximum(rest, 1e-300)))
    above = np.maximum(z, 0.0)
    positive = np.exp(-0.5 * above**2 - _LOG_ROOT_2PI) + above * np.exp(log_ndtr(above))
    return np.where(z > 0.0, np.log(positive), below)


@dataclass(frozen=True, slots=True)
class Trust:
    """The chance that a number is above 0: its posterior around `mean`, and how many times its log counts."""

    posterior: Posterior
    mean: float
    weight: float = 1.0

    def value(self, features: Array) -> Array:
        """Give the weighted log chance at each point."""
        mean, deviation = self.posterior.predict(features)
        return np.asarray(self.weight * log_ndtr((self.mean + mean) / self._spread(deviation)))

    def value_with_slope(self, features: Array) -> tuple[Array, Array]:
        """Give the weighted log chance at each point and its gradient by the features."""
        found = self.posterior.predict_with_slope(features)
        spread = self._spread(found.deviation)
        t = (self.mean + found.mean) / spread
        log_chance = log_ndtr(t)
        by_t = np.exp(-0.5 * t**2 - _LOG_ROOT_2PI - log_chance)
        by_deviation = -by_t * t * found.deviation / spread**2
        slope = found.gradient(by_t / spread, by_deviation)
        return self.weight * log_chance, self.weight * slope

    def _spread(self, deviation: Array) -> Array:
        return np.sqrt(deviation**2 + self.posterior.noise + 0.01)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Log expected improvement over `best`, plus the log chances to be of use.

    `trusts` are models of what a run must keep: not to fail (labels -1 and 1), and the limits of metrics (how
    far inside of them).
    """

    posterior: Posterior
    best: float
    trusts: tuple[Trust, ...] = ()

    def value(self, features: Array) -> Array:
        """Give the acquisition at each point."""
        mean, deviation = self.posterior.predict(features)
        total = log_improvement((self.best - mean) / deviation) + np.log(deviation)
        for trust in self.trusts:
            total += trust.value(features)
        return np.asarray(total)

    def value_with_slope(self, features: Array) -> tuple[Array, Array]:
        """Give the acquisition at each point and its gradient by the features."""
        found = self.posterior.predict_with_slope(features)
        deviation = found.deviation
        z = (self.best - found.mean) / deviation
        log_h = log_improvement(z)
        log_phi = -0.5 * z**2 - _LOG_ROOT_2PI
        by_mean = -np.exp(np.minimum(log_ndtr(z) - log_h, 600.0)) / deviation
        by_deviation = np.exp(np.minimum(log_phi - log_h, 600.0)) / deviation
        total, slope = log_h + np.log(deviation), found.gradient(by_mean, by_deviation)
        for trust in self.trusts:
            chance, chance_slope = trust.value_with_slope(features)
            total, slope = total + chance, slope + chance_slope
        return total, slope
