"""Sweeps and runs as rows: of JSON for programs, of words for people."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from besom.cli.output import Column, age, assignments, duration, number, print_table
from besom.records import ENDED, Metric, Progress, Run, RunState, Sweep

if TYPE_CHECKING:
    from besom.store.base import Store

SWEEP_COLUMNS = (
    Column("id"),
    Column("name", flexible=True),
    Column("method"),
    Column("state"),
    Column("runs", right=True),
    Column("best", right=True),
    Column("age", right=True),
)


def sweep_words(sweep: Sweep, progress: Progress) -> Sequence[str]:
    """Give the cells of a sweep under `SWEEP_COLUMNS`."""
    return (
        sweep.id,
        sweep.name,
        sweep.method,
        progress.state.value,
        done_of(progress),
        number(progress.best),
        age(sweep.created),
    )


def done_of(progress: Progress, expected: int | None = None) -> str:
    """Give how many runs have ended out of Est. Runs, as `3/12`.

    `3` alone where there is no end in sight, or where more have ended than the space has: prior runs, and
    those that were there before a sweep was given fewer values.
    """
    expected = progress.expected if expected is None else expected
    done = progress.count(*ENDED)
    return f"{done}" if expected is None or done > expected else f"{done}/{expected}"


def sweep_json(store: Store, sweep: Sweep) -> dict[str, Any]:
    """Give a sweep as JSON, with its counts and its best run."""
    progress, best = store.progress(sweep.id), store.best_run(sweep.id)
    metric = sweep.metric
    return {
        "id": sweep.id,
        "name": sweep.name,
        "project": sweep.project,
        "entity": sweep.entity,
        "state": progress.state.value,
        "method": sweep.method,
        "metric": {"name": metric.name, "goal": metric.goal, "target": metric.target} if metric else None,
        "expected_runs": progress.expected,
        "run_cap": sweep.run_cap,
        "runs": {state.value: count for state, count in progress.counts.items() if count},
        "best": {"run": best.id, "value": best.value} if best else None,
        "folder": sweep.folder,
        "version": sweep.version,
        "created": sweep.created,
        "updated": sweep.updated,
    }


def aims(goals: Iterable[Metric]) -> str:
    """Give what a sweep optimizes, as `loss, minimize; accuracy, maximize`."""
    return "; ".join(f"{metric.name}, {metric.goal}" for metric in goals)


def run_columns(metric: str | None) -> Sequence[Column]:
    """Give the columns of a table of runs; the metric's bears its name."""
    return (
        Column("#", right=True),
        Column("id"),
        Column("state"),
        Column(metric or "metric", right=True),
        Column("time", right=True),
        Column("parameters", flexible=True),
    )


def constants_of(sweep: Sweep) -> frozenset[str]:
    """Give the dotted names of parameters that have one value in every run: a table need not repeat them."""
    from besom.sweep import sweep_config

    parameters = sweep_config(sweep).space.parameters
    fixed = {name for name, item in parameters.items() if item.distribution.size == 1 and not item.conditions}
    return frozenset() if len(fixed) == len(parameters) else frozenset(fixed)


def run_words(run: Run, *, hidden: Container[str] = ()) -> Sequence[str]:
    """Give the cells of a run under `run_columns`, without parameters that are hidden."""
    return (
        str(run.number),
        run.id,
        run.state.value,
        number(run.value),
        duration(seconds_of(run)),
        assignments(run.params or run.config, hidden=hidden),
    )


def print_runs(sweep: Sweep | None, runs: Iterable[Run]) -> None:
    """Print a table of a sweep's runs, or of runs outside every sweep; where any has one, with its reason."""
    shown = list(runs)
    hidden = constants_of(sweep) if sweep else frozenset[str]()
    columns = run_columns(sweep.metric.name if sweep and sweep.metric else None)
    rows = [run_words(run, hidden=hidden) for run in shown]
    reasons = [reason(run.error or run.stop_reason) for run in shown]
    if any(reasons):
        columns = (*columns, Column("why", flexible=True))
        rows = [(*row, why) for row, why in zip(rows, reasons, strict=True)]
    print_table(columns, rows)


def reason(text: str | None) -> str:
    """Give why a run ended in one line: of a traceback its last, the exception."""
    return text.strip().splitlines()[-1] if text and text.strip() else ""


def seconds_of(run: Run) -> float | None:
    """Give how long the latest attempt took, or has taken so far; None for a run that waits for one."""
    if run.started is None or (run.ended is None and run.state is not RunState.RUNNING):
        return None
    return (time.time() if run.ended is None else run.ended) - run.started


def run_json(run: Run) -> dict[str, Any]:
    """Give a run as JSON."""
    return {
        "id": run.id,
        "sweep": run.sweep_id,
        "number": run.number,
        "name": run.name,
        "state": run.state.value,
        "value": run.value,
        "params": dict(run.params),
        "config": dict(run.config),
        "summary": dict(run.summary),
        "source": run.source,
        "attempt": run.attempt,
        "failures": run.failures,
        "crashes": run.crashes,
        "agent": run.agent_id,
        "stop_reason": run.stop_reason,
        "exit_code": run.exit_code,
        "error": run.error,
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
        "seconds": seconds_of(run) if run.state in ENDED else None,
    }
