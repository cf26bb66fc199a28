"""Between a sweep's points and the rows that the model works on."""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from besom.records import Params
from besom.search.bayes.encoding import Axis, Domain, Parent
from besom.search.bayes.kernel import Array
from besom.space import Choice, Condition, Parameter, SearchSpace
from besom.space.parameters import parents_first
from besom.space.values import canonical_text, is_number

if TYPE_CHECKING:
    from numpy.typing import NDArray


MAX_LEVELS = 1000
"""More values than this are searched as if they were real, and rounded at the end."""


@dataclass(frozen=True)
class _Values:
    """The values of a discrete parameter in the order of its levels, and the level of each by its text."""

    values: tuple[Any, ...]
    level: dict[str, int]

    @classmethod
    def of(cls, values: Sequence[Any]) -> _Values:
        return cls(tuple(values), {canonical_text(value): index for index, value in enumerate(values)})


class Translation:
    """A search space as a `Domain`: numbers keep order and scale, listed ones their order."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        read = {
            condition.parent for parameter in space.parameters.values() for condition in parameter.conditions
        }
        ordered = parents_first(tuple(space.parameters.values()))
        self.constants = [item for item in ordered if item.distribution.size == 1 and item.name not in read]
        self.parameters = [item for item in ordered if item.distribution.size != 1 or item.name in read]
        self._values = [_values(parameter, parameter.name in read) for parameter in self.parameters]
        self._index = {parameter.name: index for index, parameter in enumerate(self.parameters)}
        axes: list[Axis] = []
        for parameter, values in zip(self.parameters, self._values, strict=True):
            parents = tuple(self._parent(condition) for condition in parameter.conditions)
            axes.append(_axis(parameter, values, parents))
        self.domain = Domain(tuple(axes))

    def point(self, params: Params) -> Array | None:
        """Give the point that params are; None if they are none of this space, constraints aside."""
        flat = self.space.flatten(params)
        row = np.full(len(self.parameters), math.nan)
        known: dict[str, Any] = {}
        for index, (parameter, values) in enumerate(zip(self.parameters, self._values, strict=True)):
            if not parameter.active(known):
                continue
            found = parameter.distribution.find(flat[parameter.name]) if parameter.name in flat else None
            if found is None:
                return None
            known[parameter.name] = found[0]
            if values is None:
                row[index] = parameter.distribution.encode(found[0])
            else:
                axis = self.domain.axes[index]
                row[index] = axis.entry(np.array(values.level[canonical_text(found[0])]))
        return row

    def params(self, point: Array) -> Params:
        """Give the params that a point stands for."""
        flat: dict[str, Any] = {}
        for index, (parameter, values) in enumerate(zip(self.parameters, self._values, strict=True)):
            if math.isnan(point[index]):
                continue
            if values is None:
                flat[parameter.name] = parameter.distribution.decode(float(point[index]))
            else:
                flat[parameter.name] = values.values[
                    int(self.domain.axes[index].level(point[index : index + 1])[0])
                ]
        for parameter in self.constants:
            if parameter.active(flat):
                flat[parameter.name] = parameter.distribution.nth(0)
        return self.space.unflatten(flat)

    def exact(self, point: Array) -> Array:
        """Give the point that is run in place of a point: values that are searched as if real are rounded."""
        found = self.point(self.params(point))
        assert found is not None
        return found

    def allowed(self, points: Array) -> NDArray[np.bool_]:
        """Say for each point whether the constraints let it be."""
        if not self.space.constraints:
            return np.ones(len(points), dtype=bool)
        flats = (self.space.flatten(self.params(point)) for point in points)
        return np.array(
            [all(item.allows(flat) for item in self.space.constraints) for flat in flats], dtype=bool
        )

    def _parent(self, condition: Condition) -> Parent:
        index = self._index[condition.parent]
        values = self._values[index]
        if values is not None:
            levels = tuple(level for level, value in enumerate(values.values) if condition.holds(value))
            return Parent(index, levels)
        if condition.between is None:  # a real number equals no given one
            return Parent(index, None) if condition.negated else _never(index)
        distribution = self.parameters[index].distribution
        bottom, top = distribution.decode(0.0), distribution.decode(1.0)
        low, high = (distribution.encode(min(max(bound, bottom), top)) for bound in condition.between)
        if condition.between[0] > top or condition.between[1] < bottom:
            return _never(index)
        return Parent(index, None, low, high)


def _never(index: int) -> Parent:
    return Parent(index, None, 1.0, 0.0)


def _values(parameter: Parameter, is_parent: bool) -> _Values | None:
    distribution = parameter.distribution
    size = distribution.size
    if size is None or (size > MAX_LEVELS and not is_parent and not isinstance(distribution, Choice)):
        return None
    if isinstance(distribution, Choice):
        return _Values.of(sorted(distribution.values) if _is_ordinal(distribution) else distribution.values)
    return _Values.of([distribution.nth(index) for index in range(size)])


def _is_ordinal(choice: Choice) -> bool:
    return len(choice.values) > 2 and all(map(is_number, choice.values))


def _axis(parameter: Parameter, values: _Values | None, parents: tuple[Parent, ...]) -> Axis:
    if values is None:
        return Axis(parents=parents)
    count, distribution = len(values.values), parameter.distribution
    if not isinstance(distribution, Choice):
        return Axis(np.array([distribution.encode(value) for value in values.values]), parents=parents)
    if _is_ordinal(distribution):
        return Axis((np.arange(count) + 0.5) / count, parents=parents)
    return Axis(categories=count, parents=parents)
