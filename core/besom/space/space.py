"""SearchSpace: the points of a sweep."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from besom.errors import UsageError
from besom.records import Params, Suggestion
from besom.space.components import Component, connected
from besom.space.constraints import compile_constraint
from besom.space.parameters import Parameter, parents_first
from besom.space.values import content_key

MAX_COUNTED = 100_000
"""Points that `expected` looks at one by one when there are constraints."""

INACTIVE = 0.5
"""What `encode` gives for a parameter that is not active."""


@dataclass(frozen=True, slots=True)
class AxisRow:
    """A parameter for a person to read; `when` is empty where it is always there."""

    name: str
    domain: str
    size: int | None
    when: str


class SearchSpace:
    """Parameters, the conditions under which they are there, and constraints on what they may be together.

    A point is given as params (nested as the program sees them) or flat (by dotted name). It holds the
    active parameters only. Points are ordered as nested loops over the dotted names would visit them, the
    last name fastest: those in `order` as they stand there, then the others sorted. Parameters that
    conditions connect stand together, parents first, where the first of their names stands.
    """

    def __init__(
        self, parameters: Sequence[Parameter], constraints: Sequence[str] = (), order: Sequence[str] = ()
    ) -> None:
        self.parameters = {
            parameter.name: parameter for parameter in sorted(parameters, key=lambda p: p.name)
        }
        if len(self.parameters) < len(parameters):
            raise UsageError("two parameters have the same dotted name")
        for parameter in parameters:
            for condition in parameter.conditions:
                if condition.parent not in self.parameters:
                    raise UsageError(f"{parameter.name} depends on {condition.parent}, which is no parameter")
        self.constraints = tuple(compile_constraint(text, self.parameters) for text in constraints)
        self._ordered = parents_first(tuple(self.parameters.values()))
        self._rank = {name: rank for rank, name in enumerate(order)}

    # ---- counting

    @cached_property
    def size(self) -> int | None:
        """How many points there are before constraints; None when there is no end of them."""
        if any(parameter.distribution.size is None for parameter in self.parameters.values()):
            return None
        return math.prod(component.size for component in self._components)

    @cached_property
    def expected(self) -> int | None:
        """How many points there are; at most, where constraints concern too many to look at."""
        if self.size is None or not self.constraints:
            return self.size
        names = frozenset[str]().union(*(constraint.names for constraint in self.constraints))
        concerned = [component for component in self._components if component.names & names]
        total = math.prod(component.size for component in concerned)
        if total > MAX_COUNTED:
            return self.size
        allowed = sum(self._allows(_mixed_radix(concerned, index)) for index in range(total))
        return self.size // total * allowed if total else 0

    @cached_property
    def even(self) -> bool:
        """Whether the points are finitely many and all equally likely."""
        return all(p.distribution.even and not p.conditions for p in self.parameters.values())

    def nth(self, index: int) -> Params | None:
        """Give the point at `index`, or None if a constraint rules it out; IndexError beyond `size`."""
        size = self.size
        if size is None or not 0 <= index < size:
            raise IndexError(f"no point {index} in a space of size {size}")
        flat = _mixed_radix(self._components, index)
        return self.unflatten(flat) if self._allows(flat) else None

    @cached_property
    def _components(self) -> list[Component]:
        last = len(self._rank)
        ranked = sorted(self.parameters.values(), key=lambda p: (self._rank.get(p.name, last), p.name))
        return [Component(group) for group in connected(ranked)]

    # ---- chance

    def draw(self, seed: int, index: int) -> Params | None:
        """Give the random point number `index` of a seed, or None if a constraint rules it out.

        A pure function of its arguments and the space. Each parameter has its own stream of chance, so adding
        one leaves the others' values as they were.
        """
        flat: dict[str, Any] = {}
        for parameter in self._ordered:
            if parameter.active(flat):
                flat[parameter.name] = parameter.distribution.ppf(_chance(seed, index, parameter.name))
        return self.unflatten(flat) if self._allows(flat) else None

    # ---- points

    def suggestion(self, params: Params) -> Suggestion:
        """Give a point with its key; values that stand for a value of the space (3.0 for 3) become it."""
        flat = self.flatten(params)
        for name, value in flat.items():
            parameter = self.parameters.get(name)
            if parameter is not None and (found := parameter.distribution.find(value)) is not None:
                flat[name] = found[0]
        return Suggestion(content_key(flat), self.unflatten(flat))

    def check(self, params: Params) -> list[str]:
        """Say why params are no point of this space, one sentence each; empty if they are one."""
        flat = self.flatten(params)
        reasons: list[str] = []
        for name in flat:
            if name not in self.parameters:
                close = difflib.get_close_matches(name, self.parameters, n=1)
                reasons.append(f"{name} is no parameter" + (f"; did you mean {close[0]}?" if close else ""))
        for parameter in self._ordered:
            reasons += self._check_one(parameter, flat)
        if not reasons:
            reasons += [f"{item.text} does not hold" for item in self.constraints if not item.allows(flat)]
        return reasons

    def _check_one(self, parameter: Parameter, flat: Mapping[str, Any]) -> list[str]:
        name = parameter.name
        active = parameter.active(flat)
        if name not in flat:
            return [f"{name} is missing"] if active else []
        if not active:
            return [f"{name} is there only when {parameter.describe_conditions()}"]
        if parameter.distribution.find(flat[name]) is None:
            return [f"{name} = {flat[name]!r} is outside its domain: {parameter.distribution.describe()}"]
        return []

    def flatten(self, params: Params) -> dict[str, Any]:
        """Give params by dotted name, sorted; a mapping that is the value of a parameter stays one."""
        flat: dict[str, Any] = {}
        leaves = {parameter.path for parameter in self.parameters.values()}
        stack: list[tuple[tuple[str, ...], Any]] = [((), params)]
        while stack:
            path, value = stack.pop()
            if isinstance(value, Mapping) and path not in leaves and (value or not path):
                items = cast("Mapping[str, Any]", value).items()
                stack += [((*path, str(key)), item) for key, item in items]
            else:
                flat[".".join(path)] = value
        return dict(sorted(flat.items()))

    def unflatten(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """Give params as a program sees them; names that are no parameter stay at the top level."""
        params: dict[str, Any] = {}
        for name in sorted(flat):
            path = self.parameters[name].path if name in self.parameters else (name,)
            place = params
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = flat[name]
        return params

    # ---- the unit cube

    @cached_property
    def dimensions(self) -> tuple[str, ...]:
        """Dotted names of what `encode` gives, in order: the parameters with more than one value."""
        return tuple(name for name, item in self.parameters.items() if item.distribution.size != 1)

    def encode(self, params: Params) -> list[float]:
        """Give a point's place in [0, 1]^d, one number per `dimensions`; INACTIVE for what is absent."""
        flat = self.flatten(params)
        return [
            self.parameters[name].distribution.encode(flat[name]) if name in flat else INACTIVE
            for name in self.dimensions
        ]

    def decode(self, vector: Sequence[float]) -> Params:
        """Give the point at a place in [0, 1]^d; undoes `encode`. Constraints are not looked at."""
        places = dict(zip(self.dimensions, vector, strict=True))
        flat: dict[str, Any] = {}
        for parameter in self._ordered:
            if parameter.active(flat):
                flat[parameter.name] = parameter.distribution.decode(places.get(parameter.name, INACTIVE))
        return self.unflatten(flat)

    def describe(self) -> list[AxisRow]:
        """Give the parameters for a person to read, by name."""
        return [
            AxisRow(name, item.distribution.describe(), item.distribution.size, item.describe_conditions())
            for name, item in self.parameters.items()
        ]

    def _allows(self, flat: Mapping[str, Any]) -> bool:
        return all(constraint.allows(flat) for constraint in self.constraints)


def _mixed_radix(components: Sequence[Component], index: int) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for component in reversed(components):
        index, digit = divmod(index, component.size)
        flat.update(component.nth(digit))
    return flat


def _chance(seed: int, index: int, name: str) -> float:
    """Give a number in [0, 1) with 53 random bits, the same for the same arguments everywhere and always."""
    digest = hashlib.blake2b(f"{seed}\n{index}\n{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
