"""`besom extend`: give a sweep new values; what has run is kept."""

from __future__ import annotations

from pathlib import Path

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.output import say
from besom.cli.rows import done_of
from besom.cli.session import Session, pass_session


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@click.argument("file", type=click.Path(path_type=Path))
@pass_session
def extend(session: Session, sweep: str, file: Path) -> None:
    """Replace the file of SWEEP by FILE, with more values or runs; points that have run are not run again."""
    from besom.sweep import extend_sweep
    from besom.sweepfile import load

    config = load(file)
    with session.open() as store:
        found = extend_sweep(store, find_sweep(store, sweep).id, config)
        done = done_of(store.progress(found.id))
        by = session.command("agent", found.id)
        say(f"sweep {found.id} is at version {found.version}, runs {done}; go on with: {by}")
