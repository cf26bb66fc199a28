"""Filling a sweep's buffer by its method: at a claim, or ahead of claims.

Who fills it holds the sweep's proposer lease where suggestions are dear, so that nobody works in vain; what
keeps the buffer right is the cursor, which only one offer moves on from where it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from besom.records import (
    ENDED,
    Batch,
    Observation,
    Params,
    Progress,
    Run,
    RunState,
    Sweep,
    SweepState,
    Waiting,
)

if TYPE_CHECKING:
    from besom.search.base import Method
    from besom.store.base import Store

PAGE = 1000  # rows read at a time, so that memory stays flat
LARGEST_BATCH = 16_384  # suggestions asked for at a time while a nearly finished space is walked
HANDING_OUT = frozenset({SweepState.PENDING, SweepState.RUNNING})

KEEP = 16
"""Results that may come before a suggestion made without them is out of date."""

RUNGS = frozenset({"asha", "hyperband"})
"""The types of early termination whose marks are a run's losses, so that runs can be compared there."""

LEASE_SECONDS = 5.0
FIRST_LEASE = 30.0  # until the history is read, which nothing else may hold up
GRACE = 0.1  # seconds after a result in which its agent claims the next run, as a rule
QUIET = 1.0  # seconds after a result after which also what is handed out later is made anew
QUICK, SLOW = 0.02, 0.25  # seconds between looks at the sweep, soon after a change and later
ALONE = 3.0  # seconds after which a sweep with one run at a time needs no suggestions made ahead


class Refilled(Enum):
    """What a refill has brought."""

    NEW = "new"  # or somebody else was first, or the method is at its end
    SEEN = "seen"  # nothing, but the method has moved on
    NOTHING = "nothing"  # the sweep takes nothing, or the method waits for results itself


class Proposer:
    """Asks a sweep's method for suggestions and offers them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._method: tuple[int, Method] | None = None  # and the version of the config it was made from
        self._took: float | None = None  # seconds, the latest suggestion
        self._stride = 0  # suggestions to ask for at least, after a batch without anything new

    @property
    def lease_seconds(self) -> float:
        """How long to hold the sweep's proposer lease for one suggestion: well above what the latest took.

        So nobody takes it over in the middle of one, and what a killed process held is soon free again.
        """
        return FIRST_LEASE if self._took is None else max(LEASE_SECONDS, 4 * self._took)

    def method(self, sweep: Sweep) -> Method:
        """Give the method of the sweep's present config."""
        if self._method is None or self._method[0] != sweep.version:
            from besom.search import create_method
            from besom.sweepfile import from_mapping

            config = from_mapping(sweep.config, source=f"sweep {sweep.id}")
            self._method = (sweep.version, create_method(config))
        return self._method[1]

    def may_refill(self, sweep: Sweep) -> bool:
        """Say whether more suggestions could ever be handed out."""
        return sweep.state in HANDING_OUT and not sweep.exhausted and self._room(sweep) != 0

    def refill(
        self, sweep: Sweep, *, term: int | None = None, instead_of: Sequence[Waiting] = ()
    ) -> Refilled:
        """Ask the method once and offer what it says; with a `term`, as suggestions that age.

        The first of `instead_of` is replaced unless it is claimed meanwhile, as if none of them waited.
        """
        ended = None if term is None else _ended(self.store.progress(sweep.id))
        begun = time.monotonic()
        batch = self._propose(sweep, instead_of)
        self._took = time.monotonic() - begun
        if batch is None:
            return Refilled.NOTHING
        new = self.store.offer(
            sweep.id,
            batch,
            version=sweep.version,
            cursor=sweep.cursor,
            term=term,
            stale_at=None if ended is None else ended + KEEP,
            instead_of=instead_of[0].key if instead_of else None,
        )
        if not instead_of:
            # Points that were run before are walked in ever longer strides.
            lookahead = self.method(sweep).lookahead
            self._stride = min(LARGEST_BATCH, 4 * max(self._stride, lookahead)) if new == 0 else 0
        return Refilled.SEEN if new == 0 and not batch.exhausted else Refilled.NEW

    def _propose(self, sweep: Sweep, instead_of: Sequence[Waiting]) -> Batch | None:
        """Ask the method for what may follow; None when nothing may, or it waits for results itself."""
        if sweep.state not in HANDING_OUT or sweep.exhausted:
            return None
        room = self._room(sweep)
        if room is not None and instead_of:
            room += 1
        if room == 0:
            return None
        method = self.method(sweep)
        history = StoreHistory(
            self.store,
            sweep.id,
            tuple(instead_of),
            summaries=_several(sweep),
            marks=sweep.method == "bayes" and stop_at_rungs(sweep),
        )
        count = 1 if instead_of else max(self._stride, method.lookahead)
        if room is not None and self._stride == 0:
            count = min(count, room)
        batch = method.suggest(sweep.cursor, count, history)
        if room is not None and (fitting := self._fitting(sweep, batch, room)) is not None:
            batch = method.suggest(sweep.cursor, fitting, history)
        if not batch.suggestions and not batch.exhausted and batch.cursor == sweep.cursor:
            return None
        return batch

    def _room(self, sweep: Sweep) -> int | None:
        """Count the runs that `run_cap` still allows; None when there is no cap."""
        if sweep.run_cap is None:
            return None
        progress = self.store.progress(sweep.id)
        return max(0, sweep.run_cap - progress.started - progress.buffered)

    def _fitting(self, sweep: Sweep, batch: Batch, room: int) -> int | None:
        """Give how many suggestions to ask for so that at most `room` are new; None when `batch` is fine."""
        if len(batch.suggestions) <= room:
            return None
        new = 0
        for index, suggestion in enumerate(batch.suggestions):
            new += self.store.find_key(sweep.id, suggestion.key) is None
            if new > room:
                return index
        return None


