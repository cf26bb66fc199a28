"""`besom agent`: take runs from a sweep."""

from __future__ import annotations

from typing import Any

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.options import agent_options, to_agent_options
from besom.cli.output import say
from besom.cli.session import Session, pass_session


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Leave after so many runs.")
@agent_options
@pass_session
def agent(session: Session, /, sweep: str, count: int | None, **chosen: Any) -> None:
    """Take runs from SWEEP and run them here, until none are left.

    SWEEP is an id, project/id or entity/project/id. Ctrl-C waits for the running runs, a second one
    interrupts them (they are taken up again later), a third kills them.
    """
    from besom.agent import run_agent
    from besom.cli.talk import event_lines

    options = to_agent_options(count, **chosen)
    with session.open() as store:
        found = find_sweep(store, sweep)
        with event_lines(found) as tell:
            result = run_agent(store, found.id, options, on_event=tell)
        ended = ", ".join(f"{count} {state.value}" for state, count in result.counts.items())
        say(f"agent left: {result.reason or 'nothing left to do'}" + (f"; {ended}" if ended else ""))
    raise click.exceptions.Exit(result.exit_code)
