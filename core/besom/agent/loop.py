"""The agent: takes runs from a sweep, runs their program, and tells the store how each one ended.

One loop in the main thread does everything. It sleeps on a queue that a program's end or a signal wakes it
from, so the next run starts as soon as one ends. Threads share nothing but that queue.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from besom.agent.ahead import Ahead
from besom.agent.allowed import allowed_programs
from besom.agent.breaker import Breaker
from besom.agent.ending import Told, exit_status
from besom.agent.gpus import gpu_slots, visible_gpus
from besom.agent.job import Job
from besom.agent.news import Heard, News
from besom.agent.options import AgentEvent, AgentOptions, AgentResult, EventKind, ignore
from besom.agent.patience import Patience
from besom.agent.platform import this_job
from besom.agent.prepare import prepare_folder
from besom.agent.settle import settle
from besom.agent.signals import LEAVE, received
from besom.agent.start import ProgramStarter, Starter
from besom.errors import BesomError, NotFoundError, StoreError
from besom.folders import RunFolder, besom_dir, run_environment
from besom.records import Lease, Outcome, Run, RunState, Sweep
from besom.scheduler import Idle, Scheduler
from besom.store.base import Store
from besom.store.clock import since_boot

log = logging.getLogger(__name__)

_BEAT_LONGEST = 5.0  # how late a cancel may reach a program that reports nothing
_OUTPUT_TICK = 0.1
_UNDECIDED = 0.5  # how long a death by SIGTERM waits for the agent's own: schedulers send it to all at once


def run_agent(
    store: Store,
    sweep_id: str,
    options: AgentOptions | None = None,
    *,
    on_event: Callable[[AgentEvent], None] = ignore,
    starter: Starter | None = None,
) -> AgentResult:
    """Take runs from a sweep until there are none left, or a signal or failures end it.

    For the main thread, because it handles signals: SIGTERM preempts the runs; Ctrl-C waits for them, another
    preempts them, a third kills them. `starter` makes a process of each run, the sweep's program by default.
    Before anything is claimed: UsageError when the program is missing or not allowed or GPUs are too few,
    NotFoundError without such a sweep. Later: StoreError when the store stays away.
    """
    options = options or AgentOptions()
    gpus = visible_gpus(os.environ) if options.gpus_per_run else []
    slots = gpu_slots(options.workers, options.gpus_per_run, gpus)
    sweep = store.get_sweep(sweep_id)
    starter = starter or ProgramStarter(allowed_programs(store.url, options))
    starter.check(sweep)
    agent = store.add_agent(sweep_id, host=socket.gethostname(), pid=os.getpid(), job=this_job(os.environ))
    scheduler = Scheduler(store, sweep_id, agent_id=agent.id, lease_seconds=options.lease_seconds)
    loop = _Loop(store, scheduler, options, slots, starter=starter, on_event=on_event)
    loop.emit("joined", detail=agent.id)
    signals = received(loop.events.put, forward=options.forward_signals)
    with signals, loop.ahead, closing(loop.news):
        return loop.run()


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run's program has ended."""

    lease: Lease


