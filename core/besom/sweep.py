"""The verbs: create, extend, pause, resume, stop, cancel a sweep; retry, remove and enqueue its runs."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from besom.errors import NotFoundError, StateError, UsageError
from besom.priors import add_priors, ended_run, whole_point
from besom.records import (
    BAD_ENDINGS,
    ENDED,
    Metric,
    Params,
    Run,
    RunState,
    Sweep,
    SweepDraft,
    SweepState,
)

if TYPE_CHECKING:
    from besom.space import SearchSpace
    from besom.store.base import Store
    from besom.sweepfile import SweepConfig

SEED_BITS = 32
CREATE_ANEW = "create a new one with `besom sweep`"


def sweep_id_of(path: str) -> str:
    """Give the id at the end of `ID`, `project/ID`, `entity/project/ID`, `.../sweeps/ID` or an URL."""
    sweep_id = path.strip().rstrip("/").rpartition("/")[2]
    if not sweep_id:
        raise UsageError(f"{path!r} names no sweep; give its id, or entity/project/id")
    return sweep_id


def sweep_config(sweep: Sweep) -> SweepConfig:
    """Give the sweep's config as its latest version has it."""
    from besom.sweepfile import from_mapping

    return from_mapping(sweep.config, source=f"sweep {sweep.id}")


def create_sweep(
    store: Store,
    config: SweepConfig,
    *,
    project: str | None = None,
    entity: str | None = None,
    prior_runs: Sequence[str] = (),
    folder: Path | None = None,
) -> Sweep:
    """Create a sweep in state PENDING, with the seed it will use if the config has none.

    `folder` is what its program's name is relative to; None: the folder of the file that the config is from.

    `prior_runs` are ids of ended runs of any sweep in this store, or of none. They are copied into the sweep
    with their metric; a grid does not run their points again. NotFoundError if there is no such run,
    StateError if one has not ended; then nothing is created.
    """
    ids = dict.fromkeys(path.strip("/").rpartition("/")[2] for path in prior_runs)
    try_out(config)
    priors = [ended_run(store.get_run(run_id)) for run_id in ids]
    file = Path(config.source)
    place = folder or (file.parent if file.is_file() else None)
    raw = dict(config.raw)
    if config.seed is None:
        raw["seed"] = secrets.randbits(SEED_BITS)
    sweep = store.create_sweep(
        SweepDraft(
            config=raw,
            name=config.name or "",
            method=config.method,
            metric=config.metric,
            run_cap=config.run_cap,
            max_attempts=config.max_attempts,
            expected_runs=config.expected_runs,
            project=project or config.project,
            entity=entity or config.entity,
            text=config.text,
            folder=None if place is None else str(place.absolute()),
        )
    )
    add_priors(store, sweep.id, config, priors)
    return sweep


def extend_sweep(store: Store, sweep_id: str, config: SweepConfig) -> Sweep:
    """Give a sweep a new config, its next version: finished points are kept, and only new ones run.

    Method and metric (its name, goal and target) must stay; UsageError if they do not.
    StateError if the sweep is canceled.
    """
    sweep = store.get_sweep(sweep_id)
    _refuse(sweep, {SweepState.CANCELED}, "extended")
    if config.method != sweep.method:
        raise UsageError(
            f"{config.source}: sweep {sweep.id} is a {sweep.method} sweep and cannot become {config.method};"
            f" keep `method: {sweep.method}` or {CREATE_ANEW}"
        )
    if _aim(config.metric) != _aim(sweep.metric) or config.metrics != sweep_config(sweep).metrics:
        raise UsageError(
            f"{config.source}: sweep {sweep.id} judges by {_described(sweep.metric)}, not by"
            f" {_described(config.metric)}; keep `metric` as it is or {CREATE_ANEW}"
        )
    try_out(config)
    raw = dict(config.raw)
    if config.seed is None and "seed" in sweep.config:
        raw["seed"] = sweep.config["seed"]
    return store.amend_sweep(
        sweep.id,
        version=sweep.version,
        config=raw,
        run_cap=config.run_cap,
        max_attempts=config.max_attempts,
        expected_runs=config.expected_runs,
        text=config.text,
    )


def pause_sweep(store: Store, sweep_id: str) -> Sweep:
    """Hand out no new runs until the sweep is resumed; running ones go on and agents wait."""
    return _move(store, sweep_id, SweepState.PAUSED, "paused", refused=_OVER)


def resume_sweep(store: Store, sweep_id: str) -> Sweep:
    """Hand out runs again, also after the sweep was stopped or has finished."""
    return _move(store, sweep_id, SweepState.RUNNING, "resumed", refused={SweepState.CANCELED})


def stop_sweep(store: Store, sweep_id: str) -> Sweep:
    """Hand out no new runs; running ones go on and agents leave."""
    return _move(store, sweep_id, SweepState.STOPPED, "stopped", refused=_OVER - {SweepState.STOPPED})


def cancel_sweep(store: Store, sweep_id: str) -> Sweep:
    """Hand out no new runs and kill the running ones; cannot be undone.

    StateError if the sweep is finished and nothing runs any more.
    """
    running = store.progress(sweep_id).count(RunState.RUNNING)
    return _move(
        store, sweep_id, SweepState.CANCELED, "canceled", refused=set() if running else {SweepState.FINISHED}
    )


