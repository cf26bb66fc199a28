"""How jobs run under besom's launcher: each in a process of its own, and what its end means."""

from __future__ import annotations

import faulthandler
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobStatus

from besom.errors import RunFailedError, RunStopped
from besom.records import RunState
from besom.testing.agents import Lab

OURS = ("hydra/launcher=besom", "hydra.launcher.workers=2")
METRIC = ("hydra.sweeper.metric={name: loss, goal: minimize}",)
Multirun = Callable[..., Any]


def misbehave(how: str) -> object:
    if how == "raise":
        raise ValueError("no good")
    if how == "exit":
        sys.exit(3)
    if how == "os-exit":
        os._exit(0)
    if how == "segfault":
        faulthandler.disable()  # pytest's
        os.kill(os.getpid(), 11)
    if how == "kill":
        os.kill(os.getpid(), 9)
    return {"none": None, "nan": float("nan"), "text": "high"}[how]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", "ValueError: no good"),
        ("exit", "sys.exit"),
        ("os-exit", "before its function returned"),
        ("segfault", "SIGSEGV"),
        ("kill", "SIGKILL"),
        ("none", "returned nothing"),
        ("nan", "NaN"),
        ("text", "no number"),
    ],
)
def test_a_job_that_misbehaves_fails_alone(lab: Lab, multirun: Multirun, how: str, says: str) -> None:
    def task(cfg: Any) -> object:
        return misbehave(how) if cfg.x == 1 else float(cfg.x)

    multirun(task, *OURS, *METRIC, "x=0,1,2,3", "hydra.sweep.dir=out")
    runs = lab.store.list_runs(lab.store.list_sweeps()[0].id)
    assert [run.state.value for run in runs] == ["finished", "failed", "finished", "finished"]
    assert says in str(runs[1].error)
    assert [run.value for run in runs] == [0.0, None, 2.0, 3.0]


@pytest.fixture(autouse=True)
def config(lab: Lab) -> None:
    lab.write("conf/config.yaml", "x: 0\nname: a\n")


def launch(lab: Lab, task: Callable[[Any], object], batch: list[list[str]], *overrides: str) -> Any:
    """Run a batch as a sweeper that knows nothing of besom does."""
    from hydra import version
    from hydra._internal.callbacks import Callbacks
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    version.setbase("1.3")
    made = Hydra.create_main_hydra2(
        task_name="app", config_search_path=create_config_search_path(str(lab.folder / "conf"))
    )
    try:
        composed = made.compose_config(
            config_name="config",
            overrides=[*OURS, "hydra.sweep.dir=out", *overrides],
            run_mode=RunMode.MULTIRUN,
            with_log_configuration=False,
        )
        context = HydraContext(config_loader=made.config_loader, callbacks=Callbacks(composed))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=composed
        )
        return launcher.launch(batch, 0)
    finally:
        GlobalHydra.instance().clear()


def test_results_come_in_the_order_of_the_batch(lab: Lab) -> None:
    def task(cfg: Any) -> float:
        time.sleep(0.3 if cfg.x == 0 else 0)
        return float(cfg.x)

    found = launch(lab, task, [["x=0"], ["x=1"], ["x=2"]])
    assert [job.return_value for job in found] == [0.0, 1.0, 2.0]
    assert [job.overrides for job in found] == [["x=0"], ["x=1"], ["x=2"]]
    assert [job.hydra_cfg.hydra.job.num for job in found] == [0, 1, 2]
    assert sorted(path.name for path in (lab.folder / "out").iterdir()) == ["0", "1", "2"]


def test_a_failed_job_raises_what_it_raised(lab: Lab) -> None:
    def task(cfg: Any) -> None:
        misbehave("raise" if cfg.x == 0 else "kill")

    raised, killed = launch(lab, task, [["x=0"], ["x=1"]])
    assert (raised.status, killed.status) == (JobStatus.FAILED, JobStatus.FAILED)
    with pytest.raises(ValueError, match="no good"):
        _ = raised.return_value
    with pytest.raises(RunFailedError, match="SIGKILL"):
        _ = killed.return_value
    assert (killed.overrides, killed.cfg.x) == (["x=1"], 1)


def test_wrong_overrides_fail_their_job_alone(lab: Lab) -> None:
    wrong, right = launch(lab, lambda cfg: float(cfg.x), [["nonsense=1"], ["x=1"]])
    assert wrong.status is JobStatus.FAILED
    with pytest.raises(RunFailedError, match="nonsense"):
        _ = wrong.return_value
    assert right.return_value == 1.0


def test_a_stopped_job_has_its_last_metric_and_ends_nothing(lab: Lab) -> None:
    def task(cfg: Any) -> float:
        if cfg.x == 0:
            raise RunStopped("enough")
        return 1.0

    stopped, other = launch(lab, task, [["x=0"], ["x=1"]])
    assert (stopped.status, stopped.return_value) == (JobStatus.COMPLETED, None)
    assert other.return_value == 1.0
    runs = lab.store.list_runs(lab.store.list_sweeps()[0].id)
    assert [run.state for run in runs] == [RunState.STOPPED, RunState.FINISHED]


