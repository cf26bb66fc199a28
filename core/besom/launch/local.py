"""Starts agents as processes of this machine that outlive the terminal they were started from."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from besom.agent.process import process_identity
from besom.folders import besom_dir
from besom.launch.base import AgentJob, Launched
from besom.store.address import hide_password

if TYPE_CHECKING:
    import click


class LocalLauncher:
    """Start agents on this machine that outlive the terminal, with their output in BESOM_DIR/agents/."""

    name: ClassVar[str] = "local"
    options: ClassVar[Sequence[click.Option]] = ()

    def preview(self, job: AgentJob, count: int) -> str:
        """Give the command of each agent, one a line, with the store that its environment names."""
        store = shlex.quote(hide_password(job.store))
        return "\n".join([f"BESOM_STORE={store} {shlex.join(_command(job))}"] * count)

    def launch(self, job: AgentJob, count: int) -> Sequence[Launched]:
        """Start `count` agents and return at once; OSError when that is impossible."""
        return [_start(_command(job), job.store) for _ in range(count)]

    def alive(self, launched: Sequence[Launched]) -> Sequence[Launched]:
        """Give those whose process is there."""
        return [agent for agent in launched if _pid(agent) is not None]

    def cancel(self, launched: Sequence[Launched]) -> None:
        """Send SIGTERM to agents: they give their runs back to the queue and leave."""
        for agent in launched:
            if (pid := _pid(agent)) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


def _command(job: AgentJob) -> list[str]:
    return [sys.executable, "-m", "besom", "agent", job.sweep_id, *job.arguments]


def _start(command: list[str], store: str) -> Launched:
    folder = besom_dir() / "agents"
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"{uuid.uuid4().hex[:8]}.log"
    pid = os.posix_spawn(
        command[0],
        command,
        # The address may hold a password, and everybody sees the words of a command.
        {**os.environ, "BESOM_DIR": str(besom_dir()), "BESOM_STORE": store},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return Launched(_job_id(pid), f"agent with pid {pid}, its output is in {output}")


def _pid(agent: Launched) -> int | None:
    """Give the process of an agent, None where it is gone or is another by now."""
    pid = int(agent.job_id.partition("-")[0])
    return pid if _job_id(pid) == agent.job_id else None


def _job_id(pid: int) -> str:
    """Give "PID-START", so that a later process with the same pid is not taken for the agent."""
    _, _, start = (process_identity(pid) or "").partition(" ")
    return f"{pid}-{start.partition(' ')[0] or 0}"
