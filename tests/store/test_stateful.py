"""Random orders of claims, reports, endings, losses and repeats, against a model that fits on a page."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]
)

from besom.records import QUEUED, Lease, Outcome, RunState, SweepState
from besom.store.base import MAX_CRASHES
from besom.store.sqlite import Clock, SqliteStore, open_sqlite
from besom.testing.stores.ground import Time, batch, row, sweep_with

MAX_ATTEMPTS = 3
LEASE = 100.0
ENDINGS = (RunState.FINISHED, RunState.STOPPED, RunState.FAILED, RunState.KILLED, RunState.PREEMPTED)
DRAWN = st.integers(0, 10**6)


class Model:
    """What the store must know of one run."""

    def __init__(self) -> None:
        self.state = RunState.RUNNING
        self.attempt = 1
        self.failures = self.crashes = 0
        self.lease = 0.0
        self.stop: bool | None = None  # True: to be killed
        self.value: float | None = None
        self.endings: dict[int, RunState] = {}
        self.lost: set[int] = set()
        self.superseded: set[int] = set()
        self.rows: dict[int, set[int]] = {}

    def end(self, outcome: RunState) -> None:
        """Apply an outcome of the running attempt."""
        self.endings[self.attempt] = outcome
        self.failures += outcome is RunState.FAILED
        self.state = outcome
        if self.stop is not None:
            if outcome is RunState.PREEMPTED:
                self.state = RunState.KILLED if self.stop else RunState.STOPPED
                self.endings[self.attempt] = self.state
        elif outcome is RunState.FAILED and self.failures < MAX_ATTEMPTS:
            self.state = RunState.PENDING

    def lose(self) -> None:
        """Apply the end of the running attempt's lease."""
        self.crashes += 1
        self.lost.add(self.attempt)
        self.state = RunState.PENDING
        if self.stop is not None:
            self.state = RunState.KILLED if self.stop else RunState.STOPPED
        elif self.crashes >= MAX_CRASHES:
            self.state = RunState.CRASHED
        self.endings[self.attempt] = RunState.CRASHED if self.state is RunState.PENDING else self.state


