"""Every example is run as its page says, in a copy of its folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning.pytorch")
pytest.importorskip("sklearn")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(360)]  # a busy machine takes its time

EXAMPLES = Path(__file__).parents[2] / "examples" / "lightning"
Do = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    there = tmp_path / "lightning"
    shutil.copytree(EXAMPLES, there, ignore=shutil.ignore_patterns("__pycache__", ".besom", "lightning_logs"))
    (there / ".besom").mkdir()
    return there


@pytest.fixture
def do(folder: Path) -> Do:
    """Run a command in (a folder of) the examples; it must go well. Gives what it prints."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"

    def run(*words: str, within: str = ".") -> str:
        done = subprocess.run(
            words,
            cwd=folder / within,
            env={**own, "PATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


def runs_of(do: Do) -> list[dict[str, Any]]:
    [sweep] = json.loads(do("besom", "ls", "--json"))
    runs: list[dict[str, Any]] = json.loads(do("besom", "ls", sweep["id"], "--json"))
    return runs


def test_the_script_trains_alone(do: Do) -> None:
    assert "after 160 steps" in do("python", "train.py")


def test_the_script_is_swept_and_the_worst_runs_end_early(do: Do) -> None:
    do("besom", "run", "sweep.yaml")
    runs = runs_of(do)
    assert len(runs) == 6
    assert {run["state"] for run in runs} == {"finished", "stopped"}
    assert max(run["value"] for run in runs) > 0.9


def test_a_command_line_program_is_checked_and_swept_without_a_change(do: Do, folder: Path) -> None:
    do("besom", "check", "sweep_cli.yaml")
    do("besom", "run", "sweep_cli.yaml")
    runs = runs_of(do)
    assert [run["state"] for run in runs] == ["finished"] * 4
    assert all(run["summary"]["epoch"] == 4 for run in runs)
    assert not (folder / "lightning_logs").exists()


def test_sweep_cli_is_swept(do: Do, folder: Path) -> None:
    do("besom", "check", "sweep_sweep_cli.yaml")
    do("besom", "run", "sweep_sweep_cli.yaml")
    runs = runs_of(do)
    assert [run["state"] for run in runs] == ["finished"] * 2
    for run in runs:
        own = folder / ".besom" / "runs" / run["id"]
        assert f"lr: {run['params']['model.lr']}" in (own / "config.yaml").read_text()
        assert list((own / "checkpoints").glob("*.ckpt"))


def test_two_processes_train_one_run(do: Do) -> None:
    do("besom", "run", "sweep_ddp.yaml")
    runs = runs_of(do)
    assert [run["state"] for run in runs] == ["finished"] * 2
    for run in runs:
        printed = do("besom", "logs", run["id"])
        for rank in (0, 1):
            assert f"rank {rank}: lr {run['params']['lr']}, 40 steps" in printed


def test_a_preempted_run_goes_on_where_it_was(do: Do) -> None:
    do("besom", "run", "sweep.yaml", within="resume")
    [run] = runs_of(do)
    assert (run["state"], run["attempt"]) == ("finished", 2)
    printed = do("besom", "logs", run["id"])
    assert "attempt 2 begins with preempted.ckpt" in printed
    assert "done after 120 steps in 6 epochs" in printed


def test_a_hydra_program_is_swept(do: Do) -> None:
    do("python", "train.py", within="hydra")
    do("python", "train.py", "-m", "hparams_search=digits", within="hydra")
    runs = runs_of(do)
    assert [run["state"] for run in runs] == ["finished"] * 4
    assert all("val_acc" in run["summary"] for run in runs)


def test_the_batch_script_runs_an_agent(do: Do) -> None:
    sweep = do("besom", "sweep", "sweep_sweep_cli.yaml").strip()
    do("bash", "slurm.sbatch", sweep)
    assert [run["state"] for run in runs_of(do)] == ["finished"] * 2
