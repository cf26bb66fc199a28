"""A config that changes under a sweep is noticed and named."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from besom.records import RunState
from besom.testing.agents import Lab
from besom_hydra.drift import described, note_drift

WriteApp = Callable[..., Path]


def composed(config: dict[str, Any], **choices: str) -> DictConfig:
    return OmegaConf.create({**config, "hydra": {"runtime": {"choices": choices}, "job": {"num": 3}}})


def test_the_first_run_is_kept_and_the_same_again_is_no_drift(tmp_path: Path) -> None:
    config = composed({"a": {"b": 1}, "t": "${now:%S}", "n": None, "l": [1, {"x": 2}]})
    assert note_drift(tmp_path / "new", config, {}) == []
    assert note_drift(tmp_path / "new", config, {}) == []


def test_changes_are_named(tmp_path: Path) -> None:
    note_drift(tmp_path, composed({"a": {"b": 1, "gone": 2}, "same": [1]}), {})
    changes = note_drift(tmp_path, composed({"a": {"b": 3}, "same": [1], "new": "x"}), {})
    assert changes == ["a.b: 1 -> 3", "a.gone: was 2, not there now", 'new: now "x", not there before']


def test_what_the_sweep_chooses_is_no_drift(tmp_path: Path) -> None:
    chosen = {"lr": 1, "opt": {"beta": 2}, "+new.key": 3, "d": {"x": 1}}
    base = {"lr": 1, "opt": {"beta": 2, "fixed": 0}, "new": {"key": 3}, "d": {"x": 1}}
    note_drift(tmp_path, composed(base), chosen)
    other = {"lr": 5, "opt": {"beta": 6, "fixed": 0}, "new": {"key": 7}, "d": {"x": 8}}
    assert note_drift(tmp_path, composed(other), chosen) == []
    other["opt"] = {"beta": 6, "fixed": 1}
    assert note_drift(tmp_path, composed(other), chosen) == ["opt.fixed: 0 -> 1"]


def test_each_choice_of_groups_is_compared_with_itself(tmp_path: Path) -> None:
    small, large = composed({"model": {"w": 1}}, model="small"), composed({"model": {"w": 2}}, model="large")
    assert note_drift(tmp_path, small, {"model": "small"}) == []
    assert note_drift(tmp_path, large, {"model": "large"}) == []
    edited = composed({"model": {"w": 9}}, model="large")
    assert note_drift(tmp_path, edited, {"model": "large"}) == ["model.w: 2 -> 9"]


def test_a_parameter_that_came_later_is_no_drift(tmp_path: Path) -> None:
    note_drift(tmp_path, composed({"lr": 1, "wd": 0}), {"lr": 1})
    assert note_drift(tmp_path, composed({"lr": 1, "wd": 5}), {"lr": 1, "wd": 5}) == []


def test_many_first_runs_at_once_keep_one(tmp_path: Path) -> None:
    found: list[list[str]] = []
    config = composed({"a": 1})
    threads = [
        threading.Thread(target=lambda: found.append(note_drift(tmp_path, config, {}))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[]] * 8
    assert len(list(tmp_path.iterdir())) == 1


def test_many_changes_are_said_in_short() -> None:
    assert described([str(number) for number in range(7)]) == "0; 1; 2; 3; 4, and 2 more"


SWEEP = """
method: grid
program: train.py
metric: {name: loss}
parameters: {lr: {values: [1, 2]}}
"""


@pytest.mark.slow
def test_a_run_under_an_edited_config_says_so(app: WriteApp, lab: Lab) -> None:
    app()
    made = lab.sweep(SWEEP)
    lab.agent(made, count=1)
    config = lab.folder / "conf" / "config.yaml"
    config.write_text(config.read_text().replace("momentum: 0", "momentum: 0.9"))
    lab.agent(made)
    first, second = lab.runs(made)
    assert (first.state, second.state) == (RunState.FINISHED, RunState.FINISHED)
    assert "drift" not in first.config["hydra"]
    assert second.config["hydra"]["drift"] == ["opt.momentum: 0 -> 0.9"]
    assert "config has changed since this sweep's first runs: opt.momentum: 0 -> 0.9" in lab.output(second)


@pytest.mark.slow
def test_drift_can_be_made_to_fail(app: WriteApp, lab: Lab) -> None:
    app()
    words = '["${interpreter}", "${program}", "${args_hydra}", "++hydra.callbacks.besom.drift=fail"]'
    made = lab.sweep(f"{SWEEP}command: {words}\n")
    lab.agent(made, count=1)
    small = lab.folder / "conf" / "model" / "small.yaml"
    small.write_text("width: 3\n")
    lab.agent(made)
    first, second = lab.runs(made)
    assert (first.state, second.state) == (RunState.FINISHED, RunState.FAILED)
    assert "model.width: 1 -> 3" in (second.error or "")
