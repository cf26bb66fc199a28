"""The Store protocol: everything besom remembers, behind one narrow door.

Rules that every backend keeps, and `besom.testing.stores.StoreContract` proves:

* A call returns only after its effect is durable to the death of the calling process; it happened whole or
  not at all.
* Time is the store's own: callers pass durations, never instants. Leases survive jumps of the wall clock.
* A point is handed out once. `claim`, `claim_batch` and `offer` are one transaction each; keys are unique
  within a sweep.
* An attempt number is a fencing token: what comes from an older attempt is kept as superseded and changes
  nothing else. A lease that ran out is lost once a claim, `reap` or `create_run` has noticed; until then its
  holder may prolong it. Where no later attempt exists, its holder may still end a run that waits in the queue
  for that reason, and go on with one outside every sweep.
* A writing call may be repeated with the same arguments after a lost reply and then changes nothing (it may
  raise, as `enqueue` does for a point that has a run). Not so those that give something new: `create_sweep`,
  `create_run`, `add_agent`, `claim` and `claim_batch`.
* Costs do not grow with the history of a sweep, except for calls that return it and `rung_loss`.
* JSON is kept as JSON: numbers keep their types. UsageError for what JSON cannot hold, NaN and infinities
  included.
* NotFoundError for a sweep or run that is not there; lists of something that is not there are empty.

A store may be used from several threads and, opened anew, from several processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from besom.records import (
    Agent,
    Attempt,
    Batch,
    Directive,
    HistoryRow,
    Lease,
    Observation,
    Outcome,
    Params,
    Progress,
    Run,
    RunState,
    Source,
    Suggestion,
    Sweep,
    SweepDraft,
    SweepState,
    Waiting,
)


class Store(Protocol):
    """Sweeps, their queue, their runs and what the runs reported."""

    @property
    def url(self) -> str:
        """The address that `open_store` opens this store by, also from another process."""
        ...

    def close(self) -> None:
        """Let go of files and connections; a second call does nothing."""
        ...

    # ---- sweeps

    def create_sweep(self, draft: SweepDraft) -> Sweep:
        """Create a sweep in state PENDING under a new id; without a name it is called "sweep-<id>"."""
        ...

    def get_sweep(self, sweep_id: str) -> Sweep:
        """Give a sweep; NotFoundError if there is none."""
        ...

    def list_sweeps(self, *, project: str | None = None) -> list[Sweep]:
        """Give the sweeps, newest first."""
        ...

    def set_sweep_state(self, sweep_id: str, state: SweepState, *, allowed: Collection[SweepState]) -> Sweep:
        """Move a sweep from one of `allowed` to `state`; StateError from any other.

        CANCELED also asks every running run to be killed and ends every queued one as KILLED.
        A sweep that already is in `state` stays as it is.
        """
        ...

    def amend_sweep(
        self,
        sweep_id: str,
        *,
        version: int,
        config: Mapping[str, Any],
        run_cap: int | None,
        max_attempts: int | None,
        expected_runs: int | None,
        text: str | None,
    ) -> Sweep:
        """Replace the sweep's config and count its version up; StateError unless it is at `version`.

        The cursor returns to 0, the buffer is emptied and the sweep is no longer exhausted (a FINISHED one is
        RUNNING again): the method walks the new space, and keys that have runs are not handed out again.
        """
        ...

    def progress(self, sweep_id: str) -> Progress:
        """Count a sweep's runs by state, and say how far its method is."""
        ...

    # ---- the queue

    def offer(
        self,
        sweep_id: str,
        batch: Batch,
        *,
        version: int,
        cursor: int,
        term: int | None = None,
        stale_at: int | None = None,
        instead_of: str | None = None,
    ) -> int | None:
        """Put a method's suggestions into the buffer, moving the cursor from `cursor` to `batch.cursor`.

        Returns how many were new; suggestions whose key is in the buffer or has a run are dropped. Returns
        None, and does nothing, when the sweep is no longer at (`version`, `cursor`): another agent was first;
        when `term` is not that of the proposer's lease; or when nothing waits with the key `instead_of`. What
        does is dropped, and the first suggestion takes its place; else they go to the end.

        A claim that finds `stale_at` ended runs in the sweep drops them, unless the sweep is exhausted.
        """
        ...

    def lease_proposer(self, sweep_id: str, holder: str, *, lease_seconds: float) -> int | None:
        """Take or prolong the right to make a sweep's suggestions ahead; 0 seconds give it up.

        Returns the term of the lease, which grows whenever it changes hands and fences `offer`. None when it
        is another's, or was not there to be given up.
        """
        ...

    def buffer(self, sweep_id: str) -> list[Waiting]:
        """Give the suggestions that wait, stale ones too, in the order in which claims take them."""
        ...

    def enqueue(
        self,
        sweep_id: str,
        suggestion: Suggestion,
        *,
        source: Source = "enqueued",
        outcome: Outcome | None = None,
    ) -> Run:
        """Add a chosen run, PENDING and ahead of the buffer; with `outcome` it is added as already ended.

        Takes the key out of the buffer. StateError, naming the run, if the key has a run already. The run
        gets its number now. The sweep's state stays, whatever the value of `outcome`.
        """
        ...

    def claim(self, sweep_id: str, agent_id: str, *, lease_seconds: float) -> Run | None:
        """Hand out the next run with a lease, or None when nothing waits or the sweep takes no runs.

        First ends what has lost its lease (`reap`), whatever the state of the sweep. Then takes PREEMPTED
        runs by number, then PENDING ones by number, then the buffer in its order. No more than `run_cap`
        different runs are handed out in all: those that had been handed out before always are again, those
        added with an outcome do not count, and deleting a run makes room. A PENDING sweep becomes RUNNING.
        Only a RUNNING sweep hands out runs.
        """
        ...

    def claim_batch(self, sweep_id: str, agent_id: str, count: int, *, lease_seconds: float) -> list[Run]:
        """Hand out up to `count` runs at once, in the order and by the rules of as many claims.

        Fewer, or none, when no more waits or the sweep takes no more. UsageError unless `count` is from 1 to
        `MAX_CLAIMED` (1000).
        """
        ...

    def wait(self, sweep_id: str, seen: str, *, seconds: float) -> str:
        """Give a word for where a sweep's queue stands, once it is not `seen`, or after so many seconds.

        The word is another whenever a claim that found nothing may find something: after a change of the
        sweep or its queue, at the end of a run, when a lease has run out. It is never "", so that `seen=""`
        asks how things stand. It may be another for less.
        """
        ...

    def reap(self, sweep_id: str) -> int:
        """End every attempt of the sweep whose lease ran out; returns how many.

        Such a run is PENDING again, or CRASHED once it has crashed `max(max_attempts, MAX_CRASHES)` times;
        one that was asked to stop is STOPPED, one asked to be killed is KILLED. The attempt itself is kept as
        CRASHED, STOPPED or KILLED.
        """
        ...

    def finish_sweep(self, sweep_id: str) -> Sweep:
        """Move a RUNNING sweep to FINISHED if nothing runs and nothing more can be handed out.

        Nothing can be when the sweep is exhausted with nothing buffered or queued, or at its cap with nothing
        queued that was handed out before. Otherwise the sweep is given back as it is.
        """
        ...

    # ---- a run, by its lease

    def create_run(
        self, *, run_id: str | None, project: str | None, name: str | None, lease_seconds: float
    ) -> Run:
        """Start a run outside every sweep; with the id of a solo run that is not running, its next attempt.

        An unknown `run_id` becomes the run's id; UsageError if it could not name a folder. StateError if the
        run is running or belongs to a sweep. First ends solo runs that have lost their lease, as CRASHED.
        """
        ...

    def heartbeat(self, leases: Sequence[Lease], *, lease_seconds: float) -> dict[Lease, Directive]:
        """Prolong leases; says for each what is wanted of the run.

        `lost` when a later attempt has it, when the lease ran out and was ended, or when the run was deleted;
        `continue` when the attempt has ended by `finish`. A lease never gets shorter. The latest attempt at a
        run outside every sweep that is CRASHED for its lease ran out runs again; `report` does the same.
        """
        ...

    def report(
        self,
        lease: Lease,
        rows: Sequence[HistoryRow],
        *,
        summary: Mapping[str, Any] | None = None,
        value: float | None = None,
        lease_seconds: float,
    ) -> Directive:
        """Store what a run logged, prolong its lease, and say what is wanted of it.

        Rows already stored (same lease and `seq`) are left alone. `summary` replaces the summary and with it
        the metric: a `value` of None, or one that is not finite, says that the run has none now. Without a
        summary both stay, unless a finite value comes alone. From an attempt that is lost or has ended, the
        rows are stored and nothing else changes. Answers as `heartbeat` does.
        """
        ...

    def set_run_config(self, lease: Lease, config: Mapping[str, Any]) -> None:
        """Replace the config a run reports (parameters and defaults together) while its attempt runs."""
        ...

    def finish(self, lease: Lease, outcome: Outcome) -> Run:
        """End an attempt; the first outcome counts, a repeated one changes nothing.

        FAILED puts the run back into the queue as PENDING while its failures are below the sweep's
        `max_attempts`; PREEMPTED always does, as PREEMPTED. A run that was asked to stop is not queued again:
        it ends as FAILED, or instead of PREEMPTED as STOPPED (KILLED if it was to be killed). Summary and
        value stay until the next attempt reports. From a lost lease the outcome is kept as a superseded
        attempt, and the run is returned as it is. It counts all the same where the loss has had no effect
        yet: the attempt is the latest, and its run PENDING for that reason or, outside every sweep, CRASHED.
        The value of a FINISHED or STOPPED run that reaches the metric's target and keeps its limits finishes
        a sweep that is RUNNING or PAUSED: no new runs, running ones go on.
        """
        ...

    def request_stop(self, run_id: str, reason: str, *, kill: bool = False) -> Run:
        """Ask a running run to stop; a queued one ends as STOPPED (KILLED with `kill`) at once.

        The first reason stays; a later `kill` makes a stop a kill. StateError if the run has ended.
        """
        ...

    def retry(self, run_id: str) -> Run:
        """Put an ended run back into the queue as PENDING with its counts of failures and crashes at 0.

        A queued run stays as it is. StateError while it runs, and for a run outside every sweep. The sweep's
        state stays: a FINISHED one must be set RUNNING for the run to be handed out.
        """
        ...

    def delete_run(self, run_id: str, *, release: bool) -> None:
        """Forget an ended or queued run and its history; StateError while it runs.

        With `release` its point goes to the head of the buffer, to be handed out again when the sweep runs.
        """
        ...

    # ---- what is there

    def get_run(self, run_id: str) -> Run:
        """Give a run; NotFoundError if there is none."""
        ...

    def list_runs(
        self,
        sweep_id: str | None,
        *,
        states: Collection[RunState] | None = None,
        changed_after: int | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Give the runs of a sweep (None: solo ones) by number; with `changed_after`, by `changed`."""
        ...

    def best_run(self, sweep_id: str) -> Run | None:
        """Give the best run among FINISHED, STOPPED and RUNNING ones; of equals, that with the lowest number.

        A sweep without a metric is taken to minimize. Runs that do not keep the metric's limits do not count.
        """
        ...

    def find_key(self, sweep_id: str, key: str) -> Run | None:
        """Give the run that holds a point, or None."""
        ...

    def attempts(self, run_id: str) -> list[Attempt]:
        """Give every attempt at a run, oldest first, superseded ones among them."""
        ...

    def history(
        self, run_id: str, *, attempt: int | None = None, after: int = 0, limit: int | None = None
    ) -> list[HistoryRow]:
        """Give the rows of one attempt (None: the latest that has any) with `seq` above `after`, in order."""
        ...

    def last_row(self, lease: Lease) -> HistoryRow | None:
        """Give the newest row stored for an attempt: where a replay or a resumed run goes on."""
        ...

    # ---- what methods and stoppers learn

    def observations(
        self,
        sweep_id: str,
        *,
        after: int = 0,
        limit: int = 1000,
        summaries: bool = False,
        marks: bool = False,
    ) -> list[Observation]:
        """Give ended runs with `changed` above `after`, in that order: a method reads on from what it has.

        Each with its summary if `summaries` are asked for, with its finite losses at rungs if `marks` are.
        """
        ...

    def active(self, sweep_id: str) -> list[Params]:
        """Give the parameters of what is running, queued or buffered."""
        ...

    def mark(self, sweep_id: str, run_id: str, rung: int, loss: float) -> None:
        """Note a run's loss (lower is better) at a rung; a later mark of the same run and rung replaces it.

        UsageError for NaN.
        """
        ...

    def rung_size(self, sweep_id: str, rung: int) -> int:
        """Count the runs that have a mark at a rung."""
        ...

    def rung_loss(self, sweep_id: str, rung: int, k: int) -> float:
        """Give the `k`-th lowest loss (from 0) at a rung; IndexError beyond its size."""
        ...

    def run_marks(self, run_id: str) -> dict[int, float]:
        """Give a run's own marks, loss by rung."""
        ...

    # ---- agents

    def add_agent(self, sweep_id: str, *, host: str, pid: int, job: str | None = None) -> Agent:
        """Register an agent of a sweep under a new id; `job` is the scheduler's name for where it runs."""
        ...

    def list_agents(self, sweep_id: str) -> list[Agent]:
        """Give the agents a sweep has had, newest first; `seen`: at a claim or heartbeat, to a second."""
        ...


MAX_CRASHES = 5
"""A run that lost its lease this often ends as CRASHED unless its sweep allows more attempts."""

MAX_CLAIMED = 1000
"""Runs that one call hands out at most: others who want some of the sweep's wait meanwhile."""
