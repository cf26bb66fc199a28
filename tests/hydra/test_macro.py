"""`${args_hydra}`: what a run's parameters become on the command line of a Hydra app."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from besom.agent.command import build_command, unknown_macros
from besom.agent.macros import fitted
from besom.cli import cli
from besom.errors import UsageError
from besom.folders import RunFolder
from besom.records import RunState
from besom.sweepfile import SweepConfig, from_mapping
from besom.testing.agents import Lab
from besom_hydra.macro import CALLBACK
from besom_hydra.source import find_main

WriteApp = Callable[..., Path]
FOLDER = RunFolder(Path("/runs/it is"))
START = ["/usr/bin/env", sys.executable, "train.py"]
END = ["hydra.run.dir='/runs/it is/hydra'", "hydra.mode=RUN", CALLBACK]


def sweep(parameters: dict[str, Any], **more: Any) -> SweepConfig:
    values = {name: {"value": value} for name, value in parameters.items()}
    return from_mapping({"method": "grid", "program": "train.py", "parameters": values, **more})


def arguments(parameters: dict[str, Any], **more: Any) -> list[str]:
    """Give what the macro becomes, less what it adds to every run."""
    config = fitted(sweep(parameters, **more), Path.cwd())
    argv = build_command(config, parameters, folder=FOLDER)
    assert [word for word in END if word not in argv] == []
    return [word for word in argv if word not in (*START, *END)]


def test_a_hydra_app_gets_its_macro_by_itself(app: WriteApp) -> None:
    app()
    config = fitted(sweep({"lr": 0.5}), Path.cwd())
    assert build_command(config, {"lr": 0.5}, folder=FOLDER) == [*START, "++lr=0.5", *END]


def test_another_program_keeps_wandbs_command(lab: Lab) -> None:
    lab.write("train.py", "import argparse  # not hydra\n")
    config = sweep({"lr": 0.5})
    assert fitted(config, Path.cwd()) is config


@pytest.mark.parametrize(
    ("parameters", "lines"),
    [
        ({"model": "large"}, ["model=large"]),
        ({"model": "large", "model/head": "two", "lr": 1}, ["model=large", "model/head=two", "++lr=1"]),
        ({"extra": "debug"}, ["+extra=debug"]),
        ({"model": ["small", "large"]}, ["model=[small,large]"]),
        ({"+extra": "debug"}, ["+extra=debug"]),
        ({"db@store.main": "postgres"}, ["db@store.main=postgres"]),
        ({"db@backup": "postgres"}, ["+db@backup=postgres"]),
        ({"name": "a, b=c"}, ["++name='a, b=c'"]),
        ({"name": "small"}, ["++name=small"]),
        ({"new.key": None, "opt.betas": [0.5, 0.6]}, ["++new.key=null", "++opt.betas=[0.5,0.6]"]),
        ({"+trainer.tags": ["x"]}, ["+trainer.tags=['x']"]),
        ({"hydra/job_logging": "disabled"}, ["hydra/job_logging=disabled"]),
    ],
    ids=str,
)
def test_config_groups_are_told_from_keys(
    app: WriteApp, parameters: dict[str, Any], lines: list[str]
) -> None:
    app()
    assert [line.replace("['x']", "[x]") for line in arguments(parameters)] == [
        line.replace("['x']", "[x]") for line in lines
    ]


def test_groups_of_added_config_folders_are_found(app: WriteApp, lab: Lab) -> None:
    app()
    lab.write("more/model/huge.yaml", "width: 9\n")
    start = ["${interpreter}", "${program}"]
    by_flag = [*start, "--config-dir", "more", "${args_hydra}"]
    by_override = [*start, f"hydra.searchpath=[file://{lab.folder}/more]", "${args_hydra}"]
    for command in (by_flag, by_override):
        assert "model=huge" in arguments({"model": "huge"}, command=command)
    assert "+x=1" in arguments({"+x": 1}, command=by_flag)


def test_a_group_that_the_program_registers_itself_is_asked_for(lab: Lab) -> None:
    lab.write(
        "train.py",
        """
        import hydra
        from hydra.core.config_store import ConfigStore

        store = ConfigStore.instance()
        store.store(name="config", node={"defaults": ["_self_", {"db": "mysql"}], "lr": 1})
        store.store(group="db", name="mysql", node={"port": 1})
        store.store(group="db", name="postgres", node={"port": 2})
        store.store(group="late", name="on", node={"x": 2})

        @hydra.main(version_base=None, config_name="config")
        def main(cfg):
            return cfg.db.port

        if __name__ == "__main__":
            main()
        """,
    )
    assert arguments({"db": "postgres", "late": "on", "lr": 2}) == ["db=postgres", "+late=on", "++lr=2"]


def test_an_old_style_app_is_read_too(lab: Lab) -> None:
    lab.write("conf/config.yaml", "defaults: [{model: small}]\nlr: 1\n")  # without _self_
    lab.write("conf/model/small.yaml", "w: 1\n")
    lab.write("conf/model/large.yaml", "w: 2\n")
    lab.write(
        "train.py", "import hydra\n@hydra.main(config_path='conf', config_name='config')\ndef main(cfg): ..."
    )
    assert arguments({"model": "large", "lr": 2}) == ["model=large", "++lr=2"]


def test_a_program_beside_the_sweep_file_is_read_there(app: WriteApp, lab: Lab) -> None:
    lab.write("elsewhere/more/model/huge.yaml", "width: 9\n")
    (lab.folder / "elsewhere" / "train.py").write_text(app().read_text())
    (lab.folder / "conf").rename(lab.folder / "elsewhere" / "conf")
    (lab.folder / "train.py").unlink()
    command = ["${interpreter}", "${program}", "--config-dir", "more", "${args_hydra}"]
    config = sweep({"model": "huge"}, command=command)
    argv = build_command(config, {"model": "huge"}, folder=FOLDER, place=lab.folder / "elsewhere")
    assert "model=huge" in argv


def test_an_option_that_a_group_does_not_have_is_refused(app: WriteApp, lab: Lab) -> None:
    app()
    with pytest.raises(
        UsageError, match=r"group model of this Hydra app has no option 'larg'; did you mean 'large'"
    ):
        arguments({"model": "larg"})
    lab.write("conf/model/larg.yaml", "width: 7\n")
    assert arguments({"model": "larg"}) == ["model=larg"]


def test_what_the_command_sets_stays(app: WriteApp) -> None:
    app()
    command = ["${interpreter}", "${program}", "hydra.run.dir=here", "${args_hydra}"]
    argv = build_command(sweep({"lr": 1}, command=command), {"lr": 1}, folder=FOLDER)
    assert [word for word in argv if word.startswith("hydra.run.dir")] == ["hydra.run.dir=here"]


def test_a_person_who_repeats_a_run_is_not_told_its_folder(app: WriteApp) -> None:
    app()
    config = fitted(sweep({"lr": 1}), Path.cwd())
    assert build_command(config, {"lr": 1}, folder=FOLDER, by_hand=True) == [*START, "++lr=1"]


def test_a_multirun_inside_a_run_is_refused(app: WriteApp) -> None:
    app()
    config = sweep({"lr": 1}, command=["${interpreter}", "${program}", "-m", "${args_hydra}"])
    with pytest.raises(UsageError, match="one job"):
        build_command(config, {"lr": 1}, folder=FOLDER)


@pytest.mark.parametrize("command", [["${interpreter}", "${program}"], ["python", "train.py", "lr=1"]])
def test_a_command_without_parameters_is_refused(app: WriteApp, lab: Lab, command: list[str]) -> None:
    app()
    file = lab.write(
        "sweep.yaml", f"method: grid\nprogram: train.py\ncommand: {command}\nparameters: {{lr: {{value: 1}}}}"
    )
    checked = CliRunner().invoke(cli, ["check", str(file)])
    assert checked.exit_code == 2
    assert "none of the sweep's parameters" in checked.output + str(checked.exception)
    made = lab.sweep(file.read_text())
    with pytest.raises(UsageError, match=r"add \$\{args_hydra\}"):
        lab.agent(made)
    assert lab.runs(made) == []


def test_a_program_that_takes_its_parameters_itself_needs_no_macro(app: WriteApp) -> None:
    app("from besom_hydra import inject\nreturn inject(cfg).lr")
    config = sweep({"lr": 1}, command=["${interpreter}", "${program}"])
    assert fitted(config, Path.cwd()) is config


def test_the_macro_is_known() -> None:
    assert unknown_macros(["${args_hydra}", "${args_hydrant}"]) == ["${args_hydrant}"]


def test_without_a_program_file_names_alone_tell_groups(lab: Lab) -> None:
    command = ["python", "-m", "pkg.train", "${args_hydra}"]
    config = dataclasses.replace(sweep({"db@x": "y", "lr": 1}, command=command), program=None)
    argv = build_command(config, {"db@x": "y", "lr": 1}, folder=FOLDER)
    assert argv[3:5] == ["db@x=y", "++lr=1"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import hydra\n@hydra.main(config_path='c', config_name='n')\ndef f(cfg): ...", ("c", "n")),
        ("import hydra as h\n@h.main('c', 'n', '1.3')\ndef f(cfg): ...", ("c", "n")),
        (
            "from hydra import main as m\nC='c'\n@m(config_path=C, config_name='n')\ndef f(cfg): ...",
            ("c", "n"),
        ),
        (
            "import hydra\nf = hydra.main(version_base=None, config_path=None, config_name='n')(g)",
            (None, "n"),
        ),
        ("from hydra_zen import zen\nzen(f).hydra_main(config_name='n', config_path=None)", (None, "n")),
        ("import hydra\nhydra.compose('x')", None),
        ("import argparse  # hydra.main(", None),
        ("import hydra\n@hydra.main(", None),
        ("@hydra.main()\ndef f(cfg): ...", None),
    ],
)
def test_the_main_of_a_program_is_read_not_run(source: str, found: tuple[str | None, str] | None) -> None:
    call = find_main(source)
    assert (None if call is None else (call.config_path, call.config_name)) == found


@pytest.mark.slow
def test_check_says_what_hydra_says_and_of_which_parameter(app: WriteApp, lab: Lab) -> None:
    app()
    text = "method: grid\nprogram: train.py\nparameters: {opt.betas.7: {value: 1}, lr: {value: 2}}\n"
    bad = CliRunner().invoke(cli, ["check", str(lab.write("sweep.yaml", text))])
    assert bad.exit_code == 2
    assert "parameters.opt.betas.7: the app does not compose: Error merging override" in bad.output
    good = CliRunner().invoke(cli, ["check", str(lab.write("sweep.yaml", text.replace(".7", ".1")))])
    assert good.exit_code == 0, good.output
    assert "the program takes these parameters" in good.output


@pytest.mark.slow
def test_check_warns_of_keys_that_only_the_sweep_has(app: WriteApp, lab: Lab) -> None:
    app()
    lab.write(
        "conf/config.yaml", "defaults: [_self_, model: small]\nlr: 0.1\nopt: {momentum: 0}\nsame: ${opt}\n"
    )
    text = """
        method: grid
        program: train.py
        metric: {name: loss}
        parameters:
          lr: {value: 2}
          lrr: {value: 1}
          model: {value: large}
          model.dim: {value: 3}
          model.width: {value: 1}
          momentum: {value: 1}
          same.any: {value: 1}
          wholly: {value: {a: 1}}
          +mine: {value: 1}
    """
    result = CliRunner().invoke(cli, ["check", str(lab.write("sweep.yaml", text)), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["faults"] == []
    start = "the app's config has no such key, so the runs would add it"
    assert [warning.partition(" (call it")[0] for warning in found["warnings"]] == [
        f"parameters.lrr: {start}; did you mean 'lr'?",
        f"parameters.model.dim: {start}; did you mean 'model.head.dim'?",
        f"parameters.momentum: {start}; did you mean 'opt.momentum'?",
        f"parameters.wholly: {start}",
    ]


@pytest.mark.slow
def test_every_kind_of_parameter_reaches_the_app(app: WriteApp, lab: Lab) -> None:
    app(
        "model, opt = cfg.model, cfg.opt\n"
        "print([model.width, model.head.dim, cfg.store.main.port, cfg.name, opt.betas, cfg.new])\n"
        "return cfg.lr"
    )
    made = lab.sweep(
        """
        method: grid
        program: train.py
        metric: {name: loss}
        parameters:
          model: {value: large}
          model/head: {value: two}
          db@store.main: {value: postgres}
          name: {value: "it's, 'null' = 1e3"}
          opt: {parameters: {betas: {values: [[1, 2]]}}}
          new: {value: {a: {"1": null}}}
          lr: {values: [0.25]}
        """
    )
    lab.agent(made)
    [run] = lab.runs(made)
    assert (run.state, run.value) == (RunState.FINISHED, 0.25), run.error
    assert lab.output(run) == """[2, 2, 5432, "it's, 'null' = 1e3", [1, 2], {'a': {'1': None}}]\n"""
