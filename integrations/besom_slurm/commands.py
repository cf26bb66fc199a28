"""SLURM's own commands, asked and told."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from besom.errors import UsageError

SECONDS = 60.0
"""How long a command of SLURM may take; its daemons answer within a second, or not at all."""


def slurm(*command: str, script: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Give what a command prints; UsageError with SLURM's own words where it fails or is not there."""
    done = _run(command, script, environment)
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise UsageError(f"{command[0]}: {said.removeprefix(f'{command[0]}: error: ')}")
    return done.stdout


def try_slurm(*command: str) -> None:
    """Run a command whose failure means that there is nothing left to do."""
    _run(command, None, None)


def _run(
    command: tuple[str, ...], script: str | None, environment: Mapping[str, str] | None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            env=environment,
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError(
            f"{command[0]} is not here: run this where SLURM's commands are, on a login node for example"
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{command[0]} did not answer within {SECONDS:g} s; does the cluster work? Try `sinfo`"
        ) from None
