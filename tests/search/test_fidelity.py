from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from besom.records import HistoryRow, Observation, Outcome, Run, RunState
from besom.scheduler import Reporter, Scheduler
from besom.search.bayes.fidelity import Losses, comparable, enough_runs
from besom.search.bayes.method import Bayes
from besom.search.bayes.points import Translation
from besom.search.bayes.records import Ledger
from besom.store import open_store
from besom.sweep import create_sweep
from besom.sweepfile import from_mapping

NAN = float("nan")


def test_a_rung_is_enough_with_two_runs_more_than_there_are_axes() -> None:
    assert enough_runs(4) == 6


def test_the_highest_rung_with_enough_runs_is_taken() -> None:
    losses = np.array([[9.0, 5.0, 1.0], [8.0, 6.0, NAN], [7.0, NAN, NAN]])
    assert comparable(losses, 1)[0] == 1.0
    assert comparable(losses, 2)[:2].tolist() == [5.0, 6.0]
    assert comparable(losses, 3).tolist() == [9.0, 8.0, 7.0]


def test_without_enough_runs_anywhere_the_rung_with_most_is_taken() -> None:
    assert comparable(np.array([[9.0, 5.0], [8.0, 6.0]]), 10).tolist() == [5.0, 6.0]
    assert comparable(np.array([[9.0, 5.0], [8.0, NAN]]), 10).tolist() == [9.0, 8.0]


def test_a_run_that_stopped_below_is_carried_up_by_what_the_others_gained() -> None:
    losses = np.array([[9.0, 5.0, 1.0], [8.0, 6.0, 2.0], [8.5, 5.5, 1.5], [20.0, NAN, NAN], [NAN, 7.0, NAN]])
    assert comparable(losses, 3).tolist() == [1.0, 2.0, 1.5, 13.0, 3.0]


def test_a_run_without_any_loss_says_nothing() -> None:
    found = comparable(np.array([[9.0], [NAN]]), 1)
    assert found[0] == 9.0
    assert np.isnan(found[1])
    assert np.isnan(comparable(np.empty((2, 0)), 1)).all()


def test_the_table_grows_by_runs_and_by_rungs() -> None:
    losses = Losses()
    for run in range(200):
        losses.put(run, {rung: run + rung / 100 for rung in range(run % 12 + 1)})
    assert losses.of(np.array([11, 130]))[:, :2].tolist() == [[11.0, 11.01], [130.0, 130.01]]
    assert losses.of(np.array([11])).shape == (1, 12)


def _ledger() -> Ledger:
    config = from_mapping(
        {"method": "bayes", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    )
    return Ledger(Translation(config.space), config.metric, config.metrics)


def test_a_stopped_run_is_not_taken_for_as_good_as_where_it_stopped() -> None:
    ledger = _ledger()
    ended = [(0.1, 1.0), (0.2, 2.0), (0.3, 3.0)]
    told = [
        Observation(f"r{x}", RunState.FINISHED, {"x": x}, value, number, marks={3: value + 6.0})
        for number, (x, value) in enumerate(ended, start=1)
    ]
    stopped = Observation("s", RunState.STOPPED, {"x": 0.9}, 9.5, 4, marks={3: 9.5})
    ledger.update([*told, stopped])
    assert ledger.evidence(()).values.tolist() == [1.0, 2.0, 3.0, 3.5]


def test_without_rungs_a_stopped_run_counts_with_its_value() -> None:
    ledger = _ledger()
    ledger.update([Observation("s", RunState.STOPPED, {"x": 0.9}, 9.5, 1)])
    assert ledger.evidence(()).values.tolist() == [9.5]


@pytest.mark.parametrize("kind", ["asha", "patience"])
def test_a_sweep_tells_bayes_the_marks_where_runs_stop_at_rungs(tmp_path: Path, kind: str) -> None:
    early = (
        {"type": "asha", "min_iter": 1, "eta": 2} if kind == "asha" else {"type": "patience", "patience": 9}
    )
    config = {
        "method": "bayes",
        "metric": {"name": "loss", "goal": "maximize"},
        "early_terminate": early,
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
    }
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    sweep = create_sweep(store, from_mapping(config))
    scheduler = Scheduler(store, sweep.id, agent_id=store.add_agent(sweep.id, host="h", pid=1).id)
    run = scheduler.claim()
    assert isinstance(run, Run)
    reporter = Reporter(store, run.lease, sweep)
    reporter.report([HistoryRow(seq, seq, 0.0, {"loss": seq / 4}) for seq in (1, 2, 3)], value=0.75)
    store.finish(run.lease, Outcome(RunState.FINISHED, summary={"loss": 0.75}, value=0.75))
    scheduler.claim()
    method = scheduler.method
    assert isinstance(method, Bayes)
    losses = method._ledger._losses
    if kind == "patience":
        assert losses is None
    else:
        assert losses is not None
        assert losses.of(np.array([0])).tolist() == [[-0.25, -0.5, -0.75]]
    store.close()
