"""A lab (a store, sweeps and agents in a folder of their own) and Hydra apps in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from besom.testing.agents import Lab, open_lab

APP = """
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    {body}

if __name__ == "__main__":
    main()
"""
CONF = {
    "config.yaml": "defaults:\n  - _self_\n  - model: small\n  - db@store.main: mysql\n"
    "lr: 0.1\nopt: {betas: [0.9, 0.99], momentum: 0}\nname: plain\n",
    "model/small.yaml": "width: 1\n",
    "model/large.yaml": "width: 2\ndefaults:\n  - head: one\n",
    "model/head/one.yaml": "dim: 1\n",
    "model/head/two.yaml": "dim: 2\n",
    "db/mysql.yaml": "port: 3306\n",
    "db/postgres.yaml": "port: 5432\n",
    "extra/debug.yaml": "# @package _global_\ndebug: true\n",
}


@pytest.fixture(autouse=True)
def no_version_base() -> None:
    """Each test begins without a `version_base`, which Hydra else keeps for the life of the process."""
    from hydra.core.singleton import Singleton
    from hydra.version import VersionBase

    Singleton._instances.pop(VersionBase, None)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hydra_restore_singletons: Any) -> Iterator[Lab]:
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    with open_lab(tmp_path) as made:
        yield made


@pytest.fixture
def app(lab: Lab) -> Any:
    """Write an app with config groups whose task has the given body; gives its file."""

    def write(body: str = "return cfg.lr", program: str = "train.py") -> Path:
        for name, text in CONF.items():
            lab.write(f"conf/{name}", text)
        lines = [line.rstrip() for line in body.strip().splitlines()]
        return lab.write(program, APP.replace("{body}", "\n    ".join(lines)))

    return write


@pytest.fixture
def multirun(lab: Lab) -> Any:
    """Run a multirun in this process: `multirun(task, "x=1,2", config="x: 0")` gives what the sweeper gives.

    Sweeps with besom unless the overrides say otherwise.
    """
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra

    def run(task: Any, *overrides: str, config: str | None = None) -> Any:
        if config is not None:
            lab.write("conf/config.yaml", config)
        version.setbase("1.3")
        made = Hydra.create_main_hydra2(
            task_name="app", config_search_path=create_config_search_path(str(lab.folder / "conf"))
        )
        try:
            return made.multirun(
                config_name="config",
                task_function=task,
                overrides=["hydra/sweeper=besom", *overrides],
                with_log_configuration=False,
            )
        finally:
            GlobalHydra.instance().clear()

    return run
