"""`besom sweep`: create a sweep, without running it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from besom.cli.lookup import find_run, find_sweep
from besom.cli.output import counted, say, say_warnings
from besom.cli.session import Session, pass_session
from besom.errors import UsageError

if TYPE_CHECKING:
    from besom.records import Sweep
    from besom.store.base import Store


@click.command()
@click.argument("file", metavar="SWEEP.YAML")
@click.option("-p", "--project", help="The project, instead of the file's.")
@click.option("-e", "--entity", help="The entity, instead of the file's.")
@click.option("--name", help="The name, instead of the file's.")
@click.option(
    "-R", "--prior-run", "prior_runs", multiple=True, metavar="RUN", help="Begin with this run's result."
)
@click.option(
    "--prior-sweep",
    "prior_sweeps",
    multiple=True,
    metavar="SWEEP",
    help="Begin with the results of this sweep.",
)
@click.option("--prior-filter", metavar="EXPR", help="Of those (or of all sweeps), only the runs that match.")
@click.option("--pause", "verb", flag_value="pause", help="Pause the sweep with this id, as in wandb.")
@click.option("--resume", "verb", flag_value="resume", help="Resume it.")
@click.option("--stop", "verb", flag_value="stop", help="Stop it.")
@click.option("--cancel", "verb", flag_value="cancel", help="Cancel it.")
@click.pass_context
def sweep(ctx: click.Context, /, file: str, verb: str | None, **settings: Any) -> None:
    """Create a sweep from SWEEP.YAML; prints its id on stdout. Agents run it.

    \b
    besom sweep sweep.yaml --prior-sweep k3f9a2xz --prior-filter 'val/loss < 0.3 and optimizer == adam'
    """
    if verb is None:
        ctx.invoke(_create, file=Path(file), **settings)
        return
    given = [name for name, value in settings.items() if value]
    if given:
        raise UsageError(
            f"--{verb} takes the id of a sweep and nothing else, not --{given[0].replace('_', '-')}"
        )
    from besom.cli import steer

    command: click.Command = getattr(steer, verb)
    ctx.invoke(command, **{"id" if verb == "stop" else "sweep": file})


@pass_session
def _create(
    session: Session,
    /,
    *,
    file: Path,
    project: str | None,
    entity: str | None,
    name: str | None,
    prior_runs: tuple[str, ...],
    prior_sweeps: tuple[str, ...],
    prior_filter: str | None,
) -> None:
    from besom.sweep import create_sweep
    from besom.sweepfile import load

    config = load(file)
    say_warnings(config.warnings)
    if name:
        config = dataclasses.replace(config, name=name)
    with session.open(create=True) as store:
        prior = [find_run(store, word).id for word in prior_runs]
        if prior_sweeps or prior_filter is not None:
            chosen = _matching_runs(store, prior_sweeps, prior_filter or "")
            prior += [run_id for run_id in chosen if run_id not in prior]
        made = create_sweep(store, config, project=project, entity=entity, prior_runs=prior)
        click.echo(made.id)
        expected = "no end in sight" if made.expected_runs is None else f"Est. Runs {made.expected_runs}"
        begun = f", {counted(len(prior), 'prior run')}" if prior else ""
        say(f"sweep {made.id} ({made.name}), {expected}{begun}")
        say(f"run it with: {session.command('agent', _path(made))}")


def _matching_runs(store: Store, words: tuple[str, ...], expression: str) -> list[str]:
    """Give the ids of the runs that match, in the named sweeps or all; UsageError if there are none."""
    from besom.priors import prior_runs_where

    sweeps = [find_sweep(store, word) for word in words] or store.list_sweeps()
    copies = bool(words)  # among all sweeps, what they are copies of is there too
    found = [
        run_id
        for one in sweeps
        for run_id in prior_runs_where(store, one.id, where=expression, copies=copies)
    ]
    if not found:
        raise UsageError(
            f"no run that ended well matches {expression!r}; `besom ls SWEEP` shows what there is"
        )
    return found


def _path(made: Sweep) -> str:
    parts = (made.entity if made.project else None, made.project, made.id)
    return "/".join(part for part in parts if part)
