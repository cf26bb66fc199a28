from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from besom.api import Api, SweepView
from besom.errors import NotFoundError, UsageError
from besom.records import HistoryRow, Outcome, Run, RunState, Sweep, SweepState
from besom.scheduler import Scheduler
from besom.store import Store, open_store
from besom.sweep import create_sweep, sweep_config
from besom.sweepfile import from_mapping

CONFIG: dict[str, Any] = {
    "name": "first",
    "method": "grid",
    "project": "proj",
    "entity": "me",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"values": [0.1, 0.2, 0.3]}, "model": {"parameters": {"depth": {"values": [1, 2]}}}},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    yield store
    store.close()


@pytest.fixture
def sweep(store: Store) -> Sweep:
    return create_sweep(store, from_mapping(CONFIG))


@pytest.fixture
def view(store: Store, sweep: Sweep) -> SweepView:
    return Api(store).sweep(sweep.id)


def play(store: Store, sweep_id: str, *summaries: Mapping[str, Any] | None) -> list[Run]:
    """Claim a run for each summary and end it with that: FAILED where it is None."""
    sweep = store.get_sweep(sweep_id)
    agent = store.add_agent(sweep_id, host="here", pid=1)
    hands = Scheduler(store, sweep_id, agent_id=agent.id)
    ended: list[Run] = []
    for summary in summaries:
        run = hands.claim()
        assert isinstance(run, Run)
        store.set_run_config(run.lease, {**run.params, "epochs": 5})
        name = sweep.metric.name if sweep.metric else "loss"
        value = (summary or {}).get(name)
        outcome = Outcome(
            RunState.FAILED if summary is None else RunState.FINISHED,
            summary=summary or {},
            value=value if isinstance(value, float) else None,
        )
        ended.append(store.finish(run.lease, outcome))
    return ended


@pytest.mark.parametrize("path", ["{}", "proj/{}", "me/proj/{}", "me/proj/sweeps/{}"])
def test_a_sweep_is_found_by_every_path_wandb_has(store: Store, sweep: Sweep, path: str) -> None:
    assert Api(store).sweep(path.format(sweep.id)).id == sweep.id


def test_a_sweep_shows_what_it_is(store: Store, sweep: Sweep, view: SweepView) -> None:
    assert (view.name, view.state, view.project, view.entity) == ("first", "PENDING", "proj", "me")
    assert view.path == ["me", "proj", sweep.id]
    assert view.url == f"{store.url}#/sweeps/{sweep.id}"
    assert view.config["method"] == "grid"
    assert view.expected_run_count == 6
    assert view.order == "+summary_metrics.loss"
    assert repr(view) == f"<Sweep me/proj/{sweep.id} (PENDING)>"


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (SweepState.RUNNING, "RUNNING"),
        (SweepState.PAUSED, "PAUSED"),
        (SweepState.STOPPED, "FINISHED"),
        (SweepState.FINISHED, "FINISHED"),
        (SweepState.CANCELED, "CANCELED"),
    ],
)
def test_the_state_is_the_present_one_in_wandbs_spelling(
    store: Store, view: SweepView, state: SweepState, shown: str
) -> None:
    store.set_sweep_state(view.id, state, allowed=list(SweepState))
    assert view.state == shown


def test_the_order_follows_goal_and_metric(store: Store) -> None:
    def order(**metric: str) -> str | None:
        config = (
            {**CONFIG, "metric": metric} if metric else {k: v for k, v in CONFIG.items() if k != "metric"}
        )
        return Api(store).sweep(create_sweep(store, from_mapping(config)).id).order

    assert order(name="acc", goal="maximize") == "-summary_metrics.acc"
    assert order(name="val.loss", goal="minimize") == "+summary_metrics.val.loss"
    assert order() is None


def test_runs_are_a_sequence_in_the_order_they_were_handed_out(store: Store, view: SweepView) -> None:
    ended = play(store, view.id, {"loss": 0.3}, {"loss": 0.1}, None)
    runs = view.runs
    assert len(runs) == 3
    assert [run.id for run in runs] == [run.id for run in ended]
    assert [run.id for run in runs[1:]] == [run.id for run in ended[1:]]
    assert runs[-1].state == "failed"
    assert repr(runs) == f"<3 runs of sweep {view.id}>"


