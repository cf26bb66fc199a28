"""The `besom` command: a table of commands, each imported only when it is used.

Commands of integrations are in the table too, by name only; those of other packages are entry points in the
group `besom.commands`, which are looked for when a name is in no table.

Data goes to stdout, talk to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 store, 130 and 143
when ended by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import IO, Any

import click

import besom
from besom.cli.session import Session
from besom.errors import BesomError, NotFoundError, SweepFileError

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Run": {
        "run": ("run", "Create a sweep from a file, or continue it, and run it here."),
        "sweep": ("sweep", "Create a sweep; prints its id."),
        "agent": ("agent", "Take runs from a sweep until none are left."),
        "launch": ("launch", "Start agents on a platform."),
        "check": ("check", "Validate a sweep file and show what it would run."),
    },
    "Look": {
        "ls": ("ls", "List the sweeps, or the runs of one."),
        "show": ("show", "Show all there is about a sweep or a run."),
        "watch": ("watch", "Watch a sweep until it ends."),
        "best": ("best", "Show the best run, its parameters and its command."),
        "importance": ("importance", "Show which parameters the metric depends on."),
        "explain": ("explain", "Say why a run was stopped or kept."),
        "logs": ("logs", "Print what a run has printed."),
        "export": ("export", "Write a sweep's runs as CSV or JSON."),
        "doctor": ("doctor", "Say where the store is and whether it is healthy."),
    },
    "Steer": {
        "pause": ("steer", "Hand out no new runs; running ones go on and agents wait."),
        "resume": ("steer", "Hand out runs again."),
        "stop": ("steer", "Stop a run, or stop a sweep from handing out runs."),
        "cancel": ("steer", "Kill a sweep's running runs and hand out no more."),
        "retry": ("retry", "Run failed or chosen runs again."),
        "rm": ("rm", "Forget runs, so that their points are run again."),
        "enqueue": ("enqueue", "Add a run of your choice to a sweep."),
        "extend": ("extend", "Give a sweep new values; what has run is kept."),
    },
    "Serve": {
        "serve": ("serve", "Serve the store to agents on other machines."),
        "token": ("token", "Say who may use a server."),
        "migrate": ("migrate", "Copy a store into another database."),
    },
    "Set up": {"completion": ("completion", "Print the script that completes besom's words in a shell.")},
}
INTEGRATIONS: dict[str, dict[str, tuple[str, str]]] = {
    # The extra that brings what the command imports, and what it does; `plugins.BUILTIN` says where it is.
    "Platforms": {
        "publish": ("aws", "Hand a sweep to agents by an SQS queue."),
        "requirements": ("sagemaker", "Write the requirements.txt that a program needs elsewhere."),
        "sagemaker": ("sagemaker", "Run sweeps as SageMaker training jobs."),
        "secrets": ("sagemaker", "Put credentials where jobs read them, and give references."),
    },
}
EXTRAS = {name: extra for commands in INTEGRATIONS.values() for name, (extra, _) in commands.items()}
COMMANDS = {name: entry for commands in SECTIONS.values() for name, entry in commands.items()}


class LazyCommands(click.Group):
    """A group that knows its commands by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order that `--help` shows them."""
        del ctx
        return [*COMMANDS, *EXTRAS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; it also takes the global options, so that they may stand anywhere."""
        del ctx
        command = _load(cmd_name)
        if command is None:
            return None
        if not any(option.name == "store" for option in command.params):
            command.params.extend(global_options())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the words name; an unknown one gets a suggestion."""
        name = args[0]
        known = self.list_commands(ctx)
        if not (name in known or name.startswith("-") or ctx.resilient_parsing or _load(name)):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise click.UsageError(f"No such command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands, importing none of them."""
        del ctx
        for title, commands in {**SECTIONS, **INTEGRATIONS}.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors of besom become messages and exit codes."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BesomError as error:
            if ctx.ensure_object(Session).debug:
                raise
            _complain(error)
            raise click.exceptions.Exit(error.exit_code) from error
        except ModuleNotFoundError as error:
            extra = EXTRAS.get(ctx.invoked_subcommand or "")
            if extra is None or ctx.ensure_object(Session).debug:
                raise
            _complain(_missing(str(ctx.invoked_subcommand), extra, error))
            raise click.exceptions.Exit(1) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except BrokenPipeError:
            _silence(sys.stdout)
            raise click.exceptions.Exit(141) from None  # what a shell shows for a program ended by SIGPIPE
        except OSError as error:
            if ctx.ensure_object(Session).debug:
                raise
            _complain(BesomError(f"{error.filename}: {error.strerror}" if error.filename else str(error)))
            raise click.exceptions.Exit(1) from error
        return result


def _load(name: str) -> click.Command | None:
    """Import the command of this name, or give None where no package has one."""
    if name in COMMANDS:
        command: click.Command = getattr(importlib.import_module(f"besom.cli.{COMMANDS[name][0]}"), name)
        return command
    from besom.plugins import load_plugin

    try:
        found: click.Command = load_plugin("besom.commands", name)
    except NotFoundError:
        return None
    return found


def _missing(command: str, extra: str, error: ModuleNotFoundError) -> BesomError:
    """Say which extra brings the module that a command could not import."""
    return BesomError(
        f"besom {command} needs {error.name}, which is not installed: pip install 'besom[{extra}]'"
    )


def _complain(error: BesomError) -> None:
    """Print an error: what is wrong, where, and what to do; a list of places stays clickable."""
    message = str(error) or type(error).__name__
    click.echo(message if isinstance(error, SweepFileError) else f"besom: {message}", err=True)


def _silence(stream: IO[str]) -> None:
    """Point a stream whose reader has left at nothing, so that the flush at exit stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value:
        setattr(ctx.ensure_object(Session), str(param.name), value)


def global_options() -> list[click.Parameter]:
    """Give the options that every command takes."""
    return [
        click.Option(
            ["--store"],
            metavar="URL",
            expose_value=False,
            callback=_remember,
            help="Where sweeps are kept, a path or a URL.  [default: $BESOM_STORE or the nearest .besom]",
        ),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_remember, help="Show tracebacks."
        ),
    ]


cli = LazyCommands(
    name="besom",
    params=global_options(),
    help="Sweeps in Weights & Biases' language, on storage you own.",
    epilog="Begin with: besom run sweep.yaml",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
click.version_option(besom.__version__, package_name="besom", message="besom %(version)s")(cli)


def main() -> None:
    """Run the command line and leave with its exit code."""
    cli.main(prog_name="besom")
