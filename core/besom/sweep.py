"""The verbs: create, extend, pause, resume, stop, cancel a sweep; retry, remove and enqueue its runs."""

from __future__ import annotations

import operator
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from besom.errors import NotFoundError, StateError, UsageError
from besom.records import (
    ENDED,
    Metric,
    Outcome,
    Params,
    Run,
    RunState,
    Suggestion,
    Sweep,
    SweepDraft,
    SweepState,
)
from besom.summarize import lookup, summary_value

if TYPE_CHECKING:
    from besom.space import SearchSpace
    from besom.store.base import Store
    from besom.sweepfile import SweepConfig

SEED_BITS = 32
GOOD_ENDINGS = (RunState.FINISHED, RunState.STOPPED)
BAD_ENDINGS = (RunState.FAILED, RunState.CRASHED)
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
) -> Sweep:
    """Create a sweep in state PENDING, with the seed it will use if the config has none.

    `prior_runs` are ids of ended runs of any sweep in this store, or of none. They are copied into the sweep
    with their metric; a grid does not run their points again. NotFoundError if there is no such run,
    StateError if one has not ended; then nothing is created.
    """
    ids = dict.fromkeys(path.strip("/").rpartition("/")[2] for path in prior_runs)
    _try_out(config)
    priors = [_prior(store.get_run(run_id)) for run_id in ids]
    file = Path(config.source)
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
            folder=str(file.absolute().parent) if file.is_file() else None,
        )
    )
    _add_priors(store, sweep.id, config, priors)
    return sweep


def prior_runs_where(
    store: Store, sweep_id: str, *, states: Collection[RunState] = GOOD_ENDINGS, where: str = ""
) -> list[str]:
    """Give the ids of a sweep's runs that ended in one of `states` and of which `where` is true.

    `where` compares metrics and parameters with values, such as `val/loss < 0.3 and optimizer == adam`; a run
    that lacks the name does not match. UsageError if it cannot be read.
    """
    store.get_sweep(sweep_id)
    tests = [_comparison(text) for text in re.split(r"\s+and\s+", where.strip())] if where.strip() else []
    runs = store.list_runs(sweep_id, states=states)
    return [run.id for run in runs if all(test(run) for test in tests)]