def test_a_run_shows_what_it_is(store: Store, view: SweepView) -> None:
    ended = play(store, view.id, {"loss": 0.3})[0]
    run = Api(store).run(f"me/proj/{ended.id}")
    assert (run.id, run.name, run.state) == (ended.id, "run-1", "finished")
    assert run.config == {"lr": 0.1, "model": {"depth": 1}, "epochs": 5}
    assert run.summary == {"loss": 0.3}
    assert run.sweep is not None
    assert run.sweep.id == view.id
    assert run.path == ["me", "proj", ended.id]
    assert run.url == f"{store.url}#/runs/{ended.id}"
    assert run.dir.name == ended.id
    assert repr(run) == f"<Run {ended.id} (finished)>"


def test_a_run_is_read_again_on_request(store: Store, view: SweepView) -> None:
    ended = play(store, view.id, {"loss": 0.3})[0]
    run = Api(store).run(ended.id)
    store.retry(ended.id)
    assert run.state == "finished"
    assert run.load().state == "pending"


def test_before_the_program_tells_its_config_it_is_the_parameters(store: Store, view: SweepView) -> None:
    hands = Scheduler(store, view.id, agent_id="a")
    run = hands.claim()
    assert isinstance(run, Run)
    assert Api(store).run(run.id).config == {"lr": 0.1, "model": {"depth": 1}}


def test_the_best_run_is_best_by_the_metric_and_never_one_that_failed(store: Store, view: SweepView) -> None:
    assert view.best_run() is None
    ended = play(store, view.id, {"loss": 0.3}, {"loss": 0.1}, {"loss": "NaN"}, None)
    best = view.best_run()
    assert best is not None
    assert best.id == ended[1].id


def test_without_a_metric_the_newest_run_is_taken(store: Store) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "metric"}
    view = Api(store).sweep(create_sweep(store, from_mapping(config)).id)
    assert view.best_run() is None
    ended = play(store, view.id, {"loss": 0.1}, {"loss": 0.3})
    best = view.best_run()
    assert best is not None
    assert best.id == ended[1].id


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        ("+summary_metrics.loss", [2, 1]),
        ("-summary_metrics.loss", [1, 2]),
        ("loss", [1, 2]),
        ("+val.acc", [2, 1]),  # nested
        ("-val.acc.max", [1, 2]),
        ("+tuned", [2, 1]),  # what define_metric(summary="min") leaves: {"min": ...}
        ("+config.lr", [1, 2, 3]),
        ("-config.model.depth", [2, 1, 3]),
        ("-number", [3, 2, 1]),
        ("+state", [3, 1, 2]),
        ("+missing", []),
    ],
)
def test_runs_are_ordered_by_any_value(store: Store, view: SweepView, order: str, numbers: list[int]) -> None:
    play(
        store,
        view.id,
        {"loss": 0.3, "val": {"acc": {"max": 0.9}}, "tuned": {"min": 5}},
        {"loss": 0.1, "val": {"acc": {"max": 0.8}}, "tuned": {"min": 4}},
        None,
    )
    assert [run.record.number for run in view.runs.ordered(order)] == numbers


def test_the_best_run_can_be_asked_for_by_another_order(store: Store, view: SweepView) -> None:
    ended = play(store, view.id, {"loss": 0.3, "acc": 0.9}, {"loss": 0.1, "acc": 0.8}, None)
    best = view.best_run("-summary_metrics.acc")
    assert best is not None
    assert best.id == ended[0].id
    worst = view.best_run("-number")
    assert worst is not None
    assert worst.id == ended[1].id
    assert view.best_run("+nothing") is None


def test_text_and_numbers_have_no_order(store: Store) -> None:
    config = {**CONFIG, "parameters": {"lr": {"values": [1, "auto"]}}}
    view = Api(store).sweep(create_sweep(store, from_mapping(config)).id)
    play(store, view.id, {}, {})
    with pytest.raises(UsageError, match=r"cannot order runs by 'config\.lr'"):
        view.runs.ordered("config.lr")


def test_runs_become_a_table_of_config_and_summary(store: Store, view: SweepView) -> None:
    play(store, view.id, {"loss": 0.3, "lr": 7.0, "val": {"acc": 0.9}}, {"loss": 0.1, "state": "odd"})
    frame = view.runs.dataframe()
    assert list(frame["lr"]) == [0.1, 0.1]
    assert list(frame["model.depth"]) == [1, 2]
    assert list(frame["epochs"]) == [5, 5]
    assert list(frame["loss"]) == [0.3, 0.1]
    assert frame["summary.lr"][0] == 7.0
    assert frame["val.acc"][0] == 0.9
    assert list(frame["state"]) == ["finished", "finished"]
    assert frame["summary.state"][1] == "odd"
    assert frame["lr"].dtype == float


