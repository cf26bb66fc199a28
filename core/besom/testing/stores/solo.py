"""Runs outside every sweep."""

from __future__ import annotations

import pytest

from besom.errors import StateError, UsageError
from besom.records import RunState
from besom.store.base import Store
from besom.testing.stores.ground import MINUTE, Ground, Time, claim, finish, row, sweep_with


class SoloContract(Ground):
    """What a run outside every sweep may count on."""

    @pytest.mark.parametrize("sign", ["report", "heartbeat"])
    def test_a_solo_run_that_was_given_up_for_lost_goes_on(self, store: Store, time: Time, sign: str) -> None:
        run = store.create_run(run_id="solo", project=None, name=None, lease_seconds=10)
        time.pass_(11)
        store.create_run(run_id=None, project=None, name=None, lease_seconds=99)
        assert store.get_run("solo").state is RunState.CRASHED
        if sign == "report":
            directive = store.report(run.lease, [row(1)], summary={"a": 1}, value=1.0, lease_seconds=10)
            assert store.get_run("solo").value == 1.0
        else:
            directive = store.heartbeat([run.lease], lease_seconds=10)[run.lease]
        assert directive.action == "continue"
        alive = store.get_run("solo")
        assert (alive.state, alive.attempt, alive.ended, alive.error) == (RunState.RUNNING, 1, None, None)
        time.pass_(11)
        store.create_run(run_id=None, project=None, name=None, lease_seconds=99)
        assert store.get_run("solo").crashes == 2
        assert finish(store, run).state is RunState.FINISHED
        (attempt,) = store.attempts("solo")
        assert (attempt.state, attempt.superseded) == (RunState.FINISHED, False)

    def test_a_solo_run_that_was_started_again_is_lost_to_the_attempt_before(
        self, store: Store, time: Time
    ) -> None:
        run = store.create_run(run_id="solo", project=None, name=None, lease_seconds=10)
        time.pass_(11)
        again = store.create_run(run_id="solo", project=None, name=None, lease_seconds=10)
        assert store.report(run.lease, [row(1)], lease_seconds=10).action == "lost"
        assert finish(store, run) == again

    def test_a_run_can_live_outside_every_sweep(self, store: Store) -> None:
        run = store.create_run(run_id=None, project="p", name=None, lease_seconds=MINUTE)
        named = store.create_run(run_id="my-run_1", project=None, name="mine", lease_seconds=MINUTE)
        assert (run.sweep_id, run.source, run.state, run.attempt) == (None, "solo", RunState.RUNNING, 1)
        assert (run.name, named.name, named.id) == ("run-1", "mine", "my-run_1")
        store.report(run.lease, [row(1)], summary={"loss": 1}, lease_seconds=MINUTE)
        assert finish(store, run, state=RunState.FAILED).state is RunState.FAILED
        assert [one.id for one in store.list_runs(None)] == [run.id, named.id]
        with pytest.raises(StateError):
            store.retry(run.id)

    def test_a_solo_run_is_taken_up_again_by_its_id(self, store: Store, time: Time) -> None:
        run = store.create_run(run_id="again", project=None, name=None, lease_seconds=10)
        with pytest.raises(StateError, match="running"):
            store.create_run(run_id="again", project=None, name=None, lease_seconds=10)
        finish(store, run, state=RunState.PREEMPTED)
        second = store.create_run(run_id="again", project=None, name=None, lease_seconds=10)
        assert (second.attempt, second.name, second.number) == (2, run.name, run.number)
        time.pass_(11)
        third = store.create_run(run_id="again", project=None, name=None, lease_seconds=10)
        assert (third.attempt, third.crashes) == (3, 1)
        states = [attempt.state for attempt in store.attempts("again")]
        assert states == [RunState.PREEMPTED, RunState.CRASHED, RunState.RUNNING]

    def test_a_solo_run_that_lost_its_lease_is_crashed(self, store: Store, time: Time) -> None:
        run = store.create_run(run_id=None, project=None, name=None, lease_seconds=10)
        time.pass_(11)
        store.create_run(run_id=None, project=None, name=None, lease_seconds=10)
        assert store.get_run(run.id).state is RunState.CRASHED

    def test_a_run_of_a_sweep_cannot_be_taken_for_a_solo_run(self, store: Store) -> None:
        run = finish(store, claim(store, sweep_with(store)))
        with pytest.raises(StateError, match="sweep"):
            store.create_run(run_id=run.id, project=None, name=None, lease_seconds=10)

    @pytest.mark.parametrize(
        "name", ["../x", "a/b", "", ".", "..", "a\0b", "x" * 129, "a b", "-x", "ü", "a\n"]
    )
    def test_a_run_id_that_could_not_name_a_folder_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(UsageError):
            store.create_run(run_id=name, project=None, name=None, lease_seconds=10)
