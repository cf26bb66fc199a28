"""Ends an attempt in the store once its program has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from besom.agent.ending import Told, counts, exit_status, outcome_of, read_tail
from besom.agent.job import Job
from besom.errors import NotFoundError, StoreError
from besom.journal import Replayed, Reports, replay
from besom.records import Outcome, Run, RunState
from besom.scheduler import Reporter
from besom.store.base import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an attempt; `run` is as the store has it now."""

    run: Run
    outcome: Outcome | None  # None: the attempt no longer counts, or the run is gone
    output: str = ""


def settle(store: Store, job: Job, *, lease_seconds: float) -> Settled:
    """Bring what an ended program logged to the store and end its attempt; StoreError to try again later."""
    assert job.code is not None
    code, lease = job.code, job.run.lease
    journal = job.folder.journal(lease.attempt)
    output = ""

    def judge(replayed: Replayed) -> Outcome:
        nonlocal output
        output = read_tail(job.folder.output, start=job.output_start)
        return outcome_of(code, job.told, job.reason, replayed, output)

    reports = Reporter(store, lease, job.sweep, lease_seconds=lease_seconds)
    try:
        if job.told is Told.LOST:
            save_lost(store, reports, journal)
            return Settled(job.run, None)
        run, outcome = end_attempt(store, reports, journal, judge, exit_code=exit_status(code))
    except NotFoundError:  # the run was removed
        return Settled(job.run, None)
    return Settled(run, outcome if counts(run, lease, outcome) else None, output)


def end_attempt(
    store: Store,
    reports: Reports,
    journal: Path,
    judge: Callable[[Replayed], Outcome],
    *,
    exit_code: int | None = None,
) -> tuple[Run, Outcome]:
    """Deliver an attempt's journal and end it as `judge` says; gives the run and the outcome.

    FAILED where what the program reported is such that no store can take it. StoreError and NotFoundError go
    to the caller.
    """
    try:
        outcome = judge(replay(store, reports, journal))
        return store.finish(reports.lease, outcome), outcome
    except (StoreError, NotFoundError):
        raise
    except Exception as error:  # whatever one program has done must not end the agent of the others
        log.exception("run %s: what it reported cannot be stored", reports.lease.run_id)
        why = f"what it reported cannot be stored: {type(error).__name__}: {error}"
        outcome = Outcome(RunState.FAILED, exit_code, why)
        return store.finish(reports.lease, outcome), outcome


def save_lost(store: Store, reports: Reports, journal: Path) -> None:
    """Deliver the journal of an attempt that has lost its lease, and how it ended if its program said so.

    The store keeps both as those of a superseded attempt. StoreError and NotFoundError go to the caller.
    """
    try:
        told = replay(store, reports, journal)
        if told.finished is not None:
            store.finish(reports.lease, told.finished)
    except (StoreError, NotFoundError):
        raise
    except Exception:  # nobody waits for it
        log.exception("run %s: what attempt %d left cannot be stored", *_words(reports))


def _words(reports: Reports) -> tuple[str, int]:
    return reports.lease.run_id, reports.lease.attempt
