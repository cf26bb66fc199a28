from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

from besom.errors import NotFoundError, StateError, UsageError
from besom.priors import prior_runs_where
from besom.records import Outcome, Run, RunState, Sweep, SweepState
from besom.scheduler import Scheduler
from besom.store import Store
from besom.sweep import create_sweep
from besom.sweepfile import SweepConfig

NewSweep = Callable[..., Sweep]
Config = Callable[..., SweepConfig]


class Play(Protocol):
    """Claims and ends runs; see conftest.py."""

    def __call__(
        self, sweep: Sweep, count: int = ..., loss: Callable[[Any], float | None] = ...
    ) -> list[Run]: ...


def test_prior_runs_are_done_points_of_the_new_grid(
    store: Store, new_sweep: NewSweep, config: Config, play: Play
) -> None:
    old = play(new_sweep(), loss=lambda params: params["a"] / 10)
    wider = config(parameters={"a": {"values": [1, 2, 3, 4, 5]}})
    sweep = create_sweep(store, wider, prior_runs=[old[0].id, f"me/proj/{old[2].id}"])
    assert sweep.expected_runs == 5
    assert sweep.state is SweepState.PENDING
    priors = store.list_runs(sweep.id)
    assert [(run.source, run.state, run.params["a"], run.value) for run in priors] == [
        ("prior", RunState.FINISHED, 1, 0.1),
        ("prior", RunState.FINISHED, 3, 0.3),
    ]
    assert {run.id for run in priors}.isdisjoint(run.id for run in old)
    assert [run.params["a"] for run in play(sweep)] == [2, 4, 5]
    best = store.best_run(sweep.id)
    assert best is not None
    assert best.value == 0.0


def test_prior_runs_are_judged_by_the_new_metric(store: Store, new_sweep: NewSweep, config: Config) -> None:
    old = new_sweep()
    run = Scheduler(store, old.id, agent_id="a").claim()
    assert isinstance(run, Run)
    summary = {"loss": 1.0, "val": {"accuracy": {"max": 0.9}}}
    store.finish(run.lease, Outcome(RunState.FINISHED, summary=summary, value=1.0))
    metric = {"name": "val.accuracy", "goal": "maximize"}
    sweep = create_sweep(store, config(metric=metric), prior_runs=[run.id])
    assert store.list_runs(sweep.id)[0].value == 0.9


def test_a_prior_run_that_is_no_point_of_the_space_is_kept_all_the_same(
    store: Store, new_sweep: NewSweep, config: Config, play: Play
) -> None:
    old = play(new_sweep())
    sweep = create_sweep(store, config(parameters={"b": {"values": [1, 2]}}), prior_runs=[old[0].id])
    assert [dict(run.params) for run in store.list_runs(sweep.id)] == [{"a": 1}]
    assert len(play(sweep)) == 2


def test_what_a_run_did_not_vary_and_what_the_new_space_leaves_out_is_filled_in_and_left_out(
    store: Store, new_sweep: NewSweep, config: Config
) -> None:
    nested = {"model": {"parameters": {"depth": {"values": [1, 2]}}}, "momentum": {"value": 0.9}}
    old = new_sweep(parameters=nested)
    run = Scheduler(store, old.id, agent_id="a").claim()
    assert isinstance(run, Run)
    depth = run.params["model"]["depth"]
    store.set_run_config(run.lease, {"model": {"depth": depth, "width": 64}, "momentum": 0.9, "opt": "adam"})
    store.finish(run.lease, Outcome(RunState.FINISHED, summary={"loss": 1.0}, value=1.0))
    wider = config(
        parameters={
            "model": {"parameters": {"depth": {"values": [1, 2]}, "width": {"values": [64, 128]}}},
            "opt": {"values": ["adam", "sgd"]},
            "momentum": {"values": [0.0, 0.9], "when": {"opt": "sgd"}},
        }
    )
    [prior] = store.list_runs(create_sweep(store, wider, prior_runs=[run.id]).id)
    assert prior.params == {"model": {"depth": depth, "width": 64}, "opt": "adam"}
    assert prior.key == wider.space.suggestion(prior.params).key


