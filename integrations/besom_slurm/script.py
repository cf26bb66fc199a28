"""The script that SLURM runs: an agent, told of its end in time and put back into the queue."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from besom.errors import UsageError

BODY = """
# SLURM sends SIGTERM when the job is canceled or preempted, SIGUSR1 in time before its limit. Either way the
# agent gives its run back to the sweep. After SIGUSR1 the job queues up again, and goes on with that run.
ending= requeue= agent=
end() {{ ending=yes; [ -z "$agent" ] || kill -TERM "$agent"; }}
trap end TERM
trap 'requeue=yes; end' USR1
{agent} &
agent=$!
[ -z "$ending" ] || kill -TERM "$agent"
while :; do
  wait "$agent"; code=$?
  kill -0 "$agent" 2>/dev/null || break
done
if [ -n "$requeue" ] && [ "$code" -ne 0 ]; then
  trap - TERM USR1
  # A script that ended by itself now would be taken for a job that failed: SLURM is about to end it.
  scontrol requeue "$SLURM_JOB_ID" && sleep 300
fi
exit "$code"
"""


_JOB = ("SLURM_JOB_ID", "SLURM_JOBID")
_CLUSTER = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"})
_LIMIT = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What a job asks of SLURM, as `sbatch` names it; `notice` is in seconds, 0 for none."""

    partition: str | None
    account: str | None
    time: str | None
    cpus: int | None
    gpus: int | None
    mem: str | None
    notice: int
    requeue: bool
    more: tuple[str, ...]


def batch_script(
    sweep_id: str, arguments: Sequence[str], settings: JobSettings, tasks: str | None, folder: Path
) -> str:
    """Give the script of a job; `tasks` are the indices of an array, None without one.

    Nothing in it is read by a shell that was not written here: every word from outside is quoted.
    """
    agent = shlex.join([sys.executable, "-m", "besom", "agent", sweep_id, *arguments])
    wanted = job_options(sweep_id, settings, tasks, folder)
    lines = ["#!/bin/bash", *(f"#SBATCH {_directive(option)}" for option in wanted)]
    return "\n".join(lines) + "\n" + BODY.format(agent=agent)


def job_options(sweep_id: str, settings: JobSettings, tasks: str | None, folder: Path) -> list[str]:
    """Give what a job asks of SLURM, an option an item; where two contradict each other, the later counts.

    UsageError for a time limit that ends before the notice of it.
    """
    limit = _seconds(settings.time)
    if limit is not None and limit <= settings.notice:
        raise UsageError(
            f"a job of --time {settings.time} would queue up again as soon as it starts, since --notice is"
            f" {settings.notice} seconds; give more time, or less notice (--notice 0: none)"
        )
    return [f"--job-name=besom-{sweep_id}", *_directives(settings, tasks, folder), *settings.more]


def words(options: Sequence[str]) -> list[str]:
    """Give options as the words of a command line: `-q high` is two of them, `--qos=high` is one."""
    found: list[str] = []
    for option in options:
        name = option.split(maxsplit=1)[0]
        found += [option] if "=" in name else option.split(maxsplit=1)
    return found


def job_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the environment that jobs get, without what would make one job pass for another.

    Inside a job, those are SLURM's variables about that job. An empty one is an error to sbatch.
    """
    inside = any(name in environment for name in _JOB)
    return {
        name: value
        for name, value in environment.items()
        if name != "SBATCH_ARRAY_INX"
        and not (inside and name.startswith("SLURM_") and name not in _CLUSTER)
        and (value or not name.startswith(("SLURM_", "SBATCH_")))
    }


def agent_arguments(arguments: Sequence[str]) -> Sequence[str]:
    """Give the words for the agent: those that were given, else those for one run a job.

    UsageError for a store among them: its address may hold a password, and scripts are read by others.
    """
    if any(word == "--store" or word.startswith("--store=") for word in arguments):
        raise UsageError("the agents' store is named before the `--`: besom launch slurm SWEEP --store URL")
    return arguments or ("--count", "1")


def _seconds(limit: str | None) -> int | None:
    """Read a time limit: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S; None for what only SLURM knows."""
    found = _LIMIT.fullmatch(str(limit))
    if found is None:
        return None
    parts = [int(part) for part in found["parts"].split(":")]
    if found["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return ((int(found["days"]) * 24 + hours) * 60 + minutes) * 60 + seconds
    hours, minutes, seconds = {1: (0, *parts, 0), 2: (0, *parts), 3: tuple(parts)}[len(parts)]
    return (hours * 60 + minutes) * 60 + seconds


def _directives(settings: JobSettings, tasks: str | None, folder: Path) -> list[str]:
    name = "%A_%a" if tasks is not None else "%j"
    found = [
        f"--output={str(folder).replace('%', '%%')}/agents/slurm-{name}.log",
        "--open-mode=append",  # of all attempts of a requeued job
        "--export=ALL",
        "--requeue" if settings.requeue else "--no-requeue",
    ]
    if settings.notice:
        found.append(f"--signal=B:USR1@{settings.notice}")
    named = {
        "array": tasks,
        "partition": settings.partition,
        "account": settings.account,
        "time": settings.time,
        "cpus-per-task": settings.cpus,
        "gpus": settings.gpus,
        "mem": settings.mem,
    }
    return found + [f"--{option}={value}" for option, value in named.items() if value is not None]


def _directive(option: str) -> str:
    """Quote an option for a line of the script; UsageError for one that is no option or has several lines."""
    if not option.startswith("-") or "\n" in option:
        raise UsageError(f"{option!r} is no option of sbatch; write it as --sbatch=--qos=high")
    name, separator, value = option.partition("=")
    return f"{name}{separator}{_quoted(value)}" if separator else option


def _quoted(value: str) -> str:
    """Quote a value as sbatch reads its lines: double quotes around what has spaces or a hash."""
    if not any(character in value for character in " \t#\"'\\"):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
