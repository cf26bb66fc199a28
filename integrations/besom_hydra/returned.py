"""Reads what a Hydra app's task returned as metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from besom.errors import BesomError
from besom.jsonable import jsonable
from besom.records import Metric, metric_value

RETURNED = "return_value"
"""What a returned number is called when the sweep names no metric, or the program has reported that one."""


class ReturnError(BesomError):
    """What the task returned is no result."""


def metrics_of(returned: object, metric: Metric | None, reported: Mapping[str, Any]) -> dict[str, Any]:
    """Give the metrics in what a task returned that the program has not `reported` itself.

    A number is the sweep's metric, or `return_value` where that has been reported or there is none; a mapping
    holds metrics by name. ReturnError when the sweep's metric then is missing or not a finite number.
    """
    value = jsonable(returned)
    found: dict[str, Any] = {}
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value)
        found = {name: held for name, held in items.items() if name not in reported and _is_metric(held)}
    elif _is_metric(value):
        wanted = None if metric is None or _has(reported, metric.name) else metric.name
        found = {wanted or RETURNED: value}
    if metric is not None and not _has(reported, metric.name):
        _require(metric.name, found, returned)
    return found


def _require(name: str, found: Mapping[str, Any], returned: object) -> None:
    if metric_value(found, name) is not None:
        return
    if returned is None:
        what = "the task returned nothing"
    elif found.get(name) in ("NaN", "Infinity", "-Infinity"):
        what = f"the task returned {found[name]}"
    elif isinstance(returned, Mapping):
        named = cast("Mapping[object, object]", returned)
        what = f"the task returned no number under that name, only {', '.join(map(repr, named)) or 'nothing'}"
    else:
        shown = repr(returned)
        what = f"the task returned {shown if len(shown) <= 80 else shown[:79] + '…'}, which is no number"
    raise ReturnError(f"no {name!r}, the sweep's metric, was reported, and {what}")


def _is_metric(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value in ("NaN", "Infinity", "-Infinity")
    return isinstance(value, int) and not isinstance(value, bool)


def _has(reported: Mapping[str, Any], name: str) -> bool:
    return name in reported or metric_value(reported, name) is not None
