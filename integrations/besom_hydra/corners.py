"""Composes a few configs of a sweep before any job runs: a bad key is told at once, in Hydra's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from besom_hydra.plan import is_group

if TYPE_CHECKING:
    from besom.space import SearchSpace
    from besom_hydra.app import App

MOST = 32
"""Configs that are composed at most; each takes Hydra 60 ms."""


def validate(app: App, space: SearchSpace, line_at: Callable[[Mapping[str, Any]], Sequence[str]]) -> None:
    """Raise what Hydra raises for a config of the sweep that cannot be composed.

    Looked at are the first and the last value of every axis, and every option of every config group; all axes
    move together, so there are as many configs as the largest group has options.
    """
    for params in corners(app, space):
        app.hydra_context.config_loader.load_sweep_config(app.config, list(line_at(params)))


def corners(app: App, space: SearchSpace) -> list[Mapping[str, Any]]:
    """Give the points whose configs are composed."""
    loader = app.hydra_context.config_loader
    sizes: dict[str, int] = {}
    for name in space.dimensions:
        size = space.parameters[name].distribution.size
        sizes[name] = size if size is not None and is_group(name, loader) else 2
    count = min(MOST, max(sizes.values(), default=1))
    return [space.decode([_place(index % size, size) for size in sizes.values()]) for index in range(count)]


def _place(index: int, size: int) -> float:
    """Give the place in [0, 1] of option `index` of `size`; of two, the ends."""
    return float(index) if size == 2 else (index + 0.5) / size
