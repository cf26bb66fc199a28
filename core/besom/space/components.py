"""Counts the points of a finite space, and finds the i-th one, without ever listing them.

Parameters that conditions connect form a component; a parameter without conditions is one by itself.
Components are independent of one another, so a space's points are a mixed-radix number over them. Inside a
component, what is still to come depends on the past only through which conditions hold, so counting goes
over those states, not over the points, and the points keep the order in which a nested loop would visit
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from besom.errors import UsageError
from besom.space.parameters import Condition, Parameter, parents_first

MAX_STATES = 100_000
"""Values of a parent, and states of a component, that are looked at for counting."""


@dataclass(frozen=True)
class Axis:
    """A parameter in a component: conditions are bits of a state, and this is what it reads and sets."""

    parameter: Parameter
    size: int
    needs: int  # bits that must be set for the parameter to be there
    runs: tuple[
        tuple[int, int], ...
    ]  # (bits, how many values in a row set exactly these), in the order of values
    keep: int  # bits that this or a later parameter reads


class Component:
    """Parameters that conditions connect, in the order in which a nested loop would run over them."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.names = frozenset(parameter.name for parameter in parameters)
        self._axes = _axes(parents_first(parameters))
        self._counts = self._count() if len(self._axes) > 1 else []
        self.size = self._counts[0][0] if self._counts else self._axes[0].size

    def nth(self, index: int) -> dict[str, Any]:
        """Give the values of the point at `index` by dotted name; what is not active is absent."""
        if len(self._axes) == 1:
            parameter = self._axes[0].parameter
            return {parameter.name: parameter.distribution.nth(index)}
        flat: dict[str, Any] = {}
        state = 0
        for position, axis in enumerate(self._axes):
            if state & axis.needs != axis.needs:
                state &= self._keep(position + 1)
                continue
            first = 0
            for bits, length in axis.runs:
                below = self._counts[position + 1][(state | bits) & self._keep(position + 1)]
                if index < below * length:
                    flat[axis.parameter.name] = axis.parameter.distribution.nth(first + index // below)
                    index %= below
                    state = (state | bits) & self._keep(position + 1)
                    break
                index -= below * length
                first += length
        return flat

    def _keep(self, position: int) -> int:
        return self._axes[position].keep if position < len(self._axes) else 0

    def _count(self) -> list[dict[int, int]]:
        """Count what can follow each state at every position: states that can be forward, sums backward."""
        layers: list[set[int]] = [{0}]
        total = 1
        for position in range(len(self._axes)):
            layers.append({after for state in layers[-1] for after, _ in self._next(position, state)})
            total += len(layers[-1])
            if total > MAX_STATES:
                raise UsageError(f"the conditions among {_listed(self.names)} are too entangled to count")
        counts: list[dict[int, int]] = [{0: 1}]
        for position in reversed(range(len(self._axes))):
            later = counts[-1]
            counts.append(
                {
                    state: sum(later[after] * length for after, length in self._next(position, state))
                    for state in layers[position]
                }
            )
        return counts[::-1]

    def _next(self, position: int, state: int) -> list[tuple[int, int]]:
        axis = self._axes[position]
        keep = self._keep(position + 1)
        if state & axis.needs != axis.needs:
            return [(state & keep, 1)]
        return [((state | bits) & keep, length) for bits, length in axis.runs]


def connected(parameters: Sequence[Parameter]) -> list[list[Parameter]]:
    """Split into groups that conditions connect, in the order of the first of each."""
    leader: dict[str, str] = {parameter.name: parameter.name for parameter in parameters}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for parameter in parameters:
        for condition in parameter.conditions:
            leader[find(condition.parent)] = find(parameter.name)
    groups: dict[str, list[Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(find(parameter.name), []).append(parameter)
    return list(groups.values())


def _axes(ordered: Sequence[Parameter]) -> list[Axis]:
    bit: dict[tuple[Any, ...], int] = {}
    known: dict[tuple[Any, ...], Condition] = {}
    for parameter in ordered:
        for condition in parameter.conditions:
            bit.setdefault(condition.identity, 1 << len(bit))
            known[condition.identity] = condition
    axes: list[Axis] = []
    keep = 0
    for parameter in reversed(ordered):
        needs = sum(bit[key] for key in {condition.identity for condition in parameter.conditions})
        keep |= needs
        size = parameter.distribution.size
        assert size is not None
        own = [(known[key], bits) for key, bits in bit.items() if known[key].parent == parameter.name]
        axes.append(Axis(parameter, size, needs, _runs(parameter, size, own), keep))
    return axes[::-1]


def _runs(
    parameter: Parameter, size: int, bits: Sequence[tuple[Condition, int]]
) -> tuple[tuple[int, int], ...]:
    if not bits:
        return ((0, size),)
    if size > MAX_STATES:
        raise UsageError(
            f"{parameter.name} has {size} values, and other parameters depend on it;"
            f" that is possible for up to {MAX_STATES}"
        )
    values = map(parameter.distribution.nth, range(size))
    states = (sum(bit for condition, bit in bits if condition.holds(value)) for value in values)
    return tuple((state, sum(1 for _ in group)) for state, group in groupby(states))


def _listed(names: frozenset[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "")
