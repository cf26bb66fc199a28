"""Distributions without end of values: each encodes by its CDF and samples by the inverse of it."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from besom.space.values import clamp, is_finite, short

_SMALLEST = 2.0**-53
_STANDARD = NormalDist()


@dataclass(frozen=True)
class Continuous(ABC):
    """What continuous distributions have in common: endless values, encoded by their CDF."""

    @property
    def size(self) -> None:
        """None: there is no end of values."""
        return

    @property
    def even(self) -> bool:
        """Whether the values are finitely many and equally likely: they are not."""
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return -math.inf, math.inf

    def nth(self, index: int) -> float:
        """Raise IndexError: there is no counting."""
        raise IndexError(index)

    @abstractmethod
    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`."""

    @abstractmethod
    def encode(self, value: Any) -> float:
        """Give the value's quantile."""

    def decode(self, x: float) -> float:
        """Give the value at quantile `x`."""
        return self.ppf(x)

    @abstractmethod
    def describe(self) -> str:
        """Give the domain for a person to read."""

    def find(self, value: Any) -> tuple[Any] | None:
        """Give `value` as a float if it lies within the bounds."""
        low, high = self.bounds
        if not is_finite(value) or not low <= value <= high:
            return None
        return (float(value),)


@dataclass(frozen=True)
class _Bounded(Continuous):
    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.low, self.high


@dataclass(frozen=True)
class Uniform(_Bounded):
    """Every number from `low` to `high`, equally likely."""

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`; both bounds are hit exactly."""
        return clamp(self.low * (1.0 - u) + self.high * u, self.low, self.high)

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        # Halves, so that a range of more than the largest float does not overflow.
        return clamp((value / 2 - self.low / 2) / (self.high / 2 - self.low / 2), 0.0, 1.0)

    def describe(self) -> str:
        """Give the bounds."""
        return f"uniform from {short(self.low)} to {short(self.high)}"


@dataclass(frozen=True)
class LogUniform(_Bounded):
    """Numbers from `low` > 0 to `high` whose logarithm is uniform."""

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`; never an ulp outside the bounds."""
        return clamp(math.exp(math.log(self.low) * (1.0 - u) + math.log(self.high) * u), self.low, self.high)

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        if value <= self.low:
            return 0.0
        return clamp(math.log(value / self.low) / math.log(self.high / self.low), 0.0, 1.0)

    def describe(self) -> str:
        """Give the bounds."""
        return f"log-uniform from {short(self.low)} to {short(self.high)}"


@dataclass(frozen=True)
class Normal(Continuous):
    """Normal with mean `mu` and standard deviation `sigma` > 0."""

    mu: float
    sigma: float

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`, within the 8.2 standard deviations that a float can tell apart."""
        return self.mu + self.sigma * _STANDARD.inv_cdf(clamp(u, _SMALLEST, 1.0 - _SMALLEST))

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        return _STANDARD.cdf((value - self.mu) / self.sigma)

    def describe(self) -> str:
        """Give mean and standard deviation."""
        return f"normal with mean {short(self.mu)} and deviation {short(self.sigma)}"


@dataclass(frozen=True)
class LogNormal(Continuous):
    """Numbers whose logarithm is normal with mean `mu` and standard deviation `sigma` > 0."""

    mu: float
    sigma: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return 0.0, math.inf

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`."""
        return math.exp(Normal(self.mu, self.sigma).ppf(u))

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        return Normal(self.mu, self.sigma).encode(math.log(value)) if value > 0 else 0.0

    def describe(self) -> str:
        """Give mean and standard deviation of the logarithm."""
        return f"log-normal with mean {short(self.mu)} and deviation {short(self.sigma)} of the logarithm"


@dataclass(frozen=True)
class Beta(Continuous):
    """The beta distribution on [0, 1] with shapes `a`, `b` > 0."""

    a: float
    b: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return 0.0, 1.0

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`."""
        from scipy.special import betaincinv

        u = u if u >= sys.float_info.min else 0.0  # scipy gives NaN for some subnormal quantiles
        return clamp(float(betaincinv(self.a, self.b, u)), 0.0, 1.0)

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        from scipy.special import betainc

        return clamp(float(betainc(self.a, self.b, float(value))), 0.0, 1.0)

    def describe(self) -> str:
        """Give the shapes."""
        return f"beta with a = {short(self.a)}, b = {short(self.b)}"
