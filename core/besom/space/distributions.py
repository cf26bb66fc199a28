"""What values a parameter can take, and how likely each is.

Every distribution maps u in [0, 1] to a value by its inverse CDF (`ppf`), so one uniform number per parameter is all
the randomness a point needs. `encode` maps a value back to [0, 1], to the middle of its cell where values are discrete;
`decode` undoes it. A finite one also counts its values (`size`) and gives them by index (`nth`).

`sweepfile` knows W&B's names; here are the shapes behind them:

    constant, categorical, categorical_w_probabilities    Choice
    int_uniform, q_uniform                                Lattice     low, low + step, ..., not above max
    uniform                                               Uniform
    log_uniform*, inv_log_uniform*                        LogUniform
    normal                                                Normal
    log_normal                                            LogNormal
    beta                                                  Beta
    q_log_uniform*, q_normal, q_log_normal, q_beta        Rounded     multiples of q that lie within the bounds
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import cached_property
from itertools import accumulate
from statistics import NormalDist
from typing import Any, Protocol

from besom.space.values import canonical_text, is_number

_RESOLUTION = 2**53  # what a float in [0, 1) can tell apart
_SMALLEST = 2.0**-53
_DECIMAL = Context(prec=60)
_STANDARD = NormalDist()


class Distribution(Protocol):
    """The values of one parameter."""

    @property
    def size(self) -> int | None:
        """How many values there are; None when there is no end of them."""
        ...

    @property
    def even(self) -> bool:
        """Whether the values are finitely many and equally likely."""
        ...

    def nth(self, index: int) -> Any:
        """Give the value at `index`, 0 <= index < size; IndexError beyond, and where size is None."""
        ...

    def ppf(self, u: float) -> Any:
        """Give the value at quantile `u` in [0, 1]."""
        ...

    def encode(self, value: Any) -> float:
        """Give the place of a value of this distribution in [0, 1]."""
        ...

    def decode(self, x: float) -> Any:
        """Give the value at a place in [0, 1]; undoes `encode` up to floating-point resolution."""
        ...

    def find(self, value: Any) -> tuple[Any] | None:
        """Give the value of this distribution that `value` stands for (3 for 3.0), in a 1-tuple; None if it is outside."""
        ...

    def describe(self) -> str:
        """Give the domain for a person to read."""
        ...


def _cell(u: float, count: int) -> int:
    """Give the index of the cell of [0, 1] that `u` falls in, of `count` equal ones; exact for any count."""
    return min(max((int(u * _RESOLUTION) * count) // _RESOLUTION, 0), count - 1)


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@dataclass(frozen=True)
class Choice:
    """Listed values, in their order; `weights` (positive) where they are not equally likely."""

    values: tuple[Any, ...]
    weights: tuple[float, ...] | None = None

    @classmethod
    def of(cls, values: Sequence[Any], weights: Sequence[float] | None = None) -> Choice:
        """Collapse equal values into the first of them, adding their weights; drop those of weight 0."""
        total: dict[str, float] = {}
        first: dict[str, Any] = {}
        for value, weight in zip(values, weights or [1.0] * len(values), strict=True):
            text = canonical_text(value)
            if weight > 0:
                first.setdefault(text, value)
                total[text] = total.get(text, 0.0) + weight
        return cls(tuple(first.values()), tuple(total.values()) if weights else None)

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    @property
    def even(self) -> bool:
        """Whether the values are equally likely."""
        return self.weights is None

    @cached_property
    def _index(self) -> dict[str, int]:
        return {canonical_text(value): index for index, value in enumerate(self.values)}

    @cached_property
    def _edges(self) -> list[float]:
        sums = list(accumulate(self.weights or ()))
        return [edge / sums[-1] for edge in sums[:-1]]

    def nth(self, index: int) -> Any:
        """Give the value at `index`."""
        return self.values[index]

    def ppf(self, u: float) -> Any:
        """Give the value at quantile `u`; u = 1 is the last value."""
        if self.weights is None:
            return self.decode(u)
        return self.values[bisect_right(self._edges, u)]

    def encode(self, value: Any) -> float:
        """Give the middle of the value's cell; cells have equal widths, whatever the weights: they say where to look first."""
        return (self._index[canonical_text(value)] + 0.5) / len(self.values)

    def decode(self, x: float) -> Any:
        """Give the value of the cell that `x` falls in."""
        return self.values[_cell(x, len(self.values))]

    def find(self, value: Any) -> tuple[Any] | None:
        """Give the listed value that equals `value`; 1.0 equals 1, true does not."""
        try:
            index = self._index.get(canonical_text(value))
        except (TypeError, ValueError):
            return None
        return None if index is None else (self.values[index],)

    def describe(self) -> str:
        """Give the values, the first few of many."""
        shown = ", ".join(map(_short, self.values[:6])) + (", …" if self.size > 6 else "")
        if self.size == 1:
            return shown
        if self.weights is None:
            return f"one of {shown}"
        parts = ", ".join(f"{weight / sum(self.weights):.3g}" for weight in self.weights[:6])
        return f"one of {shown} with probabilities {parts}{', …' if self.size > 6 else ''}"


