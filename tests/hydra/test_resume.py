"""The same command again: what a sweep goes on with, and when it begins anew."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from besom.records import RunState
from besom.sweep import cancel_sweep, stop_sweep
from besom.testing.agents import Lab

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIG = "x: 0\ny: 0\n"
GRID = ["x=1,2,3", "y=5"]
SEARCH = ["x=interval(0,10)", "hydra.sweeper.method=random", "hydra.sweeper.seed=1"]


@pytest.fixture(autouse=True)
def config(lab: Lab) -> None:
    lab.write("conf/config.yaml", CONFIG)


class Task:
    """Returns x, after failing as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[float] = []
        self.failures = failures

    def __call__(self, cfg: DictConfig) -> float:
        self.calls.append(cfg.x)
        if self.failures:
            self.failures -= 1
            raise ValueError("not yet")
        return float(cfg.x)


def folders(root: str = "multirun") -> list[str]:
    return sorted(str(path.parent) for path in Path(root).rglob(".hydra"))


def test_a_finished_grid_is_not_run_again_and_gives_what_it_gave(lab: Lab, multirun: Any) -> None:
    task = Task()
    [first] = multirun(task, *GRID)
    [again] = multirun(task, *GRID)
    assert task.calls == [1, 2, 3]
    for one, other in zip(first, again, strict=True):
        assert one.return_value == other.return_value
        assert one.overrides == other.overrides
        assert one.cfg == other.cfg
        assert one.hydra_cfg.hydra.job.num == other.hydra_cfg.hydra.job.num
        assert one.hydra_cfg.hydra.runtime == other.hydra_cfg.hydra.runtime
        assert one.working_dir == other.working_dir
        assert one.task_name == other.task_name
    assert len(lab.store.list_sweeps()) == 1


def test_it_goes_on_in_its_folder_although_the_time_in_its_name_has_passed(lab: Lab, multirun: Any) -> None:
    policy = "hydra.sweep.dir=at/${now:%s-%f}"
    with pytest.raises(ValueError, match="not yet"):
        multirun(Task(failures=1), *GRID, policy)
    before = folders("at")
    [jobs] = multirun(Task(), *GRID, policy)
    assert folders("at") == before
    assert len(before) == 3
    assert jobs[0].hydra_cfg.hydra.runtime.output_dir == str(Path(before[0]).absolute())
    assert jobs[0].overrides == ["x=1", "y=5"]


def test_what_failed_in_a_grid_is_tried_again(lab: Lab, multirun: Any) -> None:
    with pytest.raises(ValueError, match="not yet"):
        multirun(Task(failures=2), *GRID)
    task = Task()
    [jobs] = multirun(task, *GRID)
    assert task.calls == [1, 2]
    assert [job.return_value for job in jobs] == [1, 2, 3]


def test_what_failed_in_a_search_counts(lab: Lab, multirun: Any) -> None:
    multirun(Task(failures=2), *SEARCH, "hydra.sweeper.count=4")
    task = Task()
    multirun(task, *SEARCH, "hydra.sweeper.count=4")
    assert task.calls == []


def test_count_is_a_total(lab: Lab, multirun: Any) -> None:
    task = Task()
    multirun(task, *SEARCH, "hydra.sweeper.count=3")
    [jobs] = multirun(task, *SEARCH, "hydra.sweeper.count=5")
    assert len(task.calls) == len(set(task.calls)) == 5
    assert [job.return_value for job in jobs] == task.calls
    multirun(task, *SEARCH, "hydra.sweeper.count=2")
    assert len(task.calls) == 5
    assert [Path(folder).name for folder in folders()] == ["0", "1", "2", "3", "4"]


def test_what_was_interrupted_comes_back_in_its_folder(lab: Lab, multirun: Any) -> None:
    def interrupted(cfg: DictConfig) -> float:
        if cfg.x == 2:
            raise KeyboardInterrupt
        return float(cfg.x)

    with pytest.raises(KeyboardInterrupt):
        multirun(interrupted, *GRID)
    task = Task()
    [jobs] = multirun(task, *GRID)
    assert task.calls == [2, 3]
    assert [job.return_value for job in jobs] == [1, 2, 3]
    assert len(folders()) == 3


