"""What is proposed, handed out once, and handed out again when its agent is gone."""

from __future__ import annotations

import threading

import pytest

from besom.errors import NotFoundError, StateError, UsageError
from besom.records import Batch, Metric, Outcome, Run, RunState, Suggestion, SweepState
from besom.store.base import MAX_CRASHES, Store
from besom.testing.stores.ground import (
    MINUTE,
    Ground,
    Time,
    batch,
    claim,
    claims_nothing,
    finish,
    point,
    set_state,
    sweep_with,
)


class QueueContract(Ground):
    """The buffer, the queue, claims and leases."""

    def test_an_offer_moves_the_cursor_once(self, store: Store) -> None:
        sweep = sweep_with(store, 0, exhausted=False)
        assert store.offer(sweep.id, batch([0, 1]), version=1, cursor=0) == 2
        assert store.offer(sweep.id, batch([0, 1]), version=1, cursor=0) is None
        assert store.offer(sweep.id, batch([2]), version=2, cursor=2) is None
        assert store.get_sweep(sweep.id).cursor == 2
        assert store.offer(sweep.id, batch([], cursor=9, exhausted=True), version=1, cursor=2) == 0
        assert store.get_sweep(sweep.id).cursor == 9
        assert store.get_sweep(sweep.id).exhausted

    def test_an_offer_drops_points_that_wait_or_have_a_run(self, store: Store) -> None:
        sweep = sweep_with(store, 2)
        claim(store, sweep)
        cursor = store.get_sweep(sweep.id).cursor
        repeats = Batch((point(0), point(1), point(2), point(2)), cursor + 1)
        assert store.offer(sweep.id, repeats, version=1, cursor=cursor) == 1
        assert [claim(store, sweep).key for _ in range(2)] == ["k1", "k2"]
        assert claims_nothing(store, sweep)

    def test_two_sweeps_have_their_own_keys(self, store: Store) -> None:
        first, second = sweep_with(store, 1), sweep_with(store, 1)
        assert claim(store, first).key == claim(store, second).key == "k0"
        assert claims_nothing(store, first)

    def test_a_claimed_run_carries_its_point_and_a_lease(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 0, exhausted=False)
        params = {
            "lr": 1e-5,
            "n": 1,
            "f": 1.0,
            "s": "",
            "none": None,
            "nested": {"a": [True, {"b": "ü\u2028"}]},
        }
        store.offer(sweep.id, Batch((Suggestion("key", params),), 1), version=1, cursor=0)
        run = claim(store, sweep)
        assert run.params == params
        assert type(run.params["n"]) is int
        assert type(run.params["f"]) is float
        assert (run.sweep_id, run.key, run.source, run.state) == (sweep.id, "key", "method", RunState.RUNNING)
        assert (run.number, run.name, run.attempt, run.agent_id) == (1, "run-1", 1, "agent")
        assert (run.failures, run.crashes, run.summary, run.value) == (0, 0, {}, None)
        assert run.created == run.started == time.wall()
        assert (run.ended, run.stop_reason, run.error, run.exit_code) == (None, None, None, None)
        assert store.get_run(run.id) == run

    def test_numbers_follow_the_order_of_claims(self, store: Store) -> None:
        sweep = sweep_with(store, 3)
        runs = [claim(store, sweep) for _ in range(3)]
        assert [(run.number, run.key) for run in runs] == [(1, "k0"), (2, "k1"), (3, "k2")]

    def test_params_that_are_no_json_are_a_usage_error_and_leave_the_cursor(self, store: Store) -> None:
        sweep = sweep_with(store, 0, exhausted=False)
        with pytest.raises(UsageError):
            store.offer(sweep.id, Batch((Suggestion("a", {"x": float("inf")}),), 1), version=1, cursor=0)
        assert store.get_sweep(sweep.id).cursor == 0

    def test_only_a_running_sweep_hands_out_runs(self, store: Store) -> None:
        sweep = sweep_with(store, 3)
        claim(store, sweep)
        assert store.get_sweep(sweep.id).state is SweepState.RUNNING
        for state in (SweepState.PAUSED, SweepState.STOPPED, SweepState.FINISHED, SweepState.CANCELED):
            set_state(store, sweep, state)
            assert claims_nothing(store, sweep)
        set_state(store, sweep, SweepState.RUNNING)
        claim(store, sweep)

    def test_an_empty_claim_sets_a_pending_sweep_running(self, store: Store) -> None:
        sweep = sweep_with(store, 0)
        assert claims_nothing(store, sweep)
        assert store.get_sweep(sweep.id).state is SweepState.RUNNING

    def test_preempted_runs_come_before_pending_ones_and_those_before_the_buffer(self, store: Store) -> None:
        sweep = sweep_with(store, 4)
        first, second, third = (claim(store, sweep) for _ in range(3))
        finish(store, third, state=RunState.PREEMPTED)
        finish(store, second, state=RunState.PREEMPTED)
        finish(store, first)
        store.retry(first.id)
        enqueued = store.enqueue(sweep.id, point(90))
        order = [claim(store, sweep) for _ in range(5)]
        assert [run.id for run in order[:4]] == [second.id, third.id, first.id, enqueued.id]
        assert order[4].key == "k3"
        assert [run.attempt for run in order] == [2, 2, 2, 1, 1]

    def test_run_cap_limits_what_is_handed_out_but_not_a_second_attempt(self, store: Store) -> None:
        sweep = sweep_with(store, 5, run_cap=2)
        store.enqueue(sweep.id, point(80), source="prior", outcome=Outcome(RunState.FINISHED, value=1.0))
        first, second = claim(store, sweep), claim(store, sweep)
        store.enqueue(sweep.id, point(90))
        assert claims_nothing(store, sweep)
        finish(store, first, state=RunState.PREEMPTED)
        assert claim(store, sweep).id == first.id
        finish(store, second)
        store.delete_run(second.id, release=False)
        assert claim(store, sweep).key == "k90"
        assert claims_nothing(store, sweep)

    def test_an_enqueued_run_takes_its_point_out_of_the_buffer(self, store: Store) -> None:
        sweep = sweep_with(store, 2)
        run = store.enqueue(sweep.id, point(1))
        assert (run.state, run.source, run.attempt, run.params) == (RunState.PENDING, "enqueued", 0, {"x": 1})
        assert [claim(store, sweep).key for _ in range(2)] == ["k1", "k0"]
        assert claims_nothing(store, sweep)

    def test_enqueueing_a_point_that_has_a_run_names_the_run(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep)
        with pytest.raises(StateError, match=run.id):
            store.enqueue(sweep.id, point(0))
        assert [one.id for one in store.list_runs(sweep.id)] == [run.id]

    def test_a_prior_run_is_added_as_ended(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 0, metric=Metric("loss", target=10.0))
        outcome = Outcome(RunState.FINISHED, exit_code=0, summary={"loss": 0.5}, value=0.5)
        run = store.enqueue(sweep.id, point(1), source="prior", outcome=outcome)
        assert (run.state, run.source, run.summary, run.value) == (
            RunState.FINISHED,
            "prior",
            {"loss": 0.5},
            0.5,
        )
        assert (run.attempt, run.ended) == (0, time.wall())
        assert store.best_run(sweep.id) == run
        assert store.attempts(run.id) == []
        assert store.get_sweep(sweep.id).state is SweepState.PENDING
        assert claims_nothing(store, sweep)
        with pytest.raises(StateError, match="preempted"):
            store.enqueue(sweep.id, point(2), outcome=Outcome(RunState.PREEMPTED))

    def test_a_lease_that_ran_out_brings_the_run_back_as_the_next_attempt(
        self, store: Store, time: Time
    ) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep, seconds=10)
        time.pass_(9.9)
        assert claims_nothing(store, sweep)
        time.pass_(0.2)
        again = claim(store, sweep)
        assert (again.id, again.attempt, again.crashes, again.failures) == (run.id, 2, 1, 0)
        assert store.heartbeat([run.lease], lease_seconds=10)[run.lease].action == "lost"

    def test_reap_counts_and_requeues_whatever_the_state_of_the_sweep(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 3)
        runs = [
            claim(store, sweep, seconds=10),
            claim(store, sweep, seconds=10),
            claim(store, sweep, seconds=99),
        ]
        set_state(store, sweep, SweepState.STOPPED)
        time.pass_(11)
        assert store.reap(sweep.id) == 2
        assert store.reap(sweep.id) == 0
        states = [store.get_run(run.id).state for run in runs]
        assert states == [RunState.PENDING, RunState.PENDING, RunState.RUNNING]
        attempt = store.attempts(runs[0].id)[0]
        assert (attempt.state, attempt.superseded) == (RunState.CRASHED, False)

    def test_a_claim_reaps_in_a_sweep_that_hands_nothing_out(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep, seconds=10)
        set_state(store, sweep, SweepState.PAUSED)
        time.pass_(11)
        assert claims_nothing(store, sweep)
        assert store.get_run(run.id).state is RunState.PENDING

    def test_heartbeats_and_reports_prolong_a_lease_and_never_shorten_it(
        self, store: Store, time: Time
    ) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep, seconds=10)
        time.pass_(8)
        store.heartbeat([run.lease], lease_seconds=10)
        time.pass_(8)
        store.report(run.lease, [], lease_seconds=10)
        store.heartbeat([run.lease], lease_seconds=1)
        time.pass_(8)
        assert store.reap(sweep.id) == 0
        time.pass_(3)
        assert store.reap(sweep.id) == 1

    def test_a_lease_that_ran_out_unnoticed_can_be_prolonged(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep, seconds=10)
        time.pass_(1000)
        assert store.heartbeat([run.lease], lease_seconds=10)[run.lease].action == "continue"
        assert claims_nothing(store, sweep)

    @pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9, -1e9])
    def test_leases_survive_jumps_of_the_wall_clock(self, store: Store, time: Time, jump: float) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep, seconds=10)
        time.wall_now += jump
        assert claims_nothing(store, sweep)
        assert store.heartbeat([run.lease], lease_seconds=10)[run.lease].action == "continue"
        time.lease_now += 11
        assert claim(store, sweep).id == run.id

    @pytest.mark.parametrize(("max_attempts", "crashes"), [(None, MAX_CRASHES), (2, MAX_CRASHES), (7, 7)])
    def test_a_run_that_keeps_losing_its_lease_crashes(
        self, store: Store, time: Time, max_attempts: int | None, crashes: int
    ) -> None:
        sweep = sweep_with(store, 1, max_attempts=max_attempts)
        run = claim(store, sweep, seconds=10)
        for attempt in range(2, crashes + 1):
            time.pass_(11)
            assert claim(store, sweep, seconds=10).attempt == attempt
        time.pass_(11)
        assert claims_nothing(store, sweep)
        after = store.get_run(run.id)
        assert (after.state, after.crashes) == (RunState.CRASHED, crashes)
        assert after.error
        assert len(store.attempts(run.id)) == crashes

    @pytest.mark.parametrize(("kill", "state"), [(False, RunState.STOPPED), (True, RunState.KILLED)])
    def test_a_run_that_was_asked_to_end_and_lost_its_lease_ends(
        self, store: Store, time: Time, kill: bool, state: RunState
    ) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep, seconds=10)
        store.request_stop(run.id, "enough", kill=kill)
        time.pass_(11)
        assert store.reap(sweep.id) == 1
        assert store.get_run(run.id).state is state
        assert store.attempts(run.id)[0].state is state

    def test_threads_never_get_the_same_run(self, store: Store) -> None:
        sweep = sweep_with(store, 120)
        claimed: list[Run] = []

        def work() -> None:
            while (run := store.claim(sweep.id, "agent", lease_seconds=MINUTE)) is not None:
                claimed.append(run)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(run.number for run in claimed) == list(range(1, 121))
        assert len({run.id for run in claimed}) == len({run.key for run in claimed}) == 120

    def test_a_deleted_run_can_give_its_point_back(self, store: Store) -> None:
        sweep = sweep_with(store, 2)
        run = finish(store, claim(store, sweep))
        with pytest.raises(StateError, match="running"):
            store.delete_run(claim(store, sweep).id, release=True)
        store.delete_run(run.id, release=True)
        with pytest.raises(NotFoundError, match=run.id):
            store.get_run(run.id)
        again = claim(store, sweep)
        assert (again.key, again.params, again.attempt) == (run.key, run.params, 1)
        assert again.id != run.id

    def test_a_released_point_comes_before_what_waits(self, store: Store) -> None:
        sweep = sweep_with(store, 3)
        run = finish(store, claim(store, sweep))
        store.delete_run(run.id, release=True)
        assert claim(store, sweep).key == "k0"

    def test_a_point_deleted_without_release_is_gone(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        run = finish(store, claim(store, sweep))
        store.delete_run(run.id, release=False)
        assert claims_nothing(store, sweep)
        assert store.find_key(sweep.id, run.key) is None
