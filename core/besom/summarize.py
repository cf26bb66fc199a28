"""A run's summary: one value per metric, folded from what the run logs by the rules of `define_metric`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from besom.errors import UsageError
from besom.jsonable import is_dict, is_mapping
from besom.records import Metric, metric_value

KINDS = ("min", "max", "mean", "best", "last", "copy", "none")
"""What `define_metric(summary=...)` takes; `copy`, without it: the latest value under the plain name."""

SUMMARIES = ("min", "max", "mean", "last", "best")
"""Of `KINDS`, those that make a metric of their own: `loss.min` beside `loss`."""

GOALS = {None: None, "min": "minimize", "max": "maximize", "minimize": "minimize", "maximize": "maximize"}


@dataclass(frozen=True, slots=True)
class _Rule:
    kinds: tuple[str, ...]
    goal: str | None


def summary_kinds(text: str | None) -> tuple[str, ...]:
    """Read the `summary` of `define_metric`, such as "min" or "min,last"; UsageError on an unknown word."""
    kinds = tuple(word.strip() for word in (text or "copy").split(","))
    for kind in kinds:
        if kind not in KINDS:
            close = difflib.get_close_matches(kind, KINDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it is one of {', '.join(KINDS)}"
            raise UsageError(f"define_metric(summary={text!r}): {kind!r} is no summary; {hint}")
    return kinds


class Summarizer:
    """Folds rows into `summary`; the same rows and rules give the same summary, live and replayed."""

    def __init__(self, metric: Metric | None = None) -> None:
        self.summary: dict[str, Any] = {}
        self.metric = metric
        self._rules: list[tuple[str, _Rule]] = []
        self._found: dict[str, _Rule | None] = {}
        self.counts: dict[str, int] = {}  # of the values in each mean

    def define(self, name: str, summary: str | None = None, goal: str | None = None, **_: Any) -> None:
        """Summarize the metric `name`, or those that a glob like "val/*" matches; later rules win."""
        if goal not in GOALS:
            raise UsageError(f"define_metric(goal={goal!r}): it is 'minimize' or 'maximize'")
        self._rules.append((name, _Rule(summary_kinds(summary), GOALS[goal])))
        self._found.clear()

    def log(self, row: Mapping[str, Any]) -> None:
        """Fold one row of JSON values in; nested ones by their dotted names."""
        self._fold(self.summary, row, "")

    def change(self, body: Mapping[str, Any]) -> None:
        """Take in what a program does to its summary: `set`, merged deeply, and `delete`, a list of paths."""
        _merge(self.summary, body.get("set", {}))
        for *above, key in body.get("delete", ()):
            node = lookup(self.summary, above)
            if is_dict(node):
                node.pop(key, None)

    def value(self) -> float | None:
        """Give the sweep's metric in the summary, None unless finite."""
        return summary_value(self.summary, self.metric) if self.metric else None

    def _fold(self, node: dict[str, Any], row: Mapping[str, Any], above: str) -> None:
        for key, value in row.items():
            if is_dict(value):
                if not is_dict(node.get(key)):
                    node[key] = {}
                self._fold(node[key], value, f"{above}{key}.")
            elif self._rules and (rule := self._rule(above + key)):
                self._apply(rule, node, key, above + key, value)
            else:
                node[key] = value

    def _rule(self, name: str) -> _Rule | None:
        if name not in self._found:
            matching = (rule for pattern, rule in reversed(self._rules) if fnmatchcase(name, pattern))
            self._found[name] = next(matching, None)
        return self._found[name]

    def _apply(self, rule: _Rule, node: dict[str, Any], key: str, name: str, value: Any) -> None:
        if rule.kinds == ("copy",):
            node[key] = value
        if rule.kinds in (("copy",), ("none",)):
            return
        held = node.get(key)
        part = held if is_dict(held) else {}
        if "last" in rule.kinds or "copy" in rule.kinds:
            part["last"] = value
        number = metric_value({"": value}, "")
        if number is not None:
            goal = rule.goal or (self.metric.goal if self.metric and self.metric.name == name else "minimize")
            for kind in rule.kinds:
                self._extreme(kind, "min" if goal == "minimize" else "max", part, name, value)
        if part:
            node[key] = part

    def _extreme(self, kind: str, best: str, part: dict[str, Any], name: str, value: Any) -> None:
        side = best if kind == "best" else kind
        # A program may have put anything there.
        held = part[kind] if metric_value(part, kind) is not None else None
        if side == "mean":
            self.counts[name] = count = self.counts.get(name, 0) + 1 if held is not None else 1
            part[kind] = value if held is None else held + (value / count - held / count)  # cannot overflow
        elif side == "min":
            part[kind] = value if held is None else min(held, value)
        elif side == "max":
            part[kind] = value if held is None else max(held, value)


def summary_value(summary: Mapping[str, Any], metric: Metric) -> float | None:
    """Give a metric's finite value in a summary, None when there is none.

    A metric that `define_metric` made into {"min": ..., ...} is found by "loss.min", and by plain "loss" too:
    it is then what the goal asks for, the best, else the latest, else the only one.
    """
    if (number := metric_value(summary, metric.name)) is not None:
        return number
    found = lookup(summary, metric.name.split("."))
    if is_mapping(found):
        ours = "min" if metric.goal == "minimize" else "max"
        parts = ("best", ours, "last", "mean", "min", "max")
        numbers = (metric_value(found, part) for part in parts)
        return next((number for number in numbers if number is not None), None)
    return metric_value({"": found}, "") if found is not None else None


def goal_values(
    value: float | None, summary: Mapping[str, Any], goals: Sequence[Metric]
) -> tuple[float, ...] | None:
    """Give a run's value of each goal, `value` being that of the first; None unless it has them all."""
    found = [value, *(summary_value(summary, goal) for goal in goals[1:])]
    known = tuple(number for number in found if number is not None)
    return known if goals and len(known) == len(goals) else None


def reported_value(data: Mapping[str, Any], name: str) -> float | None:
    """Give a row's finite value of the metric; of `loss` for `loss.min`, which only summaries have."""
    value = metric_value(data, name)
    base, _, summary = name.rpartition(".")
    return metric_value(data, base) if value is None and base and summary in SUMMARIES else value


def lookup(node: Any, words: Sequence[str]) -> Any:
    """Find a dotted name where keys themselves may have dots, longest key first."""
    if not words:
        return node
    if not is_mapping(node):
        return None
    for count in range(len(words), 0, -1):
        key = ".".join(words[:count])
        if key in node and (found := lookup(node[key], words[count:])) is not None:
            return found
    return None


def _merge(node: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        held = node.get(key)
        if is_dict(held) and is_dict(value):
            _merge(held, value)
        else:
            node[key] = value
