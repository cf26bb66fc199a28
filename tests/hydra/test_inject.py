"""`besom_hydra.inject`: a run's parameters in a config that the program composed itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import besom
from besom.errors import UsageError
from besom.testing.agents import Lab
from besom_hydra import inject


@dataclass
class Opt:
    lr: float = 0.1
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])


@dataclass
class Config:
    opt: Opt = field(default_factory=Opt)
    name: str = "x"


def test_a_copy_has_the_parameters_and_the_config_stays() -> None:
    cfg = OmegaConf.create({"a": {"b": 1, "c": 2}, "l": [1, 2]})
    made = inject(cfg, {"a": {"b": 5}, "l": [3], "new.deep": "x"})
    assert made == {"a": {"b": 5, "c": 2}, "l": [3], "new": {"deep": "x"}}
    assert cfg == {"a": {"b": 1, "c": 2}, "l": [1, 2]}


def test_types_are_those_of_a_structured_config() -> None:
    made = inject(OmegaConf.structured(Config), {"opt.lr": 1, "name": "y"})
    assert isinstance(made.opt.lr, float)
    assert (made.opt.lr, made.name) == (1.0, "y")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"opt.lr": "fast"}, "parameter opt.lr does not fit the config: .*'fast'"),
        ({"opt.lrr": 1}, "parameter opt.lrr does not fit the config"),
        ({"nme": 1}, "parameter nme does not fit the config"),
        ({"opt.betas": "x"}, "parameter opt.betas does not fit"),
        ({"db@x": "y"}, "config group"),
    ],
)
def test_what_does_not_fit_a_structured_config_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        inject(OmegaConf.structured(Config), params)


def test_a_closed_and_read_only_config_takes_parameters_too(tmp_path: Any) -> None:
    (tmp_path / "config.yaml").write_text("lr: 1\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        cfg = compose("config")
    OmegaConf.set_readonly(cfg, True)
    made = inject(cfg, {"lr": 2, "more": 3})
    assert (made.lr, made.more, cfg.lr) == (2, 3, 1)
    assert OmegaConf.is_readonly(made)


def test_outside_a_sweep_nothing_changes(lab: Lab) -> None:
    cfg = OmegaConf.create({"lr": 1})
    made = inject(cfg)
    assert made == cfg
    assert made is not cfg
    assert besom.run is None


def test_a_function_agent_gets_each_runs_config(lab: Lab) -> None:
    cfg = OmegaConf.create({"opt": {"lr": 0, "wd": 1}})
    seen: list[Any] = []

    def train() -> None:
        made = inject(cfg)
        seen.append(OmegaConf.to_container(made))
        besom.init().log({"loss": made.opt.lr})

    parameters = {"opt": {"parameters": {"lr": {"values": [1, 2]}}}}
    made = besom.sweep({"method": "grid", "metric": {"name": "loss"}, "parameters": parameters})
    besom.agent(made, train)
    assert seen == [{"opt": {"lr": 1, "wd": 1}}, {"opt": {"lr": 2, "wd": 1}}]
    assert [run.summary["loss"] for run in besom.Api().sweep(made).runs] == [1, 2]
