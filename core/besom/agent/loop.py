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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from besom.agent.breaker import Breaker
from besom.agent.command import build_command, program_folder, write_argument_files
from besom.agent.ending import Told, outcome_of, read_tail
from besom.agent.gpus import gpu_slots, visible_gpus
from besom.agent.job import Job
from besom.agent.options import AgentEvent, AgentOptions, AgentResult, EventKind, ignore
from besom.agent.patience import Patience
from besom.agent.prepare import prepare_folder
from besom.agent.process import child_environment, start_child
from besom.agent.signals import LEAVE, received
from besom.errors import StoreError, StorePlaceError, StoreVersionError, UsageError
from besom.folders import RunFolder, run_environment
from besom.journal import replay
from besom.records import Lease, Outcome, Run, RunState, Sweep
from besom.scheduler import Idle, Reporter, Scheduler
from besom.store.base import Store
from besom.sweep import sweep_config

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

log = logging.getLogger(__name__)

_IDLE_FIRST, _IDLE_LONGEST = 0.05, 1.0
_BEAT_LONGEST = 5.0  # how late a cancel may reach a program that reports nothing
_OUTPUT_TICK = 0.1
_UNDECIDED = 0.5  # how long a death by SIGTERM waits for the agent's own: schedulers send it to all at once


