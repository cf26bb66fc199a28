"""`besom ls`: the sweeps of a store, or the runs of one."""

from __future__ import annotations

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.output import json_option, print_json, print_table, say
from besom.cli.rows import SWEEP_COLUMNS, print_runs, run_json, sweep_json, sweep_words
from besom.cli.session import Session, pass_session
from besom.records import RunState


@click.command()
@click.argument("sweep", required=False, shell_complete=complete_sweeps)
@click.option("--project", help="Only the sweeps of this project.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in RunState]),
    help="Only the runs in this state; may be given several times.",
)
@click.option("--solo", is_flag=True, help="The runs outside every sweep, of programs run by themselves.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many.")
@json_option
@pass_session
def ls(
    session: Session,
    sweep: str | None,
    project: str | None,
    states: tuple[str, ...],
    limit: int | None,
    *,
    solo: bool,
    as_json: bool,
) -> None:
    """List the sweeps, newest first, or the runs of SWEEP, in the order they began."""
    if sweep and solo:
        raise click.UsageError(f"--solo lists runs of no sweep; leave out {sweep} or --solo")
    if solo:
        _list_runs(session, None, states, limit, as_json=as_json)
    elif sweep is None:
        if states:
            raise click.UsageError("--state chooses among the runs of a sweep: besom ls SWEEP --state ...")
        _list_sweeps(session, project, limit, as_json=as_json)
    else:
        _list_runs(session, sweep, states, limit, as_json=as_json)


def _list_sweeps(session: Session, project: str | None, limit: int | None, *, as_json: bool) -> None:
    if session.nothing_yet():
        if as_json:
            print_json([])
        say(f"no sweeps yet in {session.shown}; begin with: besom run sweep.yaml")
        return
    with session.open() as store:
        sweeps = store.list_sweeps(project=project)[:limit]
        if as_json:
            print_json([sweep_json(store, one) for one in sweeps])
        elif sweeps:
            print_table(SWEEP_COLUMNS, [sweep_words(one, store.progress(one.id)) for one in sweeps])
        else:
            solo = bool(store.list_runs(None, limit=1))
            hint = "; `besom ls --solo` lists the runs outside of sweeps" if solo else ""
            say(f"no sweeps in {session.shown}{hint}")


def _list_runs(
    session: Session, word: str | None, states: tuple[str, ...], limit: int | None, *, as_json: bool
) -> None:
    with session.open() as store:
        sweep = find_sweep(store, word) if word else None
        chosen = [RunState(state) for state in states] or None
        runs = store.list_runs(sweep.id if sweep else None, states=chosen, limit=limit)
        if as_json:
            print_json([run_json(run) for run in runs])
        elif runs:
            print_runs(sweep, runs)
        else:
            say(f"sweep {sweep.id} has no such runs yet" if sweep else "there are no such runs")