def extend_sweep(store: Store, sweep_id: str, config: SweepConfig) -> Sweep:
    """Give a sweep a new config, its next version: finished points are kept, and only new ones run.

    Method and metric must stay; UsageError if they do not. StateError if the sweep is canceled.
    """
    sweep = store.get_sweep(sweep_id)
    _refuse(sweep, {SweepState.CANCELED}, "extended")
    if config.method != sweep.method:
        raise UsageError(
            f"{config.source}: sweep {sweep.id} is a {sweep.method} sweep and cannot become {config.method};"
            f" keep `method: {sweep.method}` or {CREATE_ANEW}"
        )
    if config.metric != sweep.metric:
        raise UsageError(
            f"{config.source}: sweep {sweep.id} judges by {_described(sweep.metric)}, not by"
            f" {_described(config.metric)}; keep `metric` as it is or {CREATE_ANEW}"
        )
    _try_out(config)
    raw = dict(config.raw)
    if config.seed is None and "seed" in sweep.config:
        raw["seed"] = sweep.config["seed"]
    return store.amend_sweep(
        sweep.id,
        version=sweep.version,
        config=raw,
        run_cap=config.run_cap,
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
    """Hand out no new runs and kill the running ones; cannot be undone."""
    return _move(store, sweep_id, SweepState.CANCELED, "canceled", refused={SweepState.FINISHED})


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
    run that has the point already, or says that the sweep is canceled.
    """
    sweep = store.get_sweep(sweep_id)
    _refuse(sweep, {SweepState.CANCELED}, "given new runs")
    space = sweep_config(sweep).space
    point = _point(space, params)
    if problems := space.check(point):
        raise UsageError(f"not a point of sweep {sweep.id}: {'; '.join(problems)}")
    run = store.enqueue(sweep.id, space.suggestion(point))
    _reopen(store, sweep)
    return run


_OVER = frozenset({SweepState.STOPPED, SweepState.FINISHED, SweepState.CANCELED})


def _try_out(config: SweepConfig) -> None:
    """Make the method and the stopper once, so that what is wrong with them is said now, not by an agent."""
    from besom.search import create_method
    from besom.stopping import create_stopper

    create_method(config)
    create_stopper(config)


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


def _reopen(store: Store, sweep: Sweep) -> None:
    """Make a finished sweep run again, now that something waits in it."""
    if store.get_sweep(sweep.id).state is SweepState.FINISHED:
        resume_sweep(store, sweep.id)


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


def _point(space: SearchSpace, params: Params) -> Params:
    """Give `params`, nested or dotted, as the space nests them, with parameters of one value filled in."""
    known = space.parameters.values()
    filled = {p.name: p.distribution.nth(0) for p in known if p.distribution.size == 1 and not p.conditions}
    return space.unflatten(filled | space.flatten(params))


# ---- prior runs


def _prior(run: Run) -> Run:
    if run.state not in ENDED:
        raise StateError(f"run {run.id} is {run.state.value}; a prior run must have ended")
    return run


def _add_priors(store: Store, sweep_id: str, config: SweepConfig, priors: Sequence[Run]) -> None:
    taken: set[str] = set()
    for run in priors:
        suggestion = _prior_suggestion(config, run)
        if suggestion.key in taken:  # a second measurement of a point: kept, under a key of its own
            suggestion = Suggestion(f"prior:{run.id}", suggestion.params)
        taken.add(suggestion.key)
        outcome = Outcome(
            state=RunState.FAILED if run.state is RunState.CRASHED else run.state,
            exit_code=run.exit_code,
            error=run.error,
            summary=run.summary,
            value=summary_value(run.summary, config.metric) if config.metric else None,
        )
        store.enqueue(sweep_id, suggestion, source="prior", outcome=outcome)


def _prior_suggestion(config: SweepConfig, run: Run) -> Suggestion:
    """Give the point of the new space that a prior run stands for, else its parameters with their own key."""
    params = {**run.config, **run.params}
    flat = config.space.flatten(params)
    point = _point(config.space, {name: flat[name] for name in flat if name in config.space.parameters})
    if config.space.check(point):
        return Suggestion(f"prior:{run.id}", run.params or params)
    return config.space.suggestion(point)


# ---- filters of prior runs


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
COMPARISON = re.compile(r"\s*(?P<name>[^\s<>=!]+)\s*(?P<operator><=|>=|==|!=|<|>|=)\s*(?P<value>.+?)\s*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a run's metric or parameter with a value."""

    name: str
    operator: str
    value: Any

    def __call__(self, run: Run) -> bool:
        """Say whether it is true of a run; False if the run has no such value, or of another kind."""
        found = _value_of(run, self.name)
        try:
            return found is not None and bool(OPERATORS[self.operator](found, self.value))
        except TypeError:
            return False


def _comparison(text: str) -> Comparison:
    import json

    match = COMPARISON.fullmatch(text)
    if match is None:
        raise UsageError(
            f"cannot read the filter {text!r}; write NAME OPERATOR VALUE, such as `val/loss < 0.3`,"
            f" with one of {' '.join(OPERATORS)}, and join several by `and`"
        )
    try:
        value = json.loads(match["value"])
    except ValueError:
        value = match["value"].strip("'\"")
    return Comparison(match["name"], match["operator"], value)


def _value_of(run: Run, name: str) -> Any:
    if name == "state":
        return run.state.value
    number = summary_value(run.summary, Metric(name))
    if number is not None:
        return number
    return lookup({**run.summary, **run.config, **run.params}, name.split("."))
