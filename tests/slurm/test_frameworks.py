"""Lightning and Hydra on a real SLURM cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from besom.errors import RunFailedError, UsageError
from besom.launch import AgentJob, Launched
from besom.records import RunState, Sweep
from besom.store import open_store
from besom.testing.agents import Lab
from besom.testing.slurm import SlurmCluster
from besom_hydra.agents import hand_over
from besom_hydra.work import LaunchOptions
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
    command += ["+hydra.launcher.backend_options={partition: main, sbatch: ['--comment=multirun']}"]
    done = subprocess.run(
        command, env=os.environ, capture_output=True, text=True, timeout=150, check=False, cwd=lab.folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep,) = lab.store.list_sweeps()
    assert lab.states(sweep) == [RunState.FINISHED] * 3
    assert [run.summary for run in lab.runs(sweep)] == [{"return_value": (x - 2) ** 2} for x in (1, 2, 3)]
    jobs = {agent.job for agent in lab.store.list_agents(sweep.id)}
    assert len(jobs) == 2
    for one in jobs:
        assert one is not None
        assert "Comment=multirun" in slurm.run("scontrol", "show", "job", one.removeprefix("slurm:"))
    assert all(job is not None and job.startswith("slurm:") for job in jobs)


def wait_for(lab: Lab, sweep: Sweep, **options: Any) -> None:
    """Do what a multirun does for a sweep whose one job SLURM runs."""
    with closing(open_store(lab.store.url)) as store:
        hand_over(store, sweep.id, LaunchOptions(backend="slurm", workers=1, **options), lambda run: None)


@pytest.mark.slow
def test_a_multirun_waits_for_a_job_that_queues_up_again(
    lab: Lab, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("besom_hydra.agents._SILENCE", 0.5)
    monkeypatch.setattr("besom_hydra.agents._ASK", 0.1)
    asked: list[int] = []
    alive = SlurmLauncher.alive

    def count(launcher: SlurmLauncher, launched: Sequence[Launched]) -> Sequence[Launched]:
        asked.append(len(launched))
        return alive(launcher, launched)

    monkeypatch.setattr(SlurmLauncher, "alive", count)
    sweep = lab.shell_sweep("echo $$; while [ ! -e go ]; do sleep 0.05; done")
    with ThreadPoolExecutor(1) as threads:
        multirun = threads.submit(wait_for, lab, sweep)
        lab.wait(lambda: any(lab.output(run) for run in lab.runs(sweep)), 60)
        (one,) = slurm.run("squeue", "--noheader", "--format=%i").split()
        slurm.run("scontrol", "requeue", one)
        lab.wait(lambda: slurm.run("squeue", "--noheader", "--format=%t").split() == ["PD"], 60)
        before = len(asked)
        lab.wait(lambda: len(asked) > before + 2 or multirun.done(), 60)
        assert not multirun.done()
        (lab.folder / "go").touch()
        slurm.start_again(one)
        multirun.result(60)
    assert lab.states(sweep) == [RunState.FINISHED]


@pytest.mark.slow
def test_a_multirun_whose_jobs_end_before_they_begin_says_so(
    lab: Lab, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("besom_hydra.agents._ASK", 0.1)
    sweep = lab.shell_sweep("true")
    with ThreadPoolExecutor(1) as threads:
        multirun = threads.submit(wait_for, lab, sweep, backend_options={"sbatch": ["--hold"]})
        lab.wait(lambda: bool(slurm.run("squeue", "--noheader").strip()), 60)
        slurm.cancel_all()
        with pytest.raises(RunFailedError, match="no agent works on sweep"):
            multirun.result(60)


def test_a_job_that_takes_gpus_asks_slurm_for_them(lab: Lab) -> None:
    sweep = lab.shell_sweep("true")
    # Which this cluster does not have.
    with pytest.raises(UsageError, match="sbatch: "):
        wait_for(lab, sweep, gpus_per_job=2)
    with pytest.raises(UsageError, match="no setting 'gravity'"):
        wait_for(lab, sweep, backend_options={"gravity": 1})
