"""The page about scaling is walked as it stands, with a PostgreSQL database of the test's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from besom.records import RunState
from besom.store import open_store
from besom.testing.pages import page_script

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


@pytest.mark.slow
def test_every_step_from_a_laptop_to_a_server_finishes_the_same_grid(
    tmp_path: Path, postgres_url: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "DATABASE": postgres_url,
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["bash", "-c", page_script(PAGE, read_only={"text"})],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = open_store(postgres_url)
    (sweep,) = store.list_sweeps()
    runs = store.list_runs(sweep.id)
    store.close()
    assert sorted((run.params["lr"], run.params["layers"]) for run in runs) == [
        (lr, layers) for lr in (0.003, 0.01, 0.03, 0.1) for layers in (1, 2)
    ]
    assert {(run.state, run.attempt) for run in runs} == {(RunState.FINISHED, 1)}