def retry_runs(
    store: Store, sweep_id: str, *, run_ids: Sequence[str] = (), states: Collection[RunState] = BAD_ENDINGS
) -> list[Run]:
    """Put runs back into the queue: those named, whatever their ending, else all that ended in `states`.

    A finished sweep runs again. StateError, with nothing changed, if a named run has not ended.
    """
    sweep = store.get_sweep(sweep_id)
    _refuse(sweep, {SweepState.CANCELED}, "retried")
    runs = [store.get_run(run_id) for run_id in run_ids] or store.list_runs(sweep_id, states=states)
    for run in runs:
        if run.sweep_id != sweep_id:
            raise NotFoundError(f"sweep {sweep_id} has no run {run.id}; `besom ls {sweep_id}` lists its runs")
        if run.state not in ENDED:
            raise StateError(f"run {run.id} is {run.state.value}; only an ended run can be retried")
    retried = [store.retry(run.id) for run in runs]
    if retried:
        _reopen(store, sweep)
    return retried


def remove_run(store: Store, run_id: str) -> None:
    """Forget an ended or queued run and what it logged; StateError while it runs.

    In a finite space its point is free again and runs anew when the sweep runs (a finished one: is resumed).
    """
    run = store.get_run(run_id)
    if run.state is RunState.RUNNING:
        raise StateError(f"run {run.id} is running; stop it first with `besom stop {run.id}`")
    store.delete_run(run.id, release=run.sweep_id is not None and _is_point(store, run))


def enqueue_run(store: Store, sweep_id: str, params: Params) -> Run:
    """Add a chosen point, to be run before all others; parameters may be nested or dotted.

    A finished sweep runs again. UsageError says why `params` are no point of the space; StateError names the
    run that has the point already, or says that the sweep is canceled or at its `run_cap`.
    """
    sweep = store.get_sweep(sweep_id)
    _refuse(sweep, {SweepState.CANCELED}, "given new runs")
    space = sweep_config(sweep).space
    point = whole_point(space, params)
    if problems := space.check(point):
        raise UsageError(f"not a point of sweep {sweep.id}: {'; '.join(problems)}")
    suggestion = space.suggestion(point)
    if store.find_key(sweep.id, suggestion.key) is None:
        _require_room(store, sweep)
    run = store.enqueue(sweep.id, suggestion)
    _reopen(store, sweep)
    return run


_OVER = frozenset({SweepState.STOPPED, SweepState.FINISHED, SweepState.CANCELED})


def try_out(config: SweepConfig) -> None:
    """Raise UsageError, as an agent would later, when method, stopper or constraints cannot do."""
    from besom.search import create_method
    from besom.stopping import create_stopper

    create_method(config)
    create_stopper(config)
    if config.constraints and _is_empty(config.space, config.seed or 0):
        raise UsageError(f"{config.source}: no point of the space satisfies the constraints; loosen them")


def _is_empty(space: SearchSpace, seed: int) -> bool:
    """Say whether no point is allowed: as far as points can be counted, else as far as chance finds none."""
    from besom.search.random import HOPELESS

    if space.size is not None:
        return space.expected == 0
    return all(space.draw(seed, index) is None for index in range(HOPELESS))


def _move(
    store: Store, sweep_id: str, state: SweepState, verb: str, *, refused: Collection[SweepState]
) -> Sweep:
    sweep = store.get_sweep(sweep_id)
    _refuse(sweep, refused, verb)
    return store.set_sweep_state(sweep_id, state, allowed=frozenset(SweepState) - frozenset(refused))


def _refuse(sweep: Sweep, states: Collection[SweepState], verb: str) -> None:
    """Raise StateError if the sweep is in one of `states`, and say what to do instead."""
    if sweep.state not in states:
        return
    resume = f"resume it first with `besom resume {sweep.id}`"
    advice = {SweepState.CANCELED: CREATE_ANEW}.get(sweep.state, resume)
    raise StateError(f"sweep {sweep.id} is {sweep.state.value} and cannot be {verb}; {advice}")


def _require_room(store: Store, sweep: Sweep) -> None:
    """Raise StateError if `run_cap` leaves no room beside what was handed out and what waits."""
    if sweep.run_cap is None:
        return
    waiting = store.list_runs(sweep.id, states={RunState.PENDING})
    if store.progress(sweep.id).started + sum(run.attempt == 0 for run in waiting) >= sweep.run_cap:
        raise StateError(
            f"sweep {sweep.id} has no room for another run: run_cap is {sweep.run_cap};"
            f" set a higher one with `besom extend`"
        )


def _reopen(store: Store, sweep: Sweep) -> None:
    """Make a finished sweep run again, now that something waits in it."""
    if store.get_sweep(sweep.id).state is SweepState.FINISHED:
        resume_sweep(store, sweep.id)


def _aim(metric: Metric | None) -> tuple[object, ...] | None:
    """Give what a sweep's values are judged by."""
    return (metric.name, metric.goal, metric.target, metric.limits) if metric else None


def _described(metric: Metric | None) -> str:
    if metric is None:
        return "no metric"
    target = "" if metric.target is None else f" to {metric.target:g}"
    return f"{metric.goal} {metric.name}{target}"


def _is_point(store: Store, run: Run) -> bool:
    """Say whether a run's parameters lie in a finite space, as it is now."""
    assert run.sweep_id is not None
    space = sweep_config(store.get_sweep(run.sweep_id)).space
    return (
        space.size is not None and not space.check(run.params) and space.suggestion(run.params).key == run.key
    )
