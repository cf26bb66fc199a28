"""A point near another one, as population-based training explores: values times a factor, or drawn anew."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from random import Random
from typing import Any

from besom.records import Params
from besom.space import SearchSpace
from besom.space.continuous import Continuous
from besom.space.distributions import Choice, Distribution, Rounded
from besom.space.parameters import parents_first
from besom.space.values import is_finite


def explore(
    space: SearchSpace,
    params: Params,
    fresh: Params,
    *,
    factors: Sequence[float],
    resample: float,
    chance: Random,
) -> Params:
    """Give `params` with each number times one of `factors`, at its domain's nearest value inside the bounds.

    With probability `resample` a value is that of `fresh`, a random point, instead; so is what is not in
    `params`. Categories change in no other way. A listed or whole number moves by one place at least.
    Constraints are not looked at.
    """
    before, drawn = space.flatten(params), space.flatten(fresh)
    flat: dict[str, Any] = {}
    for parameter in parents_first(tuple(space.parameters.values())):
        if not parameter.active(flat):
            continue
        name, distribution = parameter.name, parameter.distribution
        anew, factor, quantile = chance.random() < resample, chance.choice(factors), chance.random()
        known = distribution.find(before[name]) if name in before else None
        if known is None or anew:
            flat[name] = drawn[name] if name in drawn else distribution.ppf(quantile)
        else:
            flat[name] = perturbed(distribution, known[0], factor)
    return space.unflatten(flat)


def perturbed(distribution: Distribution, value: Any, factor: float) -> Any:
    """Give the value of a domain that is nearest to a number times `factor`; what is no number stays."""
    if not is_finite(value):
        return value
    target = value * factor
    if isinstance(distribution, Choice):
        if not all(map(is_finite, distribution.values)):
            return value
        return _stepped(sorted(distribution.values), value, target)
    if isinstance(distribution, Continuous):
        return _clamp(target, *distribution.bounds)
    return _nearest(distribution, value, target)


def _nearest(distribution: Distribution, value: float, target: float) -> float:
    """Give the value of a lattice nearest to `target`, or the one beside `value` where that would be it."""
    size = distribution.size
    if size is None:
        assert isinstance(distribution, Rounded)
        low, high = distribution.base.bounds
    else:
        low, high = distribution.nth(0), distribution.nth(size - 1)
    near: float = distribution.decode(distribution.encode(_clamp(target, low, high)))
    if near != value or target == value or size is None:
        return near
    index = bisect_left(range(size), value, key=distribution.nth)
    beside = [distribution.nth(place) for place in range(max(0, index - 1), min(size, index + 2))]
    return _stepped(beside, value, target)


def _stepped(values: Sequence[float], value: float, target: float) -> float:
    """Give the value nearest to `target`, but another than `value` if there is one on that side."""
    side = [item for item in values if (item > value if target > value else item < value)]
    if target == value or not side:
        return value
    return min(side, key=lambda item: abs(item - target))


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high) if math.isfinite(value) else low