@dataclass(frozen=True, slots=True)
class StoreHistory:
    """What a method may read of its sweep, fetched only when it asks."""

    store: Store
    sweep_id: str
    without: tuple[Waiting, ...] = ()  # suggestions to leave out of what is active
    summaries: bool = False
    marks: bool = False

    def observations(self, *, after: int = 0) -> Sequence[Observation]:
        """Give ended runs with `changed` above `after`, in that order."""
        found: list[Observation] = []
        while page := self.store.observations(
            self.sweep_id, after=after, limit=PAGE, summaries=self.summaries, marks=self.marks
        ):
            found += page
            after = page[-1].changed
        return found

    def handed_out(self, *, after: int = 0) -> Sequence[Observation]:
        """Give what is buffered or under way, and then what has ended since, each with its key and summary.

        What moves on while this is read is there twice rather than not at all.
        """
        found = [
            Observation("", RunState.PENDING, item.params, None, 0, key=item.key)
            for item in self.store.buffer(self.sweep_id)
        ]
        under_way = frozenset(RunState) - ENDED
        found += map(_keyed, self.store.list_runs(self.sweep_id, states=under_way))
        while page := self.store.list_runs(self.sweep_id, states=ENDED, changed_after=after, limit=PAGE):
            found += map(_keyed, page)
            after = page[-1].changed
        return found

    def active(self) -> Sequence[Params]:
        """Give the parameters of what is running, queued or buffered."""
        found = self.store.active(self.sweep_id)
        for item in self.without:
            if item.params in found:
                found.remove(item.params)
        return found


def _keyed(run: Run) -> Observation:
    return Observation(
        run.id, run.state, run.params, run.value, run.changed, summary=run.summary, key=run.key
    )


def keep_ahead(store: Store, sweep_id: str, holder: str, *, wait: Callable[[float], bool]) -> None:
    """Hold the sweep's proposer lease and keep suggestions waiting, made from all but the newest results.

    Returns when the lease is another's, the sweep hands nothing more out, runs come one at a time (their
    claims are better off with the newest result), or `wait`, which passes seconds, says that it is time.
    """
    term = store.lease_proposer(sweep_id, holder, lease_seconds=FIRST_LEASE)
    if term is None:
        return
    try:
        _Keeper(Proposer(store), sweep_id, holder, term).keep(wait)
    finally:
        store.lease_proposer(sweep_id, holder, lease_seconds=0)


class _Keeper:
    """One term as a sweep's proposer."""

    def __init__(self, proposer: Proposer, sweep_id: str, holder: str, term: int) -> None:
        self.proposer, self.store = proposer, proposer.store
        self.sweep_id, self.holder, self.term = sweep_id, holder, term
        self.known = -1  # ended runs at the latest look
        self.since = 0.0  # when there were as many

    def keep(self, wait: Callable[[float], bool]) -> None:
        company_at = time.monotonic()
        renew_at = company_at + LEASE_SECONDS / 5
        pause = QUICK
        while True:
            now = time.monotonic()
            if now >= renew_at:
                seconds = self.proposer.lease_seconds
                if self.store.lease_proposer(self.sweep_id, self.holder, lease_seconds=seconds) != self.term:
                    return
                renew_at = now + LEASE_SECONDS / 5
            sweep, progress = self.store.get_sweep(self.sweep_id), self.store.progress(self.sweep_id)
            running = progress.count(RunState.RUNNING)
            if running > 1:
                company_at = now
            if sweep.state not in HANDING_OUT or sweep.exhausted or now - company_at > ALONE:
                return
            worked = self._step(sweep, progress, running, now)
            pause = QUICK if worked else min(SLOW, 1.2 * pause)
            if wait(0.0 if worked else pause):
                return

    def _step(self, sweep: Sweep, progress: Progress, running: int, now: float) -> bool:
        """Make one suggestion if one is missing or out of date; say whether it was."""
        ended = _ended(progress)
        if ended != self.known:
            self.known, self.since = ended, now
        waiting = self.store.buffer(self.sweep_id)
        quiet = now - self.since
        if len(waiting) >= depth(running) // 2 and quiet >= GRACE and self._outdated(waiting[0], ended):
            self._replace(sweep, waiting, 0)
        elif len(waiting) < depth(running):
            return self.proposer.refill(sweep, term=self.term) is Refilled.NEW
        elif quiet >= QUIET and (late := [i for i, one in enumerate(waiting) if self._outdated(one, ended)]):
            self._replace(sweep, waiting, late[0])
        else:
            return False
        return True

    def _outdated(self, item: Waiting, ended: int) -> bool:
        return item.stale_at is not None and item.stale_at - KEEP < ended

    def _replace(self, sweep: Sweep, waiting: list[Waiting], place: int) -> None:
        """Make a suggestion anew, as if those behind it were not there: it will be handed out before them."""
        self.proposer.refill(sweep, term=self.term, instead_of=waiting[place:])


def _several(sweep: Sweep) -> bool:
    """Say whether runs are judged by more than one number."""
    return "metrics" in sweep.config or (sweep.metric is not None and bool(sweep.metric.limits))


def stop_at_rungs(sweep: Sweep) -> bool:
    """Say whether a sweep's runs stop at rungs, where they can be compared."""
    early: Mapping[str, Any] = sweep.config.get("early_terminate") or {}
    return early.get("type") in RUNGS


def depth(running: int) -> int:
    """Give how many suggestions should wait: enough for half of the runs to end while a model is fitted."""
    return min(16, 2 + running)


def _ended(progress: Progress) -> int:
    return progress.count(
        RunState.FINISHED, RunState.STOPPED, RunState.FAILED, RunState.CRASHED, RunState.KILLED
    )
