"""`besom pause`, `resume`, `stop` and `cancel`: the verbs that change a sweep's state."""

from __future__ import annotations

import click

from besom.cli.lookup import complete_sweeps, find_any, find_sweep
from besom.cli.output import say
from besom.cli.session import Session, pass_session
from besom.records import RunState, Sweep


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@pass_session
def pause(session: Session, sweep: str) -> None:
    """Hand out no new runs of SWEEP; running ones go on, agents wait."""
    from besom.sweep import pause_sweep

    with session.open() as store:
        found = pause_sweep(store, find_sweep(store, sweep).id)
        say(f"sweep {found.id} is paused; go on with: {session.command('resume', found.id)}")


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@pass_session
def resume(session: Session, sweep: str) -> None:
    """Hand out runs of SWEEP again; agents that waited go on by themselves."""
    from besom.sweep import resume_sweep

    with session.open() as store:
        found = resume_sweep(store, find_sweep(store, sweep).id)
        by = session.command("agent", found.id)
        say(f"sweep {found.id} is {found.state.value}; an agent joins it with: {by}")


@click.command()
@click.argument("id", shell_complete=complete_sweeps)
@click.option("--reason", default="stopped by hand", show_default=True, help="What to note beside a run.")
@pass_session
def stop(session: Session, id: str, reason: str) -> None:  # noqa: A002 - the word users see
    """Stop the sweep ID: no new runs, running ones go on, agents leave. Or stop the run ID: a good ending."""
    from besom.sweep import stop_sweep

    with session.open() as store:
        found = find_any(store, id)
        if isinstance(found, Sweep):
            stopped = stop_sweep(store, found.id)
            say(f"sweep {stopped.id} is {stopped.state.value}; running runs go on to their end")
            return
        run = store.request_stop(found.id, reason)
        asked = "was asked to stop" if run.state is RunState.RUNNING else f"is {run.state.value}"
        say(f"run {run.id} {asked}")


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@pass_session
def cancel(session: Session, sweep: str) -> None:
    """Kill the running runs of SWEEP and hand out no more."""
    from besom.sweep import cancel_sweep

    with session.open() as store:
        found = cancel_sweep(store, find_sweep(store, sweep).id)
        say(f"sweep {found.id} is {found.state.value}; its running runs are being killed")