@pytest.mark.parametrize(
    "other",
    [
        ["x=1,2,3,4", "y=5"],
        ["x=1,2,3", "y=6"],
        ["x=1,3,2", "y=5"],
        ["y=5", "+x2=1", "x=1,2,3"],
        [*GRID, "hydra.sweeper.metric={goal:maximize}"],
        [*GRID, "hydra.sweeper.method=random"],
        [*GRID, "hydra.sweep.dir=elsewhere"],
        [*GRID, "hydra.sweeper.resume=new"],
    ],
)
def test_another_question_is_another_sweep(lab: Lab, multirun: Any, other: list[str]) -> None:
    multirun(Task(), *GRID)
    task = Task()
    multirun(task, *other)
    assert len(task.calls) >= 3
    assert len(lab.store.list_sweeps()) == 2


@pytest.mark.parametrize("again", [["hydra.sweeper.parallel=2"], ["hydra.sweeper.max_batch_size=1"]])
def test_how_it_is_run_does_not_make_it_another_sweep(lab: Lab, multirun: Any, again: list[str]) -> None:
    multirun(Task(), *GRID)
    multirun(Task(), *GRID, *again)
    assert len(lab.store.list_sweeps()) == 1


def test_a_shuffled_axis_does_not_make_it_another_sweep(lab: Lab, multirun: Any) -> None:
    task = Task()
    for _ in range(3):
        multirun(task, "x=shuffle(range(6))")
    assert sorted(task.calls) == [0, 1, 2, 3, 4, 5]


