"""`besom agent`: take runs from a sweep, or from the sweeps that the messages of a queue name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.options import agent_options, to_agent_options
from besom.cli.output import say
from besom.cli.session import Session, pass_session
from besom.errors import UsageError

if TYPE_CHECKING:
    from besom.agent import AgentOptions, AgentResult


@click.command()
@click.argument("sweep", required=False, shell_complete=complete_sweeps)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Leave after so many runs.")
@agent_options
@click.option("-p", "--project", expose_value=False, help="Accepted as in wandb; an id is enough.")
@click.option("-e", "--entity", expose_value=False, help="The same.")
@click.option("--queue", metavar="URL", help="Join the sweeps that messages of this SQS queue name.")
@click.option(
    "--idle",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="(--queue) Leave when no message comes for so long.  [default: wait for ever]",
)
@click.option(
    "--allow-store",
    multiple=True,
    metavar="STORE",
    help="(--queue) Messages may name this store too, an address or a reference; may be repeated.",
)
@pass_session
def agent(
    session: Session,
    /,
    *,
    sweep: str | None,
    count: int | None,
    queue: str | None,
    idle: float | None,
    allow_store: tuple[str, ...],
    **chosen: Any,
) -> None:
    """Take runs from SWEEP and run them here, until none are left.

    SWEEP is an id, project/id or entity/project/id. With --queue, messages of a queue name the sweeps
    (`besom publish` sends them). Ctrl-C waits for the running runs, a second one interrupts them (they are
    taken up again later), a third kills them.
    """
    options = to_agent_options(count, **chosen)
    if (sweep is None) is (queue is None):
        raise UsageError("name a sweep or a queue: besom agent SWEEP, or besom agent --queue URL")
    if sweep is not None:
        if idle is not None or allow_store:
            raise UsageError("--idle and --allow-store are for --queue")
        result = _join(session, sweep, options)
    else:
        result = _serve(session, options, url=queue, idle=idle, allow_stores=allow_store)
    ended = ", ".join(f"{count} {state.value}" for state, count in result.counts.items())
    reason = result.reason if sweep is None else ""  # of a sweep's agent an event has told it
    say(f"agent left: {'; '.join(filter(None, (reason, ended or 'no run')))}")
    raise click.exceptions.Exit(result.exit_code)


def _join(session: Session, sweep: str, options: AgentOptions) -> AgentResult:
    from besom.agent import run_agent
    from besom.cli.talk import event_lines

    with session.open() as store:
        found = find_sweep(store, sweep)
        with event_lines(found) as tell:
            return run_agent(store, found.id, options, on_event=tell)


def _serve(session: Session, options: AgentOptions, **told: Any) -> AgentResult:
    from besom.cli.talk import event_lines
    from besom.plugins import load_plugin

    serve = load_plugin("besom.doors", "queue_agent")
    served: AgentResult = serve(options, store=session.url, talk=event_lines, say=say, **told)
    return served
