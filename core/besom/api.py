"""Reading sweeps and runs from Python: `Api().sweep(ID).runs.dataframe()`.

Views are thin: what can change is read from the store when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, overload
from urllib.parse import quote_plus

from besom.errors import NotFoundError, UsageError
from besom.folders import run_folder
from besom.front import front_of
from besom.proposer import StoreHistory, stop_at_rungs
from besom.records import GOOD_ENDINGS, Agent, Goal, Metric, Params, Run, RunState, Sweep, SweepState
from besom.store import open_store
from besom.summarize import summary_value
from besom.sweep import enqueue_run, sweep_config, sweep_id_of

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

    from besom.search.importance import Importance
    from besom.store.base import Store

STATES = {state: state.value.upper() for state in SweepState} | {SweepState.STOPPED: "FINISHED"}
"""W&B's spellings; a stopped sweep is FINISHED to W&B too."""
COLUMNS = ("name", "state", "number", "created", "started", "ended")
RANKED = GOOD_ENDINGS | {RunState.RUNNING}


class Api:
    """The sweeps and runs of a store: an open one, its address, or the one that besom uses here."""

    def __init__(self, store: Store | str | None = None) -> None:
        self.store = open_store(store) if store is None or isinstance(store, str) else store

    def close(self) -> None:
        """Let go of the store's files; a second call does nothing."""
        self.store.close()

    def sweep(self, path: str) -> SweepView:
        """Give a sweep by `ID`, `project/ID`, `entity/project/ID` or `entity/project/sweeps/ID`.

        NotFoundError if there is none.
        """
        return SweepView(self.store, self.store.get_sweep(sweep_id_of(path)).id)

    def sweeps(self, project: str | None = None) -> list[SweepView]:
        """Give the sweeps, newest first; of one project if it is named (`project` or `entity/project`)."""
        name = project.rpartition("/")[2] if project else None
        return [SweepView(self.store, sweep.id) for sweep in self.store.list_sweeps(project=name)]

    def run(self, path: str) -> RunView:
        """Give a run by `ID`, `project/ID` or `entity/project/ID`; NotFoundError if there is none."""
        return RunView(self.store, self.store.get_run(path.strip("/").rpartition("/")[2]))


class SweepView:
    """A sweep, as the store has it now."""

    def __init__(self, store: Store, sweep_id: str) -> None:
        self.store = store
        self.id = sweep_id

    def __repr__(self) -> str:
        return f"<Sweep {'/'.join(self.path)} ({self.state})>"

    @property
    def record(self) -> Sweep:
        """Everything the store knows about the sweep."""
        return self.store.get_sweep(self.id)

    @property
    def name(self) -> str:
        """The sweep's name, or its id if it has none."""
        return self.record.name or self.id

    @property
    def state(self) -> str:
        """One of PENDING RUNNING PAUSED FINISHED CANCELED."""
        return STATES[self.record.state]

    @property
    def config(self) -> Mapping[str, Any]:
        """The sweep file as JSON."""
        return self.record.config

    @property
    def project(self) -> str | None:
        """The project the sweep belongs to."""
        return self.record.project

    @property
    def entity(self) -> str | None:
        """Who the sweep belongs to."""
        return self.record.entity

    @property
    def path(self) -> list[str]:
        """Entity, project and id, as far as they are set."""
        sweep = self.record
        return [quote_plus(part) for part in (sweep.entity, sweep.project, sweep.id) if part]

    @property
    def url(self) -> str:
        """The store's address with the sweep's id."""
        return f"{self.store.url}#/sweeps/{self.id}"

    @property
    def expected_run_count(self) -> int | None:
        """Est. Runs; None when the space is infinite and has no `run_cap`."""
        return self.record.expected_runs

    @property
    def order(self) -> str | None:
        """How the best run comes first, such as `+summary_metrics.loss`; None without a metric."""
        metric = self.record.metric
        if metric is None:
            return None
        return ("+" if metric.goal == "minimize" else "-") + f"summary_metrics.{metric.name}"

    @property
    def runs(self) -> RunsView:
        """The runs, in the order in which they were first handed out."""
        return RunsView(self.store, self.id)

    def best_run(self, order: str | None = None) -> RunView | None:
        """Give the best run by the sweep's metric or by `order`; None when no run has a value.

        Runs that failed, crashed or were killed are never best. Without metric and order: the newest run.
        """
        if order is None and self.record.metric is not None:
            best = self.store.best_run(self.id)
            return RunView(self.store, best) if best else None
        runs = self.runs
        if order is None:
            return runs[-1] if runs else None
        ordered = runs.ordered(order)
        return next((run for run in ordered if run.record.state in RANKED), None)

    def front(self) -> list[RunView]:
        """Give the runs that no other one beats, the Pareto front, with the best of the first goal first.

        Only finished and stopped runs that have a value of every goal and keep all limits.
        """
        return [RunView(self.store, run) for run in front_of(self.store, self.record)]

    def importance(self) -> Importance:
        """Give how much the metric depends on each parameter, most important first, with uncertainty.

        StateError with fewer than 3 runs that have the metric, UsageError for a sweep without one.
        """
        from besom.search.importance import importance

        sweep = self.record
        history = StoreHistory(self.store, self.id, marks=stop_at_rungs(sweep))
        return importance(sweep_config(sweep), history.observations())

    def agents(self) -> list[Agent]:
        """Give the agents the sweep has had, newest first."""
        return self.store.list_agents(self.id)

    def agent(self, agent_id: str) -> Agent:
        """Give one of the sweep's agents; NotFoundError if there is none of that id."""
        for agent in self.agents():
            if agent.id == agent_id:
                return agent
        raise NotFoundError(f"sweep {self.id} has no agent {agent_id}")

    def enqueue_run(self, config: Params) -> str:
        """Add a chosen point, to be run before all others, and give its run's id."""
        return enqueue_run(self.store, self.id, config).id


