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
_ROOT_HALF = math.sqrt(0.5)
CAUTION = 2.0
"""How many times the log chance to succeed counts: a crash costs a run, and the people who wait for it."""

_LOW, _HIGH = -1e3, 30.0  # beyond them h(z) is phi(z) / z^2 and z to all digits that matter


def log_improvement(z: Array) -> Array:
    """Give log(phi(z) + z Phi(z)) for any z."""
    return improvement(z)[0]


def improvement(z: Array) -> tuple[Array, Array, Array]:
    """Give log h(z), Phi(z) / h(z) and phi(z) / h(z) for any z; the last two are what its slopes are made of.

    All three come from Phi / phi = sqrt(pi / 2) erfcx(-z / sqrt(2)), since h / phi = 1 + z Phi / phi.
    """
    near = np.clip(z, _LOW, _HIGH)
    odds = _ROOT_HALF_PI * erfcx(-_ROOT_HALF * near)
    height = 1.0 + near * odds
    log_h, chance, density = np.log(height) - 0.5 * near**2 - _LOG_ROOT_2PI, odds / height, 1.0 / height
    low, high = z < _LOW, z > _HIGH
    if low.any():
        size = np.where(low, -z, 1.0)
        log_h = np.where(low, -0.5 * size**2 - _LOG_ROOT_2PI - 2.0 * np.log(size), log_h)
        chance, density = np.where(low, size, chance), np.where(low, size**2, density)
    if high.any():
        size = np.where(high, z, 1.0)
        log_h, chance = np.where(high, np.log(size), log_h), np.where(high, 1.0 / size, chance)
    return log_h, chance, density


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
        log_h, chance, density = improvement(z)
        total = log_h + np.log(deviation)
        slope = found.gradient(-chance / deviation, density / deviation)
        for trust in self.trusts:
            kept, kept_slope = trust.value_with_slope(features)
            total, slope = total + kept, slope + kept_slope
        return total, slope
