"""`besom show`: all there is about a sweep or a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from besom.cli.lookup import complete_sweeps, find_any
from besom.cli.output import (
    Column,
    age,
    duration,
    flat,
    json_option,
    moment,
    number,
    print_fields,
    print_json,
    print_table,
    scalar,
)
from besom.cli.rows import aims, done_of, print_runs, reason, run_json, seconds_of, sweep_json
from besom.cli.session import Session, pass_session
from besom.front import goals_of
from besom.records import Agent, Attempt, Progress, Run, RunState, Segment, Sweep

if TYPE_CHECKING:
    from besom.store.base import Store

RUNS_SHOWN = 20


@click.command()
@click.argument("id", shell_complete=complete_sweeps)
@json_option
@pass_session
def show(session: Session, id: str, *, as_json: bool) -> None:  # noqa: A002 - the word users see
    """Show all there is about the sweep or the run called ID."""
    with session.open() as store:
        found = find_any(store, id)
        if isinstance(found, Sweep):
            _show_sweep(session, store, found, as_json=as_json)
        else:
            _show_run(store, found, as_json=as_json)


def _show_sweep(session: Session, store: Store, sweep: Sweep, *, as_json: bool) -> None:
    agents = store.list_agents(sweep.id)
    if as_json:
        more = {
            "config": sweep.config,
            "text": sweep.text,
            "agents": [_agent_json(agent) for agent in agents],
        }
        print_json({**sweep_json(store, sweep), **more})
        return
    progress, best = store.progress(sweep.id), store.best_run(sweep.id)
    print_fields(
        {
            "sweep": f"{sweep.id}  {sweep.name}",
            "state": progress.state.value,
            "method": sweep.method,
            "metric": aims(goals_of(sweep)) or "-",
            "runs": f"{done_of(progress)}  {counts(progress)}".rstrip(),
            "best": f"{number(best.value)}  run {best.number} ({best.id})" if best else "-",
            "folder": sweep.folder or "-",
            "created": f"{moment(sweep.created)} ({age(sweep.created)})",
            "agents": "\n".join(map(_agent_words, agents)) or "-",
            "file": (sweep.text or "-").rstrip(),
        }
    )
    if runs := store.list_runs(sweep.id, limit=RUNS_SHOWN):
        click.echo()
        print_runs(sweep, runs)
        if (hidden := progress.count() - len(runs)) > 0:
            click.echo(f"and {hidden} more: {session.command('ls', sweep.id)}")


def counts(progress: Progress) -> str:
    """Give the runs by state, as `2 running, 9 finished, 1 failed`."""
    return ", ".join(
        f"{progress.counts[state]} {state.value}" for state in RunState if progress.counts.get(state)
    )


def _agent_words(agent: Agent) -> str:
    job = f", {agent.job}" if agent.job else ""
    return f"{agent.id}  {agent.host}:{agent.pid}{job}, {_seen(agent)}"


def _seen(agent: Agent) -> str:
    return f"seen {age(agent.seen)}" if age(agent.seen) == "now" else f"seen {age(agent.seen)} ago"


def _agent_json(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "host": agent.host,
        "pid": agent.pid,
        "job": agent.job,
        "started": agent.started,
        "seen": agent.seen,
    }


def _show_run(store: Store, run: Run, *, as_json: bool) -> None:
    from besom.folders import run_folder

    attempts, folder = store.attempts(run.id), run_folder(run.id).path
    if as_json:
        more = {"folder": str(folder), "attempts": [_attempt_json(attempt) for attempt in attempts]}
        print_json({**run_json(run), **more})
        return
    sweep = store.get_sweep(run.sweep_id) if run.sweep_id else None
    fields = {
        "run": f"{run.id}  {run.name}",
        "sweep": f"{sweep.id}  {sweep.name}" if sweep else "-",
        "state": run.state.value + (f" ({run.stop_reason})" if run.stop_reason else ""),
        "number": str(run.number),
        (sweep.metric.name if sweep and sweep.metric else "value"): number(run.value),
        "time": duration(seconds_of(run)),
        "params": _lines(run.params),
        "defaults": _lines({key: value for key, value in run.config.items() if key not in run.params}),
        "summary": _lines(run.summary),
        "source": run.source,
        **_segment(run),
        "folder": str(folder),
    }
    if run.error:
        fields["error"] = run.error.rstrip()
    if job := _job_of(store, run):
        fields["job"] = job
    if run.exit_code is not None:
        fields["exit code"] = str(run.exit_code)
    print_fields(fields)
    if len(attempts) > 1:
        click.echo()
        print_table(ATTEMPT_COLUMNS, [_attempt_words(attempt) for attempt in attempts])


def _segment(run: Run) -> dict[str, str]:
    """Give a run's place in a population, and whose checkpoint it goes on from."""
    segment = Segment.of(run.key)
    if segment is None:
        return {}
    place = f"member {segment.member}, generation {segment.generation}"
    return {"population": place, "parent": segment.parent or "-"}


def _job_of(store: Store, run: Run) -> str | None:
    """Give the scheduler's job that the latest attempt at a run was in."""
    agents = store.list_agents(run.sweep_id) if run.sweep_id and run.agent_id else []
    return next((agent.job for agent in agents if agent.id == run.agent_id), None)


ATTEMPT_COLUMNS = (
    Column("attempt", right=True),
    Column("state"),
    Column("value", right=True),
    Column("started"),
    Column("time", right=True),
    Column("why", flexible=True),
)


def _attempt_words(attempt: Attempt) -> tuple[str, ...]:
    return (
        str(attempt.attempt),
        attempt.state.value + (" (superseded)" if attempt.superseded else ""),
        number(attempt.value),
        moment(attempt.started),
        duration(attempt.ended - attempt.started) if attempt.ended else "-",
        reason(attempt.error),
    )


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "state": attempt.state.value,
        "superseded": attempt.superseded,
        "value": attempt.value,
        "summary": dict(attempt.summary),
        "agent": attempt.agent_id,
        "exit_code": attempt.exit_code,
        "error": attempt.error,
        "started": attempt.started,
        "ended": attempt.ended,
    }


def _lines(values: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} = {scalar(value)}" for name, value in flat(values)) or "-"
