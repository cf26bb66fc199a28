"""What comes home from an unmodified Hydra app that an agent runs."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.records import Metric, Run, RunState
from besom.testing.agents import Lab
from besom_hydra.returned import ReturnError, metrics_of

WriteApp = Callable[..., Path]
LOSS = Metric("loss")

pytestmark = pytest.mark.slow


def run_one(lab: Lab, parameters: str = "{lr: {value: 0.5}}", **more: Any) -> Run:
    lines = "".join(f"{key}: {value}\n" for key, value in more.items())
    made = lab.sweep(
        f"method: grid\nprogram: train.py\nmetric: {{name: loss}}\nparameters: {parameters}\n{lines}"
    )
    lab.agent(made)
    [run] = lab.runs(made)
    return run


def test_the_returned_number_is_the_metric(app: WriteApp, lab: Lab) -> None:
    app("return cfg.lr * 2")
    run = run_one(lab)
    assert (run.state, run.value, run.summary) == (RunState.FINISHED, 1.0, {"loss": 1.0})
    folder = lab.folder / ".besom" / "runs" / run.id / "hydra"
    assert run.config["hydra"] == {"overrides": ["++lr=0.5"], "output_dir": str(folder)}
    assert (folder / ".hydra" / "config.yaml").read_text().startswith("lr: 0.5\n")
    assert (folder / "train.log").exists()
    assert not (lab.folder / "outputs").exists()


def test_a_metric_that_the_program_logged_stays(app: WriteApp, lab: Lab) -> None:
    app("import besom\nbesom.init().log({'loss': 3.0})\nreturn 1.0")
    run = run_one(lab)
    assert (run.value, run.summary) == (3.0, {"loss": 3.0, "return_value": 1.0})


def test_a_returned_mapping_is_metrics(app: WriteApp, lab: Lab) -> None:
    app("return {'loss': 0.25, 'acc': 0.9, 'note': 'x'}")
    run = run_one(lab)
    assert (run.value, run.summary) == (0.25, {"loss": 0.25, "acc": 0.9})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "the task returned nothing"),
        ("return float('nan')", "returned NaN"),
        ("return 'good'", "'good', which is no number"),
        ("return {'acc': 1}", "under that name, only 'acc'"),
    ],
)
def test_a_return_that_is_no_result_fails_the_run(app: WriteApp, lab: Lab, body: str, said: str) -> None:
    app(body)
    run = run_one(lab)
    assert run.state is RunState.FAILED
    assert said in (run.error or "")
    assert "sweep's metric" in (run.error or "")


def test_an_exception_is_the_runs_error(app: WriteApp, lab: Lab) -> None:
    app("raise ValueError(f'lr {cfg.lr} is too high')")
    run = run_one(lab)
    assert run.state is RunState.FAILED
    assert (run.error or "").endswith("ValueError: lr 0.5 is too high")
    assert "in main" in (run.error or "")


def test_an_exit_is_judged_by_its_code(app: WriteApp, lab: Lab) -> None:
    app("import sys\nsys.exit(3)")
    run = run_one(lab)
    assert (run.state, run.exit_code) == (RunState.FAILED, 3)


def test_being_stopped_is_a_good_ending(app: WriteApp, lab: Lab) -> None:
    app("import besom\nbesom.init().log({'loss': 1})\nraise besom.RunStopped('enough')")
    run = run_one(lab)
    assert (run.state, run.exit_code, run.value) == (RunState.STOPPED, 0, 1.0)
    assert "Traceback" not in lab.output(run)


MINE = """
from hydra.experimental.callback import Callback

class Mine(Callback):
    def on_job_end(self, config, job_return, **_):
        print("mine", job_return.return_value)
