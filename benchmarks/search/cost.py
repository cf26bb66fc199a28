"""What a suggestion costs after many runs."""

from __future__ import annotations

import math
import time
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.harness import Figure
from benchmarks.search.contenders import Besom
from benchmarks.search.problem import Problem, exact, log_range
from besom.records import Observation, RunState

BARS = {(100, 6): 25.0, (1000, 20): 50.0, (5000, 20): 100.0}
REPEATS = 10


def mixed(axes: int) -> Problem:
    """Give a problem of some kinds of axes in turn."""
    kinds: list[dict[str, Any]] = [
        {"min": 0.0, "max": 1.0},
        log_range(1e-5, 1.0),
        log_range(1, 64),
        {"values": ["a", "b", "c"]},
        {"min": 0, "max": 20},
        {"min": -1.0, "max": 1.0},
    ]
    return Problem(
        "cost",
        "mixed",
        {f"x{index}": kinds[index % len(kinds)] for index in range(axes)},
        exact(lambda _: 0.0),
    )


def _loss(values: list[float], rng: np.random.Generator) -> float:
    return sum((value - 0.4) ** 2 for value in values) + 0.01 * float(rng.normal())


def costs(quick: bool) -> list[Figure]:
    """Time suggestions in the middle of a sweep, each after one more run, as CPU milliseconds."""
    found: list[Figure] = []
    for (runs, axes), bar in BARS.items():
        if quick and runs > 1000:
            continue
        problem, rng = mixed(axes), np.random.default_rng(0)
        space = problem.config.space
        besom = Besom(problem, 0, "bayes")
        for index in range(runs):
            params = space.draw(0, index)
            assert params is not None
            loss = _loss(space.encode(params), rng)
            besom.ended.append(Observation(str(index), RunState.FINISHED, params, loss, index + 1))
        besom.cursor = runs
        timings: list[float] = []
        for _ in range(REPEATS + 1):
            started = time.process_time()
            handle, params = besom.ask()
            timings.append(1000 * (time.process_time() - started))
            besom.tell(handle, _loss(space.encode(params), rng))
        median = sorted(timings[1:])[REPEATS // 2]
        note = f"{axes} axes; median {median:.0f}, the first after a restart {timings[0]:.0f}"
        assert all(map(math.isfinite, timings))
        found.append(
            Figure(f"suggestion after {runs} runs", fmean(timings[1:]), "ms CPU", bar, "lower", note)
        )
    return found
