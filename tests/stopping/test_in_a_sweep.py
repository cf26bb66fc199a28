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


@pytest.mark.slow
def test_an_agent_ends_the_run_that_falls_behind_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        TRAIN.replace("range(400)", 'range(5 if run.config["x"] < 9 else 400)')
    )
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "besom", "run", "sweep.yaml"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    store = open_store(f"sqlite:///{tmp_path / '.besom' / 'besom.db'}")
    runs = store.list_runs(store.list_sweeps()[0].id)
    assert [run.state for run in runs] == [RunState.FINISHED, RunState.FINISHED, RunState.STOPPED]
    assert runs[2].stop_reason is not None
    assert "loss 9 at report 3 is worse than the threshold 2 of 3 runs" in runs[2].stop_reason
    assert len(store.history(runs[2].id)) < 100
    assert store.run_marks(runs[0].id) == {3: 1.0}
    store.close()
