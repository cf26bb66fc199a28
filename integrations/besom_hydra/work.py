"""What Hydra's launcher and sweeper both do: run the jobs of a sweep, each in a process of its own.

A Hydra job is a run of a besom sweep, and whoever works on the sweep is an agent (`besom.agent.run_agent`)
whose children are forks of the application, composed once, instead of programs started anew. So jobs have
leases, attempts, journals, run folders, early stopping and `besom ls`; and the next job starts as soon as one
ends.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from besom.agent import AgentEvent, AgentOptions, AgentResult, run_agent
from besom.agent.gpus import visible_gpus
from besom.errors import RunFailedError
from besom.folders import besom_dir
from besom.records import ENDED, Run, RunState
from besom_hydra.agents import hand_over
from besom_hydra.app import App
from besom_hydra.job import read_result
from besom_hydra.orphans import MyLock, take_up
from besom_hydra.refusals import require_at_least, told_in_a_line
from besom_hydra.starter import JobStarter, start_method

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from besom.store.base import Store


log = logging.getLogger(__name__)


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
    backend_options: Mapping[str, Any] = field(default_factory=dict[str, Any])  # as `besom launch` names them

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> LaunchOptions:
        """Take the fields as Hydra gives them to the launcher; HydraException for one that cannot be."""
        options = cls(**fields)
        lowest = {"workers": 1, "gpus_per_job": 0, "timeout": 0, "retries": 0, "grace": 0}
        require_at_least("hydra.launcher", options, lowest)
        with told_in_a_line():
            start_method(options.start_method)
        return options


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has ended for good; `run` is as the store has it now.

    `result` is COMPLETED for a run that finished, and for one that was stopped early, with its last metric as
    return value; FAILED for every other, and then its `return_value` raises what the job raised, or
    RunFailedError.
    """

    run: Run
    number: int  # hydra.job.num
    result: JobReturn


def run_number(run: Run) -> int:
    """Give the `hydra.job.num` of a run: its number in the sweep, from 0."""
    return run.number - 1


def run_jobs(
    app: App,
    store: Store,
    sweep_id: str,
    options: LaunchOptions,
    *,
    overrides_of: Callable[[Run], Sequence[str]],
    number_of: Callable[[Run], int] = run_number,
    on_job: Callable[[Job], None] = lambda job: None,
    agent_options: AgentOptions | None = None,
) -> AgentResult:
    """Work on a sweep until it has no more runs, each of them a job in a process of its own.

    `overrides_of` gives a run's overrides, without those that the whole multirun has, and `number_of` its
    `hydra.job.num`; `on_job` is called with each job as it ends, in the order of their ends. Runs that an
    agent of this kind left behind when it died on this machine are taken up at once. `agent_options` says
    what `options` do not, such as when failures end the work (by default they never do). `retries` is the
    sweep's `max_attempts`, less one: its creator sees to it.

    What is given back has an `exit_code` other than 0 after a signal (see `exit_after`) or when jobs kept
    failing. UsageError before anything is claimed when there are not enough GPUs; StoreError when the store
    stays away.

    With a `backend`, or without `wait`, this process runs nothing (see `agents.hand_over`): then the sweep
    needs a program and a command, and `on_job` gets results that hold what the store knows.
    """
    if options.backend is not None or not options.wait:
        elsewhere = JobStarter(app, "spawn", Path(), overrides_of=overrides_of, number_of=number_of)
        return _hand_over(store, sweep_id, options, elsewhere, on_job)
    method = start_method(options.start_method)
    home = besom_dir().absolute()
    take_up(store, sweep_id, home)
    mine = MyLock(home)
    with tempfile.TemporaryDirectory(prefix="besom-hydra-") as results:
        starter = JobStarter(app, method, Path(results), overrides_of=overrides_of, number_of=number_of)
        told = _Told(starter, on_job, mine, numbered=worker_count(options) > 1)
        try:
            return run_agent(
                store,
                sweep_id,
                _agent_options(options, agent_options),
                on_event=told,
                starter=starter,
            )
        finally:
            mine.release()