class RunsView(Sequence["RunView"]):
    """A sweep's runs, read from the store once."""

    def __init__(self, store: Store, sweep_id: str) -> None:
        self.store = store
        self.sweep_id = sweep_id
        self._read: list[RunView] | None = None

    def __repr__(self) -> str:
        return f"<{len(self)} runs of sweep {self.sweep_id}>"

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> RunView: ...
    @overload
    def __getitem__(self, index: slice) -> list[RunView]: ...
    def __getitem__(self, index: int | slice) -> RunView | list[RunView]:
        return self._runs[index]

    def __iter__(self) -> Iterator[RunView]:
        return iter(self._runs)

    @property
    def _runs(self) -> list[RunView]:
        if self._read is None:
            self._read = [RunView(self.store, run) for run in self.store.list_runs(self.sweep_id)]
        return self._read

    def ordered(self, order: str) -> list[RunView]:
        """Give the runs that have a value for `order`, sorted by it.

        `order` is a sign (`+` ascending, `-` descending, also when absent) and `summary_metrics.NAME`,
        `config.NAME`, a column (name, state, number, created, started, ended), or just a metric's name.
        """
        sign, name = (order[0], order[1:]) if order[:1] in ("+", "-") else ("-", order)
        goal: Goal = "maximize" if sign == "-" else "minimize"
        valued = [(value, run) for run in self if (value := _sort_value(run.record, name, goal)) is not None]
        kinds = {isinstance(value, str) for value, _ in valued}
        if len(kinds) > 1:
            raise UsageError(f"cannot order runs by {name!r}: some values are numbers and some are text")
        return [run for _, run in sorted(valued, key=lambda pair: pair[0], reverse=sign == "-")]

    def dataframe(self) -> DataFrame:
        """Give one row a run: id, name, state, then its config and its summary under dotted names.

        A summary's column is called `summary.NAME` where the config has that name too. Needs pandas.
        """
        rows = [run.row() for run in self]
        columns = None if rows else ["id", "name", "state"]
        frame: DataFrame = _pandas().DataFrame(rows, columns=columns)
        return frame


