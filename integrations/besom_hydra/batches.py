"""Runs a sweep through a launcher of somebody else: basic, joblib, submitit, ...

Such a launcher takes a batch of jobs and gives their results when all have ended. So runs are claimed by the
batch, and their leases kept while it runs. Each job is told by `hydra.job.env_set` which run it is, so that
`besom.report` works in it, and a callback ends its run in the store as soon as the job ends: what is finished
stays finished, however the sweeper ends.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any

from omegaconf import open_dict, read_write

from besom.agent.news import Heard, News
from besom.agent.prepare import prepare_folder
from besom.agent.settle import end_attempt
from besom.errors import BesomError, NotFoundError, StoreError
from besom.folders import besom_dir, run_environment, run_folder
from besom.journal import Replayed
from besom.records import ENDED, Lease, Outcome, Run, RunState
from besom.scheduler import Idle, Reporter, Scheduler
from besom.store import open_store
from besom_hydra.arguments import overrides as write_overrides
from besom_hydra.ended import JobEnd, end_job
from besom_hydra.job import blank_return
from besom_hydra.orphans import MyLock, take_up
from besom_hydra.plan import hydra_overrides
from besom_hydra.work import Job, result_of, run_number

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.plugins.launcher import Launcher

    from besom.store.base import Store
    from besom_hydra.app import App

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
LARGEST = 4096
"""Runs that are claimed at a time where the launcher may have all of them."""

RUN_VARIABLES = tuple(
    f"BESOM_{word}"
    for word in "STORE DIR SWEEP_ID RUN_ID ATTEMPT RUN_DIR PARAMS_FILE AGENT_PID LEASE_SECONDS".split()  # noqa: SIM905
)
"""What a run's process is told (`besom.folders.run_environment`)."""

_DIE_WITH_US = ("basic_launcher", "joblib")
"""Launchers whose jobs do not outlive the sweeper: what a killed one left can be taken up at once."""


def run_batches(
    app: App,
    store: Store,
    sweep_id: str,
    launcher: Launcher,
    *,
    size: int | None,
    line_of: Callable[[Run], Sequence[str]],
    on_job: Callable[[Job], None],
) -> None:
    """Work on a sweep until it has no more runs, `size` of them at a time (None: all there are).

    Ctrl-C gives the runs that have not ended back, and goes on to the caller.
    """
    home = besom_dir().absolute()
    launched_by = str(app.config.hydra.launcher._target_).lower()
    lock = MyLock(home) if any(word in launched_by for word in _DIE_WITH_US) else None
    take_up(store, sweep_id, home)
    agent = store.add_agent(sweep_id, host=socket.gethostname(), pid=os.getpid())
    if lock is not None:
        lock.take(agent.id)
    callbacks: Any = app.hydra_context.callbacks
    ends = JobEnd(os.getpid())
    callbacks.callbacks.append(ends)
    scheduler = Scheduler(store, sweep_id, agent_id=agent.id, lease_seconds=LEASE_SECONDS)
    batches = _Batches(app, store, scheduler, launcher, line_of=line_of, on_job=on_job)
    try:
        with _room_in_environment(app), closing(batches.news):
            batches.run(size or LARGEST)
    finally:
        callbacks.callbacks.remove(ends)
        if lock is not None:
            lock.release()


