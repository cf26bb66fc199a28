"""Lightning and Hydra on a real SLURM cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from besom.launch import AgentJob
from besom.records import RunState
from besom.testing.agents import Lab
from besom.testing.slurm import SlurmCluster
from besom_slurm.launcher import SlurmLauncher

EXAMPLES = Path(__file__).parents[2] / "examples" / "lightning"

APP = """
import hydra
from omegaconf import DictConfig

@hydra.main(version_base=None, config_path=None, config_name=None)
def main(cfg: DictConfig) -> float:
    return (cfg.x - 2) ** 2

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_two_tasks_of_srun_are_one_run_of_lightning(lab: Lab) -> None:
    for name in ("ddp.py", "digits.py"):
        shutil.copy(EXAMPLES / name, lab.folder)
    command = json.dumps(["srun", "--ntasks-per-node=2", sys.executable, "ddp.py"])
    sweep = lab.sweep(
        f"method: grid\nprogram: ddp.py\ncommand: {command}\nmetric: {{name: val_loss}}\n"
        "parameters: {lr: {values: [0.001, 0.01]}, epochs: {value: 1}}\n"
    )
    launcher = SlurmLauncher(sbatch=["--ntasks-per-node=2"])
    launched = launcher.launch(AgentJob(sweep.id, lab.store.url), 2)
    lab.wait(lambda: not launcher.alive(launched), 180)
    runs = lab.runs(sweep)
    assert [run.state for run in runs] == [RunState.FINISHED] * 2
    assert sorted(run.params["lr"] for run in runs) == [0.001, 0.01]
    for run in runs:
        said = [line for line in lab.output(run).splitlines() if line.startswith("rank ")]
        assert len(said) == 2, lab.output(run)
        assert {line.split()[1] for line in said} == {"0:", "1:"}
        assert len({line.partition(":")[2] for line in said}) == 1
        assert run.value is not None


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_hydra_multirun_has_its_jobs_run_by_slurm(lab: Lab, slurm: SlurmCluster) -> None:
    lab.write("app.py", APP)
    command = [sys.executable, "app.py", "-m", "hydra/sweeper=besom", "hydra/launcher=besom"]
    command += ["hydra.launcher.backend=slurm", "hydra.launcher.workers=2", "+x=1,2,3"]
    done = subprocess.run(
        command, env=os.environ, capture_output=True, text=True, timeout=150, check=False, cwd=lab.folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep,) = lab.store.list_sweeps()
    assert lab.states(sweep) == [RunState.FINISHED] * 3
    assert [run.summary for run in lab.runs(sweep)] == [{"return_value": (x - 2) ** 2} for x in (1, 2, 3)]
    jobs = {agent.job for agent in lab.store.list_agents(sweep.id)}
    assert len(jobs) == 2
    assert all(job is not None and job.startswith("slurm:") for job in jobs)