def test_a_run_outside_every_sweep_can_be_a_prior_run_by_its_config(
    store: Store, config: Config, play: Play
) -> None:
    solo = store.create_run(run_id=None, project=None, name=None, lease_seconds=60)
    store.set_run_config(solo.lease, {"a": 2.0, "epochs": 5})
    store.finish(solo.lease, Outcome(RunState.FINISHED, summary={"loss": 0.5}, value=None))
    sweep = create_sweep(store, config(), prior_runs=[solo.id])
    assert store.list_runs(sweep.id)[0].value == 0.5
    assert [run.params["a"] for run in play(sweep)] == [1, 3]


def test_two_runs_of_one_point_are_both_kept(
    store: Store, new_sweep: NewSweep, config: Config, play: Play
) -> None:
    one, two = play(new_sweep(), loss=lambda _: 0.1), play(new_sweep(), loss=lambda _: 0.2)
    sweep = create_sweep(store, config(), prior_runs=[one[0].id, two[0].id, one[0].id])
    assert [run.value for run in store.list_runs(sweep.id)] == [0.1, 0.2]
    assert [run.params["a"] for run in play(sweep)] == [2, 3]


def test_nothing_is_created_when_a_prior_run_is_unknown_or_not_over(
    store: Store, new_sweep: NewSweep, config: Config
) -> None:
    run = Scheduler(store, new_sweep().id, agent_id="a").claim()
    assert isinstance(run, Run)
    with pytest.raises(NotFoundError):
        create_sweep(store, config(), prior_runs=["nothing"])
    with pytest.raises(StateError, match=f"run {run.id} is running; a prior run must have ended"):
        create_sweep(store, config(), prior_runs=[run.id])
    assert len(store.list_sweeps()) == 1


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("", [1, 2]),
        ("loss < 0.2", [1]),
        ("loss <= 0.2", [1, 2]),
        ("loss>0.1", [2]),
        ("a == 2", [2]),
        ("a != 2", [1]),
        ("loss < 1 and a = 1", [1]),
        ("state == finished", [1, 2]),
        ("state == 'failed'", []),
        ("accuracy > 0", []),
        ("loss > high", []),
    ],
)
def test_prior_runs_are_chosen_by_an_expression(
    store: Store, new_sweep: NewSweep, play: Play, where: str, chosen: list[int]
) -> None:
    sweep = new_sweep()
    play(sweep, loss=lambda params: None if params["a"] == 3 else params["a"] / 10)
    ids = prior_runs_where(store, sweep.id, where=where)
    assert [store.get_run(run_id).params["a"] for run_id in ids] == chosen


def test_prior_runs_are_chosen_by_state_and_nested_names(
    store: Store, new_sweep: NewSweep, play: Play
) -> None:
    sweep = new_sweep(parameters={"m": {"parameters": {"a": {"values": [1, 2, 3]}}}})
    play(sweep, loss=lambda params: None if params["m"]["a"] == 3 else 0.5)
    failed = prior_runs_where(store, sweep.id, states=[RunState.FAILED])
    assert [store.get_run(run_id).params["m"]["a"] for run_id in failed] == [3]
    assert len(prior_runs_where(store, sweep.id, where="m.a >= 2")) == 1


def test_a_filter_that_cannot_be_read_says_how_to_write_one(store: Store, new_sweep: NewSweep) -> None:
    with pytest.raises(UsageError, match="cannot read the filter 'loss is small'; write NAME OPERATOR VALUE"):
        prior_runs_where(store, new_sweep().id, where="loss is small")
    with pytest.raises(UsageError, match="cannot read the filter 'loss <<< 2'"):
        prior_runs_where(store, new_sweep().id, where="loss <<< 2")
    with pytest.raises(NotFoundError):
        prior_runs_where(store, "nothing")


def test_runs_that_were_prior_ones_already_may_be_left_out(
    store: Store, new_sweep: NewSweep, config: Config, play: Play
) -> None:
    old = play(new_sweep(), count=2)
    sweep = create_sweep(store, config(), prior_runs=[run.id for run in old])
    [own] = play(sweep)
    assert len(prior_runs_where(store, sweep.id)) == 3
    assert prior_runs_where(store, sweep.id, copies=False) == [own.id]
