"""Reads `early_terminate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from besom.plugins import has_plugin, nearest_plugin
from besom.sweepfile.fields import Fields

EARLY_KEYS: dict[str, tuple[str, ...]] = {
    "asha": ("min_iter", "max_iter", "eta", "min_runs"),
    "hyperband": ("min_iter", "max_iter", "s", "eta", "strict"),
    "median": ("min_iter", "min_runs", "interval"),
    "wilcoxon": ("p", "min_iter"),
    "patience": ("patience", "min_delta", "min_iter"),
    "threshold": ("lower", "upper", "min_iter"),
}
"""The keys of each type; `type` and `resource` go with all of them."""


def read_early_terminate(fields: Fields) -> Mapping[str, Any] | None:
    """Give the settings of early termination with the defaults of its type; None when there is none."""
    node = fields.node("early_terminate")
    if node is None:
        return None
    if not isinstance(node.value, dict):
        fields.add("early_terminate", "must be a mapping; write {type: hyperband, min_iter: 3}")
        return None
    own = Fields(node, "early_terminate", fields.problems)
    kind = own.text("type")
    if kind is None:
        own.require("type")
        return None
    resource = own.text("resource")
    if resource == "":
        own.add("resource", "must name what is logged beside the metric, such as epoch")
    common = {"type": kind, **({"resource": resource} if resource else {})}
    if kind in READERS:
        own.only({"type", "resource", *EARLY_KEYS[kind]})
        return {**common, **READERS[kind](own)}
    if not has_plugin("besom.stoppers", kind):
        own.add("type", f"cannot be {kind!r}; {nearest_plugin('besom.stoppers', kind)}")
    plain: dict[str, Any] = node.plain()
    return plain


def _hyperband(own: Fields) -> dict[str, Any]:
    settings = _whole(own, "min_iter", "max_iter", "s")
    if "min_iter" not in own and not ("max_iter" in own and "s" in own):
        own.problems.add(own.place, "early_terminate needs min_iter, or max_iter and s")
    return {**settings, "eta": _eta(own, 3), "strict": own.flag("strict", True)}


def _asha(own: Fields) -> dict[str, Any]:
    settings = _whole(own, "min_iter", "max_iter", "min_runs")
    if own.node("min_iter") is None:
        own.problems.add(own.place, "early_terminate needs min_iter: about an eighth of a full run")
    if "max_iter" in settings and settings["max_iter"] < settings.get("min_iter", 1):
        own.add("max_iter", f"is below min_iter ({settings['min_iter']}), which leaves no rung")
    return {**settings, "eta": _eta(own, 3)}


def _median(own: Fields) -> dict[str, Any]:
    return _whole(own, "min_iter", "min_runs", "interval")


def _wilcoxon(own: Fields) -> dict[str, Any]:
    p = own.number("p", 0.1)
    if p is not None and not 0 < p < 1:
        own.add("p", f"must be between 0 and 1, not {p!r}")
    return {**_whole(own, "min_iter"), "p": p}


def _patience(own: Fields) -> dict[str, Any]:
    own.require("patience")
    patience = own.number("patience")
    if patience is not None and patience <= 0:
        own.add("patience", f"must be above 0, not {patience!r}")
    min_delta = own.number("min_delta", 0)
    if min_delta is not None and min_delta < 0:
        own.add("min_delta", f"must be at least 0, not {min_delta!r}")
    return {"patience": patience, "min_delta": min_delta, **_whole(own, "min_iter")}


def _threshold(own: Fields) -> dict[str, Any]:
    lower, upper = own.number("lower"), own.number("upper")
    if own.node("lower") is None and own.node("upper") is None:
        own.problems.add(own.place, "early_terminate needs upper or lower")
    if lower is not None and upper is not None and lower > upper:
        own.add("lower", f"({lower!r}) is above upper ({upper!r})")
    bounds = {key: bound for key, bound in (("lower", lower), ("upper", upper)) if bound is not None}
    return {**bounds, **_whole(own, "min_iter")}


def _whole(own: Fields, *keys: str) -> dict[str, Any]:
    numbers = {key: own.whole(key, least=1) for key in keys}
    return {key: number for key, number in numbers.items() if number is not None}


def _eta(own: Fields, default: float) -> float | None:
    eta = own.number("eta", default)
    if eta is not None and eta <= 1:
        own.add("eta", f"must be above 1, not {eta!r}")
    return eta


READERS: dict[str, Callable[[Fields], dict[str, Any]]] = {
    "asha": _asha,
    "hyperband": _hyperband,
    "median": _median,
    "wilcoxon": _wilcoxon,
    "patience": _patience,
    "threshold": _threshold,
}
