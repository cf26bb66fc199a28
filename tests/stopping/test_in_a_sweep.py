from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from besom.records import RunState
from besom.store import open_store

TRAIN = """
import time
import besom

with besom.init() as run:
    for step in range(400):
        run.log({"loss": run.config["x"]})
        if step >= 4:
            time.sleep(0.05)
        run.check_stop()
"""

SWEEP = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
early_terminate: {type: hyperband, min_iter: 3, eta: 2}
parameters: {x: {values: [1, 2, 9]}}
"""


EPOCHS = """
import time
import besom

with besom.init() as run:
    every = run.config["every"]
    for epoch in range(1, 200):
        run.log({"epoch": epoch})
        if epoch % every == 0:
            run.log({"loss": run.config["every"]})
        if epoch > 4 and every > 1:
            time.sleep(0.05)
        run.check_stop()
"""

ON_EPOCHS = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
early_terminate: {type: asha, min_iter: 4, eta: 2, resource: epoch}
parameters: {every: {values: [1, 2]}}
"""


@pytest.mark.slow
def test_runs_that_report_at_different_intervals_are_compared_at_the_same_epoch(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(EPOCHS)
    (tmp_path / "sweep.yaml").write_text(ON_EPOCHS)
    done = besom_run(tmp_path)
    assert done.returncode == 0, done.stderr
    store = open_store(f"sqlite:///{tmp_path / '.besom' / 'besom.db'}")
    often, seldom = store.list_runs(store.list_sweeps()[0].id)
    store.close()
    assert [often.state, seldom.state] == [RunState.FINISHED, RunState.STOPPED]
    assert seldom.stop_reason is not None
    assert seldom.stop_reason.startswith("asha: loss 2 at epoch 4 is not among the best of 2 runs")


def besom_run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the sweep in a folder to its end, with nothing of besom's set."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "besom", "run", "sweep.yaml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_an_agent_ends_the_run_that_falls_behind_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        TRAIN.replace("range(400)", 'range(5 if run.config["x"] < 9 else 400)')
    )
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    done = besom_run(tmp_path)
    assert done.returncode == 0, done.stderr
    store = open_store(f"sqlite:///{tmp_path / '.besom' / 'besom.db'}")
    runs = store.list_runs(store.list_sweeps()[0].id)
    assert [run.state for run in runs] == [RunState.FINISHED, RunState.FINISHED, RunState.STOPPED]
    assert runs[2].stop_reason is not None
    assert "loss 9 at report 3 is worse than the threshold 2 of 3 runs" in runs[2].stop_reason
    assert len(store.history(runs[2].id)) < 100
    assert store.run_marks(runs[0].id) == {3: 1.0}
    store.close()
