"""Reads the settings of a method, under the key that is called as the method is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from besom.plugins import BUILTIN
from besom.sweepfile.fields import Fields, described
from besom.sweepfile.tree import Place

LEARNING = frozenset({"bayes", "pbt", "optuna", "ax"})
"""Methods that need a metric."""

SETTINGS = ("pbt", "optuna", "ax")
"""Methods of ours with settings; one that a package brings may have some, too."""

PBT_KEYS = ("population", "generations", "interval", "resource", "quantile", "perturb", "resample")


def settings_key(fields: Fields) -> str | None:
    """Give the key for the settings of the sweep's method, which is its name; None where it takes none."""
    node = fields.node("method")
    method = node.value if node is not None else None
    takes = isinstance(method, str) and (method in SETTINGS or method not in BUILTIN["besom.methods"])
    return str(method) if takes else None


def setting_places(fields: Fields) -> Mapping[str, Place]:
    """Give where each of the settings of the sweep's method stands, and under "" where they begin."""
    key = settings_key(fields)
    own = fields.node(key) if key else None
    entries = own.value if own is not None and isinstance(own.value, dict) else {}
    places = {"": own.place if own is not None else fields.where("method")}
    places |= {name: entry.key_place for name, entry in entries.items()}
    return {name: place for name, place in places.items() if place is not None}


def read_settings(fields: Fields) -> Mapping[str, Any]:
    """Give the settings of the sweep's method, with defaults; those of other methods are noted as wrong."""
    method = settings_key(fields)
    for key in SETTINGS:
        if key in fields and key != method:
            named = fields.node("method")
            fields.add(
                key, f"has the settings of method: {key}, but the method is {named.value if named else None}"
            )
    if method is None:
        return {}
    own = fields.node(method)
    if own is not None and not isinstance(own.value, dict):
        fields.add(method, f"must be a mapping, not {described(own)}")
        own = None
    if method != "pbt":  # what an engine takes, it knows itself
        plain: dict[str, Any] = own.plain() if own is not None else {}
        return plain
    if own is None:
        fields.add("method", "pbt needs pbt: {population: 8, generations: 10}")
        return {"population": 1, "generations": 1}
    return _pbt(Fields(own, "pbt", fields.problems))


def _pbt(own: Fields) -> dict[str, Any]:
    own.only(PBT_KEYS)
    own.require("population", "generations")
    settings: dict[str, Any] = {
        "population": own.whole("population", least=2) or 2,
        "generations": own.whole("generations", least=1) or 1,
        "quantile": _share(own, "quantile", 0.25, 0.5),
        "resample": _share(own, "resample", 0.25, 1.0),
        "perturb": _perturb(own),
    }
    if (interval := own.whole("interval", least=1)) is not None:
        settings["interval"] = interval
    if (resource := own.text("resource")) is not None:
        settings["resource"] = resource
        if "interval" not in own:
            own.add("resource", "says what interval counts; write interval too")
    return settings


def _share(own: Fields, key: str, default: float, most: float) -> float:
    share = own.number(key, default)
    if share is not None and not 0 <= share <= most:
        own.add(key, f"must be between 0 and {most:g}, not {share!r}")
    return default if share is None else share


def _perturb(own: Fields) -> tuple[float, ...]:
    node = own.node("perturb")
    if node is None:
        return (0.8, 1.2)
    given: Any = node.plain()
    items = cast("Sequence[Any]", given) if isinstance(given, list) else ()
    numbers = [item for item in items if isinstance(item, (int, float)) and not isinstance(item, bool)]
    if not numbers or len(numbers) < len(items) or min(numbers) <= 0:
        own.add("perturb", "must be a list of factors above 0, such as [0.8, 1.2]")
        return (0.8, 1.2)
    return tuple(float(number) for number in numbers)
