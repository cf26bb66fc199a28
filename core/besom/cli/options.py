"""The options of everything that runs an agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from besom.agent import AgentOptions

POSITIVE = click.FloatRange(min=0, min_open=True)

_AGENT_OPTIONS = (
    click.option(
        "--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Runs at the same time."
    ),
    click.option(
        "--gpus-per-run",
        default=0,
        show_default=True,
        type=click.IntRange(min=0),
        help="GPUs that each run has for itself (CUDA_VISIBLE_DEVICES).",
    ),
    click.option("-f", "--forward-signals", is_flag=True, help="Pass signals on to the running programs."),
    click.option("--timeout", type=POSITIVE, metavar="SECONDS", help="How long a run may take."),
    click.option(
        *("--grace", "-t", "--term-timeout"),
        "grace",
        default=30.0,
        show_default=True,
        type=POSITIVE,
        metavar="SECONDS",
        help="Between SIGTERM and SIGKILL.",
    ),
    click.option(
        "--no-wait", is_flag=True, help="Leave when nothing is left to hand out, though others still run."
    ),
    click.option(
        "--lease",
        default=60.0,
        show_default=True,
        type=POSITIVE,
        metavar="SECONDS",
        help="How long a run of an agent that fell silent stays its own.",
    ),
    click.option(
        "--max-consecutive-failed-runs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Leave after so many failed runs in a row.",
    ),
    click.option(
        "--allow-program", multiple=True, metavar="FILE", help="Run no other program; may be repeated."
    ),
    click.option("--allow-any-command", is_flag=True, help="Run what a server's sweep says, whatever it is."),
    click.option("-v", "--verbose", is_flag=True, help="Show what the programs print."),
)


def agent_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every option of an agent but `--count`."""
    for option in reversed(_AGENT_OPTIONS):
        command = option(command)
    return command


def to_agent_options(count: int | None, **chosen: Any) -> AgentOptions:
    """Give the agent's options as they were chosen on the command line."""
    from besom.agent import AgentOptions

    return AgentOptions(
        count=count,
        workers=chosen["workers"],
        gpus_per_run=chosen["gpus_per_run"],
        forward_signals=chosen["forward_signals"],
        timeout=chosen["timeout"],
        grace=chosen["grace"],
        wait=not chosen["no_wait"],
        lease_seconds=chosen["lease"],
        show_output=chosen["verbose"],
        max_consecutive_failures=chosen["max_consecutive_failed_runs"],
        allow_programs=chosen["allow_program"],
        allow_any_command=chosen["allow_any_command"],
    )
