"""The best runs of a sweep with several goals: those that no other run beats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from besom.pareto import front
from besom.records import Metric, Run, RunState, Sweep
from besom.summarize import goal_values
from besom.sweepfile import from_mapping

if TYPE_CHECKING:
    from besom.store.base import Store


def goals_of(sweep: Sweep) -> tuple[Metric, ...]:
    """Give what a sweep optimizes: one metric, several, or none."""
    if "metrics" in sweep.config:
        several = from_mapping(sweep.config, source=f"sweep {sweep.id}").metrics
        if several:
            return several
    return (sweep.metric,) if sweep.metric else ()


def values_of(run: Run, goals: tuple[Metric, ...]) -> tuple[float, ...] | None:
    """Give a run's value of each goal; None unless it has them all."""
    return goal_values(run.value, run.summary, goals)


def front_of(store: Store, sweep: Sweep) -> list[Run]:
    """Give the runs that keep all limits and that no other such run beats in one goal without losing another.

    Among FINISHED and STOPPED ones, the best of the first goal first. With one goal these are the best run
    and those equal to it.
    """
    goals = goals_of(sweep)
    runs: list[Run] = []
    values: list[list[float]] = []
    for run in store.list_runs(sweep.id, states=[RunState.FINISHED, RunState.STOPPED]):
        found = values_of(run, goals)
        if found is None or (sweep.metric is not None and not sweep.metric.feasible(run.summary)):
            continue
        runs.append(run)
        signs = (-1.0 if goal.goal == "maximize" else 1.0 for goal in goals)
        values.append([sign * value for sign, value in zip(signs, found, strict=True)])
    return [runs[index] for index in sorted(front(values), key=lambda index: (*values[index], index))]
