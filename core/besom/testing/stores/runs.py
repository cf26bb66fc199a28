"""A run by its lease: reports, endings, stops, retries."""

from __future__ import annotations

import pytest

from besom.errors import NotFoundError, StateError, UsageError
from besom.records import Lease, Metric, Outcome, RunState, SweepState
from besom.store.base import MAX_CRASHES, Store
from besom.testing.stores.ground import (
    MINUTE,
    Ground,
    Time,
    claim,
    claims_nothing,
    finish,
    point,
    row,
    set_state,
    sweep_with,
)


class RunContract(Ground):
    """What a run's process and its agent may count on."""

    def test_a_report_stores_rows_summary_and_value(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        rows = [row(1, loss=0.5, note="ü", big=10**40), row(2, loss="NaN", nested={"a": [1, 2.0]})]
        directive = store.report(run.lease, rows, summary={"loss": 0.5}, value=0.5, lease_seconds=MINUTE)
        assert directive.action == "continue"
        assert store.history(run.id) == rows
        after = store.get_run(run.id)
        assert (after.summary, after.value) == ({"loss": 0.5}, 0.5)
        store.report(run.lease, [row(3)], lease_seconds=MINUTE)
        assert store.get_run(run.id) == after

    def test_a_repeated_row_is_left_alone(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        store.report(run.lease, [row(1, a=1), row(2, a=2)], lease_seconds=MINUTE)
        store.report(run.lease, [row(2, a=99), row(3, a=3)], lease_seconds=MINUTE)
        assert [one.data["a"] for one in store.history(run.id)] == [1, 2, 3]

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_value_that_is_not_finite_is_never_kept(self, store: Store, value: float) -> None:
        sweep = sweep_with(store)
        run = claim(store, sweep)
        store.report(run.lease, [], value=value, lease_seconds=MINUTE)
        assert store.get_run(run.id).value is None
        store.report(run.lease, [], value=2.0, lease_seconds=MINUTE)
        assert finish(store, run, value).value == 2.0

    @pytest.mark.parametrize("lost", [None, float("nan")])
    def test_a_summary_without_a_finite_metric_takes_the_value_away(
        self, store: Store, lost: float | None
    ) -> None:
        sweep = sweep_with(store)
        run, other = claim(store, sweep), claim(store, sweep)
        store.report(run.lease, [], summary={"loss": 0.1}, value=0.1, lease_seconds=MINUTE)
        store.report(run.lease, [], summary={"loss": "NaN"}, value=lost, lease_seconds=MINUTE)
        assert store.get_run(run.id).value is None
        finish(store, run)
        finish(store, other, 0.5)
        best = store.best_run(sweep.id)
        assert best is not None
        assert best.id == other.id

    def test_rows_that_are_no_json_are_a_usage_error_and_leave_nothing(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        for wrong in (float("nan"), object()):
            with pytest.raises(UsageError):
                store.report(run.lease, [row(1), row(2, x=wrong)], summary={"a": 1}, lease_seconds=MINUTE)
        assert store.history(run.id) == []
        assert store.get_run(run.id).summary == {}

    def test_a_step_beyond_64_bits_is_a_usage_error_and_leaves_nothing(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        with pytest.raises(UsageError):
            store.report(run.lease, [row(1), row(2**70)], summary={"a": 1}, lease_seconds=MINUTE)
        assert store.history(run.id) == []
        assert store.get_run(run.id).summary == {}

    def test_rows_of_a_lost_lease_are_kept_and_change_nothing_else(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store)
        old = claim(store, sweep, seconds=1)
        time.pass_(2)
        new = claim(store, sweep)
        before = store.get_run(new.id)
        directive = store.report(old.lease, [row(1)], summary={"loss": 9}, value=9.0, lease_seconds=MINUTE)
        assert directive.action == "lost"
        assert store.get_run(new.id) == before
        assert store.history(old.id, attempt=1) == [row(1)]
        assert store.history(old.id, attempt=2) == []

    def test_after_its_own_end_a_run_is_not_lost(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        ended = finish(store, run, 0.5)
        assert store.heartbeat([run.lease], lease_seconds=1)[run.lease].action == "continue"
        directive = store.report(run.lease, [row(1)], summary={"late": 1}, value=0.1, lease_seconds=1)
        assert directive.action == "continue"
        assert store.history(run.id) == [row(1)]
        assert store.get_run(run.id) == ended

    def test_a_deleted_run_is_lost(self, store: Store) -> None:
        run = finish(store, claim(store, sweep_with(store)))
        store.report(run.lease, [row(1)], lease_seconds=1)
        store.delete_run(run.id, release=False)
        assert store.heartbeat([run.lease], lease_seconds=1)[run.lease].action == "lost"
        assert store.report(run.lease, [row(1)], lease_seconds=1).action == "lost"
        assert store.history(run.id) == []
        for call in (lambda: finish(store, run), lambda: store.attempts(run.id), lambda: store.retry(run.id)):
            with pytest.raises(NotFoundError, match=run.id):
                call()

    def test_a_lease_that_was_never_given_is_not_found(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        with pytest.raises(NotFoundError, match="attempt 7"):
            store.finish(Lease(run.id, 7), Outcome(RunState.FINISHED))
        with pytest.raises(NotFoundError, match="attempt 7"):
            store.report(Lease(run.id, 7), [row(1)], lease_seconds=1)
        assert store.history(run.id, attempt=7) == []

    def test_one_heartbeat_serves_many_leases(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store)
        lost, kept, stopped = claim(store, sweep, seconds=1), claim(store, sweep), claim(store, sweep)
        store.request_stop(stopped.id, "enough")
        time.pass_(2)
        store.reap(sweep.id)
        wanted = store.heartbeat([lost.lease, kept.lease, stopped.lease], lease_seconds=MINUTE)
        assert [wanted[run.lease].action for run in (lost, kept, stopped)] == ["lost", "continue", "stop"]
        assert wanted[stopped.lease].reason == "enough"
        assert store.heartbeat([], lease_seconds=MINUTE) == {}

    def test_a_run_config_is_what_its_program_says_while_it_runs(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store)
        run = claim(store, sweep, seconds=1)
        store.set_run_config(run.lease, {"x": 0, "default": None})
        assert store.get_run(run.id).config == {"x": 0, "default": None}
        time.pass_(2)
        claim(store, sweep)
        store.set_run_config(run.lease, {"late": 1})
        assert store.get_run(run.id).config == {"x": 0, "default": None}
        with pytest.raises(NotFoundError):
            store.set_run_config(Lease("nothing", 1), {})

    def test_the_first_outcome_counts(self, store: Store, time: Time) -> None:
        run = claim(store, sweep_with(store))
        outcome = Outcome(RunState.FINISHED, exit_code=0, summary={"loss": 1.0}, value=1.0)
        ended = store.finish(run.lease, outcome)
        assert (ended.state, ended.exit_code, ended.summary, ended.value) == (
            RunState.FINISHED,
            0,
            {"loss": 1.0},
            1.0,
        )
        assert ended.ended == time.wall()
        time.pass_(5)
        assert store.finish(run.lease, outcome) == ended
        assert store.finish(run.lease, Outcome(RunState.FAILED, exit_code=1, value=0.0)) == ended
        (attempt,) = store.attempts(run.id)
        assert (attempt.state, attempt.value, attempt.superseded) == (RunState.FINISHED, 1.0, False)
        assert attempt.ended == ended.ended

    def test_an_outcome_without_summary_keeps_what_was_reported(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        store.report(run.lease, [], summary={"loss": 3}, value=3.0, lease_seconds=MINUTE)
        ended = store.finish(run.lease, Outcome(RunState.FINISHED))
        assert (ended.summary, ended.value) == ({"loss": 3}, 3.0)

    @pytest.mark.parametrize("state", [RunState.RUNNING, RunState.PENDING, RunState.CRASHED])
    def test_an_attempt_cannot_end_in_every_state(self, store: Store, state: RunState) -> None:
        run = claim(store, sweep_with(store))
        with pytest.raises(UsageError, match=state.value):
            store.finish(run.lease, Outcome(state))

    def test_a_late_outcome_is_kept_as_superseded(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 1)
        old = claim(store, sweep, seconds=1)
        time.pass_(2)
        new = claim(store, sweep)
        outcome = Outcome(RunState.FINISHED, exit_code=0, summary={"loss": 0.1}, value=0.1)
        assert store.finish(old.lease, outcome) == new
        assert store.finish(old.lease, Outcome(RunState.FAILED)) == new
        first, second = store.attempts(old.id)
        assert (first.attempt, first.superseded, first.state, first.value) == (
            1,
            True,
            RunState.FINISHED,
            0.1,
        )
        assert first.summary == {"loss": 0.1}
        assert (second.attempt, second.superseded, second.state) == (2, False, RunState.RUNNING)
        assert finish(store, new, 0.5).value == 0.5
        assert store.best_run(sweep.id) == store.get_run(old.id)

    @pytest.mark.parametrize("state", [RunState.FINISHED, RunState.FAILED, RunState.PREEMPTED])
    def test_an_outcome_counts_while_a_reaped_run_waits_still(
        self, store: Store, time: Time, state: RunState
    ) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep, seconds=1)
        time.pass_(2)
        store.reap(sweep.id)
        assert store.heartbeat([run.lease], lease_seconds=MINUTE)[run.lease].action == "lost"
        ended = finish(store, run, 0.5, state=state)
        assert (ended.state, ended.value, ended.crashes, ended.error) == (state, 0.5, 1, None)
        assert finish(store, run, 9.0) == ended
        assert [(one.state, one.superseded) for one in store.attempts(run.id)] == [(state, False)]
        assert store.heartbeat([run.lease], lease_seconds=MINUTE)[run.lease].action == "continue"
        assert claims_nothing(store, sweep) == (state is not RunState.PREEMPTED)

    def test_a_late_outcome_does_not_undo_a_retry(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep, seconds=1)
        for _ in range(MAX_CRASHES - 1):
            time.pass_(2)
            run = claim(store, sweep, seconds=1)
        time.pass_(2)
        store.reap(sweep.id)
        assert finish(store, run).state is RunState.CRASHED
        waiting = store.retry(run.id)
        assert finish(store, run) == waiting
        assert claim(store, sweep).attempt == run.attempt + 1

    def test_a_failed_run_is_tried_again_up_to_max_attempts(self, store: Store) -> None:
        sweep = sweep_with(store, 1, max_attempts=3)
        (waiting,) = store.active(sweep.id)
        for attempt in (1, 2, 3):
            run = claim(store, sweep)
            assert run.params == waiting
            assert (run.attempt, run.error, run.exit_code) == (attempt, None, None)
            after = store.finish(run.lease, Outcome(RunState.FAILED, exit_code=1, error="boom"))
            assert (after.failures, after.error) == (attempt, "boom")
            assert after.state is (RunState.PENDING if attempt < 3 else RunState.FAILED)
            assert (after.ended is None) == (attempt < 3)
            assert store.finish(run.lease, Outcome(RunState.FINISHED)) == after
        assert claims_nothing(store, sweep)
        (run,) = store.list_runs(sweep.id)
        assert [one.state for one in store.attempts(run.id)] == [RunState.FAILED] * 3

    def test_without_max_attempts_a_failed_run_stays_failed(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        assert finish(store, run, state=RunState.FAILED).state is RunState.FAILED

    def test_preempted_is_not_failed(self, store: Store) -> None:
        sweep = sweep_with(store, 1, max_attempts=1)
        for attempt in range(1, 9):
            run = claim(store, sweep)
            assert (run.attempt, run.failures, run.crashes) == (attempt, 0, 0)
            assert finish(store, run, state=RunState.PREEMPTED).state is RunState.PREEMPTED
        (run,) = store.list_runs(sweep.id)
        assert store.attempts(run.id)[0].state is RunState.PREEMPTED

    @pytest.mark.parametrize("state", [SweepState.RUNNING, SweepState.PAUSED])
    def test_reaching_the_target_finishes_the_sweep(self, store: Store, state: SweepState) -> None:
        sweep = sweep_with(store, 3, metric=Metric("acc", "maximize", target=0.9))
        first, second = claim(store, sweep), claim(store, sweep)
        finish(store, first, 0.95, state=RunState.FAILED)
        assert store.get_sweep(sweep.id).state is SweepState.RUNNING
        set_state(store, sweep, state)
        finish(store, second, 0.9)
        assert store.get_sweep(sweep.id).state is SweepState.FINISHED
        assert claims_nothing(store, sweep)

    def test_reaching_the_target_leaves_other_runs_alone(self, store: Store) -> None:
        sweep = sweep_with(store, 2, metric=Metric("loss", target=0.1))
        first, second = claim(store, sweep), claim(store, sweep)
        finish(store, first, 0.1, state=RunState.STOPPED)
        assert store.get_sweep(sweep.id).state is SweepState.FINISHED
        assert store.heartbeat([second.lease], lease_seconds=MINUTE)[second.lease].action == "continue"

    @pytest.mark.parametrize("state", [SweepState.STOPPED, SweepState.CANCELED])
    def test_a_stopped_sweep_stays_so_when_its_target_is_reached(
        self, store: Store, state: SweepState
    ) -> None:
        sweep = sweep_with(store, 1, metric=Metric("loss", target=0.1))
        run = claim(store, sweep)
        set_state(store, sweep, state)
        finish(store, run, 0.0)
        assert store.get_sweep(sweep.id).state is state

    def test_a_stop_reaches_the_run_with_its_first_reason(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        assert store.request_stop(run.id, "worse than the rest").stop_reason == "worse than the rest"
        store.request_stop(run.id, "another")
        directive = store.report(run.lease, [row(1)], value=1.0, lease_seconds=MINUTE)
        assert (directive.action, directive.reason) == ("stop", "worse than the rest")
        assert store.get_run(run.id).value == 1.0
        store.request_stop(run.id, "now", kill=True)
        store.request_stop(run.id, "softly")
        assert store.report(run.lease, [], lease_seconds=MINUTE).action == "kill"
        assert store.history(run.id) == [row(1)]

    @pytest.mark.parametrize(("kill", "state"), [(False, RunState.STOPPED), (True, RunState.KILLED)])
    def test_a_queued_run_that_is_stopped_ends_at_once(
        self, store: Store, kill: bool, state: RunState
    ) -> None:
        sweep = sweep_with(store, 0)
        run = store.request_stop(store.enqueue(sweep.id, point(1)).id, "no need", kill=kill)
        assert (run.state, run.stop_reason) == (state, "no need")
        assert run.ended is not None
        assert claims_nothing(store, sweep)
        with pytest.raises(StateError, match=state.value):
            store.request_stop(run.id, "again")

    def test_a_run_that_was_asked_to_stop_is_not_queued_again(self, store: Store) -> None:
        sweep = sweep_with(store, 3, max_attempts=5)
        endings = (
            (RunState.PREEMPTED, False, RunState.STOPPED),
            (RunState.PREEMPTED, True, RunState.KILLED),
            (RunState.FAILED, False, RunState.FAILED),
        )
        for outcome, kill, state in endings:
            run = claim(store, sweep)
            store.request_stop(run.id, "enough", kill=kill)
            assert finish(store, run, state=outcome).state is state

    def test_retry_queues_an_ended_run_with_fresh_counts(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 1, max_attempts=2)
        finish(store, claim(store, sweep), state=RunState.FAILED)
        claim(store, sweep, seconds=1)
        time.pass_(2)
        run = finish(store, claim(store, sweep), 0.5, state=RunState.FAILED)
        assert (run.failures, run.crashes, run.state) == (2, 1, RunState.FAILED)
        queued = store.retry(run.id)
        assert (queued.state, queued.failures, queued.crashes) == (RunState.PENDING, 0, 0)
        assert (queued.ended, queued.stop_reason) == (None, None)
        assert store.retry(run.id) == queued
        again = claim(store, sweep)
        assert (again.id, again.attempt) == (run.id, 4)
        with pytest.raises(StateError, match="running"):
            store.retry(run.id)
        states = [attempt.state for attempt in store.attempts(run.id)]
        assert states == [RunState.FAILED, RunState.CRASHED, RunState.FAILED, RunState.RUNNING]
        assert store.finish(Lease(run.id, 3), Outcome(RunState.FINISHED)) == again

    def test_a_stopped_run_that_is_retried_runs_on(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep)
        store.request_stop(run.id, "enough", kill=True)
        finish(store, run, state=RunState.STOPPED)
        store.retry(run.id)
        again = claim(store, sweep)
        assert again.stop_reason is None
        assert store.heartbeat([again.lease], lease_seconds=MINUTE)[again.lease].action == "continue"

    def test_a_retry_leaves_the_state_of_the_sweep(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        run = finish(store, claim(store, sweep))
        store.finish_sweep(sweep.id)
        store.retry(run.id)
        assert store.get_sweep(sweep.id).state is SweepState.FINISHED
        assert claims_nothing(store, sweep)
