"""`besom rm`: forget runs, so that their points are run again."""

from __future__ import annotations

import click

from besom.cli.lookup import find_run
from besom.cli.output import say
from besom.cli.session import Session, pass_session


@click.command()
@click.argument("runs", nargs=-1, required=True)
@pass_session
def rm(session: Session, runs: tuple[str, ...]) -> None:
    """Forget RUNS and what they reported; their points are handed out again when their sweep runs."""
    from besom.sweep import remove_run

    with session.open() as store:
        for run in [find_run(store, word) for word in runs]:
            remove_run(store, run.id)
            again = f"; its point is run again by: besom agent {run.sweep_id}" if run.sweep_id else ""
            say(f"run {run.id} is forgotten{again}")