class StoreMachine(RuleBasedStateMachine):
    """A sweep of which every run lives through whatever hypothesis thinks of."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.time = Time()
        self.store = self.open()
        self.sweep = sweep_with(self.store, 6, max_attempts=MAX_ATTEMPTS)
        self.points = 6
        self.models: dict[str, Model] = {}

    def open(self) -> SqliteStore:
        clock = Clock(self.time.wall, self.time.lease, "boot")
        return open_sqlite(str(Path(self.folder.name) / "besom.db"), clock=clock)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def reap(self) -> None:
        for model in self.models.values():
            if model.state is RunState.RUNNING and model.lease <= self.time.lease_now:
                model.lose()

    def run(self, drawn: int) -> tuple[str, Model]:
        return list(self.models.items())[drawn % len(self.models)]

    def attempt(self, drawn: int) -> tuple[str, Model, Lease]:
        run, model = self.run(drawn)
        return run, model, Lease(run, 1 + drawn // 7 % model.attempt)

    def holds(self, model: Model, lease: Lease) -> bool:
        return model.state is RunState.RUNNING and model.attempt == lease.attempt

    def waits_for(self, model: Model, lease: Lease) -> bool:
        """Whether the run only waits because this lease ran out."""
        unclaimed = model.state is RunState.PENDING and model.crashes > 0
        return unclaimed and model.attempt == lease.attempt and lease.attempt in model.lost

    def wanted(self, model: Model, lease: Lease) -> str:
        if self.holds(model, lease):
            return {None: "continue", False: "stop", True: "kill"}[model.stop]
        return "lost" if lease.attempt in model.lost or lease.attempt != model.attempt else "continue"

    @rule()
    def claim(self) -> None:
        self.reap()
        queued = [
            (model.state is RunState.PENDING, self.store.get_run(run).number, run)
            for run, model in self.models.items()
            if model.state in QUEUED
        ]
        run = self.store.claim(self.sweep.id, "agent", lease_seconds=LEASE)
        buffered = self.points - len(self.models)
        if not queued and not buffered:
            assert run is None
            return
        assert run is not None
        if queued:
            assert run.id == min(queued)[2]
            model = self.models[run.id]
            model.attempt += 1
            model.state, model.stop = RunState.RUNNING, None
        else:
            assert run.id not in self.models
            model = self.models[run.id] = Model()
        model.lease = self.time.lease_now + LEASE
        assert run.attempt == model.attempt

    @rule(seconds=st.sampled_from([1.0, 30.0, 99.0, 101.0]), jump=st.sampled_from([0.0, 3600.0, -3600.0]))
    def wait(self, seconds: float, jump: float) -> None:
        self.time.pass_(seconds)
        self.time.wall_now += jump

    @rule()
    def reap_all(self) -> None:
        self.store.reap(self.sweep.id)
        self.reap()

    @precondition(lambda self: self.models)
    @rule(drawn=DRAWN, seq=st.integers(1, 5), value=st.one_of(st.none(), st.floats(0, 9)))
    def report(self, drawn: int, seq: int, value: float | None) -> None:
        _, model, lease = self.attempt(drawn)
        directive = self.store.report(lease, [row(seq)], value=value, lease_seconds=LEASE)
        assert directive.action == self.wanted(model, lease)
        model.rows.setdefault(lease.attempt, set()).add(seq)
        if self.holds(model, lease):
            model.lease = max(model.lease, self.time.lease_now + LEASE)
            model.value = model.value if value is None else value

    @precondition(lambda self: self.models)
    @rule(drawn=DRAWN)
    def heartbeat(self, drawn: int) -> None:
        _, model, lease = self.attempt(drawn)
        assert self.store.heartbeat([lease], lease_seconds=LEASE)[lease].action == self.wanted(model, lease)
        if self.holds(model, lease):
            model.lease = max(model.lease, self.time.lease_now + LEASE)

    @precondition(lambda self: self.models)
    @rule(
        drawn=DRAWN,
        state=st.sampled_from(ENDINGS),
        value=st.one_of(st.none(), st.floats(0, 9)),
        twice=st.booleans(),
    )
    def finish(self, drawn: int, state: RunState, value: float | None, twice: bool) -> None:
        run, model, lease = self.attempt(drawn)
        before = self.store.get_run(run)
        after = self.store.finish(lease, Outcome(state, value=value))
        if self.holds(model, lease) or self.waits_for(model, lease):
            model.lost.discard(lease.attempt)
            model.end(state)
            model.value = model.value if value is None else value
        else:
            assert after == before
            if lease.attempt in model.lost and lease.attempt not in model.superseded:
                model.superseded.add(lease.attempt)
                model.endings[lease.attempt] = state
        if twice:
            assert self.store.finish(lease, Outcome(RunState.FINISHED, value=-1.0)) == after

    @precondition(lambda self: any(model.state is RunState.RUNNING for model in self.models.values()))
    @rule(drawn=DRAWN, kill=st.booleans())
    def stop(self, drawn: int, kill: bool) -> None:
        run, model = self.run(drawn)
        if model.state is RunState.RUNNING:
            self.store.request_stop(run, "enough", kill=kill)
            model.stop = bool(model.stop) or kill

    @precondition(lambda self: self.models)
    @rule(drawn=DRAWN)
    def retry(self, drawn: int) -> None:
        run, model = self.run(drawn)
        if model.state is not RunState.RUNNING and model.state not in QUEUED:
            self.store.retry(run)
            model.state, model.stop = RunState.PENDING, None
            model.failures = model.crashes = 0

    @rule()
    def offer_again(self) -> None:
        sweep = self.store.get_sweep(self.sweep.id)
        new = self.store.offer(sweep.id, batch(range(self.points + 1)), version=1, cursor=sweep.cursor)
        assert new == 1
        assert self.store.offer(sweep.id, batch([999]), version=1, cursor=sweep.cursor + 10**6) is None
        self.points += 1

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @invariant()
    def the_store_agrees_with_the_model(self) -> None:
        runs = {run.id: run for run in self.store.list_runs(self.sweep.id)}
        assert runs.keys() == self.models.keys()
        assert len({run.key for run in runs.values()}) == len(runs)
        for name, model in self.models.items():
            run = runs[name]
            seen = (run.state, run.attempt, run.failures, run.crashes, run.value)
            assert seen == (model.state, model.attempt, model.failures, model.crashes, model.value)
        progress = self.store.progress(self.sweep.id)
        assert (progress.count(), progress.started) == (len(runs), len(runs))
        assert progress.count(RunState.RUNNING) == sum(run.state is RunState.RUNNING for run in runs.values())
        assert progress.buffered == self.points - len(runs)
        assert progress.state in {SweepState.PENDING, SweepState.RUNNING}

    @precondition(lambda self: self.models)
    @rule(drawn=DRAWN)
    def look_back(self, drawn: int) -> None:
        run, model = self.run(drawn)
        attempts = {one.attempt: one for one in self.store.attempts(run)}
        ended = {number: one for number, one in attempts.items() if one.state is not RunState.RUNNING}
        assert {number: one.state for number, one in ended.items()} == model.endings
        assert {number for number, one in attempts.items() if one.superseded} == model.superseded
        for number, seqs in model.rows.items():
            assert [one.seq for one in self.store.history(run, attempt=number)] == sorted(seqs)


@pytest.mark.slow
def test_the_store_keeps_to_the_model_in_every_order() -> None:
    steps = settings(
        max_examples=110,  # of 50 steps: 5 500
        stateful_step_count=50,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(StoreMachine, settings=steps)