@dataclass(frozen=True)
class Lattice:
    """`low`, `low + step`, ... , `count` values, equally likely; ints where both `low` and `step` are."""

    low: float
    step: float
    count: int

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.count

    @property
    def even(self) -> bool:
        """Whether the values are equally likely: they are."""
        return True

    def nth(self, index: int) -> float:
        """Give the value at `index`, free of binary noise: 0.1 times 3 is 0.3."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        return _times(index, self.step, self.low)

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`."""
        return self.nth(_cell(u, self.count))

    def encode(self, value: Any) -> float:
        """Give the middle of the value's cell."""
        return (2 * self._position(value) + 1) / (2 * self.count)

    def decode(self, x: float) -> float:
        """Give the value of the cell that `x` falls in."""
        return self.ppf(x)

    def find(self, value: Any) -> tuple[Any] | None:
        """Give the lattice value within a billionth of a step of `value`."""
        if not is_number(value) or not math.isfinite(value):
            return None
        position = self._position(value)
        if not 0 <= position < self.count:
            return None
        return _matching(value, self.nth(position), self.step)

    def _position(self, value: float) -> int:
        if isinstance(value, int) and isinstance(self.low, int) and isinstance(self.step, int):
            return (2 * (value - self.low) + self.step) // (2 * self.step)
        return _nearest(_decimal(value) - _decimal(self.low), self.step)

    def describe(self) -> str:
        """Give the bounds and the step."""
        ends = f"from {_short(self.low)} to {_short(self.nth(self.count - 1))}"
        if isinstance(self.low, int) and self.step == 1 and isinstance(self.step, int):
            return f"integer {ends}"
        return f"{ends} by {_short(self.step)}"


@dataclass(frozen=True)
class _Continuous:
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

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`."""
        raise NotImplementedError

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        raise NotImplementedError

    def decode(self, x: float) -> float:
        """Give the value at quantile `x`."""
        return self.ppf(x)

    def find(self, value: Any) -> tuple[Any] | None:
        """Give `value` as a float if it lies within the bounds."""
        low, high = self.bounds
        if not is_number(value) or not (math.isfinite(value) and low <= value <= high):
            return None
        return (float(value),)


@dataclass(frozen=True)
class Uniform(_Continuous):
    """Every number from `low` to `high`, equally likely."""

    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.low, self.high

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`; both bounds are hit exactly."""
        return _clamp(self.low * (1.0 - u) + self.high * u, self.low, self.high)

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        # Halves, so that a range of more than the largest float does not overflow.
        return _clamp((value / 2 - self.low / 2) / (self.high / 2 - self.low / 2), 0.0, 1.0)

    def describe(self) -> str:
        """Give the bounds."""
        return f"uniform from {_short(self.low)} to {_short(self.high)}"


@dataclass(frozen=True)
class LogUniform(_Continuous):
    """Numbers from `low` > 0 to `high` whose logarithm is uniform."""

    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.low, self.high

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`; never an ulp outside the bounds."""
        return _clamp(math.exp(math.log(self.low) * (1.0 - u) + math.log(self.high) * u), self.low, self.high)

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        if value <= self.low:
            return 0.0
        return _clamp(math.log(value / self.low) / math.log(self.high / self.low), 0.0, 1.0)

    def describe(self) -> str:
        """Give the bounds."""
        return f"log-uniform from {_short(self.low)} to {_short(self.high)}"


