"""`besom check`: is a sweep file right, what space does it span, and what would it run first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from besom.cli.output import (
    Column,
    json_option,
    print_fields,
    print_json,
    print_table,
    say,
    say_warnings,
    shell_words,
)
from besom.cli.rows import aims
from besom.errors import BesomError, UsageError
from besom.records import Observation, Params

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

TRIES = 64  # points that constraints rule out before the first one that is allowed


@click.command()
@click.argument("file", metavar="SWEEP.YAML", type=click.Path(path_type=Path))
@click.option("--no-program", is_flag=True, help="Do not ask the program whether it takes the parameters.")
@json_option
def check(file: Path, *, no_program: bool, as_json: bool) -> None:
    """Validate SWEEP.YAML, and show its space, Est. Runs and the command line of its first run.

    A program that can say what it would do without training, such as one built with LightningCLI, is asked
    whether it takes the parameters; leaves with 2 if not.
    """
    from besom.sweep import try_out
    from besom.sweepfile import load

    config = _fitted(load(file))
    try_out(config)
    params = first_params(config)
    command = None if params is None else _command(config, params)
    warnings = list(_warnings(config, params))
    faults = (
        None if no_program or params is None or config.program is None else _ask(config, params, warnings)
    )
    if as_json:
        print_json(
            {
                "file": str(file),
                "name": config.name,
                "method": config.method,
                "metric": dataclasses.asdict(config.metric) if config.metric else None,
                "parameters": [dataclasses.asdict(row) for row in config.space.describe()],
                "constraints": list(config.constraints),
                "expected_runs": config.expected_runs,
                "first": None if params is None else {"params": dict(params), "command": command},
                "warnings": warnings,
                "faults": faults,
            }
        )
    else:
        _print_space(config)
        click.echo()
        _print_summary(config, command)
        say_warnings(warnings)
        for fault in faults or ():
            say(f"{file}: {fault}")
        if faults == []:
            say("the program takes these parameters")
    if faults:
        raise click.exceptions.Exit(UsageError.exit_code)


def _print_space(config: SweepConfig) -> None:
    rows = config.space.describe()
    columns = [
        Column("parameter"),
        Column("values", flexible=True),
        Column("count", right=True),
        Column("when"),
    ]
    cells = [[row.name, row.domain, "-" if row.size is None else f"{row.size:,}", row.when] for row in rows]
    shown = len(columns) if any(row.when for row in rows) else len(columns) - 1
    print_table(columns[:shown], [row[:shown] for row in cells])


def _print_summary(config: SweepConfig, command: list[str] | None) -> None:
    fields = {
        "method": config.method,
        "metric": aims(config.metrics or (config.metric,)) if config.metric else "-",
        "constraints": "\n".join(config.constraints),
        "Est. Runs": "no end in sight" if config.expected_runs is None else f"{config.expected_runs:,}",
        "first run": shell_words(command) + _chance(config) if command else "",
    }
    print_fields({name: value for name, value in fields.items() if value})


def _chance(config: SweepConfig) -> str:
    """Give what to say of a first run that depends on chance, as a shell's comment."""
    certain = config.method == "grid" or config.seed is not None
    return "" if certain else "  # with seed: 0; the file has none, so each sweep picks its own"


class NoHistory:
    """The history of a sweep that has not begun."""

    def observations(self, *, after: int = 0) -> Sequence[Observation]:
        """Give none."""
        del after
        return ()

    def active(self) -> Sequence[Params]:
        """Give none."""
        return ()


def first_params(config: SweepConfig) -> Params | None:
    """Give what the sweep would run first; with seed 0 where the file leaves the seed to chance."""
    from besom.search import create_method

    seeded = config if config.seed is not None else dataclasses.replace(config, seed=0)
    method, cursor = create_method(seeded), 0
    for _ in range(TRIES):
        batch = method.suggest(cursor, 1, NoHistory())
        if batch.suggestions:
            return batch.suggestions[0].params
        if batch.exhausted:
            return None
        cursor = batch.cursor
    return None


def _fitted(config: SweepConfig) -> SweepConfig:
    """Give the config with the command that its program needs; UsageError if its own gives no parameters."""
    from besom.agent.command import program_folder
    from besom.agent.macros import fitted

    try:
        place = program_folder(config, str(Path(config.source).absolute().parent), Path.cwd())
    except UsageError:  # it is missing, which is warned of
        return config
    return fitted(config, place)


def _command(config: SweepConfig, params: Params) -> list[str] | None:
    """Give the argv of a run with these parameters; None when the sweep runs no program."""
    from besom.agent.command import build_command
    from besom.folders import run_folder

    try:
        return build_command(config, params, folder=run_folder("RUN_ID"))
    except UsageError:
        return None


def _ask(config: SweepConfig, params: Params, warnings: list[str]) -> list[str] | None:
    """Give what the program finds wrong with the parameters, None if it was not asked; may add warnings."""
    from besom.agent.rehearse import rehearse

    try:
        return rehearse(config, params, warn=warnings.append)
    except UsageError as error:
        if str(error) not in warnings:
            warnings.append(str(error))
        return None


def _warnings(config: SweepConfig, params: Params | None) -> Iterator[str]:
    from besom.agent.command import program_folder, unknown_macros

    yield from config.warnings
    if params is None:
        yield "no point of the space was found that its constraints allow"
    if config.metric is None:
        yield "there is no metric, so no run is best; name one: metric: {name: loss, goal: minimize}"
    if config.expected_runs is None:
        yield "the sweep does not end by itself; set run_cap, or give --count to `besom run`"
    for macro in unknown_macros(config.command):
        yield f"{macro} in command is no macro and gives nothing"
    try:
        program_folder(config, str(Path(config.source).absolute().parent), Path.cwd())
    except BesomError as error:
        yield str(error)
