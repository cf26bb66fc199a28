"""Whole applications under besom's sweeper: isolation, early ends, agents elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from besom.records import RunState
from besom.testing.agents import Lab

pytestmark = pytest.mark.slow

APP = """
import os, sys, time
import besom, hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    if cfg.x == 1 and cfg.how == "exit":
        sys.exit(3)
    if cfg.x == 1 and cfg.how == "hard":
        os._exit(4)
    if cfg.x == 1 and cfg.how == "raise":
        raise ValueError("x is 1")
    if cfg.how == "report":
        step, deadline = 0, time.monotonic() + 60
        while step < 9 or (cfg.x > 6 and time.monotonic() < deadline):
            step += 1
            besom.report(step, loss=cfg.x + 1 / step)
        return None
    return cfg.x

if __name__ == "__main__":
    main()
"""
OPTIONS = {
    "basic": [],
    "joblib": ["hydra.launcher.n_jobs=2"],
    "besom": ["hydra.launcher.workers=2"],
}


@pytest.fixture
def sweep(lab: Lab) -> Any:
    """Run the app as a multirun in a process of its own."""
    lab.write("train.py", APP)
    lab.write("conf/config.yaml", "x: 0\nhow: well\n")

    def run(launcher: str, *overrides: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "train.py", "-m", "hydra/sweeper=besom", f"hydra/launcher={launcher}"]
        return subprocess.run(
            [*command, *OPTIONS[launcher], *overrides],
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return run


def results() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(next(Path("multirun").rglob("results.yaml")).read_text())
    return found


@pytest.mark.parametrize(
    ("launcher", "how"),
    [
        *(("basic", how) for how in ("exit", "raise")),
        *(("joblib", how) for how in ("exit", "hard", "raise")),
        *(("besom", how) for how in ("exit", "hard", "raise")),
    ],
)
def test_a_job_that_goes_wrong_fails_alone(
    lab: Lab, sweep: Any, launcher: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hydra shows whole tracebacks to programs that are traced, by coverage too.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
    done = sweep(launcher, "x=0,1,2,3", f"how={how}")
    assert done.returncode == 1, done.stdout + done.stderr
    [made] = lab.store.list_sweeps()
    assert [state.value for state in lab.states(made)] == ["finished", "failed", "finished", "finished"]
    assert results()["runs"] == {"finished": 3, "failed": 1}
    assert results()["best"]["value"] == 0
    assert sorted(path.parent.name for path in Path("multirun").rglob(".hydra")) == ["0", "1", "2", "3"]
    assert ("x is 1" in done.stderr) is (how == "raise")
    assert ("Traceback" in done.stderr) is (how == "raise")


@pytest.mark.parametrize("launcher", ["basic", "joblib", "besom"])
def test_jobs_report_and_are_stopped_early(lab: Lab, sweep: Any, launcher: str) -> None:
    done = sweep(
        launcher,
        "x=range(9)",
        "how=report",
        "hydra.sweeper.metric=loss",
        "hydra.sweeper.early_terminate={type:threshold,upper:6.5}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = lab.store.list_sweeps()
    runs = lab.runs(made)
    assert {run.params["x"]: run.state.value for run in runs if run.params["x"] != 6} == {
        x: "stopped" if x > 6 else "finished" for x in (0, 1, 2, 3, 4, 5, 7, 8)
    }
    assert all(run.value is not None for run in runs)
    assert results()["best"]["overrides"] == ["x=0", "how=report"]
    assert results()["best"]["value"] == pytest.approx(1 / 9)


def test_without_waiting_agents_run_the_sweep_and_the_command_tells_how_it_went(lab: Lab, sweep: Any) -> None:
    done = sweep("besom", "x=1,2", "hydra.launcher.wait=false")
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = lab.store.list_sweeps()
    assert made.id in done.stdout
    assert lab.runs(made) == []
    agent = subprocess.run(
        [sys.executable, "-m", "besom", "agent", made.id], capture_output=True, text=True, check=False
    )
    assert agent.returncode == 0, agent.stdout + agent.stderr
    assert [(run.state, run.summary["return_value"]) for run in lab.runs(made)] == [
        (RunState.FINISHED, 1),
        (RunState.FINISHED, 2),
    ]
    assert sweep("besom", "x=1,2").returncode == 0
    assert results()["best"]["overrides"] == ["x=1"]


@pytest.mark.parametrize("sweeper", ["besom", "basic"])
def test_agents_in_any_folder_run_an_app_that_is_a_module(lab: Lab, sweeper: str) -> None:
    lab.write("pkg/__init__.py", "")
    lab.write("pkg/model.py", "WIDTH = 2\n")
    lab.write("pkg/conf/config.yaml", "x: 0\n")
    app = APP.replace("import besom, hydra", "import hydra\nfrom .model import WIDTH")
    lab.write("pkg/train.py", app.replace("return cfg.x", "return WIDTH * cfg.x").replace("cfg.how", "''"))
    command = [sys.executable, "-m", "pkg.train", "-m", f"hydra/sweeper={sweeper}", "hydra/launcher=besom"]
    done = subprocess.run(
        [*command, "hydra.launcher.wait=false", "x=1,2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = lab.store.list_sweeps()
    elsewhere = lab.folder / "elsewhere"
    elsewhere.mkdir()
    agent = [sys.executable, "-m", "besom", "agent", made.id]
    left = subprocess.run(agent, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert left.returncode == 0, left.stdout + left.stderr
    assert [run.summary for run in lab.runs(made)] == [{"return_value": 2}, {"return_value": 4}]


def test_two_sweepers_share_a_sweep(lab: Lab, sweep: Any) -> None:
    lab.write("conf/config.yaml", "x: 0\nhow: well\n")
    command = [sys.executable, "train.py", "-m", "hydra/sweeper=besom", "hydra/launcher=besom", "x=range(12)"]
    command += ["hydra.sweep.dir=out", "hydra.launcher.workers=1"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    lab.wait(lab.store.list_sweeps)
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert first.wait(60) == second.returncode == 0, second.stdout + second.stderr
    [made] = lab.store.list_sweeps()
    assert [run.attempt for run in lab.runs(made)] == [1] * 12
    assert sorted(int(path.parent.name) for path in Path("out").rglob(".hydra")) == list(range(12))
