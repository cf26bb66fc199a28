"""How stoppers speak of rungs, losses and ranks in their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from besom.records import Goal
    from besom.sweepfile import SweepConfig


@dataclass(frozen=True, slots=True)
class Words:
    """The names a sweep uses: of its metric, its goal and its resource axis."""

    metric: str = "loss"
    goal: Goal = "minimize"
    resource: str | None = None

    def value(self, loss: float) -> str:
        """Give a loss as the metric that was logged."""
        return f"{loss if self.goal == 'minimize' else -loss:.6g}"

    def here(self, resource: float) -> str:
        """Give a place on the resource axis."""
        return place(resource, self.resource)


PLAIN = Words()


def words_of(config: SweepConfig) -> Words:
    """Give the names that a sweep's file uses."""
    resource = (config.early_terminate or config.settings).get("resource")
    if config.metric is None:
        return Words(resource=resource)
    return Words(config.metric.name, config.metric.goal, resource)


def place(resource: float, axis: str | None) -> str:
    """Give a place on the resource axis: `at report 9`, or `at epoch 9`."""
    return f"at {axis or 'report'} {resource:.10g}"


def amount(count: int, thing: str) -> str:
    """Give a count with its noun: `1 run`, `2 runs`."""
    return f"{count} {thing if count == 1 else thing + 's'}"
