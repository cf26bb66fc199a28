"""A parameter of a search space, and the conditions under which it is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import Any

from besom.errors import UsageError
from besom.space.distributions import Distribution
from besom.space.values import canonical_text, is_number, shown


@dataclass(frozen=True)
class Condition:
    """What the parameter called `parent` must be for another one to be there."""

    parent: str
    values: tuple[Any, ...] = ()
    negated: bool = False  # none of `values`, instead of one of them
    between: tuple[float, float] | None = None  # instead of `values`: a number from the first to the second

    def holds(self, value: Any) -> bool:
        """Say whether the parent's value meets the condition; 1.0 equals 1, true does not."""
        if self.between is not None:
            return is_number(value) and self.between[0] <= value <= self.between[1]
        return (canonical_text(value) in self._texts) is not self.negated

    @cached_property
    def identity(self) -> tuple[Any, ...]:
        """Equal exactly for equal conditions; the values will not do, as Python takes true for 1."""
        return self.parent, self.negated, self.between, *sorted(self._texts)

    @cached_property
    def _texts(self) -> frozenset[str]:
        return frozenset(map(canonical_text, self.values))

    def describe(self) -> str:
        """Give the condition for a person to read."""
        if self.between is not None:
            low, high = self.between
            bounds = f"from {low:g} to {high:g}"
            if math.isinf(low) or math.isinf(high):
                bounds = f"at most {high:g}" if math.isinf(low) else f"at least {low:g}"
            return f"{self.parent} is {bounds}"
        listed = " or ".join(map(shown, self.values))
        return f"{self.parent} is {'not ' if self.negated else ''}{listed}"


@dataclass(frozen=True)
class Parameter:
    """A leaf of the sweep file's `parameters`; `path` is where its value lies in a run's params."""

    path: tuple[str, ...]
    distribution: Distribution
    conditions: tuple[Condition, ...] = ()

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)

    def active(self, flat: Mapping[str, Any]) -> bool:
        """Say whether the parameter is there, given the active ones among its parents."""
        return all(
            condition.parent in flat and condition.holds(flat[condition.parent])
            for condition in self.conditions
        )

    def describe_conditions(self) -> str:
        """Give all conditions for a person to read; empty when there are none."""
        return " and ".join(condition.describe() for condition in self.conditions)


def parents_first(
    parameters: Sequence[Parameter], on_cycle: Callable[[Sequence[Parameter]], None] | None = None
) -> list[Parameter]:
    """Order by name, but every parent before what depends on it.

    Conditions in a circle are a UsageError unless `on_cycle` takes the parameters concerned.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    waiting = {
        name: {condition.parent for condition in parameter.conditions} for name, parameter in by_name.items()
    }
    children: dict[str, list[str]] = {}
    for name, parents in waiting.items():
        for parent in parents:
            children.setdefault(parent, []).append(name)
    ready = [name for name, parents in waiting.items() if not parents]
    heapify(ready)
    ordered: list[Parameter] = []
    while ready:
        name = heappop(ready)
        ordered.append(by_name[name])
        for child in children.get(name, ()):
            waiting[child].discard(name)
            if not waiting[child]:
                heappush(ready, child)
    if len(ordered) < len(by_name):
        placed = {parameter.name for parameter in ordered}
        rest = [by_name[name] for name in sorted(by_name) if name not in placed]
        if on_cycle is None:
            names = ", ".join(parameter.name for parameter in rest)
            raise UsageError(f"the conditions of {names} depend on one another in a circle")
        on_cycle(rest)
    return ordered
