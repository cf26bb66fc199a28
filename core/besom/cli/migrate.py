"""`besom migrate`: a whole store into another database."""

from __future__ import annotations

import click

from besom.cli.output import counted, say


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--running", is_flag=True, help="Copy while runs are running; they are attempted anew in DST.")
def migrate(source: str, destination: str, *, running: bool) -> None:
    """Copy all that the store SRC holds into the store DST: SQLite or PostgreSQL, either way.

    Sweeps go on in DST where they stood: nothing that has run is run again. It is done whole or not at
    all, and refused where DST holds one of the sweeps already. SRC is left as it is; give agents the
    address of DST.
    """
    from besom.cli.session import Session
    from besom.errors import NotFoundError
    from besom.store import open_store
    from besom.store.migrate import migrate as copy

    if Session(source).nothing_yet():
        raise NotFoundError(f"there is no store at {source}")
    old = open_store(source)
    try:
        new = open_store(destination)
        try:
            moved = copy(old, new, running=running)
        finally:
            new.close()
    finally:
        old.close()
    shown = Session(destination).shown
    rows = ", ".join(counted(moved.rows[table], name) for table, name in _SHOWN.items())
    say(f"{rows} copied to {shown}")
    say(f"agents and commands find them with --store {shown}, or BESOM_STORE")


_SHOWN = {"sweep": "sweep", "run": "run", "history": "history row", "suggestion": "waiting suggestion"}
