"""`besom rm`: forget runs, so that their points are run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from besom.cli.lookup import find_run
from besom.cli.output import say
from besom.cli.session import Session, pass_session
from besom.records import SweepState

if TYPE_CHECKING:
    from besom.store.base import Store


@click.command()
@click.argument("runs", nargs=-1, required=True)
@pass_session
def rm(session: Session, runs: tuple[str, ...]) -> None:
    """Forget RUNS and what they reported; their points are handed out again when their sweep runs."""
    from besom.sweep import remove_run

    with session.open() as store:
        for run in [find_run(store, word) for word in runs]:
            remove_run(store, run.id)
            say(f"run {run.id} is forgotten{_again(session, store, run.sweep_id)}")


def _again(session: Session, store: Store, sweep_id: str | None) -> str:
    if sweep_id is None:
        return ""
    open_again = store.get_sweep(sweep_id).state in {SweepState.PENDING, SweepState.RUNNING}
    resume = "" if open_again else f"{session.command('resume', sweep_id)} && "
    return f"; its point is run again by: {resume}{session.command('agent', sweep_id)}"