class _Batches:
    def __init__(
        self,
        app: App,
        store: Store,
        scheduler: Scheduler,
        launcher: Launcher,
        *,
        line_of: Callable[[Run], Sequence[str]],
        on_job: Callable[[Job], None],
    ) -> None:
        self._app = app
        self._store = store
        self._scheduler = scheduler
        self._launcher = launcher
        self._line_of = line_of
        self._on_job = on_job
        self._home = besom_dir().absolute()
        self._suspects: set[str] = set()  # runs of a batch that broke: each is launched alone
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self.news = News(store, scheduler.sweep.id, self._heard.put)

    def run(self, size: int) -> None:
        while True:
            with _kept(self._store.url) as leases:
                batch = self._claim(size, leases)
                if isinstance(batch, list):
                    self.news.found()
                    self._run_batch(batch, leases)
                    continue
            if batch is Idle.DONE:
                return
            self._await_news()

    def _claim(self, size: int, leases: set[Lease]) -> list[Run] | Idle:
        batch: list[Run] = []
        try:
            while len(batch) < size:
                answer = self._scheduler.claim_batch(size - len(batch))
                if isinstance(answer, list):
                    leases.update(run.lease for run in answer)
                    batch += answer
                elif answer is not Idle.AGAIN:
                    return batch or answer
        except BaseException as error:
            if not isinstance(error, StoreError):
                self._give_back(batch)
            raise
        return batch

    def _await_news(self) -> None:
        """Wait until there may be something to take."""
        ask_at = self.news.missed()
        with suppress(queue.Empty):
            while (left := ask_at - time.monotonic()) > 0:
                ask_at = min(ask_at, self.news.heard(self._heard.get(timeout=left)))

    def _run_batch(self, batch: list[Run], leases: set[Lease]) -> None:
        waiting = list(batch)
        try:
            for part in self._parts(batch):
                self._launch(part)
                for run in part:
                    waiting.remove(run)
                    leases.discard(run.lease)
        except BaseException:
            self._give_back(waiting)
            raise

    def _give_back(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._end(run, Outcome(RunState.PREEMPTED, error="the sweeper left"))

    def _parts(self, batch: list[Run]) -> Iterator[list[Run]]:
        """Split where numbers do not follow one another, because a launcher counts on from the first."""
        ordered = sorted(batch, key=run_number)
        alone = [run for run in ordered if run.id in self._suspects]
        together = [run for run in ordered if run.id not in self._suspects]
        for _, part in groupby(enumerate(together), key=lambda pair: pair[1].number - pair[0]):
            yield [run for _, run in part]
        for run in alone:
            yield [run]

    def _launch(self, part: list[Run]) -> None:
        runs: list[Run] = []
        lines: list[list[str]] = []
        for run in part:
            try:
                folder = prepare_folder(self._store, run, self._scheduler.sweep, self._home)
            except NotFoundError:  # the run was removed
                continue
            told = run_environment(folder, run, self._store.url, lease_seconds=LEASE_SECONDS)
            runs.append(run)
            lines.append([*self._line_of(run), *write_overrides("hydra.job.env_set", told, prefix="")])
        broken: BaseException | None = None
        results: Sequence[JobReturn] = ()
        try:
            results = self._launcher.launch(lines, initial_job_idx=run_number(part[0])) if runs else ()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a job may have left by any exit; that is its affair alone
            broken = error
            log.warning("the launcher gave up: %s: %s", type(error).__name__, error)
        for place, run in enumerate(runs):
            self._settle(run, results[place] if place < len(results) else None, broken, alone=len(runs) == 1)

    def _settle(
        self, run: Run, returned: JobReturn | None, broken: BaseException | None, *, alone: bool
    ) -> None:
        """See to it that a run has ended in the store, and hand its job on."""
        if returned is not None:
            end_job(self._store, run.lease, run_folder(run.id, self._home), returned)
        elif alone:
            what = (
                f"its job left by {type(broken).__name__}: {broken}" if broken else "its job gave no result"
            )
            self._end(run, Outcome(RunState.FAILED, error=what))
        elif self._state(run) is RunState.RUNNING:
            self._suspects.add(run.id)
            self._end(run, Outcome(RunState.PREEMPTED, error="the launcher gave up on its batch"))
        try:
            ended = self._store.get_run(run.id)
        except NotFoundError:
            return
        if ended.state in ENDED:
            self._on_job(
                Job(ended, run_number(ended), result_of(ended, returned, lambda: self._blank(ended, broken)))
            )
        elif ended.state is RunState.PENDING:
            log.info("\t#%d is to be tried again: %s", run_number(ended), ended.error)

    def _state(self, run: Run) -> RunState | None:
        try:
            now = self._store.get_run(run.id)
        except NotFoundError:
            return None
        return now.state if now.attempt == run.attempt else None

    def _end(self, run: Run, outcome: Outcome) -> None:
        def judge(told: Replayed) -> Outcome:
            return told.finished or outcome

        try:
            if self._state(run) is RunState.RUNNING:
                journal = run_folder(run.id, self._home).journal(run.attempt)
                end_attempt(self._store, Reporter(self._store, run.lease, None), journal, judge)
        except BesomError as error:
            log.warning("run %s could not be ended in the store: %s", run.name, error)

    def _blank(self, run: Run, broken: BaseException | None) -> JobReturn:
        from hydra.core.utils import JobReturn, JobStatus

        try:
            config = self._app.hydra_context.config_loader.load_sweep_config(
                self._app.config, list(self._line_of(run))
            )
        except Exception:  # noqa: BLE001 - a config that cannot be composed may be why the job failed
            blank = JobReturn(overrides=list(self._line_of(run)), status=JobStatus.FAILED)
        else:
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = run_number(run)
            blank = blank_return(config)
        if isinstance(broken, Exception):
            blank.return_value = broken
        return blank


@contextmanager
def _room_in_environment(app: App) -> Generator[None]:
    """Let jobs set BESOM variables by plain overrides, which launchers do not show to the user."""
    hydra = app.config.hydra
    before = hydra_overrides(app.config)
    room = write_overrides("hydra.job.env_set", dict.fromkeys(RUN_VARIABLES, ""))
    with read_write(app.config), open_dict(app.config):
        hydra.overrides.hydra = [*before, *room]
    try:
        yield
    finally:
        with read_write(app.config), open_dict(app.config):
            hydra.overrides.hydra = before


@contextmanager
def _kept(store_url: str) -> Generator[set[Lease]]:
    """Give a set of leases that a thread keeps while inside."""
    leases: set[Lease] = set()
    done = threading.Event()
    thread = threading.Thread(target=_keep, args=(store_url, leases, done), name="besom-leases", daemon=True)
    thread.start()
    try:
        yield leases
    finally:
        done.set()
        thread.join()


def _keep(store_url: str, leases: set[Lease], done: threading.Event) -> None:
    store: Store | None = None
    while not done.wait(LEASE_SECONDS / 3):
        try:
            store = store or open_store(store_url)
            if held := list(leases.copy()):
                store.heartbeat(held, lease_seconds=LEASE_SECONDS)
        except BesomError as error:  # noqa: PERF203 - once in 20 s
            log.warning("the leases of this batch could not be prolonged: %s", error)
    if store is not None:
        store.close()
