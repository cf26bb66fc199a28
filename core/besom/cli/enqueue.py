"""`besom enqueue`: add a run of one's choice to a sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.output import assignments, say
from besom.cli.session import Session, pass_session
from besom.errors import UsageError


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--json", "document", metavar="TEXT", help="The parameters as a JSON object instead.")
@pass_session
def enqueue(session: Session, sweep: str, values: tuple[str, ...], document: str | None) -> None:
    """Add a run with chosen parameters to SWEEP; it is the next to run. Values are typed as in YAML.

    \b
    besom enqueue k3f9a2xz lr=1e-3 optimizer=adam model.layers=4
    """
    from besom.sweep import enqueue_run

    if bool(values) == (document is not None):
        raise UsageError("name the parameters either as NAME=VALUE or with --json, and at least one")
    with session.open() as store:
        found = find_sweep(store, sweep)
        params = _from_words(values) if document is None else _from_json(document)
        run = enqueue_run(store, found.id, params)
        click.echo(run.id)
        by = session.command("agent", found.id)
        say(f"run {run.id} waits with {assignments(run.params)}; run it with: {by}")


def _from_words(words: Sequence[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{word!r} is not of the form NAME=VALUE")
        params[name] = _typed(text)
    return params


def _typed(text: str) -> Any:
    from besom.sweepfile.yaml12 import parse_value

    return parse_value(text)


def _from_json(document: str) -> Mapping[str, Any]:
    try:
        params: Any = json.loads(document)
    except json.JSONDecodeError as error:
        raise UsageError(f"--json is no JSON: {error}") from error
    if not isinstance(params, Mapping):
        raise UsageError(f'--json must be an object like {{"lr": 0.1}}, not {document}')
    return cast("Mapping[str, Any]", params)
