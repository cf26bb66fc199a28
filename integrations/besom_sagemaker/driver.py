"""The driver: holds a sweep's store on this machine and runs its runs as training jobs.

It claims runs as an agent does, keeps their leases, submits a job for one or for several, brings what they
log from S3 into the store, asks the sweep's stopper, and ends the runs. All it knows stands in the store, in
the run folders and in S3, so it may be killed at any point: the next one submits the same names again,
SageMaker says that they are taken, and it goes on with them.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from besom.agent.options import AgentEvent, AgentResult, ignore
from besom.agent.patience import Patience
from besom.agent.signals import received
from besom.errors import StoreError
from besom.records import Directive, Lease, Outcome, Run, RunState
from besom.scheduler import Idle, Scheduler
from besom.store.base import Store
from besom_sagemaker.adoption import HOST, left_running
from besom_sagemaker.book import Book
from besom_sagemaker.capacity import Capacity, DriverOptions
from besom_sagemaker.cloud import Cloud, JobState, NotNowError, RefusedError
from besom_sagemaker.cost import Ledger, cost_of
from besom_sagemaker.endings import ASKED, ending_of, lacked_capacity, logged_by
from besom_sagemaker.fleet import Fleet, Job
from besom_sagemaker.job import StopRequest
from besom_sagemaker.names import job_prefix

log = logging.getLogger(__name__)

_BEAT_EVERY = 5.0
_STOP_PATIENCE = 60.0  # beyond the grace: how long a run has to end before its job is stopped


class Driver:
    """A sweep's driver between two looks at AWS; see `run`."""

    def __init__(
        self,
        store: Store,
        sweep_id: str,
        *,
        cloud: Cloud,
        fleet: Fleet,
        ledger: Ledger,
        options: DriverOptions,
        on_event: Callable[[AgentEvent], None] = ignore,
    ) -> None:
        agent = store.add_agent(sweep_id, host=f"{HOST}{socket.gethostname()}", pid=os.getpid())
        self.store, self.cloud, self.fleet, self.ledger = store, cloud, fleet, ledger
        self.options = options
        self.scheduler = Scheduler(store, sweep_id, agent_id=agent.id, lease_seconds=options.lease_seconds)
        self.jobs: dict[str, Job] = {}
        self.waiting: list[Run] = []  # claimed, but not submitted yet
        self.book = Book(store, lease_seconds=options.lease_seconds, on_event=on_event)
        self.adopted = False
        self.events: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.capacity = Capacity(options.max_jobs, options)
        self.patience = Patience()
        self.leaving, self.reason, self.exit_code = False, "", 0
        self.idle: Idle | None = None
        self._beat_at = self._retry_at = 0.0
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="besom-s3")
        self._agent_id = agent.id

    # ---- the loop

    def run(self) -> AgentResult:
        """Work until the sweep has no more runs. A signal ends it at once: jobs go on, and may be adopted."""
        self.book.emit("joined", detail=self._agent_id)
        try:
            with received(self.events.put, forward=False):
                while not self._done():
                    self._keep(self.tick)
                    if not self._done():
                        self._wait()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            for job in self.jobs.values():
                job.close()
        return AgentResult(self.exit_code, self.reason, dict(self.book.counts))

    def _done(self) -> bool:
        return self.exit_code > 128 or (self.leaving and not self.jobs and not self.waiting)

    def _wait(self) -> None:
        try:
            number = self.events.get(timeout=self.options.poll_seconds)
        except queue.Empty:
            return
        self.exit_code = 128 + number
        name = signal.Signals(number).name
        left = f"; {len(self.jobs)} jobs go on, the same command again goes on with them" if self.jobs else ""
        self._leave(f"received {name}{left}")

    def _keep(self, step: Callable[[], None]) -> None:
        """Do a step; what fails for a while is tried again at the next tick."""
        now = time.monotonic()
        if now < max(self.patience.retry_at, self._retry_at):
            return
        try:
            step()
        except StoreError as error:
            if self.patience.bear(error, now=now, longest=self.options.store_patience):
                self.book.emit("store", detail=f"{error}; trying again, jobs go on")
        except NotNowError as error:
            self._retry_at = now + self.options.poll_seconds
            log.warning("%s; trying again", error)
        else:
            self.patience.worked()

    def tick(self) -> None:
        """Look at everything once: what came home, what has ended, what can be submitted."""
        if not self.adopted:
            self.adopt()
        self._beat()
        self._fetch()
        self._watch()
        self._spend()
        if self.book.tripped and not self.leaving:
            self.exit_code = 1
            self._leave(self.book.tripped)
        self._submit()

    # ---- runs that were claimed before

    def adopt(self) -> None:
        """Go on with what earlier drivers of this sweep have left running.

        What fails half-way is done again from where it was.
        """
        here = {run.id for run in self.waiting}
        here |= {mirror.run.id for job in self.jobs.values() for mirror in job.mirrors}
        for found in left_running(
            self.store,
            self.scheduler.sweep,
            cloud=self.cloud,
            fleet=self.fleet,
            book=self.book,
            here=here,
            lease_seconds=self.options.lease_seconds,
        ):
            if isinstance(found, Run):
                self.waiting.append(found)
                continue
            self.jobs[found.name] = found
            for mirror in found.mirrors:
                self.book.emit("started", mirror.run)
        self.adopted = True

    # ---- what comes home

    def _beat(self) -> None:
        now = time.monotonic()
        leases = [mirror.run.lease for job in self.jobs.values() for mirror in job.unsettled]
        leases += [run.lease for run in self.waiting]
        if not leases or now < self._beat_at:
            return
        directives = self.store.heartbeat(leases, lease_seconds=self.options.lease_seconds)
        self._beat_at = now + min(_BEAT_EVERY, self.options.lease_seconds / 3)
        self.waiting = [run for run in self.waiting if self._still_wanted(run, directives[run.lease])]
        for job in self.jobs.values():
            for mirror in job.unsettled:
                self._direct(job, mirror.run.lease, directives.get(mirror.run.lease))

    def _still_wanted(self, run: Run, directive: Directive) -> bool:
        """Say whether a run that has no job yet shall get one; else it ends here."""
        if directive.action == "continue":
            return True
        if directive.action != "lost":
            state = RunState.KILLED if directive.action == "kill" else RunState.STOPPED
            self.book.finish(run, Outcome(state))
        return False

    def _direct(self, job: Job, lease: Lease, directive: Directive | None) -> None:
        """Pass on to a run what the store wants of it."""
        if directive is None or directive.action == "continue":
            return
        mirror = job.mirror(lease)
        lost = directive.action == "lost"
        request = StopRequest("stop" if directive.action == "stop" else "kill", directive.reason)
        if mirror.ask(self.cloud, request, time.monotonic()):
            self.book.emit("stopping", mirror.run, detail=directive.reason or directive.action)
        if lost and not mirror.settled:
            mirror.settled = True
            self.book.emit("lost", mirror.run)

    def _fetch(self) -> None:
        mirrors = [(job, mirror) for job in self.jobs.values() for mirror in job.awaited]
        for future in [self._pool.submit(mirror.fetch, self.cloud) for _, mirror in mirrors]:
            future.result()
        for job, mirror in mirrors:
            self._direct(job, mirror.run.lease, self.book.deliver(mirror, self.scheduler.sweep))
            said = mirror.status.outcome if mirror.status else None
            if mirror.complete and not mirror.settled and said is not None:
                self.book.finish(mirror.run, said)
                mirror.settled = True

    # ---- jobs

    def _watch(self) -> None:
        """Find the jobs that have ended; one listing for all, and one look at each that is not in it."""
        submitted = [job for job in self.jobs.values() if job.submitted]
        if not submitted:
            return
        running = self.cloud.in_progress(job_prefix(self.scheduler.sweep.id))
        for job in submitted:
            if job.name not in running:
                self._look(job)
            elif job.overdue(time.monotonic(), self.options.grace + _STOP_PATIENCE):
                self.cloud.stop(job.name)
                job.stop_sent = True

    def _look(self, job: Job) -> None:
        state = self.cloud.describe(job.name)
        if state is None:  # not visible yet, or its record was all there was: submit it again
            job.submitted = False
            return
        if state.ended:
            self._conclude(job, state)

    def _conclude(self, job: Job, state: JobState) -> None:
        """End what a job that has ended leaves open."""
        for mirror in job.mirrors:
            if not mirror.complete:
                mirror.fetch(self.cloud)
            self.book.deliver(mirror, self.scheduler.sweep)
        begun = any(mirror.begun for mirror in job.mirrors)
        # Of several runs they are mixed.
        metrics = state.metrics if len(job.mirrors) == 1 else dict[str, float]()
        for mirror in job.unsettled:
            ending = ending_of(
                state,
                mirror.status,
                mirror.asked,
                others_begun=begun and not mirror.begun,
                logged=logged_by(metrics, self.scheduler.sweep.metric),
            )
            self.book.finish(mirror.run, ending)
            mirror.settled = True
        self.ledger.add(cost_of(state))
        job.close()
        del self.jobs[job.name]
        if lacked_capacity(state):
            pause = self.capacity.refused(time.monotonic(), len(self.jobs), lower=True)
            self.book.emit("store", detail=f"{state.reason}; trying again in {pause:g} s")

    def _spend(self) -> None:
        """End the sweep here once its jobs have cost what they may."""
        budget = self.options.budget_usd
        if budget is None:
            return
        since = [job.since for job in self.jobs.values() if job.submitted]
        rate, ahead = self.fleet.usd_per_second, self.options.poll_seconds
        if not self.ledger.is_spent(budget, since, rate, ahead=ahead):
            return
        why = f"the budget of {budget:g} USD is spent"
        for job in self.jobs.values():
            for mirror in job.unsettled:
                if mirror.asked is None:
                    self._direct(job, mirror.run.lease, self._stopped(mirror.run, why))
        self._leave(why)

    def _stopped(self, run: Run, why: str) -> Directive:
        self.store.request_stop(run.id, why)
        return Directive("stop", why)

    # ---- submitting

    def _submit(self) -> None:
        for job in [job for job in self.jobs.values() if not job.submitted]:
            if self._unwanted(job):
                self._drop(job)
            elif not self._create(job):
                return
        # With no job at all it looks even while AWS is left alone: the sweep may be over.
        while len(self.jobs) < self.capacity.limit and (
            not self.jobs or time.monotonic() >= self.capacity.resume_at
        ):
            runs = self._next_runs()
            if not runs:
                return
            sweep = self.scheduler.sweep
            job = self.fleet.prepare(self.store, sweep, runs)
            self.waiting = self.waiting[len(runs) :]
            self.jobs[job.name] = job
            if not self._create(job):
                return

    def _next_runs(self) -> Sequence[Run]:
        """Give the runs of the next job; claims what is missing to make it full."""
        if self.leaving:
            for run in self.waiting:
                self.book.finish(run, Outcome(RunState.PREEMPTED))
            self.waiting = []
            return ()
        while len(self.waiting) < self.options.runs_per_job and self._more():
            answer = self.scheduler.claim_batch(self._wanted())
            if isinstance(answer, list):
                self.waiting += answer
                self.book.taken.update(run.id for run in answer)
                self.idle = None
            elif answer is not Idle.AGAIN:
                self._idle(answer)
                break
        return self.waiting[: self.options.runs_per_job]

    def _wanted(self) -> int:
        wanted = self.options.runs_per_job - len(self.waiting)
        return (
            wanted if self.options.count is None else min(wanted, self.options.count - len(self.book.taken))
        )

    def _more(self) -> bool:
        if self.options.count is not None and len(self.book.taken) >= self.options.count:
            if not self.jobs and not self.waiting:  # until then, one may be queued again
                self._leave("took as many runs as it was to")
            return False
        return not self.leaving

    def _idle(self, why: Idle) -> None:
        if why is Idle.DONE:
            if not self.waiting:
                self._leave(f"the sweep is {self.scheduler.sweep.state.value}")
        elif self.idle is not why:
            self.book.emit("paused" if why is Idle.PAUSED else "waiting")
        self.idle = why

    def _create(self, job: Job) -> bool:
        """Submit a job, or find that it was submitted before; says whether AWS can take more now."""
        if time.monotonic() < self.capacity.resume_at:
            return False
        live = sum(one.submitted for one in self.jobs.values())
        try:
            new = self.fleet.submit(job)
        except NotNowError as error:
            pause = self.capacity.refused(time.monotonic(), live, lower=error.why == "quota")
            self.book.emit("store", detail=f"{error}; {job.name} waits, trying again in {pause:g} s")
            return False
        except RefusedError as error:  # no fault of the runs: they wait for a template that is taken
            for mirror in job.unsettled:
                self.book.finish(mirror.run, Outcome(RunState.PREEMPTED))
            del self.jobs[job.name]
            self.exit_code = 1
            self._leave(str(error))
            return False
        self.capacity.accepted()
        if new:
            for mirror in job.mirrors:
                self.book.emit("started", mirror.run)
        return True

    def _unwanted(self, job: Job) -> bool:
        """Say whether a job that waits to be submitted is of no use any more."""
        return self.exit_code != 0 or all(mirror.asked is not None for mirror in job.unsettled)

    def _drop(self, job: Job) -> None:
        """End the runs of a job that was not submitted, unless SageMaker has it after all."""
        if self.cloud.describe(job.name) is not None:
            job.submitted = True
            return
        for mirror in job.unsettled:
            state = ASKED[mirror.asked.action] if mirror.asked else RunState.PREEMPTED
            self.book.finish(mirror.run, Outcome(state))
        job.close()
        del self.jobs[job.name]

    def _leave(self, why: str) -> None:
        if not self.leaving:
            self.leaving, self.reason = True, why
            self.book.emit("leaving", detail=why)
