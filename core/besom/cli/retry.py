"""`besom retry`: run failed or chosen runs again."""

from __future__ import annotations

import click

from besom.cli.lookup import complete_sweeps, find_run, find_sweep
from besom.cli.output import counted, say
from besom.cli.session import Session, pass_session
from besom.records import RunState

DEFAULT_STATES = (RunState.FAILED, RunState.CRASHED)


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@click.argument("runs", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["failed", "crashed", "killed", "stopped"]),
    help="Which runs when none are named; may be given several times.  [default: failed, crashed]",
)
@pass_session
def retry(session: Session, sweep: str, runs: tuple[str, ...], states: tuple[str, ...]) -> None:
    """Put RUNS of SWEEP back into its queue; without RUNS, all that failed or crashed."""
    from besom.sweep import retry_runs

    with session.open() as store:
        found = find_sweep(store, sweep)
        run_ids = [find_run(store, run).id for run in runs]
        chosen = [RunState(state) for state in states] or DEFAULT_STATES
        queued = retry_runs(store, found.id, run_ids=run_ids, states=chosen)
        for run in queued:
            click.echo(run.id)
        if queued:
            say(f"{counted(len(queued), 'run')} to be run again by: {session.command('agent', found.id)}")
        else:
            say(f"sweep {found.id} has no runs that are {' or '.join(state.value for state in chosen)}")
