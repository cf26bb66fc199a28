"""Notices that an app's config has changed while its sweep goes on.

Hydra composes a job's config when the job starts, from the files as they are then. So the first run of a
sweep that composes from certain config groups leaves what it got, less what the sweep chooses, in a file;
later runs from the same groups compare. Interpolations are compared as they are written, so that times do not
count.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from besom_hydra.arguments import split_override

if TYPE_CHECKING:
    from omegaconf import DictConfig

_SHOWN = 5
_ABSENT = object()


def note_drift(folder: Path, config: DictConfig, chosen: Mapping[str, Any]) -> list[str]:
    """Give what has changed, such as "opt.lr: 0.1 -> 0.2"; nothing for the first run, which is kept instead.

    `config` is the composed one with its `hydra` node, `chosen` what the sweep sets, nested or dotted.
    OSError when `folder` cannot be used.
    """
    from omegaconf import OmegaConf

    plain = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False, enum_to_str=True))
    choices: Mapping[str, Any] = plain.pop("hydra", {}).get("runtime", {}).get("choices", {})
    groups = {name: option for name, option in choices.items() if not name.startswith("hydra/")}
    named = {split_override(name)[1] for name, _ in leaves(chosen)} - groups.keys()
    now = {key: value for key, value in leaves(plain) if not any(_inside(key, name) for name in named)}
    path = folder / f"hydra-{_digest(groups)}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _keep(path, {"groups": groups, "config": now})
        return []
    # The sweep may have been extended since, by parameters that the first run had from the config.
    before = {
        key: value for key, value in kept["config"].items() if not any(_inside(key, name) for name in named)
    }
    return list(_changes(before, json.loads(_dump(now))))


def leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give every value that is no mapping, or an empty one, by its dotted name."""
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from leaves(cast("Mapping[str, Any]", value), f"{name}.")
        else:
            yield name, value


def described(changes: list[str]) -> str:
    """Give the changes in one line."""
    more = f", and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return "; ".join(changes[:_SHOWN]) + more


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *now}):
        old, new = before.get(key, _ABSENT), now.get(key, _ABSENT)
        if old is _ABSENT:
            yield f"{key}: now {json.dumps(new)}, not there before"
        elif new is _ABSENT:
            yield f"{key}: was {json.dumps(old)}, not there now"
        elif old != new:
            yield f"{key}: {json.dumps(old)} -> {json.dumps(new)}"


def _inside(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.")


def _digest(groups: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dump(groups).encode()).hexdigest()[:16]


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _keep(path: Path, document: Mapping[str, Any]) -> None:
    """Write a file unless it is there, whole or not at all: runs may start at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_dump(document))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()
