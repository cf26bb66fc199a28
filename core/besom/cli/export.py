"""`besom export`: a sweep's runs as a table for other programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.output import counted, flat, say
from besom.cli.rows import run_json
from besom.cli.session import Session, pass_session
from besom.records import Run

OWN = (
    "id",
    "number",
    "name",
    "state",
    "value",
    "seconds",
    "attempt",
    "exit_code",
    "error",
    "started",
    "ended",
)


@click.command()
@click.argument("sweep", shell_complete=complete_sweeps)
@click.option(
    "--format",
    "form",
    default="csv",
    show_default=True,
    type=click.Choice(["csv", "jsonl", "json"]),
    help="A CSV with a column for every name, one JSON object a line, or one JSON list.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of stdout."
)
@pass_session
def export(session: Session, sweep: str, form: str, output: Path | None, *, as_json: bool) -> None:
    """Write the runs of SWEEP with their parameters and summaries.

    In CSV, a cell that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    form = "json" if as_json else form
    with session.open() as store:
        runs = store.list_runs(find_sweep(store, sweep).id)
    if output is None:
        _write(sys.stdout, runs, form)
        return
    with output.open("w", newline="") as file:
        _write(file, runs, form)
    say(f"{counted(len(runs), 'run')} written to {output}")


def _write(file: IO[str], runs: Sequence[Run], form: str) -> None:
    if form == "csv":
        _write_csv(file, runs)
    elif form == "json":
        json.dump([run_json(run) for run in runs], file, indent=2, ensure_ascii=False)
        file.write("\n")
    else:
        for run in runs:
            file.write(json.dumps(run_json(run), ensure_ascii=False) + "\n")


def _write_csv(file: IO[str], runs: Sequence[Run]) -> None:
    params = _names(dict(flat(run.params)) for run in runs)
    summary = _names(dict(flat(run.summary)) for run in runs)
    writer = csv.writer(file, lineterminator="\n")
    titles = [*OWN, *(f"params.{name}" for name in params), *(f"summary.{name}" for name in summary)]
    writer.writerow([safe_cell(title) for title in titles])
    for run in runs:
        own, has, said = run_json(run), dict(flat(run.params)), dict(flat(run.summary))
        cells = [*(own[name] for name in OWN), *(has.get(n) for n in params), *(said.get(n) for n in summary)]
        writer.writerow([safe_cell(cell) for cell in cells])


def _names(rows: Any) -> list[str]:
    """Give every name that any row has, in the order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def safe_cell(value: Any) -> str:
    """Give a cell's text; text that a spreadsheet would run as a formula is made plain by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
