"""A document as a tree whose every value knows its place, and the problems found in it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union, cast

from besom.errors import Problem, SweepFileError

MAX_NODES = 100_000  # after every alias is expanded
MAX_DEPTH = 50
MAX_BITS = 1024  # of a whole number: what a float can hold the magnitude of


class Place(NamedTuple):
    """A 1-based line and column."""

    line: int
    column: int


Value = Union[None, bool, int, float, str, "list[Node]", "dict[str, Entry]"]


class Node:
    """A value and its place (None where it came from Python); `weight` counts it and all inside it."""

    __slots__ = ("depth", "place", "value", "weight")

    def __init__(self, value: Value, place: Place | None = None) -> None:
        self.value = value
        self.place = place
        self.weight = 1
        self.depth = 1
        if isinstance(value, (list, dict)) and value:
            children = [entry.node for entry in value.values()] if isinstance(value, dict) else value
            self.weight += sum(child.weight for child in children)
            self.depth += max(child.depth for child in children)

    def plain(self) -> Any:
        """Give the JSON value without places."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


class Entry(NamedTuple):
    """A value in a mapping and the place of its key."""

    node: Node
    key_place: Place | None


@dataclass
class Problems:
    """Collects what is wrong with one source; of several problems at one place only the first is kept."""

    source: str
    found: list[Problem] = field(default_factory=list[Problem])
    _places: set[Place] = field(default_factory=set[Place])

    def add(self, place: Place | None, message: str) -> None:
        """Note a problem."""
        if place is not None and place in self._places:
            return
        if place is not None:
            self._places.add(place)
        self.found.append(problem_at(self.source, place, message))

    def raise_any(self) -> None:
        """Raise SweepFileError with everything noted, in file order; do nothing when that is nothing."""
        if self.found:
            raise SweepFileError(sorted(self.found, key=lambda item: (item.line or 0, item.column or 0)))


def problem_at(source: str, place: Place | None, message: str) -> Problem:
    """Give a problem of `source`."""
    return Problem(message, source, *place) if place else Problem(message, source)


def from_python(value: Any, problems: Problems) -> Node:
    """Give the tree of a Python value: JSON types, tuples, and numpy arrays and scalars (by their `tolist`).

    SweepFileError for a value that is too large or deep, or contains itself; what else is no JSON is noted.
    """
    return _Reader(problems).read(value, 1)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Give "; did you mean ...?" when a known name is close, else the known names when they are few."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if len(known) <= 8 else ""


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.nodes = 0

    def read(self, value: Any, depth: int) -> Node:
        self.nodes += 1
        if depth > MAX_DEPTH:
            self.refuse(f"nested more than {MAX_DEPTH} deep, or inside itself")
        if self.nodes > MAX_NODES:
            self.refuse(f"more than {MAX_NODES} values")
        if hasattr(value, "tolist"):  # numpy, without importing it
            value = value.tolist()
        if isinstance(value, Mapping):
            entries = cast("Mapping[object, object]", value).items()
            return Node({self.key(key): Entry(self.read(item, depth + 1), None) for key, item in entries})
        if isinstance(value, (list, tuple)):
            return Node([self.read(item, depth + 1) for item in cast("Sequence[Any]", value)])
        return Node(self.scalar(value))

    def key(self, key: object) -> str:
        if not isinstance(key, str):
            self.problems.add(None, f"key {key!r} is not text; write {str(key)!r}")
        return str(key)

    def scalar(self, value: Any) -> bool | int | float | str | None:
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.add(None, f"{value!r} is not a finite number")
            return None
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            self.problems.add(None, f"a number of {value.bit_length()} bits is too large")
            return None
        if isinstance(value, str):
            return str.__str__(value)  # of an enum, too, the text
        for plain in (bool, int, float):
            if isinstance(value, plain):
                return plain(value)
        if value is not None:
            kind = type(value).__name__
            self.problems.add(None, f"there is a value of type {kind}, which sweep configs cannot hold")
        return None

    def refuse(self, message: str) -> None:
        raise SweepFileError([*self.problems.found, problem_at(self.problems.source, None, message)])


def joined(path: str, key: str) -> str:
    """Give the dotted path of a key inside `path`."""
    return f"{path}.{key}" if path else key


def listed(names: Iterable[str]) -> str:
    """Give names as "a, b and c"."""
    *first, last = sorted(names)
    return f"{', '.join(first)} and {last}" if first else last
