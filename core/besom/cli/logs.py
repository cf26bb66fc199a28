"""`besom logs`: what a run has printed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from besom.cli.lookup import find_run
from besom.cli.output import json_option, print_json_line, say
from besom.cli.session import Session, pass_session
from besom.records import ENDED

if TYPE_CHECKING:
    from besom.store.base import Store

POLL_SECONDS = 0.2


@click.command()
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@json_option
@pass_session
def logs(session: Session, run: str, *, follow: bool, as_json: bool) -> None:
    """Print what RUN has printed, all its attempts after one another; with --json, one object a line."""
    from besom.folders import run_folder

    with session.open() as store:
        found = find_run(store, run)
        path = run_folder(found.id).output
        if not path.exists() and not (follow and found.state not in ENDED):
            say(f"run {found.id} ({found.state.value}) has printed nothing here: {path}")
            return
        _copy(store, found.id, path, follow=follow, as_json=as_json)


def _copy(store: Store, run_id: str, path: Path, *, follow: bool, as_json: bool) -> None:
    """Print the file, and with `follow` what is added to it until the run has ended."""
    while follow and not path.exists() and store.get_run(run_id).state not in ENDED:
        time.sleep(POLL_SECONDS)
    if not path.exists():
        return
    with path.open("rb") as output:
        while True:
            ended = not follow or store.get_run(run_id).state in ENDED
            # Asked before reading: what a run printed before it ended is never missed.
            _print_rest(output, run_id, as_json=as_json, last=ended)
            if ended:
                return
            time.sleep(POLL_SECONDS)


def _print_rest(output: BinaryIO, run_id: str, *, as_json: bool, last: bool) -> None:
    if not as_json:
        while chunk := output.read(65536):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    for line in output:
        if not line.endswith(b"\n") and not last:
            output.seek(-len(line), 1)  # half a line: its rest is still to come
            return
        print_json_line({"run": run_id, "line": line.decode(errors="replace").rstrip("\n")})
