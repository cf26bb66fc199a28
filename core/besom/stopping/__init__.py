"""Early termination: whether a running run is worth going on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from besom.plugins import load_plugin
from besom.stopping.base import Board, Point, Stopper, Verdict

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

__all__ = ["Board", "Point", "Stopper", "Verdict", "create_stopper"]


def create_stopper(config: SweepConfig) -> Stopper | None:
    """Give the stopper that `early_terminate` names; None if the sweep has none, or no metric to judge by."""
    if not config.early_terminate or config.metric is None:
        return None
    return cast("Stopper", load_plugin("besom.stoppers", str(config.early_terminate["type"]))(config))
