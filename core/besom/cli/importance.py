"""`besom importance`: which parameters the metric depends on."""

from __future__ import annotations

from dataclasses import asdict

import click

from besom.cli.lookup import complete_sweeps, find_sweep_or_newest
from besom.cli.output import Column, json_option, print_json, print_table, say
from besom.cli.session import Session, pass_session


@click.command()
@click.argument("sweep", required=False, shell_complete=complete_sweeps)
@json_option
@pass_session
def importance(session: Session, sweep: str | None, *, as_json: bool) -> None:
    """Show which parameters of SWEEP (default: the newest) its metric depends on."""
    from besom.api import SweepView

    with session.open() as store:
        found = SweepView(store, find_sweep_or_newest(store, sweep).id).importance()
    if as_json:
        print_json(asdict(found))
        return
    columns = (
        Column("parameter", flexible=True),
        Column("importance", right=True),
        Column("alone", right=True),
    )
    print_table(
        columns,
        (
            (
                share.name,
                f"{share.total:.2f} ± {share.total_deviation:.2f}",
                f"{share.main:.2f} ± {share.main_deviation:.2f}",
            )
            for share in found.shares
        ),
    )
    if found.warning:
        say(found.warning)
