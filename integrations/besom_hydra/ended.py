"""Ends a run when its job ends under a launcher of somebody else, in whatever process that is."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from besom.agent.settle import end_attempt
from besom.errors import BesomError, RunStopped
from besom.folders import RunFolder, read_run_file
from besom.journal import Replayed
from besom.records import Lease, Outcome, RunState
from besom.run.active import active_run
from besom.run.outcome import code_and_error
from besom.scheduler import Reporter
from besom.store import open_store
from besom_hydra.returned import ReturnError, metrics_of

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

    from besom.store.base import Store


class JobEnd(Callback):
    """Keeps the lease of a job's run while it runs in another process, and ends the run with the job."""

    def __init__(self, sweeper: int) -> None:
        self._sweeper = sweeper  # the process that keeps the leases of its batch

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Keep the lease from now on; a job whose run somebody else has by now leaves."""
        told = _told(config)
        if told is None or os.getpid() == self._sweeper:
            return
        done = threading.Event()
        lease = _lease(told)
        store = open_store(told["BESOM_STORE"])
        seconds = float(told["BESOM_LEASE_SECONDS"])
        if store.heartbeat([lease], lease_seconds=seconds)[lease].action == "lost":
            store.close()
            raise SystemExit(
                f"run {lease.run_id} was taken up by another sweeper; this job has nothing to do"
            )
        thread = threading.Thread(target=_beat, args=(store, lease, seconds, done), daemon=True)
        thread.start()
        _BEATING[lease] = done

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """End the run as the job ended."""
        told = _told(config)
        if told is None:
            return
        lease = _lease(told)
        if (done := _BEATING.pop(lease, None)) is not None:
            done.set()
        store = open_store(told["BESOM_STORE"])
        try:
            end_job(store, lease, RunFolder(Path(told["BESOM_RUN_DIR"])), job_return)
        finally:
            store.close()


_BEATING: dict[Lease, threading.Event] = {}


def end_job(store: Store, lease: Lease, folder: RunFolder, returned: JobReturn) -> None:
    """End a run as its job ended, unless it has ended already."""
    from hydra.core.utils import JobStatus

    now = store.get_run(lease.run_id)
    live = active_run()
    if live is not None and (live.id != lease.run_id or live.ended):
        live = None
    if live is None and (now.state is not RunState.RUNNING or now.attempt != lease.attempt):
        return
    value: Any = returned._return_value  # noqa: SLF001 - the property raises it
    raised: BaseException | None = value if returned.status is JobStatus.FAILED else None
    found: dict[str, Any] = {}
    if raised is None:
        reported = live.summary.as_dict() if live is not None else now.summary
        try:
            found = metrics_of(value, read_run_file(folder).metric, reported)
        except ReturnError as error:
            raised = error.with_traceback(None)
    if live is not None:
        if found:
            live.summary.update(found)
        live.end_with(raised)
        return

    def judge(told: Replayed) -> Outcome:
        return told.finished or _outcome(raised, found, told, folder)

    end_attempt(store, Reporter(store, lease, None), folder.journal(lease.attempt), judge)


def _outcome(
    raised: BaseException | None, found: dict[str, Any], told: Replayed, folder: RunFolder
) -> Outcome:
    from besom.summarize import summary_value

    if isinstance(raised, RunStopped):
        state, code, error = RunState.STOPPED, 0, None
    elif raised is not None:
        code, error = code_and_error(raised)
        state = RunState.FAILED
    else:
        state, code, error = RunState.FINISHED, 0, None
    summary = {**told.summary, **found}
    metric = read_run_file(folder).metric
    value = summary_value(summary, metric) if metric is not None else None
    return Outcome(state, code, error, summary, value)


def _beat(store: Store, lease: Lease, seconds: float, done: threading.Event) -> None:
    while not done.wait(seconds / 3):
        try:
            store.heartbeat([lease], lease_seconds=seconds)
        except BesomError:  # noqa: PERF203 - the next beat comes soon
            continue
    store.close()


def _told(config: DictConfig) -> dict[str, str] | None:
    """Give what the job's environment says of its run; None where it is no run."""
    told: dict[str, str] = {str(key): str(value) for key, value in config.hydra.job.env_set.items()}
    return told if "BESOM_RUN_ID" in told else None


def _lease(told: dict[str, str]) -> Lease:
    return Lease(told["BESOM_RUN_ID"], int(told["BESOM_ATTEMPT"]))
