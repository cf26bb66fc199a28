"""How a sweep decides what to run next: the methods, found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from besom.plugins import load_plugin

if TYPE_CHECKING:
    from besom.search.base import Method
    from besom.sweepfile import SweepConfig


def create_method(config: SweepConfig) -> Method:
    """Give the method that a sweep's config names; NotFoundError if no installed package brings it."""
    return cast("Method", load_plugin("besom.methods", config.method)(config))