class RunView:
    """A run, as it was when it was read; `load` reads it again."""

    def __init__(self, store: Store, record: Run) -> None:
        self.store = store
        self.record = record

    def __repr__(self) -> str:
        return f"<Run {self.id} ({self.state})>"

    def load(self) -> RunView:
        """Read the run again, and give it."""
        self.record = self.store.get_run(self.id)
        return self

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.id

    @property
    def name(self) -> str:
        """The run's name."""
        return self.record.name

    @property
    def state(self) -> str:
        """One of pending running finished stopped failed crashed killed preempted."""
        return self.record.state.value

    @property
    def config(self) -> Mapping[str, Any]:
        """Parameters and defaults together; the parameters alone until the program called `init`."""
        return self.record.config or self.record.params

    @property
    def summary(self) -> Mapping[str, Any]:
        """The latest value of what was logged, or what `define_metric` makes of it."""
        return self.record.summary

    @property
    def sweep(self) -> SweepView | None:
        """The sweep it belongs to."""
        return SweepView(self.store, self.record.sweep_id) if self.record.sweep_id else None

    @property
    def path(self) -> list[str]:
        """Entity, project and id, as far as they are set."""
        sweep = self.sweep
        return [*(sweep.path[:-1] if sweep else ()), quote_plus(self.id)]

    @property
    def url(self) -> str:
        """The store's address with the run's id."""
        return f"{self.store.url}#/runs/{self.id}"

    @property
    def dir(self) -> Path:
        """The run's folder, on the machine where it ran."""
        return run_folder(self.id).path

    def scan_history(self, keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Give what was logged, with `_step` and `_timestamp`; only the rows that have all of `keys`."""
        rows = _history(self.store, self.id)
        return rows if keys is None else [row for row in rows if row.keys() >= set(keys)]

    @overload
    def history(
        self, keys: Sequence[str] | None = None, *, samples: int | None = None, pandas: None = None
    ) -> DataFrame: ...
    @overload
    def history(
        self, keys: Sequence[str] | None = None, *, samples: int | None = None, pandas: bool
    ) -> Any: ...
    def history(
        self, keys: Sequence[str] | None = None, *, samples: int | None = None, pandas: bool | None = None
    ) -> Any:
        """Give what was logged as a DataFrame, or with `pandas=False` as `scan_history` does.

        Where a later attempt went on from an earlier step, its rows replace those from there. `samples`, by
        which W&B thins them out, is accepted and ignored.
        """
        del samples
        rows = self.scan_history(keys)
        return rows if pandas is False else _pandas().DataFrame(rows)

    def explain(self) -> str:
        """Say in one sentence why the run was stopped, or why early termination keeps it."""
        from besom.stopping.explain import explain

        return explain(self.store, self.record).sentence

    def row(self) -> dict[str, Any]:
        """Give the run as a row of a table: id, name, state, config and summary under dotted names."""
        row = {"id": self.id, "name": self.name, "state": self.state}
        row |= {f"config.{name}" if name in row else name: value for name, value in _leaves(self.config)}
        taken = set(row)
        summary = _leaves(self.summary)
        return row | {f"summary.{name}" if name in taken else name: value for name, value in summary}


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise UsageError("pandas is not installed; `pip install 'besom[pandas]'` brings it") from error
    return pd


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _history(store: Store, run_id: str) -> list[dict[str, Any]]:
    """Give a run's rows over all its attempts, one a step; each attempt takes over from its first step."""
    steps: dict[int, dict[str, Any]] = {}
    for attempt in store.attempts(run_id):
        rows = store.history(run_id, attempt=attempt.attempt)
        if rows:
            steps = {step: row for step, row in steps.items() if step < rows[0].step}
        for row in rows:
            merged = steps.setdefault(row.step, {"_step": row.step})
            merged |= {"_timestamp": row.time, **row.data}
    return list(steps.values())


def _sort_value(run: Run, name: str, goal: Goal) -> float | str | None:
    """Give what `RunsView.ordered` orders a run by."""
    kind, _, rest = name.partition(".")
    if kind == "config" and rest:
        return _comparable(dict(_leaves(run.config or run.params)).get(rest))
    if name in COLUMNS:
        return _comparable(getattr(run, name))
    return summary_value(run.summary, Metric(rest if kind == "summary_metrics" and rest else name, goal))


def _comparable(value: Any) -> float | str | None:
    if isinstance(value, str):  # a RunState is one too
        return str(getattr(value, "value", value))
    if isinstance(value, (bool, int, float)) and math.isfinite(value):
        return float(value)
    return None
