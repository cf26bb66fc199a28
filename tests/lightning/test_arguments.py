"""A sweep's parameters on their way through LightningCLI's parser: every type arrives as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035 - jsonargparse evaluates the annotations

import lightning.pytorch as pl
import pytest
import torch
import yaml

from besom.agent.command import build_command, write_argument_files
from besom.folders import RunFolder
from besom.sweepfile import from_mapping

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Lightning and what it imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter is intended"),
]


class Model(pl.LightningModule):
    def __init__(  # noqa: PLR0917
        self,
        rate: float = 0.5,
        depth: int = 1,
        on: bool = False,
        maybe: Optional[float] = 0.5,  # noqa: UP045
        word: str = "",
        sizes: List[int] = [],  # noqa: B006, UP006
        table: Optional[Dict[str, Any]] = None,  # noqa: UP006, UP045
    ) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)


def parsed(words: list[str]) -> dict[str, Any]:
    """Give what LightningCLI makes of a command line, without the trainer."""
    from lightning.pytorch.cli import LightningCLI

    words = [*words, "--trainer.logger=false", "--trainer.accelerator=cpu"]
    cli = LightningCLI(Model, run=False, args=words, seed_everything_default=False, save_config_callback=None)
    config: dict[str, Any] = cli.config.as_dict()
    return config


def words_for(params: dict[str, Any], command: list[str], folder: Path) -> list[str]:
    made = from_mapping(
        {
            "method": "grid",
            "command": ["fit", *command],
            "parameters": {name: {"value": value} for name, value in params.items()},
        }
    )
    write_argument_files(made, params, folder=RunFolder(folder))
    return build_command(made, params, folder=RunFolder(folder))[1:]


EVERY_TYPE: dict[str, Any] = {
    "model.rate": 1e-05,
    "model.depth": 3,
    "model.on": True,
    "model.maybe": None,
    "model.word": "1e-5",
    "model.sizes": [1, 2, 3],
    "model.table": {"beta": 1e-08, "steps": 7, "name": "adam", "off": False, "none": None},
}


def test_every_type_arrives_by_the_config_file(tmp_path: Path) -> None:
    model = parsed(words_for(EVERY_TYPE, ["--config", "${args_config_file}"], tmp_path))["model"]
    assert {f"model.{name}": value for name, value in model.items()} == EVERY_TYPE
    assert [type(model[name]) for name in ("rate", "depth", "on", "word")] == [float, int, bool, str]


@pytest.mark.parametrize("rate", [1e-05, 1e22, 5e-324, 0.1, 3.0, -2.5e-07])
def test_floats_of_any_size_arrive_exactly(rate: float, tmp_path: Path) -> None:
    words = words_for({"model.rate": rate}, ["--config", "${args_config_file}"], tmp_path)
    assert parsed(words)["model"]["rate"] == rate


@pytest.mark.parametrize(
    "word", ["1e-5", "0x10", "1_000", "true", "null", "off", "~", "2024-01-01", "a: b", "é"]
)
def test_text_that_looks_like_something_else_arrives_as_text(word: str, tmp_path: Path) -> None:
    words = words_for({"model.word": word}, ["--config", "${args_config_file}"], tmp_path)
    assert parsed(words)["model"]["word"] == word


def test_the_parameters_win_over_the_config_file_before_them(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("model: {rate: 0.25, depth: 2}\ntrainer: {max_epochs: 5}\n")
    command = ["--config", str(tmp_path / "base.yaml"), "--config", "${args_config_file}"]
    config = parsed(words_for({"model.rate": 1e-05}, command, tmp_path))
    assert (config["model"]["rate"], config["model"]["depth"]) == (1e-05, 2)
    assert config["trainer"]["max_epochs"] == 5


def test_the_arguments_of_a_class_come_together_from_both_files(tmp_path: Path) -> None:
    base = {"optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.5, "eps": 0.001}}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    command = ["--config", str(tmp_path / "base.yaml"), "--config", "${args_config_file}"]
    config = parsed(words_for({"optimizer.init_args.lr": 1e-05}, command, tmp_path))
    assert config["optimizer"]["init_args"]["lr"] == 1e-05
    assert config["optimizer"]["init_args"]["eps"] == 0.001


def test_flags_carry_numbers_booleans_lists_and_dicts(tmp_path: Path) -> None:
    params = {name: value for name, value in EVERY_TYPE.items() if name != "model.maybe"}
    params["model.table"] = {"beta": 1e-08, "steps": 7, "name": "adam", "off": False}
    model = parsed(words_for(params, ["${args}"], tmp_path))["model"]
    assert {name: model[name.removeprefix("model.")] for name in params} == params


def test_none_in_a_flag_is_pythons_word_and_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        parsed(words_for({"model.maybe": None}, ["${args}"], tmp_path))
