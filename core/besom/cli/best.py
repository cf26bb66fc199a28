"""`besom best`: the best run of a sweep, and its command."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from besom.cli.lookup import complete_sweeps, find_sweep_or_newest
from besom.cli.output import (
    Column,
    assignments,
    flat,
    json_option,
    number,
    print_fields,
    print_json,
    print_table,
    scalar,
    shell_words,
)
from besom.cli.rows import run_json
from besom.cli.session import Session, pass_session
from besom.errors import BesomError, NotFoundError, UsageError
from besom.front import front_of, goals_of, values_of
from besom.records import Metric, Run, Sweep

if TYPE_CHECKING:
    from besom.store.base import Store


@click.command()
@click.argument("sweep", required=False, shell_complete=complete_sweeps)
@json_option
@pass_session
def best(session: Session, sweep: str | None, *, as_json: bool) -> None:
    """Show the best run of SWEEP (default: the newest), its parameters and its command.

    Of a sweep with several goals: the runs that no other run beats in all of them.
    """
    with session.open() as store:
        found = find_sweep_or_newest(store, sweep)
        goals = goals_of(found)
        if len(goals) > 1:
            show_front(store, found, goals, as_json=as_json)
            return
        run = best_run(store, found)
        command = command_of(found, run)
        if as_json:
            print_json({**run_json(run), "command": command})
        else:
            print_best(found, run, command)


def best_run(store: Store, sweep: Sweep) -> Run:
    """Give the best run; NotFoundError says why there is none."""
    if sweep.metric is None:
        raise NotFoundError(
            f"sweep {sweep.id} has no metric, so no run of it is best; its file may name one: "
            "metric: {name: loss, goal: minimize}"
        )
    run = store.best_run(sweep.id)
    if run is None and sweep.metric.limits:
        raise NotFoundError(
            f"no run of sweep {sweep.id} has reported a finite {sweep.metric.name!r} and keeps the limits "
            f"({_described(sweep.metric)}) yet; `besom ls {sweep.id}` shows its runs"
        )
    if run is None:
        raise NotFoundError(
            f"no run of sweep {sweep.id} has reported a finite {sweep.metric.name!r} yet; "
            f"`besom ls {sweep.id}` shows its runs"
        )
    return run


def show_front(store: Store, sweep: Sweep, goals: tuple[Metric, ...], *, as_json: bool) -> None:
    """Print the Pareto front; NotFoundError when it is empty."""
    runs = front_of(store, sweep)
    if not runs:
        names = " and ".join(goal.name for goal in goals)
        kept = " and keeps the limits" if sweep.metric and sweep.metric.limits else ""
        raise NotFoundError(
            f"no run of sweep {sweep.id} has ended with {names}{kept} yet; "
            f"`besom ls {sweep.id}` shows its runs"
        )
    titles = [goal.name for goal in goals]
    values = [dict(zip(titles, values_of(run, goals) or (), strict=True)) for run in runs]
    if as_json:
        print_json(
            {
                "goals": [{"name": goal.name, "goal": goal.goal} for goal in goals],
                "front": [
                    {**run_json(run), "values": told, "command": command_of(sweep, run)}
                    for run, told in zip(runs, values, strict=True)
                ],
            }
        )
        return
    columns = [
        Column("run"),
        *(Column(title, right=True) for title in titles),
        Column("parameters", flexible=True),
    ]
    print_table(
        columns,
        [
            [
                run.id,
                *(number(value) for value in told.values()),
                assignments(run.params),
            ]
            for run, told in zip(runs, values, strict=True)
        ],
    )


def _described(metric: Metric) -> str:
    """Give a metric's limits as in `latency at most 20, acc at least 0.5`."""
    bounds = (
        f"{limit.name} at {word} {bound:g}"
        for limit in metric.limits
        for word, bound in (("least", limit.min), ("most", limit.max))
        if bound is not None
    )
    return ", ".join(bounds)


def command_of(sweep: Sweep, run: Run) -> list[str] | None:
    """Give the argv of a run; None when the sweep runs no program."""
    from besom.agent.command import build_command, program_folder
    from besom.agent.macros import fitted
    from besom.folders import run_folder
    from besom.sweep import sweep_config

    config, place = sweep_config(sweep), None
    try:
        with suppress(UsageError):  # without the program, what it needs cannot be told
            place = program_folder(config, sweep.folder, Path.cwd())
            config = fitted(config, place)
        return build_command(config, run.params, folder=run_folder(run.id), place=place, by_hand=True)
    except BesomError:
        return None


def print_best(sweep: Sweep, run: Run, command: list[str] | None) -> None:
    """Print the best run for a person."""
    metric = sweep.metric.name if sweep.metric else "value"
    print_fields(
        {
            "best run": f"{run.id}  {run.name}, {run.state.value}",
            metric: number(run.value),
            "parameters": "\n".join(f"{name} = {scalar(value)}" for name, value in flat(run.params)),
            **({"command": _for_shell(sweep, command)} if command else {}),
        }
    )


def _for_shell(sweep: Sweep, command: list[str]) -> str:
    """Give the command for a shell in this folder."""
    from besom.agent.command import program_folder
    from besom.sweep import sweep_config

    try:
        folder = program_folder(sweep_config(sweep), sweep.folder, Path.cwd())
    except BesomError:
        folder = Path.cwd()
    words = shell_words(command)
    return words if folder == Path.cwd() else f"cd {shell_words([str(folder)])} && {words}"
