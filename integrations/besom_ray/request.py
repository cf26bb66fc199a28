"""What a job is to Ray: its command, its environment, and what it asks for."""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from besom.errors import UsageError
from besom.folders import besom_dir
from besom.launch.base import AgentJob
from besom.launch.pairs import parse_pairs
from besom.store.address import hide_password

MARGIN = 15
"""Seconds beyond an agent's grace until Ray kills it: time for the store."""

_GRACE = 30.0  # of an agent that is not told another
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECRETS = {
    "BESOM_TOKEN": "write the token to a file that the nodes see, and give --env BESOM_TOKEN_FILE=…",
    "PGPASSWORD": "write it to ~/.pgpass on the nodes",
}
_STRANGE = re.compile(r"[^\w-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What a job asks of Ray; `memory` is in bytes, `runtime_env` is Ray's, with the environment in it."""

    cpus: float = 1
    gpus: float | None = None
    memory: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    runtime_env: Mapping[str, Any] = field(default_factory=dict[str, Any])
    own_store: bool = False

    @property
    def travels(self) -> bool:
        """Say whether the job's folder is a copy that Ray brings to the nodes."""
        return "working_dir" in self.runtime_env


def job_request(job: AgentJob, settings: JobSettings) -> dict[str, Any]:
    """Give what `submit_job` is told about one job, whose id is new.

    UsageError for what everybody who looks at the cluster would see and must not.
    """
    submission_id = f"besom-{_STRANGE.sub('-', job.sweep_id)[:40]}-{uuid.uuid4().hex[:10]}"
    variables = {**_variables(job, settings), "BESOM_JOB": f"ray:{submission_id}"}
    request: dict[str, Any] = {
        "submission_id": submission_id,
        "entrypoint": _entrypoint(job, settings),
        "runtime_env": {**settings.runtime_env, "env_vars": variables},
        "metadata": {"besom_sweep": job.sweep_id},
        # Never left out: a job that asks for nothing runs on the head node, whatever that is busy with.
        "entrypoint_num_cpus": settings.cpus,
        "entrypoint_num_gpus": settings.gpus,
        "entrypoint_memory": settings.memory,
        "entrypoint_resources": dict(settings.resources),
    }
    return {name: value for name, value in request.items() if value not in (None, {})}


def make_runtime_env(file: str | None, working_dir: str | None, env: Iterable[str]) -> dict[str, Any]:
    """Give the runtime environment that a file, a folder to be sent and the words of `--env` make.

    UsageError for a file that is none, a folder that is not there, or a variable that holds a secret.
    """
    made = _read_runtime_env(file) if file else {}
    variables: dict[str, str] = {**(made.get("env_vars") or {}), **parse_pairs("--env", env)}
    for name, value in variables.items():
        if name in _SECRETS:
            raise UsageError(f"everybody who may look at the cluster would see {name}; {_SECRETS[name]}")
        if hide_password(value) != value:
            raise UsageError(
                f"{name}: the address holds a password, which everybody who may look at the cluster would"
                " see; set it where the nodes' `ray start` is run"
            )
    if working_dir:
        folder = Path(working_dir).expanduser().absolute()
        if not folder.is_dir():
            raise UsageError(f"--working-dir {working_dir}: there is no such folder")
        made |= {"working_dir": str(folder), "excludes": [*made.get("excludes", ()), "/.besom/"]}
    return {**made, "env_vars": variables}


def parse_resources(words: Iterable[str]) -> dict[str, float]:
    """Read the words of `--resources`; UsageError for an amount that is none."""
    pairs = parse_pairs("--resources", words)
    try:
        return {name: float(amount) for name, amount in pairs.items()}
    except ValueError as error:
        raise UsageError(f"--resources takes NAME=N: {error}") from None


def parse_size(words: str | int | None) -> int | None:
    """Read an amount of memory, such as 16G, as bytes; UsageError for what is none."""
    if words is None:
        return None
    found = _SIZE.fullmatch(str(words).strip())
    if found is None:
        raise UsageError(f"--memory {words}: write a number of bytes, or one with K, M, G or T, such as 16G")
    return int(float(found["number"]) * _UNITS[found["unit"].upper()])


def _entrypoint(job: AgentJob, settings: JobSettings) -> str:
    """Give the line that the shell of a node reads; every word from outside is quoted."""
    arguments = job.arguments
    if any(word == "--store" or word.startswith("--store=") for word in arguments):
        raise UsageError("the agents' store is named before the `--`: besom launch ray SWEEP --store URL")
    python = "python" if settings.travels else sys.executable
    agent = shlex.join([python, "-m", "besom_ray.inside", "agent", job.sweep_id, *arguments])
    # Without `exec` a shell would stand between Ray and the agent, and hear the signals.
    return f"exec {agent}" if settings.travels else f"cd {shlex.quote(str(Path.cwd()))} && exec {agent}"


def _variables(job: AgentJob, settings: JobSettings) -> dict[str, str]:
    given = cast("dict[str, str]", settings.runtime_env.get("env_vars", {}))
    made = {"RAY_JOB_STOP_WAIT_TIME_S": str(math.ceil(2 * _grace(job.arguments)) + MARGIN)}
    if not settings.travels:
        made["BESOM_DIR"] = str(besom_dir())
        if file := os.environ.get("BESOM_TOKEN_FILE"):
            made["BESOM_TOKEN_FILE"] = str(Path(file).expanduser().absolute())
    if not (settings.own_store or "BESOM_STORE" in given):
        if hide_password(job.store) != job.store:
            raise UsageError(
                f"the address {hide_password(job.store)} holds a password, and everybody who may look at the"
                " cluster would see it; set BESOM_STORE where the nodes' `ray start` is run and give"
                " --own-store, or write the password to ~/.pgpass on the nodes"
            )
        made["BESOM_STORE"] = job.store
    return {**made, **given}


def _grace(arguments: Sequence[str]) -> float:
    """Give the agent's seconds between SIGTERM and SIGKILL, as its last word on them says."""
    grace = _GRACE
    for word, following in zip(arguments, [*arguments, ""][1:], strict=True):
        name, equals, value = word.partition("=")
        if name in ("--grace", "-t", "--term-timeout"):
            try:
                grace = float(value if equals else following)
            except ValueError:  # the agent will say so
                continue
    return grace


def _read_runtime_env(file: str) -> dict[str, Any]:
    import yaml

    try:
        read: Any = yaml.safe_load(Path(file).expanduser().read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--runtime-env {file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(read, dict):
        raise UsageError(f"--runtime-env {file} is no mapping, such as `pip: [besom]`")
    found = cast("dict[str, Any]", read)
    variables: Any = found.get("env_vars") or {}
    if not isinstance(variables, dict) or not all(
        isinstance(value, str) for value in cast("dict[str, Any]", variables).values()
    ):
        raise UsageError(f"--runtime-env {file}: env_vars maps names to text; put numbers into quotes")
    return found
