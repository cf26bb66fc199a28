"""What an agent lets a store make it run: the sweep's own program, from the agent's own folder.

Whoever may write to a SQLite file or a database is trusted like the agent's user. A server is not: its sweeps
may only name a program that lies below the agent's working directory, started by nothing but Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from besom.errors import UsageError

if TYPE_CHECKING:
    from besom.agent.command import Commanding
    from besom.agent.options import AgentOptions

_BEFORE = frozenset({"${env}", "${interpreter}", "python", "python3"})


def allowed_programs(store_url: str, options: AgentOptions) -> tuple[str, ...] | None:
    """Give the programs that may be run, empty for any in the working directory; None for no limit."""
    if options.allow_programs:
        return tuple(options.allow_programs)
    remote = store_url.startswith(("http://", "https://"))
    return () if remote and not options.allow_any_command else None


def check_allowed(config: Commanding, place: Path, allowed: Sequence[str]) -> None:
    """Raise UsageError unless the command starts an allowed program that lies in `place`."""
    command = list(map(str, config.command))
    program = config.program
    if program is None or "${program}" not in command:
        raise _refused(config, "does not name ${program}")
    before = command[: command.index("${program}")]
    if strange := [word for word in before if word not in _BEFORE]:
        raise _refused(config, f"starts it by {strange[0]!r}")
    here = Path.cwd().resolve()
    file = (place / program).resolve()
    if program.startswith("-") or not file.is_file() or not place.resolve().is_relative_to(here):
        raise _refused(config, f"names {program!r}, which is no file below {here}")
    if allowed and file not in {(here / name).resolve() for name in allowed}:
        raise UsageError(
            f"{config.source}: the sweep's program is {program!r}; this agent runs {', '.join(allowed)} only"
        )
    if not allowed and not file.is_relative_to(here):
        raise _refused(config, f"names {program!r}, which is no file below {here}")


def _refused(config: Commanding, why: str) -> UsageError:
    return UsageError(
        f"{config.source}: this agent runs nothing but the sweep's program, and the command"
        f" {list(config.command)} {why}; --allow-any-command lets the sweep decide"
    )
