"""`besom launch`: start agents on a platform."""

from __future__ import annotations

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.output import say
from besom.cli.session import Session, pass_session


@click.command()
@click.argument("name")
@click.argument("sweep", shell_complete=complete_sweeps)
@click.argument("arguments", nargs=-1, metavar="[-- AGENT OPTIONS]")
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="How many agents to start."
)
@click.option("--dry-run", is_flag=True, help="Print what would be run; start nothing.")
@pass_session
def launch(
    session: Session, name: str, sweep: str, arguments: tuple[str, ...], jobs: int, *, dry_run: bool
) -> None:
    """Start agents of SWEEP on the platform NAME; `local` is this machine. Prints a job a line.

    \b
    besom launch local k3f9a2xz --jobs 2 -- --workers 4 --count 10
    """
    from besom.launch import AgentJob, create_launcher

    launcher = create_launcher(name)
    with session.open() as store:
        job = AgentJob(find_sweep(store, sweep).id, store.url, arguments)
    if dry_run:
        click.echo(launcher.preview(job, jobs))
        return
    for launched in launcher.launch(job, jobs):
        click.echo(launched.job_id)
        say(launched.description)
    say(f"follow them with: besom watch {job.sweep_id}")
