"""SweepConfig: a checked sweep file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from besom.errors import Problem, SweepFileError
from besom.records import Limit, Metric
from besom.space import Parameter, SearchSpace
from besom.sweepfile.tree import Place

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")


@dataclass(frozen=True)
class SweepConfig:
    """What a sweep file says, with defaults filled in; `raw` is the file as JSON, `text` as it was written.

    Two are equal when they say the same, wherever they come from; `from_mapping(config.raw)` gives an equal
    one.
    """

    method: str
    parameters: tuple[Parameter, ...] = ()
    constraints: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    metric: Metric | None = None
    metrics: tuple[Metric, ...] = ()
    program: str | None = None
    command: tuple[str, ...] = DEFAULT_COMMAND
    run_cap: int | None = None
    max_attempts: int | None = None
    early_terminate: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What stands under the key that is called as the method is (`pbt`, `optuna`, `ax`, one of a package)."""
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None
    seed: int | None = None
    places: Mapping[str, Place] = field(default_factory=dict[str, Place], compare=False)
    """Where the method's settings stand in the file, by key, and begin (""); empty where there is no file."""
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text: str | None = field(default=None, compare=False)
    source: str = field(default="sweep config", compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What is allowed but ill-advised, each with its place."""

    @cached_property
    def space(self) -> SearchSpace:
        """The points the sweep can run."""
        return SearchSpace(self.parameters, self.constraints, self.order)

    @property
    def goals(self) -> tuple[Metric, ...]:
        """What is optimized: several metrics, one or none."""
        return self.metrics or ((self.metric,) if self.metric else ())

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What every run must keep, whatever it is optimized for."""
        return self.metric.limits if self.metric else ()

    def fault(self, key: str, message: str) -> SweepFileError:
        """Give the error of one of the method's settings, with its place in the file."""
        place = self.places.get(key) or self.places.get("") or ()
        return SweepFileError([Problem(message, self.source, *place)])

    @cached_property
    def expected_runs(self) -> int | None:
        """W&B's Est. Runs: how many runs there will be, by space and `run_cap`; None when there is no end."""
        planned = self.settings["population"] * self.settings["generations"] if self.method == "pbt" else None
        space = planned or self.space.expected
        counts = [count for count in (space, self.run_cap) if count is not None]
        return min(counts, default=None)
