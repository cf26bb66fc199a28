"""Configs that are copied and patched are those that Hydra composes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from besom_hydra.app import App
from besom_hydra.compose import Composer
from besom_hydra.starter import start_method

FILES = {
    "config.yaml": "defaults:\n  - db: mysql\n  - _self_\nx: 1\nname: a\nbetas: [0.9, 0.99]\n"
    "opt: {lr: 0.1, momentum: 0}\nderived: ${x}\nneeded: ???\n",
    "db/mysql.yaml": "port: 3306\n",
    "db/postgres.yaml": "port: 5432\nextra: yes\n",
}
PLAIN = [
    "1",
    "1.0",
    "true",
    "null",
    "abc",
    "'a, b'",
    "[1,2]",
    "[]",
    "1e-3",
    "nan",
    "'${x}'",
    "${name}",
    "{a:1}",
]
LINES = st.one_of(
    st.builds(
        "{}={}".format, st.sampled_from(["x", "name", "opt.lr", "needed", "betas"]), st.sampled_from(PLAIN)
    ),
    st.builds(
        "{}={}".format, st.sampled_from(["+new", "++x", "++deep.er", "+opt.more"]), st.sampled_from(PLAIN)
    ),
    st.sampled_from(["db=mysql", "db=postgres", "~opt.momentum", "betas.0=7", "hydra.verbose=true"]),
)


@pytest.fixture
def app(tmp_path: Path, hydra_restore_singletons: Any) -> Iterator[App]:
    from hydra._internal.callbacks import Callbacks
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import HydraContext, RunMode

    for name, text in FILES.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    version.setbase("1.3")
    made = Hydra.create_main_hydra2("app", create_config_search_path(str(tmp_path / "conf")))
    config = made.compose_config(
        config_name="config", overrides=[], run_mode=RunMode.MULTIRUN, with_log_configuration=False
    )
    yield App(HydraContext(made.config_loader, Callbacks(config)), lambda cfg: None, config)
    GlobalHydra.instance().clear()


def whole(app: App, overrides: list[str], number: int) -> DictConfig:
    config: DictConfig = app.hydra_context.config_loader.load_sweep_config(app.config, overrides)
    OmegaConf.set_struct(config, False)
    config.hydra.job.id = config.hydra.job.num = number
    return config


def written(compose: Any) -> str:
    try:
        return OmegaConf.to_yaml(compose())
    except Exception as error:  # noqa: BLE001 - those of Hydra and OmegaConf have no common base
        return type(error).__name__


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=st.lists(st.lists(LINES, max_size=3), min_size=1, max_size=3), data=st.data())
@pytest.mark.slow
def test_every_job_has_the_config_that_hydra_composes(app: App, jobs: list[list[str]], data: Any) -> None:
    composer = Composer(app)
    # Each job comes three times: composed, copied and compared, copied.
    for number, lines in enumerate([*jobs, *jobs, *jobs]):
        assert written(lambda: composer.compose(lines, number)) == written(lambda: whole(app, lines, number))  # noqa: B023


def test_values_are_patched_into_a_copy(app: App) -> None:
    composer = Composer(app)
    for number, value in enumerate(["1", "2.5", "null", "'a, b'", "[1,2]"]):
        lines = [f"x={value}", "opt.lr=0.2", "db=postgres"]
        config = composer.compose(lines, number)
        assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(whole(app, lines, number))
        assert config.hydra.overrides.task == lines
    assert len(composer._bases) == 1


def test_a_copy_does_not_change_what_later_ones_are_made_from(app: App) -> None:
    composer = Composer(app)
    for number in range(4):
        config = composer.compose([f"x={number}"], number)
        assert config.x == number
        config.opt.lr = 99
        assert composer.compose(["x=7"], 7).opt.lr == 0.1


def test_an_unknown_start_method_is_refused() -> None:
    with pytest.raises(Exception, match="use auto, fork or spawn"):
        start_method("thread")