def _hand_over(
    store: Store,
    sweep_id: str,
    options: LaunchOptions,
    starter: JobStarter,
    on_job: Callable[[Job], None],
) -> AgentResult:
    def on_run(run: Run) -> None:
        on_job(Job(run, starter.number_of(run), result_of(run, None, lambda: starter.blank(run))))

    hand_over(store, sweep_id, options, on_run)
    return AgentResult(0, "others run the sweep")


def exit_after(result: AgentResult) -> None:
    """Leave this process with the exit code of the signal that ended the work, if one did."""
    if result.exit_code > 128:
        log.warning("%s: no more jobs", result.reason)
        raise SystemExit(result.exit_code)


def worker_count(options: LaunchOptions) -> int:
    """Give how many jobs run at a time: as many as asked for, else as there are cores or shares of GPUs."""
    if options.workers is not None:
        return options.workers
    if options.gpus_per_job:
        return max(1, len(visible_gpus(os.environ)) // options.gpus_per_job)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def result_of(run: Run, returned: JobReturn | None, blank: Callable[[], JobReturn]) -> JobReturn:
    """Give the JobReturn of a run that has ended: what the job left, if the store agrees that it counts.

    Else it is made of `blank`.
    """
    from hydra.core.utils import JobStatus

    if run.state in (RunState.FINISHED, RunState.STOPPED):
        if returned is not None and returned.status is JobStatus.COMPLETED:
            return returned
        told = returned or blank()
        told.status, told.return_value = JobStatus.COMPLETED, run.value
        return told
    if returned is not None and returned.status is JobStatus.FAILED:
        return returned
    told = returned or blank()
    told.status = JobStatus.FAILED
    told.return_value = RunFailedError(f"run {run.id} {run.state.value}: {run.error}")
    return told


def _agent_options(options: LaunchOptions, base: AgentOptions | None) -> AgentOptions:
    return replace(
        base or AgentOptions(flapping=False),
        workers=worker_count(options),
        gpus_per_run=options.gpus_per_job,
        timeout=options.timeout,
        grace=options.grace,
        show_output=True,
    )


class _Told:
    """Takes what happens to the agent: shows it to the user, and turns ended runs into jobs."""

    def __init__(
        self, starter: JobStarter, on_job: Callable[[Job], None], mine: MyLock, *, numbered: bool
    ) -> None:
        self._starter = starter
        self._on_job = on_job
        self._mine = mine
        self._numbered = numbered

    def __call__(self, event: AgentEvent) -> None:
        run = event.run
        if event.kind == "joined":
            self._mine.take(event.detail)
        elif event.kind in ("leaving", "waiting"):
            log.debug("%s: %s", event.kind, event.detail)
        elif run is None:
            log.info(event.detail or event.kind)
        elif event.kind == "output":
            sys.stdout.write(
                f"#{self._starter.number_of(run)} {event.detail}\n" if self._numbered else f"{event.detail}\n"
            )
        elif event.kind == "started":
            again = f" (attempt {run.attempt})" if run.attempt > 1 else ""
            log.info("\t#%d%s : %s", self._starter.number_of(run), again, " ".join(self._starter.shown(run)))
        elif event.kind == "ended":
            self._ended(run)
        else:
            log.info("\t#%d %s: %s", self._starter.number_of(run), event.kind, event.detail)

    def _ended(self, run: Run) -> None:
        number = self._starter.number_of(run)
        returned = read_result(self._starter.result(run))
        if run.state not in ENDED:
            log.info("\t#%d is %s again: %s", number, run.state.value, last_line(run.error))
            return
        if run.state is not RunState.FINISHED:
            log.warning("\t#%d %s: %s", number, run.state.value, last_line(run.error or run.stop_reason))
        self._on_job(Job(run, number, result_of(run, returned, lambda: self._starter.blank(run))))


def last_line(error: str | None) -> str:
    """Give what a traceback comes down to; all of it was printed by the job."""
    return error.rstrip().rpartition("\n")[2] if error else "no reason given"
