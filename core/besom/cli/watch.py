"""`besom watch`: a live view of a sweep."""

from __future__ import annotations

import sys
import time

import click

from besom.cli.live import Watcher, draw, rows_that_fit, snapshot_json, snapshot_line
from besom.cli.lookup import complete_sweeps, find_sweep_or_newest
from besom.cli.output import console, is_terminal, json_option, print_json_line
from besom.cli.session import Session, pass_session


@click.command()
@click.argument("sweep", required=False, shell_complete=complete_sweeps)
@click.option(
    "--interval",
    default=0.5,
    show_default=True,
    type=click.FloatRange(min=0.05),
    help="Seconds between looks.",
)
@json_option
@pass_session
def watch(session: Session, sweep: str | None, interval: float, *, as_json: bool) -> None:
    """Watch SWEEP (the newest if none is named) until it ends; Ctrl-C leaves the sweep alone.

    Off a terminal, and with --json, it prints one line whenever something has changed.
    """
    with session.open() as store:
        watcher = Watcher(store, find_sweep_or_newest(store, sweep).id)
        if as_json or not is_terminal(sys.stdout):
            _print_changes(watcher, interval, as_json=as_json)
        else:
            _show_live(watcher, interval)


def _print_changes(watcher: Watcher, interval: float, *, as_json: bool) -> None:
    told: object = None
    while True:
        snapshot = watcher.look()
        news = (snapshot.progress, snapshot.best.id if snapshot.best else None)
        if news != told:
            if as_json:
                print_json_line(snapshot_json(snapshot))
            else:
                click.echo(snapshot_line(snapshot))
            told = news
        if snapshot.over:
            return
        time.sleep(interval)


def _show_live(watcher: Watcher, interval: float) -> None:
    from rich.live import Live

    screen = console()
    with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            snapshot = watcher.look()
            live.update(draw(snapshot, rows=rows_that_fit(screen)), refresh=True)
            if snapshot.over:
                return
            time.sleep(interval)
