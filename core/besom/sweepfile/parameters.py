"""Reads `parameters` and `constraints`: names, nesting, conditions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from besom.errors import UsageError
from besom.space import Condition, Parameter
from besom.space.constraints import compile_constraint
from besom.space.parameters import parents_first
from besom.space.values import is_number
from besom.sweepfile.domains import plain_keys, read_distribution, warning
from besom.sweepfile.fields import Fields, described
from besom.sweepfile.tree import Node, Place, Problems, did_you_mean, joined, problem_at

NAME = re.compile(r"\+{0,2}[A-Za-z_][A-Za-z0-9_./@-]*")
"""What a parameter may be called: a config key, or what Hydra calls one (`+key`, `group/sub@package`)."""
_OWN = frozenset({"when"})


class ParameterReader:
    """Walks `parameters`, collecting leaves, their places and the warnings about them."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.parameters: dict[str, Parameter] = {}
        self.names: set[str] = set()  # also of those that have problems
        self.places: dict[str, Place | None] = {}
        self.conditions: list[tuple[Condition, Place | None]] = []
        self.warnings: list[str] = []

    def read(self, node: Node) -> tuple[Parameter, ...]:
        """Give the leaves that could be read, by name."""
        self._group(node, (), ())
        self._check_conditions()
        return tuple(self.parameters[name] for name in sorted(self.parameters))

    def _group(self, node: Node, path: tuple[str, ...], conditions: tuple[Condition, ...]) -> None:
        place = ".".join(("parameters", *path))
        if not isinstance(node.value, dict):
            self.problems.add(node.place, f"{place} must be a mapping of names, not {described(node)}")
            return
        if not node.value:
            self.problems.add(node.place, f"{place} is empty; give at least one parameter")
        for name, entry in node.value.items():
            if NAME.fullmatch(name):
                self._one(entry.node, (*path, name), entry.key_place, conditions)
            else:
                self.problems.add(
                    entry.key_place,
                    f"{place} cannot have a parameter called {name!r}; names have letters, digits, _ . - / @,"
                    " and begin with a letter, _ or +",
                )

    def _one(
        self, node: Node, path: tuple[str, ...], place: Place | None, outer: tuple[Condition, ...]
    ) -> None:
        where = ".".join(("parameters", *path))
        if not isinstance(node.value, dict):
            kind = "values" if isinstance(node.value, list) else "value"
            shown = str(node.plain()) if isinstance(node.value, list) else described(node)
            hint = "" if node.value is None else f"; write {{{kind}: {shown[:60]}}}"
            self.problems.add(node.place, f"{where} must be a mapping{hint}")
            return
        fields = Fields(node, where, self.problems)
        conditions = (*outer, *self._when(fields))
        if "parameters" in fields and not (fields.entries.keys() & plain_keys()):
            fields.only({"parameters", *_OWN})
            self._group(fields.entries["parameters"].node, path, conditions)
            return
        self._leaf(fields, path, place, conditions)

    def _leaf(
        self, fields: Fields, path: tuple[str, ...], place: Place | None, conditions: tuple[Condition, ...]
    ) -> None:
        name = ".".join(path)
        if name in self.names:
            self.problems.add(place, f"a second parameter has the dotted name {name}")
            return
        self.names.add(name)
        self.places[name] = place
        distribution = read_distribution(fields, _OWN)
        if distribution is not None:
            unique = tuple({condition.identity: condition for condition in conditions}.values())
            self.parameters[name] = Parameter(path, distribution, unique)
        if (advice := warning(fields)) is not None:
            self.warnings.append(str(problem_at(self.problems.source, place, advice)))

    # ---- conditions

    def _when(self, fields: Fields) -> list[Condition]:
        node = fields.node("when")
        if node is None:
            return []
        if not isinstance(node.value, dict) or not node.value:
            fields.add("when", "must be a mapping such as {optimizer: sgd}")
            return []
        found: list[Condition] = []
        for parent, entry in node.value.items():
            condition = self._condition(parent, entry.node, joined(fields.path, "when"))
            if condition is not None:
                found.append(condition)
                self.conditions.append((condition, entry.key_place))
        return found

    def _condition(self, parent: str, node: Node, path: str) -> Condition | None:
        if isinstance(node.value, list):
            return self._among(parent, node, path, negated=False)
        if not isinstance(node.value, dict):
            return Condition(parent, (node.plain(),))
        fields = Fields(node, joined(path, parent), self.problems)
        fields.only({"not", "min", "max"})
        if "not" in fields:
            if len(fields.entries) > 1:
                fields.add("not", "cannot stand beside min and max")
                return None
            return self._among(parent, fields.entries["not"].node, path, negated=True)
        if not fields.entries:
            self.problems.add(node.place, f"{fields.path} needs min, max or not")
        low, high = fields.number("min", -math.inf), fields.number("max", math.inf)
        if low is None or high is None:
            return None
        if low > high:
            fields.add("min", f"({low!r}) is above max ({high!r})")
        return Condition(parent, between=(low, high))

    def _among(self, parent: str, node: Node, path: str, *, negated: bool) -> Condition | None:
        items: Sequence[Node] = node.value if isinstance(node.value, list) else [node]
        if not items or any(isinstance(item.value, (list, dict)) for item in items):
            self.problems.add(node.place, f"{path}.{parent} must be a value, or a list of values")
            return None
        return Condition(parent, tuple(item.plain() for item in items), negated)

    def _check_conditions(self) -> None:
        known = True
        for condition, place in self.conditions:
            if condition.parent not in self.names:
                known = False
                hint = did_you_mean(condition.parent, self.names)
                self.problems.add(place, f"when: {condition.parent} is no parameter{hint}")
            elif condition.parent in self.parameters and self._never(condition):
                domain = self.parameters[condition.parent].distribution.describe()
                self.problems.add(place, f"when: {condition.describe()}, which never happens; it is {domain}")
        self.parameters = {
            name: replace(item, conditions=tuple(c for c in item.conditions if c.parent in self.parameters))
            for name, item in self.parameters.items()
        }
        if known:
            parents_first(tuple(self.parameters.values()), self._cycle)

    def _never(self, condition: Condition) -> bool:
        """Say whether the parent can certainly not meet the condition."""
        distribution = self.parameters[condition.parent].distribution
        if condition.between is None:
            found = [distribution.find(value) for value in condition.values]
            return None in found if not condition.negated else False
        size = distribution.size
        ends = (0.0, 1.0) if size is None else ()
        values = (
            [distribution.ppf(u) for u in ends]
            if size is None
            else map(distribution.nth, range(min(size, 100_000)))
        )
        numbers = [value for value in values if is_number(value)]
        low, high = condition.between
        return not numbers or min(numbers) > high or max(numbers) < low

    def _cycle(self, rest: Sequence[Parameter]) -> None:
        names = ", ".join(parameter.name for parameter in rest)
        self.problems.add(
            self.places[rest[0].name], f"the conditions of {names} depend on one another in a circle"
        )


def read_constraints(node: Node | None, names: set[str], problems: Problems) -> tuple[str, ...]:
    """Give the expressions under `constraints`, each of them known to compile."""
    if node is None:
        return ()
    if not isinstance(node.value, list):
        problems.add(node.place, "constraints must be a list of expressions")
        return ()
    found: list[str] = []
    for item in node.value:
        if not isinstance(item.value, str):
            problems.add(
                item.place,
                f"a constraint is an expression such as 'depth * width <= 512', not {described(item)}",
            )
            continue
        try:
            compile_constraint(item.value, names)
        except UsageError as error:
            problems.add(item.place, str(error))
        else:
            found.append(item.value)
    return tuple(found)
