"""Early termination of runs whose agents reach the store through a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from besom.records import HistoryRow, Outcome, Run, RunState
from besom.scheduler import Reporter, Scheduler
from besom.server.tokens import Tokens
from besom.stopping.explain import explain
from besom.store import open_store
from besom.sweep import create_sweep
from besom.sweepfile import from_mapping
from besom.testing.servers import server_options, serving

SWEEP = {
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"values": [1, 2, 3, 4]}},
}


@pytest.mark.parametrize(
    "early",
    [
        {"type": "threshold", "upper": 3},
        {"type": "asha", "min_iter": 2, "eta": 4},
        {"type": "hyperband", "min_iter": 2, "eta": 3},
        {"type": "median", "min_runs": 2},
        {"type": "wilcoxon", "p": 0.3},
    ],
    ids=lambda early: early["type"],
)
def test_an_agent_s_token_is_enough_to_stop_a_run_that_is_not_worth_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: dict[str, Any]
) -> None:
    behind = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    sweep = create_sweep(behind, from_mapping({**SWEEP, "early_terminate": early}))
    monkeypatch.setenv("BESOM_TOKEN", Tokens(tmp_path / "tokens.json").create("agent", seconds=None)[1])
    with serving(behind, server_options(tmp_path)) as url:
        store = open_store(url)
        agent = store.add_agent(sweep.id, host="here", pid=1)
        scheduler = Scheduler(store, sweep.id, agent_id=agent.id)
        actions: list[str] = []
        ids: list[str] = []
        for _ in range(4):
            run = scheduler.claim()
            assert isinstance(run, Run)
            rows = [HistoryRow(seq, seq, 0.0, {"loss": run.params["x"]}) for seq in (1, 2, 3)]
            told = Reporter(store, run.lease, sweep).report(
                rows, summary={"loss": run.params["x"]}, value=run.params["x"]
            )
            actions.append(told.action)
            ids.append(run.id)
            ending = RunState.STOPPED if told.action == "stop" else RunState.FINISHED
            store.finish(run.lease, Outcome(ending))
        last = store.get_run(ids[-1])
        assert actions[0] == "continue"
        assert actions[-1] == "stop"
        assert last.state is RunState.STOPPED
        assert last.stop_reason is not None
        assert explain(store, last).sentence == f"run {last.id} ended as stopped: {last.stop_reason}"
        store.close()
    behind.close()
