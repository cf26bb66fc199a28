"""`besom token`: who may use a server."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click

from besom.cli.output import Column, moment, print_table, say

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class _Duration(click.ParamType[Any]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Read `30d`, `12h`, `10m`, `5s` or `never`."""
        found = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        if value != "never" and not found:
            self.fail(f"{value!r} is no duration: write 30d, 12h, 10m, or never", param, ctx)
        return int(found[1]) * _UNITS[found[2]] if found else None


_TOKENS = click.option(
    "--tokens",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file of tokens.  [default: .besom/tokens.json]",
)


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of a server; run it where the server runs."""


@token.command()
@click.option("--scope", required=True, type=click.Choice(["read", "agent", "admin"]), help="What it allows.")
@click.option(
    "--expires", default="90d", show_default=True, type=_Duration(), help="30d, 12h, 10m, or never."
)
@click.option("--note", default="", help="Who has it, for `ls`.")
@_TOKENS
def create(scope: Any, expires: float | None, note: str, tokens: Path | None) -> None:
    """Print a new token; it is shown this once."""
    from besom.server.tokens import Tokens, default_tokens

    made, text = Tokens(tokens or default_tokens()).create(scope, seconds=expires, note=note)
    click.echo(text)
    until = "until it is revoked" if made.expires is None else f"until {moment(made.expires)}"
    say(f"token {made.id} is valid {until}, scope {scope}; it is not shown again")


@token.command()
@_TOKENS
def ls(tokens: Path | None) -> None:
    """List the tokens, never their texts."""
    from besom.server.tokens import Tokens, default_tokens

    now = time.time()
    rows = [
        (
            one.id,
            one.scope,
            moment(one.created),
            "expired" if one.expired(now) else moment(one.expires),
            one.note,
        )
        for one in Tokens(tokens or default_tokens()).list()
    ]
    print_table([Column(title) for title in ("ID", "SCOPE", "CREATED", "EXPIRES", "NOTE")], rows)


@token.command()
@click.argument("token_id", metavar="ID")
@_TOKENS
def revoke(token_id: str, tokens: Path | None) -> None:
    """Make the token ID invalid at once."""
    from besom.server.tokens import Tokens, default_tokens

    Tokens(tokens or default_tokens()).revoke(token_id)
    say(f"token {token_id} is revoked")
