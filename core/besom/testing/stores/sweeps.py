"""Sweeps and agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from besom.errors import NotFoundError, StateError, UsageError
from besom.records import Metric, Outcome, RunState, SweepDraft, SweepState
from besom.store.base import Store
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

DRAFT = SweepDraft(
    config={"method": "grid", "parameters": {"lr": {"values": [1, 1.0, None, False, "ü", [{}]]}}},
    name="my sweep",
    method="grid",
    metric=Metric("val.loss", "maximize", target=0.9, impute="best", impute_while_running="latest"),
    run_cap=7,
    max_attempts=3,
    expected_runs=10**30,
    project="p",
    entity="e",
    text="method: grid\n",
    folder="/here",
)


class SweepContract(Ground):
    """Whole sweeps."""

    def test_a_new_sweep_is_pending_and_has_what_its_draft_says(self, store: Store, time: Time) -> None:
        sweep = store.create_sweep(DRAFT)
        assert sweep.state is SweepState.PENDING
        for name in DRAFT.__slots__:
            assert getattr(sweep, name) == getattr(DRAFT, name)
        values = sweep.config["parameters"]["lr"]["values"]
        assert [type(value) for value in values[:4]] == [int, float, type(None), bool]
        assert (sweep.version, sweep.cursor, sweep.exhausted) == (1, 0, False)
        assert sweep.created == sweep.updated == time.wall()
        assert store.get_sweep(sweep.id) == sweep

    def test_a_sweep_without_a_name_gets_one_from_its_id(self, store: Store) -> None:
        sweep = store.create_sweep(SweepDraft(config={}, name="", method="grid"))
        assert sweep.name == f"sweep-{sweep.id}"

    def test_ids_are_opaque_on_disk(self, store: Store) -> None:
        ids = {
            store.create_sweep(SweepDraft(config={}, name="../../etc", method="grid")).id for _ in range(50)
        }
        assert len(ids) == 50
        assert all(
            len(name) == 8 and name.isascii() and name.isalnum() and name == name.lower() for name in ids
        )

    def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        for call in (
            lambda: store.get_sweep("nothing"),
            lambda: store.progress("nothing"),
            lambda: store.claim("nothing", "agent", lease_seconds=1),
            lambda: store.offer("nothing", batch([]), version=1, cursor=0),
            lambda: store.enqueue("nothing", point(0)),
            lambda: store.reap("nothing"),
            lambda: store.finish_sweep("nothing"),
            lambda: store.set_sweep_state("nothing", SweepState.PAUSED, allowed=[]),
            lambda: store.add_agent("nothing", host="h", pid=1),
        ):
            with pytest.raises(NotFoundError, match="nothing"):
                call()
        assert store.list_runs("nothing") == []
        assert store.list_agents("nothing") == []
        assert store.observations("nothing") == []

    def test_sweeps_are_listed_newest_first_even_if_the_clock_went_back(
        self, store: Store, time: Time
    ) -> None:
        first = store.create_sweep(SweepDraft(config={}, name="1", method="grid", project="a"))
        time.wall_now -= 3600
        second = store.create_sweep(SweepDraft(config={}, name="2", method="grid", project="b"))
        assert [sweep.id for sweep in store.list_sweeps()] == [second.id, first.id]
        assert [sweep.id for sweep in store.list_sweeps(project="a")] == [first.id]
        assert store.list_sweeps(project="c") == []

    def test_a_config_that_is_no_json_is_a_usage_error_and_leaves_nothing(self, store: Store) -> None:
        for wrong in (float("nan"), {1, 2}, object()):
            with pytest.raises(UsageError):
                store.create_sweep(SweepDraft(config={"x": wrong}, name="", method="grid"))
        assert store.list_sweeps() == []

    def test_a_state_is_reached_only_from_the_allowed_ones(self, store: Store) -> None:
        sweep = sweep_with(store)
        with pytest.raises(StateError, match="pending"):
            store.set_sweep_state(sweep.id, SweepState.RUNNING, allowed=[SweepState.PAUSED])
        assert store.get_sweep(sweep.id).state is SweepState.PENDING
        paused = store.set_sweep_state(sweep.id, SweepState.PAUSED, allowed=[SweepState.PENDING])
        assert paused.state is SweepState.PAUSED

    def test_setting_the_state_a_sweep_has_changes_nothing(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store)
        paused = set_state(store, sweep, SweepState.PAUSED)
        time.pass_(1)
        assert store.set_sweep_state(sweep.id, SweepState.PAUSED, allowed=[]) == paused

    def test_cancel_kills_the_running_and_ends_the_queued(self, store: Store) -> None:
        sweep = sweep_with(store, 2)
        running = claim(store, sweep)
        queued = store.enqueue(sweep.id, point(50))
        set_state(store, sweep, SweepState.CANCELED)
        assert store.heartbeat([running.lease], lease_seconds=MINUTE)[running.lease].action == "kill"
        after = store.get_run(queued.id)
        assert after.state is RunState.KILLED
        assert after.ended is not None
        assert claims_nothing(store, sweep)
        assert finish(store, running, state=RunState.PREEMPTED).state is RunState.KILLED

    def test_amend_starts_the_walk_again_over_a_new_config(self, store: Store) -> None:
        sweep = sweep_with(store, 3)
        done = finish(store, claim(store, sweep))
        amended = store.amend_sweep(
            sweep.id, version=1, config={"new": 1}, run_cap=9, max_attempts=4, expected_runs=5, text="new: 1"
        )
        assert (amended.version, amended.cursor, amended.exhausted) == (2, 0, False)
        changed = (amended.config, amended.run_cap, amended.max_attempts, amended.expected_runs, amended.text)
        assert changed == ({"new": 1}, 9, 4, 5, "new: 1")
        assert store.progress(sweep.id).buffered == 0
        assert store.offer(sweep.id, batch(range(5), exhausted=True), version=2, cursor=0) == 4
        keys = {claim(store, sweep).key for _ in range(4)}
        assert keys == {"k1", "k2", "k3", "k4"}
        assert done.key not in keys

    def test_amend_needs_the_present_version(self, store: Store) -> None:
        sweep = sweep_with(store)
        store.amend_sweep(
            sweep.id,
            version=1,
            config={"a": 1},
            run_cap=None,
            max_attempts=None,
            expected_runs=None,
            text=None,
        )
        with pytest.raises(StateError, match="version 2"):
            store.amend_sweep(
                sweep.id,
                version=1,
                config={"b": 1},
                run_cap=None,
                max_attempts=None,
                expected_runs=None,
                text=None,
            )
        assert store.get_sweep(sweep.id).config == {"a": 1}

    def test_amend_wakes_a_finished_sweep_and_no_other(self, store: Store) -> None:
        sweep = sweep_with(store)
        for before, after in (
            (SweepState.FINISHED, SweepState.RUNNING),
            (SweepState.STOPPED, SweepState.STOPPED),
            (SweepState.PAUSED, SweepState.PAUSED),
        ):
            version = set_state(store, sweep, before).version
            amended = store.amend_sweep(
                sweep.id,
                version=version,
                config={},
                run_cap=None,
                max_attempts=None,
                expected_runs=None,
                text=None,
            )
            assert amended.state is after

    def test_progress_counts_runs_by_state(self, store: Store) -> None:
        sweep = sweep_with(store, 6, expected_runs=6)
        claim(store, sweep)
        finish(store, claim(store, sweep), 0.5)
        finish(store, claim(store, sweep), 0.25)
        finish(store, claim(store, sweep), state=RunState.PREEMPTED)
        store.enqueue(sweep.id, point(70))
        progress = store.progress(sweep.id)
        assert progress.counts == {
            RunState.RUNNING: 1,
            RunState.FINISHED: 2,
            RunState.PREEMPTED: 1,
            RunState.PENDING: 1,
        }
        assert (progress.state, progress.expected, progress.exhausted) == (SweepState.RUNNING, 6, True)
        assert (progress.buffered, progress.best, progress.started) == (2, 0.25, 4)

    def test_a_sweep_finishes_when_all_is_handed_out_and_has_ended(self, store: Store) -> None:
        sweep = sweep_with(store, 2)
        assert store.finish_sweep(sweep.id).state is SweepState.PENDING
        first = claim(store, sweep)
        assert store.finish_sweep(sweep.id).state is SweepState.RUNNING
        second = claim(store, sweep)
        finish(store, first)
        assert store.finish_sweep(sweep.id).state is SweepState.RUNNING
        finish(store, second, state=RunState.PREEMPTED)
        assert store.finish_sweep(sweep.id).state is SweepState.RUNNING
        finish(store, claim(store, sweep))
        assert store.finish_sweep(sweep.id).state is SweepState.FINISHED
        assert store.finish_sweep(sweep.id).state is SweepState.FINISHED

    def test_a_sweep_with_more_to_propose_does_not_finish(self, store: Store) -> None:
        sweep = sweep_with(store, 1, exhausted=False)
        finish(store, claim(store, sweep))
        assert store.finish_sweep(sweep.id).state is SweepState.RUNNING

    def test_a_sweep_at_its_cap_finishes_whatever_waits(self, store: Store) -> None:
        sweep = sweep_with(store, 5, exhausted=False, run_cap=2)
        first, second = claim(store, sweep), claim(store, sweep)
        finish(store, first)
        assert store.finish_sweep(sweep.id).state is SweepState.RUNNING
        finish(store, second, state=RunState.PREEMPTED)
        assert store.finish_sweep(sweep.id).state is SweepState.RUNNING
        finish(store, claim(store, sweep))
        assert store.finish_sweep(sweep.id).state is SweepState.FINISHED

    def test_agents_are_listed_newest_first_and_seen_by_claims_and_heartbeats(
        self, store: Store, time: Time
    ) -> None:
        sweep = sweep_with(store)
        first = store.add_agent(sweep.id, host="here", pid=1)
        second = store.add_agent(sweep.id, host="there", pid=2, job="slurm:1234_7")
        assert (first.job, second.job) == (None, "slurm:1234_7")
        assert (first.host, first.pid, first.started, first.seen) == ("here", 1, time.wall(), time.wall())
        assert store.list_agents(sweep.id) == [second, first]
        time.pass_(10)
        run = store.claim(sweep.id, first.id, lease_seconds=MINUTE)
        assert run is not None
        assert store.list_agents(sweep.id)[1].seen == time.wall()
        time.pass_(10)
        store.heartbeat([run.lease], lease_seconds=MINUTE)
        assert store.list_agents(sweep.id)[1].seen == time.wall()
        assert store.list_agents(sweep.id)[0].seen == second.seen

    def test_a_store_opened_anew_remembers_everything(self, store: Store, tmp_path: Path, time: Time) -> None:
        sweep = sweep_with(store)
        run = finish(store, claim(store, sweep), 0.5)
        again = self.open(tmp_path, time)
        try:
            assert again.get_sweep(sweep.id) == store.get_sweep(sweep.id)
            assert again.get_run(run.id) == run
            assert again.finish(run.lease, Outcome(RunState.FAILED)) == run
        finally:
            again.close()

    def test_closing_twice_does_nothing(self, store: Store) -> None:
        store.close()
        store.close()
