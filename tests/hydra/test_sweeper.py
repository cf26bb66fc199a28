"""`hydra/sweeper=besom` with Hydra's basic launcher, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.utils import JobStatus
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

import besom
from besom.records import Metric, Run, RunState, Sweep
from besom.run import LiveRun
from besom.testing.agents import Lab

CONFIG = "x: 0\ny: 0\nname: a\n"
DIR = "hydra.sweep.dir=out"
BESOM = ("hydra/launcher=besom", "hydra.launcher.workers=2")


@pytest.fixture(autouse=True)
def config(lab: Lab) -> None:
    lab.write("conf/config.yaml", CONFIG)


def square(cfg: DictConfig) -> float:
    return float((cfg.x - 3) ** 2 + cfg.y)


def the_sweep(lab: Lab) -> Sweep:
    [sweep] = lab.store.list_sweeps()
    return sweep


def runs(lab: Lab) -> list[Run]:
    return lab.runs(the_sweep(lab))


def results(folder: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(folder, "results.yaml").read_text())
    return found


# ---- a plain grid


def test_a_grid_runs_in_the_order_and_the_folders_of_hydras_own_sweeper(lab: Lab, multirun: Any) -> None:
    def tree(folder: str) -> list[str]:
        return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())

    line = ["y=2,1", "x=1,2,3", "name=b"]
    [theirs] = multirun(square, *line, "hydra.sweep.dir=theirs", "hydra/sweeper=basic")
    [ours] = multirun(square, *line, "hydra.sweep.dir=ours")
    assert [job.overrides for job in ours] == [job.overrides for job in theirs]
    assert [job.return_value for job in ours] == [job.return_value for job in theirs]
    assert [job.cfg for job in ours] == [job.cfg for job in theirs]
    assert [name for name in tree("ours") if name != "results.yaml"] == tree("theirs")
    one, other = (OmegaConf.load(f"{folder}/multirun.yaml") for folder in ("ours", "theirs"))
    assert one.hydra.overrides.task == other.hydra.overrides.task == line
    assert len(runs(lab)) == 6


def test_batches_come_back_as_batches(multirun: Any) -> None:
    returned = multirun(square, "x=range(5)", "hydra.sweeper.max_batch_size=2")
    assert [[job.return_value for job in batch] for batch in returned] == [[9, 4], [1, 0], [1]]


def test_a_multirun_without_axes_is_one_job(lab: Lab, multirun: Any) -> None:
    [[job]] = multirun(square, "x=5", DIR)
    assert job.return_value == 4
    assert job.overrides == ["x=5"]
    assert Path("out/0/.hydra").is_dir()


def test_params_of_the_config_are_swept_and_the_command_line_wins(lab: Lab, multirun: Any) -> None:
    config = CONFIG + "hydra: {sweeper: {params: {x: 'range(1,4)', y: '1,2'}}}\n"
    [jobs] = multirun(square, "y=7", config=config)
    assert [job.overrides for job in jobs] == [["x=1", "y=7"], ["x=2", "y=7"], ["x=3", "y=7"]]


def test_a_task_of_a_grid_may_return_anything(multirun: Any) -> None:
    def task(cfg: DictConfig) -> Any:
        return {1: None, 2: "text", 3: float("nan")}[cfg.x]

    [jobs] = multirun(task, "x=1,2,3", DIR)
    assert [job.status for job in jobs] == [JobStatus.COMPLETED] * 3
    assert jobs[0].return_value is None
    assert jobs[1].return_value == "text"
    assert results()["runs"] == {"finished": 3}
    assert results()["best"] is None


def test_the_first_failure_is_raised_when_all_jobs_have_run(lab: Lab, multirun: Any) -> None:
    def task(cfg: DictConfig) -> int:
        if cfg.x in (1, 2):
            raise ValueError(f"x is {cfg.x}")
        return int(cfg.x)

    with pytest.raises(ValueError, match="x is 1"):
        multirun(task, "x=0,1,2,3", DIR)
    assert [run.state for run in runs(lab)] == [
        RunState.FINISHED,
        RunState.FAILED,
        RunState.FAILED,
        RunState.FINISHED,
    ]
    assert results()["runs"] == {"finished": 2, "failed": 2}


def test_a_job_that_exits_fails_alone(lab: Lab, multirun: Any) -> None:
    def task(cfg: DictConfig) -> float:
        if cfg.x == 1:
            raise SystemExit(3)
        return float(cfg.x)

    with pytest.raises(HydraException, match="SystemExit: 3"):
        multirun(task, "x=0,1,2,3", DIR)
    states = [run.state.value for run in runs(lab)]
    assert states == ["finished", "failed", "finished", "finished"]
    assert [Path(f"out/{number}").is_dir() for number in range(5)] == [True] * 4 + [False]


def test_ctrl_c_gives_back_what_has_not_ended(lab: Lab, multirun: Any) -> None:
    def task(cfg: DictConfig) -> float:
        if cfg.x == 1:
            raise KeyboardInterrupt
        return float(cfg.x)

    with pytest.raises(KeyboardInterrupt):
        multirun(task, "x=0,1,2", DIR)
    assert [run.state.value for run in runs(lab)] == ["finished", "preempted", "preempted"]
    assert results()["runs"]["finished"] == 1


# ---- what is wrong is told before anything runs


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["z=1,2"], ConfigCompositionException, "z"),
        (["x=1,2", "model=big"], ConfigCompositionException, "model"),
        (["x=interval(0,1)"], HydraException, "x: a grid cannot list an interval; .*method=bayes"),
        (["x=interval(0,1)", "hydra.sweeper.method=random"], HydraException, "hydra.sweeper.count=N"),
        (["x=interval(0,1)", "hydra.sweeper.method=bayse"], HydraException, "did you mean 'bayes'"),
        (["x=1,2", "hydra.sweeper.count=0"], HydraException, "hydra.sweeper.count must be at least 1"),
        (["x=1,2", "hydra.sweeper.metric=[a]"], HydraException, "metric is a name or"),
        (["x=1,2", "hydra.sweeper.resume=abc"], HydraException, "resume is auto, new or a sweep's id"),
        (["x=1,2", "hydra.sweeper.nonsense=1"], ConfigCompositionException, "nonsense"),
        (["x=[1,"], OverrideParseException, "no viable alternative"),
        (["x=1,2", "hydra.sweeper.spec=none.yaml"], HydraException, "cannot read the sweep file"),
        (["x=1,2", "hydra.sweeper.store=cloud://x"], HydraException, "no store is called 'cloud'"),
        (
            ["x=1,2", *BESOM, "hydra.launcher.workers=0"],
            HydraException,
            "launcher.workers must be at least 1",
        ),
        (["x=1,2", *BESOM, "hydra.launcher.grace=-1"], HydraException, "launcher.grace must be at least 0"),
        (["x=1,2", *BESOM, "hydra.launcher.start_method=frok"], HydraException, "use auto, fork or spawn"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_created(
    lab: Lab, multirun: Any, overrides: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        multirun(square, *overrides, DIR)
    assert not Path("out/0").exists()
    assert lab.store.list_sweeps() == []


def test_every_option_of_a_group_is_composed_before_the_first_job(lab: Lab, multirun: Any) -> None:
    for name in ("one", "two", "three", "four"):
        lab.write(f"conf/model/{name}.yaml", "size: 1\n" if name != "two" else "defaults: [missing]\n")
    with pytest.raises(HydraException, match="missing"):
        multirun(square, "+model=glob(*)", DIR)
    assert not Path("out/0").exists()


# ---- searches


def test_a_search_minimizes_what_the_task_returns(lab: Lab, multirun: Any) -> None:
    [jobs] = multirun(
        square,
        *("x=interval(0,10)", "y=int(interval(0,4))", "name=b,c"),
        *("hydra.sweeper.method=bayes", "hydra.sweeper.count=12", "hydra.sweeper.seed=1", DIR),
    )
    assert len(jobs) == 12
    values = [job.return_value for job in jobs]
    best = results()["best"]
    assert best["value"] == min(values)
    assert best["number"] == values.index(min(values))
    made = runs(lab)
    assert best["run"] == made[int(best["number"])].id
    assert best["folder"] == str(Path("out").absolute() / str(best["number"]))
    assert best["overrides"] == jobs[best["number"]].overrides
    assert results()["metric"] == {"name": "return_value", "goal": "minimize"}
    assert min(values) < 4


@pytest.mark.parametrize("metric", ["{name: val/acc, goal: maximize}", "{goal: maximize}"])
def test_a_metric_may_have_a_name_and_be_maximized(lab: Lab, multirun: Any, metric: str) -> None:
    multirun(square, "x=1,2,9", f"hydra.sweeper.metric={metric}", DIR)
    assert results()["best"]["overrides"] == ["x=9"]
    assert [run.value for run in runs(lab)] == [4, 1, 36]


def test_a_dict_is_taken_as_metrics(lab: Lab, multirun: Any) -> None:
    def task(cfg: DictConfig) -> dict[str, float]:
        return {"loss": cfg.x, "acc": -cfg.x}

    multirun(task, "x=1,2", "hydra.sweeper.metric=loss", DIR)
    assert [(run.value, run.summary["acc"]) for run in runs(lab)] == [(1, -1), (2, -2)]


def test_a_reported_metric_counts_and_the_returned_number_is_kept(lab: Lab, multirun: Any) -> None:
    def task(cfg: DictConfig) -> int:
        with_run = besom.init()
        with_run.log({"loss": cfg.x * 10})
        return 5

    multirun(task, "x=1,2", "hydra.sweeper.metric=loss", DIR)
    assert [run.value for run in runs(lab)] == [10, 20]
    assert [run.summary["return_value"] for run in runs(lab)] == [5, 5]
    assert [run.state for run in runs(lab)] == [RunState.FINISHED] * 2


@pytest.mark.parametrize("returned", [None, float("nan"), float("inf"), "text", [1]])
def test_a_search_counts_what_is_no_number_as_a_failed_run(lab: Lab, multirun: Any, returned: Any) -> None:
    def task(cfg: DictConfig) -> Any:
        return returned if cfg.x == 2 else cfg.x

    [jobs] = multirun(task, "x=1,2,3", "hydra.sweeper.metric={goal:minimize}", DIR)
    assert [run.state.value for run in runs(lab)] == ["finished", "failed", "finished"]
    assert "the task returned" in (runs(lab)[1].error or "")
    assert [job.status for job in jobs] == [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.COMPLETED]


def test_the_failures_of_a_search_are_data_until_there_are_too_many(lab: Lab, multirun: Any) -> None:
    def task(cfg: DictConfig) -> float:
        if cfg.x > 2:
            raise ValueError("too large")
        return float(cfg.x)

    search = ["x=range(0,10)", "hydra.sweeper.method=random", "hydra.sweeper.seed=3"]
    multirun(task, *search, "hydra.sweep.dir=a")
    assert results("a")["runs"] == {"finished": 3, "failed": 7}
    few = ["hydra.sweeper.max_failures=2", "hydra.sweeper.parallel=1"]
    with pytest.raises(ValueError, match="too large"):
        multirun(task, *search, "hydra.sweep.dir=b", *few)
    assert results("b")["runs"]["failed"] == 3
    with pytest.raises(ValueError, match="too large"):
        multirun(task, *search, "hydra.sweep.dir=c", "hydra.sweeper.fail_fast=true")
    assert results("c")["runs"]["failed"] == 1


def test_a_search_in_which_everything_fails_fails(multirun: Any) -> None:
    def task(cfg: DictConfig) -> float:
        raise KeyError("data")

    with pytest.raises(KeyError, match="data"):
        multirun(task, "x=1,2", "hydra.sweeper.method=random")


def test_failed_jobs_are_tried_again(lab: Lab, multirun: Any) -> None:
    tried: list[int] = []

    def task(cfg: DictConfig) -> float:
        tried.append(int(cfg.x))
        if tried.count(cfg.x) < 3:
            raise ValueError("not yet")
        return float(cfg.x)

    [jobs] = multirun(task, "x=1,2", "hydra.sweeper.retries=2", DIR)
    assert [job.return_value for job in jobs] == [1, 2]
    assert [run.attempt for run in runs(lab)] == [3, 3]
    assert sorted(path.name for path in Path("out").iterdir() if path.is_dir()) == ["0", "1"]


# ---- early termination


def test_runs_are_stopped_early_from_inside_the_app(lab: Lab, multirun: Any) -> None:
    steps: dict[int, int] = {}

    def task(cfg: DictConfig) -> float:
        run = besom.init()
        for step in range(9):
            run.log({"loss": cfg.x + 1 / (step + 1)})
            steps[cfg.x] = step + 1
            run.check_stop()
            _settled(lab, run)
            run.check_stop()
        return float(cfg.x)

    [jobs] = multirun(
        task,
        "x=0,1,2,3,4,5",
        "hydra.sweeper.metric=loss",
        "hydra.sweeper.early_terminate={type:hyperband,min_iter:3,eta:3}",
        DIR,
    )
    states = [run.state.value for run in runs(lab)]
    assert states[0] == "finished"
    assert "stopped" in states
    stopped = states.index("stopped")
    assert steps[stopped] < 9
    assert jobs[stopped].status is JobStatus.COMPLETED
    assert jobs[stopped].return_value == runs(lab)[stopped].value
    assert results()["runs"]["stopped"] == states.count("stopped")


def _settled(lab: Lab, run: LiveRun) -> None:
    """Wait until the store has what the run logged."""
    lab.wait(lambda: len(lab.store.history(run.id)) == run.step)


# ---- sweep files


def test_a_sweep_file_is_the_space_and_the_command_line_wins(lab: Lab, multirun: Any) -> None:
    lab.write(
        "sweep.yaml",
        """
        method: random
        run_cap: 4
        metric: {name: return_value, goal: maximize}
        parameters:
          x: {min: 0, max: 1000}
          opt: {parameters: {lr: {distribution: log_uniform_values, min: 1.0e-5, max: 0.1}}}
          +extra.tags: {values: [[a, b], []]}
          y: {values: [1, 2]}
        """,
    )
    config = CONFIG + "opt: {lr: 1, kept: true}\n"
    [jobs] = multirun(square, "hydra.sweeper.spec=sweep.yaml", "y=5", "name=b", DIR, config=config)
    assert len(jobs) == 4
    for job in jobs:
        assert job.cfg.y == 5
        assert job.cfg.name == "b"
        assert 1e-5 <= job.cfg.opt.lr <= 0.1
        assert job.cfg.opt.kept is True
        assert job.cfg.extra.tags in (["a", "b"], [])
        assert job.overrides[:2] == ["y=5", "name=b"]
    assert the_sweep(lab).metric == Metric("return_value", "maximize")


def test_options_of_a_group_may_bring_parameters_of_their_own(lab: Lab, multirun: Any) -> None:
    lab.write("conf/opt/sgd.yaml", "kind: sgd\nmomentum: 0\n")
    lab.write("conf/opt/adam.yaml", "kind: adam\nbeta: 0\n")
    lab.write(
        "sweep.yaml",
        """
        method: grid
        parameters:
          opt: {values: [adam, sgd]}
          opt.momentum: {values: [0.1, 0.9], when: {opt: sgd}}
          opt.beta: {value: 0.99, when: {opt: adam}}
        """,
    )
    config = "defaults: [opt: sgd, _self_]\n" + CONFIG
    [jobs] = multirun(square, "hydra.sweeper.spec=sweep.yaml", DIR, config=config)
    assert [OmegaConf.to_container(job.cfg.opt) for job in jobs] == [
        {"kind": "adam", "beta": 0.99},
        {"kind": "sgd", "momentum": 0.1},
        {"kind": "sgd", "momentum": 0.9},
    ]


def test_a_wrong_sweep_file_is_told_with_its_place(lab: Lab, multirun: Any) -> None:
    lab.write("sweep.yaml", "method: grid\nparameters:\n  x: {valeus: [1]}\n")
    with pytest.raises(HydraException, match=r"sweep.yaml:3:7: .*did you mean 'values'"):
        multirun(square, "hydra.sweeper.spec=sweep.yaml", DIR)


# ---- groups, packages, values


def test_groups_and_packages_are_swept(lab: Lab, multirun: Any) -> None:
    for name in ("mysql", "postgres"):
        lab.write(f"conf/db/{name}.yaml", f"driver: {name}\n")
    config = "defaults: [db@src: mysql, db@dst: mysql, _self_]\n" + CONFIG
    swept = ["db@src=glob(*)", "db@dst=choice(postgres,mysql)"]
    [jobs] = multirun(square, *swept, "+db=mysql", DIR, config=config)
    found = [(job.cfg.src.driver, job.cfg.dst.driver, job.cfg.db.driver) for job in jobs]
    assert found == [
        ("mysql", "postgres", "mysql"),
        ("mysql", "mysql", "mysql"),
        ("postgres", "postgres", "mysql"),
        ("postgres", "mysql", "mysql"),
    ]


def test_values_arrive_as_they_were_written(lab: Lab, multirun: Any) -> None:
    swept = "+v=null,inf,nan,true,1,2.5,'1','a, b',\"it's\",[1,inf],{k:[x]},${x}"

    def task(cfg: DictConfig) -> None:
        return None

    [jobs] = multirun(task, swept, DIR)
    [theirs] = multirun(task, swept, "hydra.sweep.dir=theirs", "hydra/sweeper=basic")
    assert [repr(job.cfg.v) for job in jobs] == [repr(job.cfg.v) for job in theirs]
    assert [job.overrides for job in jobs] == [job.overrides for job in theirs]


def test_the_store_may_be_named(lab: Lab, multirun: Any) -> None:
    multirun(square, "x=1,2", f"hydra.sweeper.store=sqlite:///{lab.folder}/other.db", DIR)
    assert lab.store.list_sweeps() == []
    assert Path("other.db").exists()
