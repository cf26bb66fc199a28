"""What a benchmark problem is: a search space in the sweep file's language, and a function to minimize."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from besom.sweepfile import SweepConfig, from_mapping

BUDGET = 50
"""Runs that everybody has on each problem."""

Flat = Mapping[str, Any]
Outcome = tuple[float, float]
"""What a run reports, and the same without its noise."""


class RunFailedHere(Exception):  # noqa: N818 - an outcome
    """The run crashed at this point."""


@dataclass(frozen=True)
class Problem:
    """A function of a point's parameters (by dotted name) and a source of noise."""

    name: str
    kind: str
    parameters: Mapping[str, Any]
    function: Callable[[Flat, np.random.Generator], Outcome]
    optimum: Callable[[], float] | float | None = (
        None  # None: not known; the best that anybody found stands for it
    )
    held_out: bool = False
    instance: Callable[[int], Problem] | None = None  # another problem of the same space for every seed

    def of(self, seed: int) -> Problem:
        """Give what is played with this seed."""
        return self if self.instance is None else self.instance(seed)

    @cached_property
    def config(self) -> SweepConfig:
        """The problem as a sweep."""
        metric = {"name": "loss", "goal": "minimize"}
        return from_mapping(
            {"method": "bayes", "metric": metric, "parameters": self.parameters, "program": "x"}
        )

    def run(self, params: Flat, rng: np.random.Generator) -> Outcome:
        """Evaluate a point; RunFailedHere where it crashes."""
        return self.function(self.config.space.flatten(params), rng)

    def known_optimum(self) -> float | None:
        """Give the optimum, computing it where that takes a search."""
        return self.optimum() if callable(self.optimum) else self.optimum


def exact(function: Callable[[Flat], float]) -> Callable[[Flat, np.random.Generator], Outcome]:
    """Make a problem's function of one without noise."""

    def run(flat: Flat, rng: np.random.Generator) -> Outcome:
        value = float(function(flat))
        return value, value

    return run


def noisy(
    function: Callable[[Flat], float], deviation: Callable[[float], float]
) -> Callable[[Flat, np.random.Generator], Outcome]:
    """Make a problem's function that reports with normal noise, whose deviation depends on the value."""

    def run(flat: Flat, rng: np.random.Generator) -> Outcome:
        value = float(function(flat))
        return value + float(rng.normal()) * deviation(value), value

    return run


def box(count: int, low: float, high: float) -> dict[str, Any]:
    """Give `count` real parameters x0, x1, ... with the same bounds."""
    return {f"x{index}": {"min": float(low), "max": float(high)} for index in range(count)}


def vector(flat: Flat, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Give the values of a box's parameters."""
    return np.array([flat[f"x{index}"] for index in range(count)], dtype=float)


def log_range(low: float, high: float) -> dict[str, Any]:
    """Give a parameter that is uniform in its logarithm; whole numbers where the bounds are."""
    if isinstance(low, int):
        return {"distribution": "q_log_uniform_values", "min": low, "max": high, "q": 1}
    return {"distribution": "log_uniform_values", "min": low, "max": high}