def test_a_changed_config_is_another_sweep(
    lab: Lab, multirun: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    multirun(Task(), *GRID)
    task = Task()
    multirun(task, *GRID, config="x: 0\ny: 0\nepochs: 3\n")
    assert task.calls == [1, 2, 3]
    assert "The app's config has changed since sweep" in capfd.readouterr().out


def test_a_named_sweep_goes_on_without_the_overrides_that_began_it(lab: Lab, multirun: Any) -> None:
    with pytest.raises(ValueError, match="not yet"):
        multirun(Task(failures=1), *GRID, "+tags=[a],[b]")
    [sweep] = lab.store.list_sweeps()
    task = Task()
    [jobs] = multirun(task, f"hydra.sweeper.resume={sweep.id}")
    assert task.calls == [1]
    assert [job.overrides for job in jobs][:2] == [["x=1", "y=5", "+tags=[a]"], ["x=1", "y=5", "+tags=[b]"]]


def test_a_named_sweep_must_be_the_one_that_the_command_asks_for(lab: Lab, multirun: Any) -> None:
    from hydra.errors import HydraException

    multirun(Task(), *GRID)
    [sweep] = lab.store.list_sweeps()
    with pytest.raises(HydraException, match="asks something else than this command"):
        multirun(Task(), "x=7,8", f"hydra.sweeper.resume={sweep.id}")
    other = lab.shell_sweep("true")
    with pytest.raises(HydraException, match="was not begun by Hydra's multirun"):
        multirun(Task(), *GRID, f"hydra.sweeper.resume={other.id}")


def test_a_stopped_sweep_goes_on_and_a_canceled_one_does_not(lab: Lab, multirun: Any) -> None:
    def stop(cfg: DictConfig) -> float:
        [sweep] = lab.store.list_sweeps()
        if lab.store.get_sweep(sweep.id).state.value == "running":
            stop_sweep(lab.store, sweep.id)
        return float(cfg.x)

    multirun(stop, *GRID, "hydra.sweeper.max_batch_size=1")
    task = Task()
    multirun(task, *GRID)
    assert task.calls == [2, 3]
    task = Task(failures=1)
    with pytest.raises(ValueError, match="not yet"):
        multirun(task, "x=5,6", "hydra.sweeper.fail_fast=true")
    cancel_sweep(lab.store, lab.store.list_sweeps()[0].id)
    task = Task()
    multirun(task, "x=5,6")
    assert task.calls == [5, 6]


def test_a_new_sweep_puts_what_an_earlier_one_left_in_its_folder_aside(lab: Lab, multirun: Any) -> None:
    fixed = "hydra.sweep.dir=out"
    multirun(Task(), "x=1,2", fixed)
    [first] = lab.store.list_sweeps()
    Path("out/notes.txt").write_text("mine")
    multirun(Task(), "x=3", fixed)
    assert folders("out") == ["out/0", f"out/earlier/{first.id}/0", f"out/earlier/{first.id}/1"]
    assert Path("out/notes.txt").exists()
    assert yaml.safe_load(Path("out/results.yaml").read_text())["best"]["value"] == 3
    assert yaml.safe_load(Path(f"out/earlier/{first.id}/results.yaml").read_text())["sweep"] == first.id


def test_the_best_run_can_be_pasted(lab: Lab, multirun: Any) -> None:
    multirun(Task(), "+name='a b','it\\'s $x'", "x=1")
    [sweep] = lab.store.list_sweeps()
    results = next(Path("multirun").rglob("results.yaml"))
    best = yaml.safe_load(results.read_text())["best"]
    assert best["run"] == lab.runs(sweep)[0].id
    assert shlex.split(best["command"])[-2:] == best["overrides"] == ["+name='a b'", "x=1"]


# ---- whole processes

APP = """
import os, sys, time
from pathlib import Path
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    with open("calls", "a") as calls:
        calls.write(f"{cfg.x}\\n")
    if cfg.x == 3 and not Path("go").exists():
        Path("here").touch()
        time.sleep(600)
    return cfg.x

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "besom"])
def test_a_killed_sweeper_loses_nothing(lab: Lab, launcher: str) -> None:
    lab.write("train.py", APP)
    options = {"joblib": ["hydra.launcher.n_jobs=2"], "besom": ["hydra.launcher.workers=2"]}.get(launcher, [])
    command = [
        sys.executable,
        "train.py",
        "-m",
        "hydra/sweeper=besom",
        f"hydra/launcher={launcher}",
        *options,
    ]
    command += ["x=1,2,3,4,5"]
    first = subprocess.Popen(command, start_new_session=True)
    try:
        lab.wait(Path("here").exists, 60)
        [sweep] = lab.store.list_sweeps()
        lab.wait(lambda: lab.states(sweep).count(RunState.FINISHED) >= 2, 60)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    finished = {str(run.params["x"]) for run in lab.runs(sweep) if run.state is RunState.FINISHED}
    Path("go").touch()
    before = Path("calls").read_text().split()
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert again.returncode == 0, again.stdout + again.stderr
    assert lab.states(sweep) == [RunState.FINISHED] * 5
    calls = Path("calls").read_text().split()
    assert set(calls) == {"1", "2", "3", "4", "5"}
    assert finished.isdisjoint(calls[len(before) :])
    assert sorted(Path(folder).name for folder in folders()) == ["0", "1", "2", "3", "4"]
    results = yaml.safe_load(next(Path("multirun").rglob("results.yaml")).read_text())
    assert results["runs"] == {"finished": 5}


@pytest.mark.slow
def test_a_mended_program_goes_on_with_its_sweep_and_begins_a_finished_one_anew(lab: Lab) -> None:
    command = [sys.executable, "train.py", "-m", "hydra/sweeper=besom", "x=1,2"]

    def run(body: str) -> str:
        lab.write("train.py", APP.replace("return cfg.x", body))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "ZeroDivisionError" in run("return 1 / (cfg.x - 1)")
    assert "it goes on with the new one" in run("return cfg.x")
    assert Path("calls").read_text().split() == ["1", "2", "1"]
    assert "so this is a new one" in run("return 2 * cfg.x")
    assert "so this is a new one" not in run("return 2 * cfg.x")
    assert Path("calls").read_text().split() == ["1", "2", "1", "1", "2"]
    assert len(lab.store.list_sweeps()) == 2
