"""Hydra on a real Ray cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from besom.errors import RunFailedError
from besom.records import RunState
from besom.store import open_store
from besom.testing.agents import Lab
from besom.testing.ray import GPUS, RayCluster
from besom_hydra.agents import hand_over
from besom_hydra.work import LaunchOptions
from besom_ray.cluster import RayRefusedError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

APP = """
import os

import hydra
from omegaconf import DictConfig

@hydra.main(version_base=None, config_path=None, config_name=None)
def main(cfg: DictConfig) -> float:
    print("gpus", os.environ["CUDA_VISIBLE_DEVICES"])
    return (cfg.x - 2) ** 2

if __name__ == "__main__":
    main()
"""


def test_a_hydra_multirun_has_its_jobs_run_by_ray(lab: Lab, ray: RayCluster) -> None:
    lab.write("app.py", APP)
    command = [sys.executable, "app.py", "-m", "hydra/sweeper=besom", "hydra/launcher=besom"]
    command += ["hydra.launcher.backend=ray", "hydra.launcher.workers=2", "hydra.launcher.gpus_per_job=1"]
    command += ["+x=1,2,3", "+hydra.launcher.backend_options={cpus: 2, memory: 100M, env: ['MINE=me']}"]
    done = subprocess.run(
        command, env=os.environ, capture_output=True, text=True, timeout=150, check=False, cwd=lab.folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep,) = lab.store.list_sweeps()
    runs = lab.runs(sweep)
    assert [run.summary for run in runs] == [{"return_value": (x - 2) ** 2} for x in (1, 2, 3)]
    assert {line for run in runs for line in lab.output(run).splitlines() if "gpus" in line} <= {
        f"gpus {number}" for number in range(GPUS)
    }
    jobs = {str(agent.job) for agent in lab.store.list_agents(sweep.id)}
    assert len(jobs) == 2
    for one in jobs:
        told = ray.ask(f"/api/jobs/{one.removeprefix('ray:')}")
        assert told["runtime_env"]["env_vars"]["MINE"] == "me"


def test_a_multirun_whose_jobs_end_before_they_begin_says_so(
    lab: Lab, ray: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("besom_hydra.agents._ASK", 0.1)
    sweep = lab.shell_sweep("true")
    options = LaunchOptions(
        backend="ray", workers=1, backend_options={"own_store": True, "env": ["BESOM_STORE=nowhere"]}
    )

    def multirun() -> None:
        with closing(open_store(lab.store.url)) as store:
            hand_over(store, sweep.id, options, lambda run: None)

    with ThreadPoolExecutor(1) as threads, pytest.raises(RunFailedError, match="no agent works on sweep"):
        threads.submit(multirun).result(60)
    assert lab.states(sweep) == []


def test_a_job_that_takes_gpus_asks_ray_for_them(lab: Lab, ray: RayCluster) -> None:
    options = LaunchOptions(
        backend="ray", workers=1, gpus_per_job=2, backend_options={"resources": ["GPU=1"]}
    )
    sweep = lab.shell_sweep("true")
    # Ray takes GPUs by one of its words only.
    with closing(open_store(lab.store.url)) as store, pytest.raises(RayRefusedError, match="num_gpus"):
        hand_over(store, sweep.id, options, lambda run: None)
    assert RunState.FINISHED not in lab.states(sweep)
