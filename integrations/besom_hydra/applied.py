"""Checks in a composed config that what a sweep chose is what the app got."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from besom_hydra.arguments import is_group_key, overrides, split_override
from besom_hydra.drift import leaves

if TYPE_CHECKING:
    from omegaconf import DictConfig

ABSENT = object()


def unapplied(params: Mapping[str, Any], config: DictConfig) -> list[str]:
    """Give what of `params` is not in the composed `config`, such as "lr is 0.1, not 0.2".

    A value that a structured config has converted counts, if the last override of its name is the sweep's.
    """
    from omegaconf import OmegaConf

    plain = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))
    hydra: Mapping[str, Any] = plain.get("hydra", {})
    choices: Mapping[str, Any] = hydra.get("runtime", {}).get("choices", {})
    given: Mapping[str, list[str]] = hydra.get("overrides", {})
    last = {
        split_override(line)[1]: line
        for lines in (given.get("hydra"), given.get("task"))
        for line in lines or ()
    }
    wrong: list[str] = []
    for name, value in _named(params, choices):
        key = split_override(name)[1] or name
        is_group = key in choices and not isinstance(value, Mapping)
        found = choices[key] if is_group else look_up(plain, key)
        if not (_same(found, value) or _said(last.get(key), key, value)):
            there = "is not there" if found is ABSENT else f"is {found!r}"
            wrong.append(f"{key} {there}, not {value!r}")
    return wrong


def _named(params: Mapping[str, Any], choices: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Give parameters by their dotted names; a config group's choice stays whole."""
    named: list[tuple[str, Any]] = []
    for name, value in params.items():
        if isinstance(value, Mapping) and value and name not in choices and not is_group_key(name):
            named += leaves(cast("Mapping[str, Any]", value), f"{name}.")
        else:
            named.append((name, cast("Any", value)))
    return named


def look_up(plain: Any, key: str) -> Any:
    """Give the value under a dotted key, whose parts may hold dots themselves; else `ABSENT`."""
    if isinstance(plain, Mapping) and key in plain:
        return cast("Mapping[str, Any]", plain)[key]
    parts = key.split(".")
    for cut in range(1, len(parts)):
        inner = _step(plain, ".".join(parts[:cut]))
        if inner is not ABSENT and (found := look_up(inner, ".".join(parts[cut:]))) is not ABSENT:
            return found
    return _step(plain, key)


def _step(plain: Any, key: str) -> Any:
    if isinstance(plain, Mapping):
        return cast("Mapping[str, Any]", plain).get(key, ABSENT)
    if isinstance(plain, list) and key.isdecimal():
        items = cast("Sequence[Any]", plain)
        return items[int(key)] if int(key) < len(items) else ABSENT
    return ABSENT


def _same(found: Any, value: Any) -> bool:
    if isinstance(found, Enum):
        return value in (found.name, found.value)
    if isinstance(found, float) and math.isnan(found):
        return isinstance(value, float) and math.isnan(value)
    return bool(found == value) or (found is not ABSENT and str(found) == str(value))


def _said(line: str | None, key: str, value: Any) -> bool:
    return line is not None and split_override(line)[2] == split_override(overrides(key, value)[0])[2]
