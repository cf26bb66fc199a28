"""What values a parameter can take, and how likely each is.

Every distribution maps u in [0, 1] to a value by its inverse CDF (`ppf`), so one uniform number per
parameter is all the randomness a point needs. `encode` maps a value back to [0, 1], to the middle of its
cell where values are discrete; `decode` undoes it. A finite one also counts its values (`size`) and gives
them by index (`nth`).

`sweepfile` knows W&B's names; here are the shapes behind them:

    constant, categorical, categorical_w_probabilities   Choice
    int_uniform, q_uniform                               Lattice     low, low + step, ..., not above max
    uniform                                              Uniform
    log_uniform*, inv_log_uniform*                       LogUniform
    normal                                               Normal
    log_normal                                           LogNormal
    beta                                                 Beta
    q_log_uniform*, q_normal, q_log_normal, q_beta       Rounded     multiples of q within the bounds
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol

from besom.space.continuous import Continuous
from besom.space.values import canonical_text, clamp, is_finite, short

_RESOLUTION = 2**53  # what a float in [0, 1) can tell apart
_DECIMAL = Context(prec=60)


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
        """Give, in a 1-tuple, the value here that `value` stands for (3 for 3.0); None if it is outside."""
        ...

    def describe(self) -> str:
        """Give the domain for a person to read."""
        ...


def _cell(u: float, count: int) -> int:
    """Give the index of the cell of [0, 1] that `u` falls in, of `count` equal ones; exact for any count."""
    return min(max((int(u * _RESOLUTION) * count) // _RESOLUTION, 0), count - 1)


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
        """Give the middle of the value's cell; cells are equally wide, whatever the weights."""
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
        shown = ", ".join(map(short, self.values[:6])) + (", …" if self.size > 6 else "")
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
        if not is_finite(value):
            return None
        position = self._position(value)
        if not 0 <= position < self.count:
            return None
        return _matching(value, self.nth(position), self.step)

    def _position(self, value: float) -> int:
        if isinstance(value, int) and isinstance(self.low, int) and isinstance(self.step, int):
            return (2 * (value - self.low) + self.step) // (2 * self.step)
        return _steps(_DECIMAL.subtract(_decimal(value), _decimal(self.low)), self.step)

    def describe(self) -> str:
        """Give the bounds and the step."""
        ends = f"from {short(self.low)} to {short(self.nth(self.count - 1))}"
        if isinstance(self.low, int) and self.step == 1 and isinstance(self.step, int):
            return f"integer {ends}"
        return f"{ends} by {short(self.step)}"


@dataclass(frozen=True)
class Rounded:
    """`base` rounded to the nearest multiple of `step` within base's bounds; ints where `step` is one."""

    base: Continuous
    step: float
    first: int | None = field(init=False)
    last: int | None = field(init=False)

    def __post_init__(self) -> None:
        low, high = self.base.bounds
        first = _steps(_decimal(low), self.step, ROUND_CEILING) if math.isfinite(low) else None
        last = _steps(_decimal(high), self.step, ROUND_FLOOR) if math.isfinite(high) else None
        object.__setattr__(self, "first", first)
        object.__setattr__(self, "last", last)

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
        """Give the value at quantile `u`; where that rounds to outside the bounds, the nearest inside."""
        return _times(self._within(_steps(_decimal(self.base.ppf(u)), self.step)), self.step)

    def encode(self, value: Any) -> float:
        """Give the middle of the quantiles that round to the value."""
        multiple = _steps(_decimal(value), self.step)
        low = 0.0 if multiple == self.first else self._quantile(multiple - 0.5)
        high = 1.0 if multiple == self.last else self._quantile(multiple + 0.5)
        return (low + high) / 2

    def decode(self, x: float) -> float:
        """Give the value at quantile `x`."""
        return self.ppf(x)

    def find(self, value: Any) -> tuple[Any] | None:
        """Give the multiple within a billionth of a step of `value`."""
        if not is_finite(value):
            return None
        multiple = _steps(_decimal(value), self.step)
        if multiple != self._within(multiple):
            return None
        return _matching(value, _times(multiple, self.step), self.step)

    def _within(self, multiple: int) -> int:
        if self.first is not None:
            multiple = max(multiple, self.first)
        return multiple if self.last is None else min(multiple, self.last)

    def _quantile(self, multiple: float) -> float:
        low, high = self.base.bounds
        return self.base.encode(clamp(multiple * self.step, low, high))

    def describe(self) -> str:
        """Give the base and the step."""
        return f"{self.base.describe()}, rounded to multiples of {short(self.step)}"


def _decimal(value: float) -> Decimal:
    """Give a number as it is written, so that 0.3 is three times 0.1."""
    return Decimal(repr(value))


def _times(count: int, step: float, start: float = 0) -> float:
    """Give `start + count * step` as it would be written in decimals; an int where both are."""
    if isinstance(start, int) and isinstance(step, int):
        return start + count * step
    return float(_DECIMAL.fma(Decimal(count), _decimal(step), _decimal(start)))


def _steps(distance: Decimal, step: float, rounding: str = ROUND_HALF_EVEN) -> int:
    """Give how many steps make a distance."""
    return int(_DECIMAL.divide(distance, _decimal(step)).to_integral_value(rounding))


def _matching(value: float, exact: float, step: float) -> tuple[Any] | None:
    return (exact,) if value == exact or abs(value - exact) <= 1e-9 * abs(step) else None