class _Loop:
    """The state of an agent between two events."""

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        options: AgentOptions,
        slots: list[dict[str, str]],
        *,
        starter: Starter,
        on_event: Callable[[AgentEvent], None],
    ) -> None:
        self.events: queue.SimpleQueue[int | _Ended | Heard] = queue.SimpleQueue()  # a number is a signal's
        self.store = store
        self.scheduler, self.ahead = scheduler, Ahead(scheduler)
        self.options = options
        self.slots, self.starter = slots, starter
        self.home, self.on_event = besom_dir(), on_event
        self.jobs: dict[Lease, Job] = {}
        self.free = list(range(len(slots) - 1, -1, -1))
        self.claimed: Run | None = None  # claimed, but not started yet
        self.taken = 0
        self.counts: Counter[RunState] = Counter()
        self.breaker = Breaker(options, os.environ, now=time.monotonic())
        self.tier = 0  # 1: runs are waited for, 2: they are asked to end, 3: they are killed
        self.leaving = False
        self.exit_code, self.reason = 0, ""
        self.idle: Idle | None = None
        self.claim_at = 0.0
        self.news = News(store, scheduler.sweep.id, self.events.put)
        self.beat_every = min(options.lease_seconds / 3, _BEAT_LONGEST)
        self.beat_at = 0.0  # by the clock of leases, which goes on while the machine sleeps
        self.patience = Patience()

    # ---- the loop

    def run(self) -> AgentResult:
        """Work until nothing is left to do."""
        try:
            while True:
                self._enforce()
                self._with_store(self._step)
                if self.leaving and not self.jobs and self.claimed is None:
                    break
                self._wait()
        except BaseException as error:
            self._abandon(give_back=not isinstance(error, StoreError))
            raise
        return AgentResult(self.exit_code, self.reason, dict(self.counts))

    def _step(self) -> None:
        """Do everything that needs the store, in the order of its urgency.

        One claim at most, right after what keeps the leases: a claim is what ends those that have run out.
        """
        for job in [job for job in self.jobs.values() if job.code is not None]:
            if time.monotonic() >= job.settle_at:
                self._settle(job)
        self._beat()
        self._claim()

    def _wait(self) -> None:
        now = time.monotonic()
        due = [at for job in self.jobs.values() if (at := job.due) is not None and at > now]
        if self.patience.down_since is not None:
            due.append(self.patience.retry_at)
        elif self.jobs:
            due.append(now + self.beat_at - since_boot())
        if self.claimed or self._may_claim():
            due.append(max(self.claim_at, self.patience.retry_at))
        if self.options.show_output and self.jobs:
            due.append(now + _OUTPUT_TICK)
        try:
            event = self.events.get(timeout=max(0.0, min(due) - now) if due else None)
            while True:
                self._handle(event)
                event = self.events.get_nowait()
        except queue.Empty:
            pass
        for job in self.jobs.values():
            self._show_output(job)

    def _handle(self, event: int | _Ended | Heard) -> None:
        if isinstance(event, _Ended):
            self._ended(self.jobs[event.lease])
        elif isinstance(event, Heard):
            self.claim_at = min(self.claim_at, self.news.heard(event))
        else:
            self._signaled(event)

    # ---- taking runs

    def _may_claim(self) -> bool:
        return not self.leaving and self.taken != self.options.count and bool(self.free)

    def _claim(self) -> None:
        if self.claimed is None and self._may_claim() and time.monotonic() >= self.claim_at:
            self._ask()
        if self.claimed and self.leaving:
            self._give_back(self.claimed)
        elif self.claimed:
            self._start(self.claimed)
        self.claimed = None
        if self.taken == self.options.count:
            self._leave("took as many runs as it was to")

    def _ask(self) -> None:
        try:
            answer = self.scheduler.claim()
        except StoreError:
            raise
        except Exception as error:  # the method's, say; what runs shall not suffer from it
            level = logging.DEBUG if isinstance(error, BesomError) else logging.ERROR
            log.log(level, "sweep %s: its next run cannot be told", self.scheduler.sweep.id, exc_info=True)
            self._leave(f"the sweep's next run cannot be told: {error}", exit_code=1)
            return
        if isinstance(answer, Run):
            self.claimed = answer
            self.taken += 1
            self.ahead.look()
            self.idle = None
            self.news.found()
        elif answer is not Idle.AGAIN:
            self._idle(answer)

    def _idle(self, why: Idle) -> None:
        if why is Idle.DONE:
            self._leave(f"the sweep is {self.scheduler.sweep.state.value}")
        elif not self.options.wait and not self.jobs:
            self._leave("there is nothing to take now")
        elif self.idle is not why:
            self.emit("paused" if why is Idle.PAUSED else "waiting")
        self.idle = why
        self.claim_at = self.news.missed()

    def _start(self, run: Run) -> None:
        sweep, slot = self.scheduler.sweep, self.free[-1]
        try:
            folder = prepare_folder(self.store, run, sweep, self.home)
        except NotFoundError as error:  # the run was removed
            self.emit("lost", run, detail=str(error))
            return
        except OSError as error:
            self._leave(f"the folder of run {run.id} cannot be written: {error}", exit_code=1)
            self._give_back(run)
            return
        try:
            job = self._job(run, sweep, folder, slot)
        except Exception as error:  # whatever is wrong with one run must not end the agent of the others
            log.debug("run %s could not be started", run.id, exc_info=True)
            self._end(run, Outcome(RunState.FAILED, error=f"the program could not be started: {error}"))
            return
        self.free.pop()
        self.jobs[run.lease] = job
        self.emit("started", run)

    def _job(self, run: Run, sweep: Sweep, folder: RunFolder, slot: int) -> Job:
        options = self.options
        written = folder.output.stat().st_size if folder.output.exists() else 0
        told = run_environment(folder, run, self.store.url, lease_seconds=options.lease_seconds)
        environment = told | self.slots[slot]
        ended = _Ended(run.lease)
        child = self.starter.start(
            run, sweep, folder, environment=environment, on_end=lambda: self.events.put(ended)
        )
        timeout_at = None if options.timeout is None else time.monotonic() + options.timeout
        return Job(run, sweep, folder, slot, child, options.grace, written, timeout_at, shown=written)

    def _give_back(self, run: Run) -> None:
        self._end(run, Outcome(RunState.PREEMPTED))

    def _end(self, run: Run, outcome: Outcome) -> None:
        """End a run that has no process."""
        self._record(self.store.finish(run.lease, outcome), outcome)

    # ---- while they run

    def _enforce(self) -> None:
        now = time.monotonic()
        for job in self.jobs.values():
            if job.enforce(now):
                self._tell(job, Told.TIMEOUT, f"timed out after {self.options.timeout:g} s")

    def _beat(self) -> None:
        now = since_boot()
        if not self.jobs or now < self.beat_at:
            return
        directives = self.store.heartbeat(list(self.jobs), lease_seconds=self.options.lease_seconds)
        self.beat_at = now + self.beat_every
        for lease, directive in directives.items():
            if directive.action != "continue":
                self._tell(self.jobs[lease], Told(directive.action), directive.reason)

    def _tell(self, job: Job, told: Told, reason: str, *, forwarded: bool = False) -> None:
        if job.tell(told, reason, now=time.monotonic(), forwarded=forwarded):
            self.emit("stopping", job.run, detail=reason or told.value)

    def _signaled(self, number: int) -> None:
        forward = self.options.forward_signals and number != signal.SIGTERM
        if forward:
            for job in self.jobs.values():
                job.child.signal(number)
        if number not in LEAVE:
            return
        self.tier = self.tier + 1 if number == signal.SIGINT else max(2, self.tier + 1)
        name = signal.Signals(number).name
        may_end = self.jobs and self.tier == 1 and not forward
        self._leave(f"received {name}" + ("; what runs may end, another interrupts it" if may_end else ""))
        self.exit_code = 128 + number  # also where it was leaving for another reason
        for job in self.jobs.values():
            if forward or self.tier >= 2:
                self._tell(job, Told.PREEMPT, f"the agent received {name}", forwarded=forward)
            if self.tier >= 2:
                job.term(time.monotonic())
            if self.tier >= 3:
                job.kill_at = time.monotonic()

    # ---- at their end

    def _ended(self, job: Job) -> None:
        job.code = job.child.reap()
        now = time.monotonic()
        undecided = job.told is None and self.tier < 2 and exit_status(job.code) - 128 in LEAVE
        job.settle_at = now + _UNDECIDED if undecided else now
        self.claim_at = now

    def _settle(self, job: Job) -> None:
        self._show_output(job)
        settled = settle(self.store, job, lease_seconds=self.options.lease_seconds)
        self._forget(job)
        if settled.outcome is None:
            self.emit("lost", settled.run, detail=job.reason)
        else:
            self._record(settled.run, settled.outcome, output=settled.output)

    def _forget(self, job: Job) -> None:
        del self.jobs[job.run.lease]
        self.free.append(job.slot)

    def _record(self, run: Run, outcome: Outcome, *, output: str = "") -> None:
        self.counts[outcome.state] += 1
        self.emit("ended", run, outcome=outcome)
        self.breaker.record(outcome.state, now=time.monotonic())
        if why := self.breaker.tripped:
            tail = "\n".join(output.splitlines()[-10:])
            said = f" It ended with:\n{tail}" if tail else ""
            self._leave(f"{why}; the latest is {run.name}: {outcome.error}.{said}", exit_code=1)

    def _leave(self, why: str, *, exit_code: int = 0) -> None:
        if not self.leaving:
            self.leaving, self.reason, self.exit_code = True, why, exit_code
            self.emit("leaving", detail=why)

    # ---- when things go wrong

    def _with_store(self, step: Callable[[], None]) -> None:
        """Do a step, unless the store has failed and it is too early to try again."""
        now = time.monotonic()
        if now < self.patience.retry_at:
            return
        try:
            step()
        except StoreError as error:
            longest = self.options.store_patience
            if self.tier >= 2:
                longest = min(longest, self.options.grace)
            if self.patience.bear(error, now=now, longest=longest):
                self.emit("store", detail=f"{error}; trying again, running programs go on")
        else:
            self.patience.worked()

    def _abandon(self, *, give_back: bool) -> None:
        """End all programs, and give their runs back.

        Without `give_back` the store is told nothing: leases run out, journals wait on disk.
        """
        now = time.monotonic()
        for job in self.jobs.values():
            job.tell(Told.PREEMPT, "the agent failed", now=now)
            job.term(now)
        self._await_ends(until=now + self.options.grace)
        if not give_back:
            return
        try:
            if self.claimed:
                self.store.finish(self.claimed.lease, Outcome(RunState.PREEMPTED))
            for job in self.jobs.values():
                settle(self.store, job, lease_seconds=self.options.lease_seconds)
        except BesomError as error:
            log.warning("runs could not be given back: %s", error)

    def _await_ends(self, *, until: float) -> None:
        """Wait for the programs to end; kill those that have not by then."""
        while any(job.code is None for job in self.jobs.values()):
            try:
                event = self.events.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(event, _Ended):
                self._ended(self.jobs[event.lease])
        for job in self.jobs.values():
            if job.code is None:
                job.code = job.child.reap()

    # ---- what others see

    def emit(
        self, kind: EventKind, run: Run | None = None, *, outcome: Outcome | None = None, detail: str = ""
    ) -> None:
        """Tell the caller what happened."""
        self.on_event(AgentEvent(kind, run, outcome, detail))

    def _show_output(self, job: Job) -> None:
        if self.options.show_output:
            for line in job.new_lines():
                self.emit("output", job.run, detail=line)
