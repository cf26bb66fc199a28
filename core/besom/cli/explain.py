"""`besom explain`: why a run was stopped, or goes on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from besom.cli.lookup import find_run
from besom.cli.output import json_option, print_json
from besom.cli.session import Session, pass_session

if TYPE_CHECKING:
    from besom.stopping.explain import Explanation


@click.command()
@click.argument("run")
@json_option
@pass_session
def explain(session: Session, run: str, *, as_json: bool) -> None:
    """Say in one sentence why RUN was stopped, or why it was kept."""
    from besom.stopping import explain as reasons

    with session.open() as store:
        found = reasons.explain(store, find_run(store, run))
        if as_json:
            print_json(_json(found))
        else:
            click.echo(found.sentence)


def _json(found: Explanation) -> dict[str, Any]:
    return {
        "run": found.run_id,
        "state": found.state.value,
        "stopped": found.stopped,
        "by": found.by,
        "sentence": found.sentence,
        "verdict": found.verdict,
        "rungs": [asdict(standing) for standing in found.standings],
    }