def test_a_sweep_without_runs_is_an_empty_table(view: SweepView) -> None:
    frame = view.runs.dataframe()
    assert list(frame.columns) == ["id", "name", "state"]
    assert len(frame) == 0


def test_without_pandas_the_way_to_get_it_is_told(
    store: Store, view: SweepView, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = play(store, view.id, {"loss": 0.3})[0]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install 'besom\[pandas\]'"):
        view.runs.dataframe()
    assert Api(store).run(ended.id).history(pandas=False) == []


def test_history_is_one_row_a_step(store: Store, view: SweepView) -> None:
    run = Scheduler(store, view.id, agent_id="a").claim()
    assert isinstance(run, Run)
    rows = [
        HistoryRow(1, 0, 10.0, {"loss": 3.0}),
        HistoryRow(2, 0, 11.0, {"acc": 0.5}),
        HistoryRow(3, 1, 12.0, {"loss": 2.0}),
    ]
    store.report(run.lease, rows, lease_seconds=60)
    shown = Api(store).run(run.id)
    assert shown.history(pandas=False) == [
        {"_step": 0, "_timestamp": 11.0, "loss": 3.0, "acc": 0.5},
        {"_step": 1, "_timestamp": 12.0, "loss": 2.0},
    ]
    assert [row["_step"] for row in shown.scan_history(keys=["loss", "acc"])] == [0]
    assert list(shown.history(samples=500)["loss"]) == [3.0, 2.0]


def test_history_goes_on_where_a_run_resumed(store: Store, view: SweepView) -> None:
    hands = Scheduler(store, view.id, agent_id="a")
    run = hands.claim()
    assert isinstance(run, Run)
    first = [HistoryRow(n + 1, n, 0.0, {"loss": float(n)}) for n in range(5)]
    store.report(run.lease, first, lease_seconds=60)
    store.finish(run.lease, Outcome(RunState.PREEMPTED))
    resumed = hands.claim()
    assert isinstance(resumed, Run)
    second = [HistoryRow(n - 2, n, 0.0, {"loss": float(10 * n)}) for n in range(3, 6)]
    store.report(resumed.lease, second, lease_seconds=60)
    history = Api(store).run(run.id).history(pandas=False)
    assert [row["loss"] for row in history] == [0.0, 1.0, 2.0, 30.0, 40.0, 50.0]


def test_agents_are_listed_and_found(store: Store, view: SweepView) -> None:
    agent = store.add_agent(view.id, host="here", pid=7)
    assert [found.id for found in view.agents()] == [agent.id]
    assert view.agent(agent.id).pid == 7
    with pytest.raises(NotFoundError, match="has no agent nobody"):
        view.agent("nobody")


def test_a_point_can_be_enqueued(store: Store, view: SweepView) -> None:
    run_id = view.enqueue_run({"lr": 0.3, "model": {"depth": 2}})
    assert store.get_run(run_id).source == "enqueued"
    with pytest.raises(UsageError, match="lr"):
        view.enqueue_run({"lr": 9, "model": {"depth": 2}})


def test_all_sweeps_newest_first_and_by_project(store: Store, sweep: Sweep) -> None:
    other = create_sweep(store, from_mapping({**CONFIG, "project": "else"}))
    api = Api(store)
    assert [view.id for view in api.sweeps()] == [other.id, sweep.id]
    assert [view.id for view in api.sweeps("me/proj")] == [sweep.id]
    assert sweep_config(api.sweeps("else")[0].record).project == "else"


def test_the_api_opens_the_store_that_is_used_here(
    store: Store, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BESOM_STORE", store.url)
    for api in (Api(), Api(store.url)):
        assert api.sweep(sweep.id).name == "first"
        api.close()


def test_what_is_not_there_is_said(store: Store) -> None:
    ask: list[Callable[[str], object]] = [Api(store).sweep, Api(store).run]
    for asked in ask:
        with pytest.raises(NotFoundError):
            asked("me/proj/nothing")