def run_agent(
    store: Store,
    sweep_id: str,
    options: AgentOptions | None = None,
    *,
    on_event: Callable[[AgentEvent], None] = ignore,
) -> AgentResult:
    """Take runs from a sweep until there are none left, or a signal or failures end it.

    For the main thread, because it handles signals: SIGTERM preempts the runs; Ctrl-C waits for them, another
    preempts them, a third kills them. Before anything is claimed: UsageError when the program is missing or
    GPUs are too few, NotFoundError without such a sweep. Later: StoreError when the store stays away.
    """
    options = options or AgentOptions()
    gpus = visible_gpus(os.environ) if options.gpus_per_run else []
    slots = gpu_slots(options.workers, options.gpus_per_run, gpus)
    sweep = store.get_sweep(sweep_id)
    program_folder(sweep_config(sweep), sweep.folder, Path.cwd())
    agent = store.add_agent(sweep_id, host=socket.gethostname(), pid=os.getpid())
    scheduler = Scheduler(store, sweep_id, agent_id=agent.id, lease_seconds=options.lease_seconds)
    loop = _Loop(store, scheduler, options, slots, on_event)
    loop.emit("joined", detail=agent.id)
    with received(loop.events.put, forward=options.forward_signals):
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
        on_event: Callable[[AgentEvent], None],
    ) -> None:
        self.events: queue.SimpleQueue[int | _Ended] = queue.SimpleQueue()  # a number is a signal's
        self.store = store
        self.scheduler = scheduler
        self.options = options
        self.slots = slots
        self.on_event = on_event
        self.jobs: dict[Lease, Job] = {}
        self.free = list(range(len(slots) - 1, -1, -1))
        self.claimed: Run | None = None  # claimed, but not started yet
        self.taken = 0
        self.counts: Counter[RunState] = Counter()
        self.breaker = Breaker(options, os.environ, now=time.monotonic())
        self.tier = 0  # 1: runs are waited for, 2: they are asked to end, 3: they are killed
        self.leaving = False
        self.exit_code = 0
        self.reason = ""
        self.idle: Idle | None = None
        self.claim_at = 0.0
        self.claim_pause = _IDLE_FIRST
        self.beat_every = min(options.lease_seconds / 3, _BEAT_LONGEST)
        self.beat_at = 0.0
        self.patience = Patience()
        self.config: tuple[int, SweepConfig] | None = None

    # ---- the loop

    def run(self) -> AgentResult:
        """Work until nothing is left to do."""
        try:
            while not (self.leaving and not self.jobs):
                self._enforce()
                self._with_store(self._step)
                if self.leaving and not self.jobs:
                    break
                self._wait()
        except BaseException:
            self._abandon()
            raise
        return AgentResult(self.exit_code, self.reason, dict(self.counts))

    def _step(self) -> None:
        """Do everything that needs the store, in the order of its urgency."""
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
            due.append(self.beat_at)
        if self._may_claim():
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
        self._show_output()

    def _handle(self, event: int | _Ended) -> None:
        if isinstance(event, _Ended):
            self._ended(self.jobs[event.lease])
        else:
            self._signaled(event)

    # ---- taking runs

    def _may_claim(self) -> bool:
        enough = self.options.count is not None and self.taken >= self.options.count
        return not self.leaving and not enough and bool(self.free)

    def _claim(self) -> None:
        while self.claimed or (self._may_claim() and time.monotonic() >= self.claim_at):
            if self.claimed is None:
                answer = self.scheduler.claim()
                if isinstance(answer, Idle):
                    self._idle(answer)
                    break
                self.claimed = answer
                self.taken += 1
                self.idle, self.claim_pause = None, _IDLE_FIRST
            self._start(self.claimed)
            self.claimed = None
        if self.options.count is not None and self.taken >= self.options.count and not self.leaving:
            self._leave("took as many runs as it was to")

    def _idle(self, why: Idle) -> None:
        if why is Idle.DONE:
            self._leave(f"the sweep is {self.scheduler.sweep.state.value}")
        elif not self.options.wait and not self.jobs:
            self._leave("there is nothing to take now")
        elif self.idle is not why:
            self.emit("paused" if why is Idle.PAUSED else "waiting")
        self.idle = why
        self.claim_at = time.monotonic() + self.claim_pause
        self.claim_pause = min(2 * self.claim_pause, _IDLE_LONGEST)

    def _start(self, run: Run) -> None:
        try:
            folder = prepare_folder(self.store, run, self.scheduler.sweep)
        except OSError as error:
            self._give_back(run, f"the folder of run {run.id} cannot be written: {error}")
            return
        try:
            job = self._launch(run, folder, self.free[-1])
        except (OSError, ValueError, UsageError) as error:
            outcome = Outcome(RunState.FAILED, error=f"the program could not be started: {error}")
            self._record(self.store.finish(run.lease, outcome), outcome, output="")
            return
        self.free.pop()
        self.jobs[run.lease] = job
        self.emit("started", run)

    def _launch(self, run: Run, folder: RunFolder, slot: int) -> Job:
        sweep, options = self.scheduler.sweep, self.options
        config = self._config(sweep)
        write_argument_files(config, run.params, folder=folder)
        written = folder.output.stat().st_size if folder.output.exists() else 0
        child = start_child(
            build_command(config, run.params, folder=folder),
            environment=child_environment(
                os.environ,
                run_environment(folder, run, self.store.url),
                {"BESOM_LEASE_SECONDS": f"{options.lease_seconds:g}"},
                self.slots[slot],
            ),
            folder=program_folder(config, sweep.folder, Path.cwd()),
            output=folder.output,
            on_end=lambda: self.events.put(_Ended(run.lease)),
        )
        timeout_at = None if options.timeout is None else time.monotonic() + options.timeout
        return Job(run, sweep, folder, slot, child, options.grace, written, timeout_at, shown=written)

    def _config(self, sweep: Sweep) -> SweepConfig:
        if self.config is None or self.config[0] != sweep.version:
            self.config = (sweep.version, sweep_config(sweep))
        return self.config[1]

    def _give_back(self, run: Run, why: str) -> None:
        self.exit_code = self.exit_code or 1
        self._leave(why)
        outcome = Outcome(RunState.PREEMPTED)
        self._record(self.store.finish(run.lease, outcome), outcome, output="")

    # ---- while they run

    def _enforce(self) -> None:
        now = time.monotonic()
        for job in self.jobs.values():
            if job.enforce(now):
                self._tell(job, Told.TIMEOUT, f"timed out after {self.options.timeout:g} s")

    def _beat(self) -> None:
        now = time.monotonic()
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
        self.exit_code = 128 + number
        name = signal.Signals(number).name
        self._leave(f"received {name}")
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
        undecided = job.told is None and self.tier < 2 and abs(job.code) % 128 in LEAVE
        job.settle_at = now + _UNDECIDED if undecided else now
        self.claim_at, self.claim_pause = now, _IDLE_FIRST

    def _settle(self, job: Job) -> None:
        assert job.code is not None
        if self.options.show_output:
            self._show_lines(job)
        if job.told is Told.LOST:
            self._forget(job)
            self.emit("lost", job.run, detail=job.reason)
            return
        reporter = Reporter(self.store, job.run.lease, job.sweep, lease_seconds=self.options.lease_seconds)
        replayed = replay(self.store, reporter, job.folder.journal(job.run.attempt))
        output = read_tail(job.folder.output, start=job.output_start)
        outcome = outcome_of(job.code, job.told, job.reason, replayed, output)
        run = self.store.finish(job.run.lease, outcome)
        self._forget(job)
        if run.attempt != job.run.attempt:
            self.emit("lost", run)
        else:
            self._record(run, outcome, output=output)

    def _forget(self, job: Job) -> None:
        del self.jobs[job.run.lease]
        self.free.append(job.slot)

    def _record(self, run: Run, outcome: Outcome, *, output: str) -> None:
        self.counts[outcome.state] += 1
        self.emit("ended", run, outcome=outcome)
        self.breaker.record(outcome.state, now=time.monotonic())
        if self.breaker.tripped and not self.leaving:
            self.exit_code = 1
            tail = "\n".join(output.splitlines()[-10:])
            said = f" It ended with:\n{tail}" if tail else ""
            self._leave(f"{self.breaker.tripped}; the latest is {run.name}: {outcome.error}.{said}")

    def _leave(self, why: str) -> None:
        if not self.leaving:
            self.leaving, self.reason = True, why
            self.emit("leaving", detail=why)

    # ---- when things go wrong

    def _with_store(self, step: Callable[[], None]) -> None:
        """Do a step, unless the store has failed and it is too early to try again."""
        now = time.monotonic()
        if now < self.patience.retry_at:
            return
        try:
            step()
        except (StoreVersionError, StorePlaceError):
            raise
        except StoreError as error:
            log.warning("the store fails: %s", error)
            if self.patience.down_since is None:
                self.emit("store", detail=f"{error}; trying again, running programs go on")
            patience = self.options.store_patience
            if self.patience.failed(now=now) > (
                min(patience, self.options.grace) if self.tier >= 2 else patience
            ):
                raise
        else:
            self.patience.worked()

    def _abandon(self) -> None:
        """End all programs, telling the store nothing: their leases run out, their journals wait on disk."""
        for job in self.jobs.values():
            job.term(time.monotonic())
        until = time.monotonic() + self.options.grace
        while any(job.code is None for job in self.jobs.values()) and time.monotonic() < until:
            try:
                event = self.events.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(event, _Ended):
                self._ended(self.jobs[event.lease])
        for job in self.jobs.values():
            if job.code is None:
                job.child.signal(signal.SIGKILL)
                job.child.process.wait()

    # ---- what others see

    def emit(
        self, kind: EventKind, run: Run | None = None, *, outcome: Outcome | None = None, detail: str = ""
    ) -> None:
        """Tell the caller what happened."""
        self.on_event(AgentEvent(kind, run, outcome, detail))

    def _show_output(self) -> None:
        if self.options.show_output:
            for job in self.jobs.values():
                self._show_lines(job)

    def _show_lines(self, job: Job) -> None:
        for line in job.new_lines():
            self.emit("output", job.run, detail=line)