@dataclass(frozen=True)
class Normal(_Continuous):
    """Normal with mean `mu` and standard deviation `sigma` > 0."""

    mu: float
    sigma: float

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`, held within the 8.2 standard deviations that a float can tell apart."""
        return self.mu + self.sigma * _STANDARD.inv_cdf(_clamp(u, _SMALLEST, 1.0 - _SMALLEST))

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        return _STANDARD.cdf((value - self.mu) / self.sigma)

    def describe(self) -> str:
        """Give mean and standard deviation."""
        return f"normal with mean {_short(self.mu)} and deviation {_short(self.sigma)}"


@dataclass(frozen=True)
class LogNormal(_Continuous):
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
        return f"log-normal with mean {_short(self.mu)} and deviation {_short(self.sigma)} of the logarithm"


@dataclass(frozen=True)
class Beta(_Continuous):
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

        return _clamp(float(betaincinv(self.a, self.b, u)), 0.0, 1.0)

    def encode(self, value: Any) -> float:
        """Give the value's quantile."""
        from scipy.special import betainc

        return _clamp(float(betainc(self.a, self.b, value)), 0.0, 1.0)

    def describe(self) -> str:
        """Give the shapes."""
        return f"beta with a = {_short(self.a)}, b = {_short(self.b)}"


@dataclass(frozen=True)
class Rounded:
    """`base` rounded to the nearest multiple of `step` that lies within base's bounds; ints where `step` is one."""

    base: Uniform | LogUniform | Normal | LogNormal | Beta
    step: float
    first: int | None = field(init=False)
    last: int | None = field(init=False)

    def __post_init__(self) -> None:
        low, high = (_decimal(bound) if math.isfinite(bound) else None for bound in self.base.bounds)
        step = _decimal(self.step)
        object.__setattr__(self, "first", None if low is None else -int(-low // step) + (-low % step < 0))
        object.__setattr__(self, "last", None if high is None else int(high // step))
        if self.first is not None and low is not None and self.first * step < low:
            object.__setattr__(self, "first", self.first + 1)

    @property
    def size(self) -> int | None:
        """How many multiples lie within the bounds; None where there are no bounds."""
        if self.first is None or self.last is None:
            return None
        return max(self.last - self.first + 1, 0)

    @property
    def even(self) -> bool:
        """Whether the values are equally likely: no more than one is."""
        return self.size == 1

    def nth(self, index: int) -> float:
        """Give the multiple at `index` from the lowest."""
        size = self.size
        if size is None or self.first is None or not 0 <= index < size:
            raise IndexError(index)
        return _times(self.first + index, self.step)

    def ppf(self, u: float) -> float:
        """Give the value at quantile `u`; what would round to outside the bounds is the nearest multiple inside."""
        return _times(self._within(_nearest(_decimal(self.base.ppf(u)), self.step)), self.step)

    def encode(self, value: Any) -> float:
        """Give the middle of the quantiles that round to the value."""
        multiple = _nearest(_decimal(value), self.step)
        low = 0.0 if multiple == self.first else self._quantile(multiple - 0.5)
        high = 1.0 if multiple == self.last else self._quantile(multiple + 0.5)
        return (low + high) / 2

    def decode(self, x: float) -> float:
        """Give the value at quantile `x`."""
        return self.ppf(x)

    def find(self, value: Any) -> tuple[Any] | None:
        """Give the multiple within a billionth of a step of `value`."""
        if not is_number(value) or not math.isfinite(value):
            return None
        multiple = _nearest(_decimal(value), self.step)
        if multiple != self._within(multiple):
            return None
        return _matching(value, _times(multiple, self.step), self.step)

    def _within(self, multiple: int) -> int:
        if self.first is not None:
            multiple = max(multiple, self.first)
        return multiple if self.last is None else min(multiple, self.last)

    def _quantile(self, multiple: float) -> float:
        low, high = self.base.bounds
        return self.base.encode(_clamp(multiple * self.step, low, high))

    def describe(self) -> str:
        """Give the base and the step."""
        return f"{self.base.describe()}, rounded to multiples of {_short(self.step)}"


def _decimal(value: float) -> Decimal:
    """Give a number as it is written, so that 0.3 is three times 0.1."""
    return Decimal(repr(float(value)) if isinstance(value, float) else value)


def _times(count: int, step: float, start: float = 0) -> float:
    """Give `start + count * step` as it would be written in decimals; an int where both are."""
    if isinstance(start, int) and isinstance(step, int):
        return start + count * step
    return float(_DECIMAL.fma(Decimal(count), _decimal(step), _decimal(start)))


def _nearest(distance: Decimal, step: float) -> int:
    """Give the number of steps nearest to a distance; halves go to the even one."""
    return int(_DECIMAL.divide(distance, _decimal(step)).to_integral_value())


def _matching(value: float, exact: float, step: float) -> tuple[Any] | None:
    return (exact,) if value == exact or abs(value - exact) <= 1e-9 * abs(step) else None


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else canonical_text(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
