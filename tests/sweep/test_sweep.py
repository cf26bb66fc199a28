from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from besom.errors import NotFoundError, StateError, UsageError
from besom.records import Outcome, Run, RunState, Sweep, SweepState
from besom.scheduler import Scheduler
from besom.store import Store
from besom.sweep import (
    cancel_sweep,
    create_sweep,
    enqueue_run,
    extend_sweep,
    pause_sweep,
    remove_run,
    resume_sweep,
    retry_runs,
    stop_sweep,
    sweep_config,
    sweep_id_of,
)
from besom.sweepfile import SweepConfig, load

NewSweep = Callable[..., Sweep]
Config = Callable[..., SweepConfig]


class Play(Protocol):
    """Claims and ends runs; see conftest.py."""

    def __call__(
        self, sweep: Sweep, count: int = ..., loss: Callable[[Any], float | None] = ...
    ) -> list[Run]: ...


@pytest.mark.parametrize(
    "path",
    [
        "abc",
        "proj/abc",
        "me/proj/abc",
        "me/proj/sweeps/abc",
        "http://host:8080/me/proj/sweeps/abc/",
        " abc\n",
    ],
)
def test_a_sweep_is_named_as_wandb_names_it(path: str) -> None:
    assert sweep_id_of(path) == "abc"


@pytest.mark.parametrize("path", ["", "/", "  "])
def test_a_path_without_an_id_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="names no sweep"):
        sweep_id_of(path)


# ---- create


