"""`besom launch`: start agents on a platform. Each platform is a command of its own, with its own options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from besom.cli.lookup import complete_sweeps, find_sweep
from besom.cli.output import say
from besom.cli.session import Session

if TYPE_CHECKING:
    from besom.launch import AgentJob

PLATFORMS = {
    # What `besom launch --help` says of each, so that it imports none of them.
    "local": "On this machine, in the background.",
    "batch": "As an array job of AWS Batch; what a spot host loses is tried again.",
    "ecs": "As tasks of Amazon ECS.",
    "ray": "As jobs of a Ray cluster; what a lost one was at, another goes on with.",
    "slurm": "As SLURM jobs; each goes on with its run when it is requeued.",
}


class LaunchCommands(click.Group):
    """A group whose commands are the launchers there are, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the platforms: besom's own, then those of other packages."""
        del ctx
        from importlib.metadata import entry_points

        return [*PLATFORMS, *sorted({point.name for point in entry_points(group="besom.launchers")})]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Make the command of a platform; NotFoundError names those there are."""
        del ctx
        return _command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of platforms, importing none of them."""
        with formatter.section("Platforms"):
            formatter.write_dl([(name, PLATFORMS.get(name, "")) for name in self.list_commands(ctx)])


@click.group(cls=LaunchCommands)
def launch() -> None:
    """Start agents of a sweep on a platform. Prints a job a line.

    \b
    besom launch local k3f9a2xz --jobs 2 -- --workers 4 --count 10
    besom launch PLATFORM --help      says what a platform can be told
    """


def _command(name: str) -> click.Command:
    from besom.cli import global_options
    from besom.launch import launcher_class

    found = launcher_class(name)
    params: list[click.Parameter] = [
        click.Argument(["sweep"], shell_complete=complete_sweeps),
        click.Argument(["arguments"], nargs=-1, metavar="[-- AGENT OPTIONS]"),
        click.Option(
            ["--jobs", "--agents", "jobs"],
            default=1,
            show_default=True,
            type=click.IntRange(min=1),
            metavar="N",
            help="How many agents to start.",
        ),
        click.Option(["--dry-run"], is_flag=True, help="Print what would be run; start nothing."),
        *found.options,
        *global_options(),
    ]

    @click.pass_context
    def start(ctx: click.Context, /, **chosen: Any) -> None:
        _launch(ctx.ensure_object(Session), name, **chosen)

    return click.Command(name, callback=start, params=params, help=found.__doc__)


def _launch(
    session: Session,
    name: str,
    *,
    sweep: str,
    arguments: tuple[str, ...],
    jobs: int,
    dry_run: bool,
    **chosen: Any,
) -> None:
    from besom.launch import AgentJob, create_launcher

    given = {key: value for key, value in chosen.items() if value is not None and value is not False}
    launcher = create_launcher(name, **{key: value for key, value in given.items() if value != ()})
    with session.open() as store:
        job = AgentJob(find_sweep(store, sweep).id, store.url, arguments)
    _require_agent_options(job)
    if dry_run:
        click.echo(launcher.preview(job, jobs))
        return
    for launched in launcher.launch(job, jobs):
        click.echo(launched.job_id)
        say(launched.description)
    say(f"follow them with: {session.command('watch', job.sweep_id)}")


def _require_agent_options(job: AgentJob) -> None:
    """Raise now what every agent would when its turn has come."""
    from besom.cli import cli

    agent = cli.get_command(click.Context(cli), "agent")
    assert agent is not None
    agent.make_context("besom agent", [job.sweep_id, *job.arguments])