"""
OF_ITS_OWN = "hydra: {mode: MULTIRUN, run: {dir: same}, callbacks: {mine: {_target_: mine.Mine}}}\n"


def test_an_app_that_is_a_multirun_by_its_config_runs_one_job(app: WriteApp, lab: Lab) -> None:
    app()
    config = lab.folder / "conf" / "config.yaml"
    config.write_text(config.read_text() + OF_ITS_OWN)
    lab.write("mine.py", MINE)
    run = run_one(lab)
    assert (run.state, run.value) == (RunState.FINISHED, 0.5), lab.output(run)
    assert "mine 0.5" in lab.output(run)
    assert not (lab.folder / "same").exists()
    assert not (lab.folder / "multirun").exists()


def test_parameters_that_were_not_applied_fail_the_run(app: WriteApp, lab: Lab) -> None:
    app()
    command = '["${interpreter}", "${program}", "${args_hydra}", "lr=7", "model=small"]'
    run = run_one(lab, "{lr: {value: 0.5}, model: {value: large}, name: {value: x}}", command=command)
    assert run.state is RunState.FAILED
    assert "lr is 7, not 0.5; model is 'small', not 'large'" in (run.error or "")
    assert "name" not in (run.error or "").partition("parameters: ")[2].partition(". The")[0]


def test_an_app_that_drops_its_arguments_fails(app: WriteApp, lab: Lab) -> None:
    program = app()
    drop = "import sys\nsys.argv = [word for word in sys.argv if 'lr=' not in word]\n"
    program.write_text(drop + program.read_text())
    run = run_one(lab)
    assert run.state is RunState.FAILED
    assert "lr is 0.1, not 0.5" in (run.error or "")


def test_values_that_a_structured_config_converts_are_applied(lab: Lab) -> None:
    lab.write(
        "train.py",
        """
        from dataclasses import dataclass, field
        from enum import Enum
        from pathlib import Path
        import hydra
        from hydra.core.config_store import ConfigStore

        class Kind(Enum):
            ADAM = 1

        @dataclass
        class Opt:
            lr: float = 0.1
            kind: Kind = Kind.ADAM
            on: bool = False
            where: Path = Path("x")
            label: str = ""

        @dataclass
        class Config:
            opt: Opt = field(default_factory=Opt)

        ConfigStore.instance().store(name="config", node=Config)

        @hydra.main(version_base=None, config_name="config")
        def main(cfg):
            assert cfg.opt.on is True and isinstance(cfg.opt.lr, float) and cfg.opt.label == "12"
            return cfg.opt.lr

        if __name__ == "__main__":
            main()
        """,
    )
    parameters = (
        "{opt.lr: {value: 1}, opt.kind: {value: ADAM}, opt.on: {value: 'yes'}, opt.where: {value: a/b},"
        " opt.label: {value: 12}}"
    )
    run = run_one(lab, parameters)
    assert (run.state, run.value) == (RunState.FINISHED, 1.0), run.error


def test_a_callback_in_the_apps_own_config_is_quiet_outside_runs(app: WriteApp, lab: Lab) -> None:
    app("print('lr', cfg.lr)\nreturn cfg.lr")
    config = lab.folder / "conf" / "config.yaml"
    mine = "hydra: {callbacks: {besom: {_target_: besom_hydra.callback.ReportToRun, drift: fail}}}\n"
    config.write_text(config.read_text() + mine)
    program = [sys.executable, "train.py"]
    for words in (
        ["lr=3"],
        ["-m", "lr=3,4"],
        ["-m", "hydra/sweeper=besom", "hydra/launcher=besom", "lr=3,4"],
    ):
        done = subprocess.run([*program, *words], capture_output=True, text=True, check=True)
        assert "lr 3" in done.stdout
        assert "arn" not in done.stderr
    first = run_one(lab)
    assert (first.state, first.value) == (RunState.FINISHED, 0.5)


def test_a_word_for_drift_that_is_none_is_refused(app: WriteApp, lab: Lab) -> None:
    app()
    words = '["${interpreter}", "${program}", "${args_hydra}", "++hydra.callbacks.besom.drift=no"]'
    run = run_one(lab, command=words)
    assert run.state is RunState.FAILED
    assert "known: warn, fail, ignore" in lab.output(run)


def test_parallel_runs_have_folders_of_their_own(app: WriteApp, lab: Lab) -> None:
    app("from pathlib import Path\nPath('mark').touch()\nreturn cfg.lr")
    config = lab.folder / "conf" / "config.yaml"
    config.write_text(config.read_text() + "hydra: {job: {chdir: true}}\n")
    made = lab.sweep(
        "method: grid\nprogram: train.py\nmetric: {name: loss}\nparameters: {lr: {values: [1, 2, 3]}}"
    )
    lab.agent(made, workers=3)
    assert [run.value for run in lab.runs(made)] == [1, 2, 3]
    for run in lab.runs(made):
        assert (lab.folder / ".besom" / "runs" / run.id / "hydra" / "mark").exists()


def test_the_command_of_the_best_run_repeats_it(app: WriteApp, lab: Lab) -> None:
    from besom.cli.best import command_of

    app("print(cfg.name)\nreturn 1")
    run = run_one(lab, '{name: {value: "a, b"}}')
    made = lab.store.list_sweeps()[0]
    argv = command_of(made, run)
    assert argv is not None
    assert argv[3:] == ["++name='a, b'"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "a, b\n"


@pytest.mark.parametrize(
    ("returned", "metric", "reported", "found"),
    [
        (1.5, LOSS, {}, {"loss": 1.5}),
        (True, None, {}, {}),
        (2, None, {}, {"return_value": 2}),
        (2, LOSS, {"loss": 1.0}, {"return_value": 2}),
        (None, LOSS, {"loss": 1.0}, {}),
        (None, LOSS, {"loss": "NaN"}, {}),
        ("text", LOSS, {"loss": 1.0}, {}),
        ({"loss": 1, "a": 2.0}, LOSS, {"a": 3}, {"loss": 1}),
        ({"val/loss": 1}, Metric("val/loss"), {}, {"val/loss": 1}),
        (1, Metric("loss.min"), {"loss": {"min": 0.5}}, {"return_value": 1}),
        (math.nan, None, {}, {"return_value": "NaN"}),
    ],
)
def test_what_a_return_value_means(
    returned: Any, metric: Metric | None, reported: dict[str, Any], found: dict[str, Any]
) -> None:
    assert metrics_of(returned, metric, reported) == found


@pytest.mark.parametrize("returned", [None, math.inf, "x", [1, 2], True, {"a": 1}, {}, object()])
def test_no_result_is_an_error_only_where_one_is_needed(returned: Any) -> None:
    with pytest.raises(ReturnError, match="no 'loss', the sweep's metric"):
        metrics_of(returned, LOSS, {})
    metrics_of(returned, LOSS, {"loss": 1})
    metrics_of(returned, None, {})