def test_what_a_job_reports_is_in_its_run(lab: Lab) -> None:
    def task(cfg: Any) -> float:
        import besom

        for step in range(3):
            besom.report(step, loss=step / 2)
        return 5.0

    [job] = launch(lab, task, [["x=0"]])
    assert job.return_value == 5.0
    [run] = lab.store.list_runs(lab.store.list_sweeps()[0].id)
    assert [row.data for row in lab.store.history(run.id)] == [{"loss": 0.0}, {"loss": 0.5}, {"loss": 1.0}]
    assert run.summary == {"loss": 1.0, "return_value": 5.0}


def test_a_failed_job_is_tried_again_in_the_same_folder(lab: Lab) -> None:
    def task(cfg: Any) -> float:
        mark = lab.folder / f"tried-{cfg.x}"
        if not mark.exists():
            mark.touch()
            os._exit(7)
        return 1.0

    [job] = launch(lab, task, [["x=0"]], "hydra.launcher.retries=1")
    assert job.return_value == 1.0
    [run] = lab.store.list_runs(lab.store.list_sweeps()[0].id)
    assert (run.attempt, run.state) == (2, RunState.FINISHED)
    assert [path.name for path in (lab.folder / "out").iterdir()] == ["0"]


def test_a_job_that_takes_too_long_is_ended(lab: Lab) -> None:
    def task(cfg: Any) -> None:
        time.sleep(60 if cfg.x == 0 else 0)

    slow, quick = launch(lab, task, [["x=0"], ["x=1"]], "hydra.launcher.timeout=0.5")
    with pytest.raises(RunFailedError, match=r"timed out after 0\.5 s"):
        _ = slow.return_value
    assert quick.status is JobStatus.COMPLETED


def test_jobs_share_nothing(lab: Lab) -> None:
    seen: list[int] = []

    def task(cfg: Any) -> int:
        seen.append(cfg.x)
        os.environ["LEFT_BEHIND"] = "1"
        return len(seen)

    found = launch(lab, task, [["x=0"], ["x=1"], ["x=2"]])
    assert [job.return_value for job in found] == [1, 1, 1]
    assert seen == []
    assert "LEFT_BEHIND" not in os.environ


def test_random_numbers_differ_between_jobs_and_not_between_times(lab: Lab) -> None:
    def task(cfg: Any) -> float:
        return random.random()

    before = random.getstate()
    random.seed(4)  # noqa: TID251
    once = [job.return_value for job in launch(lab, task, [["x=0"], ["x=1"]])]
    random.seed(4)  # noqa: TID251
    again = [job.return_value for job in launch(lab, task, [["x=0"], ["x=1"]], "hydra.sweep.dir=again")]
    random.setstate(before)
    assert once == again
    assert once[0] != once[1]


def test_two_batches_are_one_sweep(lab: Lab, multirun: Multirun) -> None:
    def task(cfg: Any) -> float:
        return float(cfg.x)

    batches = multirun(
        task,
        *OURS,
        "hydra/sweeper=basic",
        "hydra.sweeper.max_batch_size=2",
        "hydra.sweep.dir=out",
        "x=0,1,2",
    )
    assert [[job.return_value for job in batch] for batch in batches] == [[0.0, 1.0], [2.0]]
    [sweep] = lab.store.list_sweeps()
    assert (sweep.state.value, len(lab.store.list_runs(sweep.id))) == ("finished", 3)


def test_without_waiting_a_sweep_is_left_that_agents_can_run(lab: Lab, app: Callable[..., Path]) -> None:
    program = app("return cfg.lr * 2")
    command = [
        sys.executable,
        str(program),
        "-m",
        *OURS,
        "hydra.launcher.wait=false",
        "lr=1,2",
        "name='a, b'",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    [sweep] = lab.store.list_sweeps()
    assert f"besom agent {sweep.id}" in done.stdout
    assert lab.store.list_runs(sweep.id, states={RunState.FINISHED}) == []

    agent = [sys.executable, "-m", "besom", "agent", sweep.id]
    assert subprocess.run(agent, capture_output=True, check=False, timeout=100).returncode == 0
    runs = lab.store.list_runs(sweep.id)
    assert [run.summary for run in runs] == [{"return_value": 2}, {"return_value": 4}]


@pytest.mark.slow
def test_another_interpreter_gives_the_same(lab: Lab) -> None:
    def task(cfg: Any) -> float:
        if cfg.x == 1:
            raise ValueError("no good")
        return float(cfg.x)

    found = launch(lab, task, [["x=0"], ["x=1"], ["x=2"]], "hydra.launcher.start_method=spawn")
    assert [job.status.name for job in found] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert (found[0].return_value, found[2].return_value) == (0.0, 2.0)
    with pytest.raises(ValueError, match="no good"):
        _ = found[1].return_value
