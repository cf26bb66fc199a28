"""`besom best`: the best run of a sweep, and its command."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from besom.cli.lookup import complete_sweeps, find_sweep_or_newest
from besom.cli.output import flat, json_option, number, print_fields, print_json, scalar, shell_words
from besom.cli.rows import run_json
from besom.cli.session import Session, pass_session
from besom.errors import BesomError, NotFoundError, UsageError
from besom.records import Run, Sweep

if TYPE_CHECKING:
    from besom.store.base import Store


@click.command()
@click.argument("sweep", required=False, shell_complete=complete_sweeps)
@json_option
@pass_session
def best(session: Session, sweep: str | None, *, as_json: bool) -> None:
    """Show the best run of SWEEP (default: the newest), its parameters and its command."""
    with session.open() as store:
        found = find_sweep_or_newest(store, sweep)
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
    if run is None:
        raise NotFoundError(
            f"no run of sweep {sweep.id} has reported a finite {sweep.metric.name!r} yet; "
            f"`besom ls {sweep.id}` shows its runs"
        )
    return run


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
