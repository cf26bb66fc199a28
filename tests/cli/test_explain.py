from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from besom.store import open_store

Invoke = Callable[..., Result]

ASHA = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
early_terminate: {type: asha, min_iter: 3, eta: 2}
parameters:
  x: {values: [3, 9]}
"""


@pytest.fixture
def runs(folder: Path, call: Callable[..., object]) -> list[str]:
    """The ids of two runs of a sweep with early termination, the better one first."""
    (folder / "sweep.yaml").write_text(ASHA)
    call("run", "sweep.yaml")
    store = open_store(f"sqlite:///{folder / '.besom' / 'besom.db'}")
    ids = [run.id for run in store.list_runs(store.list_sweeps()[0].id)]
    store.close()
    return ids


@pytest.mark.slow
def test_explain_says_why_in_one_sentence(runs: list[str], invoke: Invoke) -> None:
    kept, worse = (invoke("explain", run).stdout for run in runs)
    assert kept == (
        f"run {runs[0]} ended as finished, nothing stopped it: asha: loss 0 at report 3 is among the best of"
        " 2 runs (threshold 0, eta 2)\n"
    )
    assert "loss 36 at report 3 is not among the best of 2 runs (threshold 0, eta 2)" in worse


@pytest.mark.slow
def test_explain_prints_json_for_programs(runs: list[str], invoke: Invoke) -> None:
    found = json.loads(invoke("explain", runs[0], "--json").stdout)
    assert found.keys() == {"run", "state", "stopped", "by", "sentence", "verdict", "rungs"}
    assert found["by"] == "asha"
    assert found["rungs"] == [{"rung": 3, "value": 0.0, "rank": 1, "runs": 2}]


def test_explaining_a_run_that_is_not_there_is_an_error(created: str, invoke: Invoke) -> None:
    del created
    result = invoke("explain", "nonesuch")
    assert result.exit_code == 3
    assert "no run" in result.stderr