def test_a_new_sweep_has_all_its_file_says(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "lab" / "sweep.yaml"
    file.parent.mkdir()
    file.write_text(
        "# mine\nname: first\nprogram: train.py\nmethod: random\nproject: p\nentity: e\n"
        "run_cap: 7\nmax_attempts: 2\nseed: 5\n"
        "metric: {name: loss, goal: minimize, target: 0.1}\nparameters: {a: {values: [1, 2, 3]}}\n"
    )
    sweep = create_sweep(store, load(file))
    assert (sweep.name, sweep.method, sweep.project, sweep.entity) == ("first", "random", "p", "e")
    assert (sweep.run_cap, sweep.max_attempts, sweep.expected_runs) == (7, 2, 3)
    assert sweep.state is SweepState.PENDING
    assert sweep.metric is not None
    assert sweep.metric.target == 0.1
    assert sweep.text is not None
    assert sweep.text.startswith("# mine")
    assert sweep.folder == str(file.parent)
    assert sweep_config(sweep) == load(file)


def test_arguments_win_over_the_file(store: Store, config: Config) -> None:
    sweep = create_sweep(store, config(project="p", entity="e"), project="q", entity="f")
    assert (sweep.project, sweep.entity) == ("q", "f")
    assert sweep.folder is None


def test_a_seed_is_chosen_once_and_kept(store: Store, config: Config) -> None:
    random = config(method="random")
    seeds = {sweep_config(create_sweep(store, random)).seed for _ in range(5)}
    assert None not in seeds
    assert len(seeds) > 1
    assert sweep_config(create_sweep(store, config(method="random", seed=3))).seed == 3
    assert sweep_config(create_sweep(store, config(method="random", seed=0))).seed == 0


@pytest.mark.parametrize("domain", [{"values": [1, 2, 3]}, {"min": 0.0, "max": 3.0}])
def test_a_sweep_without_any_point_is_refused_at_once(
    store: Store, config: Config, domain: dict[str, Any]
) -> None:
    empty = config(method="random", parameters={"a": domain}, constraints=["a > 3"])
    with pytest.raises(UsageError, match="no point of the space satisfies the constraints; loosen them"):
        create_sweep(store, empty)
    assert store.list_sweeps() == []
    create_sweep(store, config(method="random", parameters={"a": domain}, constraints=["a > 2.9"]))


def test_early_termination_that_can_never_act_is_refused_at_once(store: Store, config: Config) -> None:
    with pytest.raises(UsageError, match="leaves no band"):
        create_sweep(store, config(early_terminate={"type": "hyperband", "max_iter": 1, "s": 1}))
    assert store.list_sweeps() == []


# ---- states

VERBS = {
    "pause": pause_sweep,
    "resume": resume_sweep,
    "stop": stop_sweep,
    "cancel": cancel_sweep,
}
AFTER = {
    "pause": SweepState.PAUSED,
    "resume": SweepState.RUNNING,
    "stop": SweepState.STOPPED,
    "cancel": SweepState.CANCELED,
}
REFUSED = {
    (SweepState.STOPPED, "pause"),
    (SweepState.FINISHED, "pause"),
    (SweepState.CANCELED, "pause"),
    (SweepState.CANCELED, "resume"),
    (SweepState.FINISHED, "stop"),
    (SweepState.CANCELED, "stop"),
    (SweepState.FINISHED, "cancel"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", SweepState)
def test_each_verb_moves_a_sweep_or_says_what_to_do_instead(
    store: Store, new_sweep: NewSweep, state: SweepState, verb: str
) -> None:
    sweep = new_sweep()
    if state is not SweepState.PENDING:
        store.set_sweep_state(sweep.id, state, allowed=list(SweepState))
    if (state, verb) not in REFUSED:
        assert VERBS[verb](store, sweep.id).state is AFTER[verb]
        return
    advice = (
        "create a new one with"
        if state is SweepState.CANCELED
        else f"resume it first with `besom resume {sweep.id}`"
    )
    with pytest.raises(StateError, match=f"sweep {sweep.id} is {state.value} and cannot be .*; {advice}"):
        VERBS[verb](store, sweep.id)
    assert store.get_sweep(sweep.id).state is state


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_on_no_sweep_says_so(store: Store, verb: str) -> None:
    with pytest.raises(NotFoundError):
        VERBS[verb](store, "nothing")


def test_cancel_kills_what_still_runs_after_the_target_was_reached(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(metric={"name": "loss", "goal": "minimize", "target": 0.1})
    hands = Scheduler(store, sweep.id, agent_id="a")
    good, slow = hands.claim(), hands.claim()
    assert isinstance(good, Run)
    assert isinstance(slow, Run)
    store.finish(good.lease, Outcome(RunState.FINISHED, summary={"loss": 0.0}, value=0.0))
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED
    assert cancel_sweep(store, sweep.id).state is SweepState.CANCELED
    assert store.heartbeat([slow.lease], lease_seconds=60)[slow.lease].action == "kill"


def test_cancel_kills_what_runs(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    run = Scheduler(store, sweep.id, agent_id="a").claim()
    assert isinstance(run, Run)
    cancel_sweep(store, sweep.id)
    assert store.heartbeat([run.lease], lease_seconds=60)[run.lease].action == "kill"


# ---- retry


def test_retry_takes_what_failed_and_a_finished_sweep_runs_again(
    store: Store, new_sweep: NewSweep, play: Play
) -> None:
    sweep = new_sweep()
    runs = play(sweep, loss=lambda params: None if params["a"] == 2 else 1.0)
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED
    assert [run.id for run in retry_runs(store, sweep.id)] == [runs[1].id]
    assert store.get_sweep(sweep.id).state is SweepState.RUNNING
    again = play(sweep)
    assert [(run.id, run.attempt, run.state) for run in again] == [(runs[1].id, 2, RunState.FINISHED)]
    assert retry_runs(store, sweep.id) == []
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED


def test_retry_takes_named_runs_however_they_ended(store: Store, new_sweep: NewSweep, play: Play) -> None:
    sweep = new_sweep()
    runs = play(sweep)
    retry_runs(store, sweep.id, run_ids=[runs[0].id, runs[2].id])
    assert [run.params["a"] for run in play(sweep)] == [1, 3]


def test_retry_takes_runs_by_state(store: Store, new_sweep: NewSweep, play: Play) -> None:
    sweep = new_sweep()
    play(sweep)
    assert len(retry_runs(store, sweep.id, states=[RunState.FINISHED])) == 3


def test_retry_changes_nothing_when_one_of_the_runs_cannot_be_retried(
    store: Store, new_sweep: NewSweep, play: Play
) -> None:
    sweep, other = new_sweep(), new_sweep()
    ended = play(sweep, count=1)[0]
    running = Scheduler(store, sweep.id, agent_id="a").claim()
    assert isinstance(running, Run)
    foreign = play(other, count=1)[0]
    with pytest.raises(StateError, match=f"run {running.id} is running; only an ended run"):
        retry_runs(store, sweep.id, run_ids=[ended.id, running.id])
    with pytest.raises(NotFoundError, match=f"has no run {foreign.id}"):
        retry_runs(store, sweep.id, run_ids=[ended.id, foreign.id])
    assert store.get_run(ended.id).state is RunState.FINISHED
    cancel_sweep(store, sweep.id)
    with pytest.raises(StateError, match="is canceled and cannot be retried; create a new one"):
        retry_runs(store, sweep.id)


# ---- remove


def test_a_removed_run_of_a_finite_space_leaves_its_point_to_be_run_again(
    store: Store, new_sweep: NewSweep, play: Play
) -> None:
    sweep = new_sweep()
    runs = play(sweep)
    remove_run(store, runs[0].id)
    with pytest.raises(NotFoundError):
        store.get_run(runs[0].id)
    resume_sweep(store, sweep.id)
    assert [run.params["a"] for run in play(sweep)] == [1]


def test_a_removed_run_of_an_infinite_space_is_gone(store: Store, new_sweep: NewSweep, play: Play) -> None:
    sweep = new_sweep(method="random", parameters={"a": {"min": 0.0, "max": 1.0}}, run_cap=2)
    runs = play(sweep)
    remove_run(store, runs[0].id)
    resume_sweep(store, sweep.id)
    new = play(sweep)
    assert len(new) == 1
    assert new[0].params != runs[0].params


def test_a_point_that_an_extension_left_out_does_not_come_back(
    store: Store, new_sweep: NewSweep, config: Config, play: Play
) -> None:
    sweep = new_sweep()
    runs = play(sweep)
    extend_sweep(store, sweep.id, config(parameters={"a": {"values": [2, 3]}}))
    remove_run(store, runs[0].id)
    remove_run(store, runs[1].id)
    assert [run.params["a"] for run in play(sweep)] == [2]


def test_a_running_run_and_a_run_outside_every_sweep(store: Store, new_sweep: NewSweep) -> None:
    run = Scheduler(store, new_sweep().id, agent_id="a").claim()
    assert isinstance(run, Run)
    with pytest.raises(StateError, match=f"run {run.id} is running; stop it first"):
        remove_run(store, run.id)
    solo = store.create_run(run_id="mine", project=None, name=None, lease_seconds=60)
    store.request_stop(solo.id, "over")
    with pytest.raises(StateError):
        remove_run(store, solo.id)


# ---- enqueue


def test_an_enqueued_point_comes_next_and_is_not_run_twice(
    store: Store, new_sweep: NewSweep, play: Play
) -> None:
    sweep = new_sweep()
    run = enqueue_run(store, sweep.id, {"a": 2})
    assert (run.state, run.source) == (RunState.PENDING, "enqueued")
    assert [run.params["a"] for run in play(sweep)] == [2, 1, 3]
    with pytest.raises(StateError, match=run.id):
        enqueue_run(store, sweep.id, {"a": 2})


def test_enqueue_takes_nested_and_dotted_names_and_fills_in_what_is_fixed(
    store: Store, new_sweep: NewSweep, play: Play
) -> None:
    nested = {"model": {"parameters": {"lr": {"values": [1, 2]}, "depth": {"value": 3}}}}
    sweep = new_sweep(parameters=nested)
    enqueue_run(store, sweep.id, {"model.lr": 2})
    assert dict(play(sweep, count=1)[0].params) == {"model": {"lr": 2, "depth": 3}}
    enqueue_run(store, sweep.id, {"model": {"lr": 1, "depth": 3}})
    assert dict(play(sweep, count=1)[0].params) == {"model": {"lr": 1, "depth": 3}}


@pytest.mark.parametrize(
    ("params", "why"),
    [({"a": 4}, "a = 4 is outside"), ({}, "a is missing"), ({"a": 1, "b": 2}, "b is no parameter")],
)
def test_enqueue_says_why_something_is_no_point(
    store: Store, new_sweep: NewSweep, params: dict[str, int], why: str
) -> None:
    sweep = new_sweep()
    with pytest.raises(UsageError, match=f"not a point of sweep {sweep.id}: .*{why}"):
        enqueue_run(store, sweep.id, params)


def test_enqueue_wakes_a_finished_sweep_but_no_canceled_one(
    store: Store, new_sweep: NewSweep, play: Play
) -> None:
    target = {"name": "loss", "goal": "minimize", "target": 0.1}
    sweep = new_sweep(method="random", parameters={"a": {"min": 0.0, "max": 1.0}}, metric=target)
    play(sweep, 1)
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED
    enqueue_run(store, sweep.id, {"a": 0.5})
    assert store.get_sweep(sweep.id).state is SweepState.RUNNING
    cancel_sweep(store, sweep.id)
    with pytest.raises(StateError, match="cannot be given new runs; create a new one"):
        enqueue_run(store, sweep.id, {"a": 0.25})


def test_enqueue_needs_room_below_the_cap(store: Store, new_sweep: NewSweep, play: Play) -> None:
    sweep = new_sweep(method="random", parameters={"a": {"min": 0.0, "max": 1.0}}, run_cap=2)
    (run,) = play(sweep, 1)
    enqueue_run(store, sweep.id, {"a": 0.5})
    with pytest.raises(StateError, match=r"run_cap is 2; .*besom extend"):
        enqueue_run(store, sweep.id, {"a": 0.25})
    assert len(play(sweep)) == 1
    with pytest.raises(StateError, match=r"run_cap is 2; .*besom extend"):
        enqueue_run(store, sweep.id, {"a": 0.25})
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED
    with pytest.raises(StateError, match=f"run {run.id} .* has these parameters already"):
        enqueue_run(store, sweep.id, run.params)


# ---- extend


def test_extend_keeps_what_is_done_and_its_seed_and_says_how_many_there_will_be(
    store: Store, new_sweep: NewSweep, config: Config, play: Play
) -> None:
    sweep = new_sweep()
    done = play(sweep)
    extended = extend_sweep(store, sweep.id, config(parameters={"a": {"values": [1, 2, 3, 4]}}))
    assert (extended.version, extended.expected_runs, extended.state) == (2, 4, SweepState.RUNNING)
    assert extended.config["seed"] == sweep.config["seed"]
    assert [run.params["a"] for run in play(sweep)] == [4]
    assert {run.id for run in done} < {run.id for run in store.list_runs(sweep.id)}
    given = extend_sweep(store, sweep.id, config(seed=9))
    assert (given.version, given.config["seed"]) == (3, 9)


def test_extend_raises_the_cap_of_a_random_sweep(
    store: Store, new_sweep: NewSweep, config: Config, play: Play
) -> None:
    infinite = {"method": "random", "parameters": {"a": {"min": 0.0, "max": 1.0}}}
    sweep = new_sweep(**infinite, run_cap=2)
    assert len(play(sweep)) == 2
    extend_sweep(store, sweep.id, config(**infinite, run_cap=5))
    assert len(play(sweep)) == 3
    values = [run.params["a"] for run in store.list_runs(sweep.id)]
    assert len(set(values)) == 5


def test_extend_takes_over_how_often_runs_are_tried_and_how_lost_ones_are_judged(
    store: Store, new_sweep: NewSweep, config: Config
) -> None:
    sweep = new_sweep()
    metric = {"name": "loss", "goal": "minimize", "impute": "best"}
    extended = extend_sweep(store, sweep.id, config(max_attempts=3, metric=metric))
    assert extended.max_attempts == 3
    assert extended.config["metric"]["impute"] == "best"


def test_extend_refuses_another_method_or_metric_and_a_canceled_sweep(
    store: Store, new_sweep: NewSweep, config: Config
) -> None:
    sweep = new_sweep()
    with pytest.raises(UsageError, match="is a grid sweep and cannot become random"):
        extend_sweep(store, sweep.id, config(method="random"))
    with pytest.raises(UsageError, match=r"judges by minimize loss, not by maximize loss to 0\.5"):
        extend_sweep(store, sweep.id, config(metric={"name": "loss", "goal": "maximize", "target": 0.5}))
    with pytest.raises(UsageError, match="not by no metric"):
        extend_sweep(store, sweep.id, config(metric=None))
    cancel_sweep(store, sweep.id)
    with pytest.raises(StateError, match="is canceled and cannot be extended; create a new one"):
        extend_sweep(store, sweep.id, config())
