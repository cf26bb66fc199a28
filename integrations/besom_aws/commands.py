"""`besom publish`: hand a sweep to agents by an SQS queue."""

from __future__ import annotations

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.output import say
from besom.cli.session import Session, pass_session


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@click.option("--queue", required=True, metavar="URL", help="The SQS queue.")
@click.option(
    "--agents",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="How many agents shall join; each takes one message.",
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="K", help="How many runs each of them takes at most."
)
@click.option(
    "--store-reference",
    metavar="REFERENCE",
    help="Where agents find the store's address: env:NAME, secretsmanager:NAME#KEY or ssm:/NAME."
    "  [default: the address itself]",
)
@pass_session
def publish(
    session: Session,
    /,
    sweep: str,
    *,
    queue: str,
    agents: int,
    count: int | None,
    store_reference: str | None,
) -> None:
    """Have agents of an SQS queue (`besom agent --queue URL`) join SWEEP. Prints the messages' ids.

    A message holds the sweep's id and where its store is, never a password. Messages that are lost are
    replaced by publishing again; too many do no harm.
    """
    from besom_aws.message import require_public
    from besom_aws.publish import publish_sweep

    require_public(store_reference or session.url)
    with session.open() as store:
        found, url = find_sweep(store, sweep), store.url
    for message in publish_sweep(found, queue, agents=agents, store=store_reference or url, count=count):
        click.echo(message)
    if store_reference is None and url.startswith("sqlite:"):
        say(f"the store {url} is a file: only agents on this machine reach it")
    say(f"follow them with: besom watch {found.id}")
