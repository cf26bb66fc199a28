"""`besom doctor`: where the store is and whether it is healthy."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

import besom
from besom.cli.output import Column, counted, json_option, print_json, print_table
from besom.cli.session import Session, pass_session
from besom.errors import BesomError
from besom.folders import besom_dir
from besom.records import Agent, Run, RunState

if TYPE_CHECKING:
    from besom.store.base import Store

LITTLE_SPACE = 1 << 30  # bytes
SILENT_SECONDS = 300.0  # longer than any lease by default, and than any pause between heartbeats


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    ok: bool
    words: str


@click.command()
@json_option
@pass_session
def doctor(session: Session, *, as_json: bool) -> None:
    """Say where the store is and whether it is healthy; leaves with 1 if something is wrong."""
    findings = list(_examine(session))
    if as_json:
        print_json({"ok": all(finding.ok for finding in findings), "findings": list(map(asdict, findings))})
    else:
        columns = (Column("what"), Column(""), Column("found"))
        print_table(columns, [(f.subject, "ok" if f.ok else "WRONG", f.words) for f in findings])
    raise click.exceptions.Exit(0 if all(finding.ok for finding in findings) else 1)


def _examine(session: Session) -> Iterator[Finding]:
    yield Finding("besom", True, f"{besom.__version__} in {besom.__path__[0]}")
    yield Finding("python", True, f"{platform.python_version()} at {sys.executable}")
    yield Finding("store", True, session.shown)
    yield Finding("run folders", True, str(besom_dir() / "runs"))
    if session.nothing_yet():
        yield Finding("contents", True, "nothing yet; begin with: besom run sweep.yaml")
        return
    if session.is_sqlite:
        yield from _examine_file(session)
    try:
        with session.open() as store:
            yield from _examine_contents(store)
    except BesomError as error:
        yield Finding("contents", False, str(error))


def _examine_file(session: Session) -> Iterator[Finding]:
    """Look at the file of a SQLite store without besom's own code between."""
    import sqlite3
    from contextlib import closing

    from besom.store.sqlite.place import NETWORK_FILESYSTEMS, filesystem_of, parse_place

    path = parse_place(session.url).path
    kind = filesystem_of(path)
    yield Finding("filesystem", kind not in NETWORK_FILESYSTEMS, kind or "unknown")
    free = shutil.disk_usage(path.parent).free
    yield Finding(
        "disk", free > LITTLE_SPACE, f"{free / (1 << 30):.1f} GiB free, store {_size(path.stat().st_size)}"
    )
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            version: int = database.execute("PRAGMA user_version").fetchone()[0]
            verdict = "; ".join(row[0] for row in database.execute("PRAGMA quick_check(3)"))
    except sqlite3.Error as error:
        yield Finding("integrity", False, f"{error}; restore a copy, or move the file away")
        return
    yield Finding(
        "integrity", verdict == "ok", f"{verdict}, schema {version}, SQLite {sqlite3.sqlite_version}"
    )


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def _examine_contents(store: Store) -> Iterator[Finding]:
    sweeps = store.list_sweeps()
    running: list[Run] = []
    agents: dict[str, Agent] = {}
    for sweep in sweeps:
        of_sweep = store.list_runs(sweep.id, states={RunState.RUNNING})
        if of_sweep:
            agents.update({agent.id: agent for agent in store.list_agents(sweep.id)})
        running += of_sweep
    contents = f"{counted(len(sweeps), 'sweep')}, {counted(len(running), 'run')} running"
    yield Finding("contents", True, contents)
    now = time.time()
    silent = [
        run for run in running if run.agent_id in agents and now - agents[run.agent_id].seen > SILENT_SECONDS
    ]
    if silent:
        listed = ", ".join(f"{run.id} of {run.sweep_id}" for run in silent[:3])
        words = f"{len(silent)} runs belong to agents that fell silent ({listed}); a new agent takes them up"
        yield Finding("agents", False, words)
    else:
        seen = sum(now - agent.seen <= SILENT_SECONDS for agent in agents.values())
        yield Finding("agents", True, f"{seen} at work")
