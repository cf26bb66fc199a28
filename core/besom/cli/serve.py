"""`besom serve`: a store behind HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from besom.cli.output import say
from besom.cli.session import Session, pass_session

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8700, show_default=True, type=click.IntRange(0, 65535), help="0: any free one."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Answer to this name too (Host header).")
@click.option("--tls-certificate", type=_FILE, metavar="FILE", help="The certificate, with its chain.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="The certificate's key.")
@click.option(
    "--plain", is_flag=True, help="Beyond this machine without TLS: a proxy or network protects it."
)
@click.option(
    "--tokens", type=_FILE, metavar="FILE", help="The file of tokens.  [default: .besom/tokens.json]"
)
@click.option("--audit", type=_FILE, metavar="FILE", help="The audit log.  [default: .besom/audit.jsonl]")
@click.option(
    "--max-body", default=16.0, show_default=True, type=click.FloatRange(0, min_open=True), metavar="MIB",
    help="The largest request.",
)  # fmt: skip
@click.option(
    "--max-rate", default=2000.0, show_default=True, type=click.FloatRange(1), metavar="N",
    help="Requests per second with one token.",
)  # fmt: skip
@pass_session
def serve(
    session: Session,
    /,
    *,
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    tls_certificate: Path | None,
    tls_key: Path | None,
    plain: bool,
    tokens: Path | None,
    audit: Path | None,
    max_body: float,
    max_rate: float,
) -> None:
    """Serve the store to agents on other machines; `besom token create` lets them in.

    One server at a time for a store. Ctrl-C or SIGTERM ends it; agents wait until it is back.
    """
    from besom.folders import besom_dir
    from besom.server.app import ServerOptions
    from besom.server.gate import LOOPBACK
    from besom.server.listen import Listening
    from besom.server.listen import serve as listen
    from besom.server.tokens import default_tokens

    options = ServerOptions(
        tokens=tokens or default_tokens(),
        audit=audit or besom_dir() / "audit.jsonl",
        hosts=frozenset(name.lower() for name in (*LOOPBACK, host, *allow_host)),
        body_bytes=int(max_body * 2**20),
        per_second=max_rate,
    )
    where = Listening(host, port, tls_certificate, tls_key, plain)
    with session.open(create=True) as store:
        listen(store, options, where, on_start=lambda url: say(f"{session.shown} is served at {url}"))
