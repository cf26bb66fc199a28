"""What Hydra's launcher and sweeper both do: run the jobs of a sweep, each in a process of its own.

A Hydra job is a run of a besom sweep, and whoever works on the sweep is an agent (`besom.agent.run_agent`)
whose children are forks of the application, composed once, instead of programs started anew. So jobs have
leases, attempts, journals, run folders, early stopping and `besom ls`; and the next job starts as soon as one
ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from besom.records import Run

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


@dataclass(frozen=True, slots=True)
class App:
    """A Hydra application as Hydra hands it to a launcher or sweeper; `config` is the multirun's."""

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """How jobs are run; all times in seconds. The fields of `hydra.launcher` when it is besom."""

    workers: int | None = None  # jobs at a time; None: one per core, or per share of the GPUs
    gpus_per_job: int = 0
    timeout: float | None = None  # how long a job may take
    retries: int = 0  # how often a failed job is tried again
    grace: float = 30.0  # from SIGTERM to SIGKILL
    start_method: Literal["auto", "fork", "spawn"] = "auto"
    wait: bool = True  # False: register the sweep, say how to run it, and be done
    backend: str | None = None  # a besom launcher whose agents run the jobs; None: this process is the agent


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has ended for good; `run` is as the store has it now.

    `result` is COMPLETED for a run that finished, and for one that was stopped early, with its last metric as
    return value; FAILED for every other, and then its `return_value` raises what the job raised, or
    RunFailedError.
    """

    run: Run
    result: JobReturn

    @property
    def number(self) -> int:
        """Hydra's `hydra.job.num`: the run's number, from 0."""
        return self.run.number - 1


Overrides = Sequence[str]
"""A job's overrides as Hydra's launchers get them, without those that the whole multirun has."""
