from __future__ import annotations

import pickle
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

import besom
from besom.errors import UsageError
from besom.records import RunState
from besom.store import Store

Python = Callable[..., subprocess.CompletedProcess[str]]

SWEEP = {"method": "grid", "parameters": {"lr": {"values": [1, 2]}}, "metric": {"name": "loss"}}


def test_all_names_what_the_package_offers() -> None:
    for name in besom.__all__:
        getattr(besom, name)
    assert set(besom.__all__) <= set(dir(besom))
    assert besom.errors.UsageError is UsageError is besom.UsageError
    with pytest.raises(AttributeError, match="'bogus'"):
        _ = besom.bogus  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "imports",
    [
        "import besom; import besom.sweep, besom.agent, besom.run, besom.config",
        "import besom.run.live; import besom.config; import besom.agent; import besom.sweep; import besom",
        "from besom.agent import run_agent; from besom.sweep import create_sweep; import besom; besom.sweep",
        "import besom; besom.sweep; besom.agent; import besom.agent.loop",
        "from importlib import import_module as i; [i('besom.' + n) for n in ('sweep', 'run')]; import besom",
    ],
)
def test_doors_win_over_modules_of_the_same_name_in_any_order(imports: str, python: Python) -> None:
    done = python(
        f"""
        {imports}
        import sys, types
        assert besom.run is None
        assert isinstance(besom.sweep, types.FunctionType)
        assert isinstance(besom.agent, types.FunctionType)
        from besom import sweep, agent, init
        assert sweep is besom.sweep and agent is besom.agent
        from besom.agent import run_agent
        from besom.sweep import create_sweep
        from besom.config import Config
        from besom.run import LiveRun
        run = init(config={{"lr": 1}})
        assert besom.run is run and isinstance(run, LiveRun)
        assert besom.config is run.config and isinstance(besom.config, Config)
        import besom.api
        sweep_id = besom.sweep({SWEEP!r})
        assert besom.Api().sweep(sweep_id).expected_run_count == 2
        """
    )
    assert done.returncode == 0, done.stderr


def test_the_doors_serve_the_run_of_this_process(store: Store) -> None:
    config, summary = besom.config, besom.summary
    run = besom.init(config={"lr": 0.1})
    besom.define_metric("loss", summary="min")
    besom.log({"loss": 2})
    besom.log({"loss": 3}, step=5)
    besom.summary["best"] = 1
    besom.config.update({"batch": 2})
    besom.mark_preempting()
    assert besom.log_code() == run.dir / "code"
    assert (config.lr, config["batch"], len(config), list(config)) == (0.1, 2, 2, ["lr", "batch"])
    assert "lr" in config
    config["epochs"] = 1
    config.seed = 2
    assert repr(config) == repr(run.config)
    assert summary.best == 1
    besom.finish()
    besom.finish()
    stored = store.get_run(run.id)
    assert stored.state is RunState.FINISHED
    assert stored.summary == {"loss": {"min": 2}, "best": 1}
    assert stored.config == {"lr": 0.1, "batch": 2, "epochs": 1, "seed": 2}


def test_a_program_written_for_wandb_may_give_all_that_wandb_takes(store: Store) -> None:
    assert besom.login(key="0" * 40, relogin=True) is True
    settings = besom.Settings(start_method="thread", sagemaker_disable=True)
    run = besom.init(settings=settings, tags=["a"], notes="n", save_code=True)
    besom.define_metric("loss", step_metric="epoch", step_sync=True, hidden=True, overwrite=True)
    besom.log({"loss": 1}, sync=True)
    besom.finish(quiet=True)
    assert store.get_run(run.id).summary == {"loss": 1}


def test_a_run_keeps_the_name_that_the_store_has_for_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    run = besom.init()
    run.name = "lr=0.1"
    assert run.name == store.get_run(run.id).name
    assert "'lr=0.1' is ignored" in caplog.text


def test_what_wandb_has_and_besom_has_not_is_told() -> None:
    with pytest.raises(AttributeError, match="did you mean 'define_metric'"):
        _ = besom.define_metrics  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="what runs and sweeps need"):
        _ = besom.Image  # type: ignore[attr-defined]


def test_before_init_the_doors_say_what_to_do() -> None:
    assert besom.run is None
    assert "before besom.init()" in repr(besom.config)
    tries: list[Callable[[], Any]] = [
        lambda: besom.config.lr,
        lambda: besom.config["lr"],
        lambda: besom.config.update({"a": 1}),
        lambda: besom.summary["x"],
        lambda: setattr(besom.config, "lr", 1),
        lambda: besom.log({"loss": 1}),
        lambda: besom.define_metric("loss"),
        besom.mark_preempting,
        besom.log_code,
    ]
    for attempt in tries:
        with pytest.raises(UsageError, match=r"call besom.init\(\) first"):
            attempt()
    assert not hasattr(besom.config, "__deepcopy__")


def test_a_sweep_is_made_and_run_from_python(store: Store) -> None:
    sweep_id = besom.sweep(SWEEP, project="proj", entity="team")
    seen: list[Any] = []

    def train() -> None:
        run = besom.init(config={"lr": 0, "batch": 4})
        seen.append(dict(besom.config))
        run.log({"loss": 1 / besom.config.lr})

    besom.agent(sweep_id, train, count=1)
    assert seen == [{"lr": 1, "batch": 4}]
    besom.agent(f"team/proj/{sweep_id}", function=train)
    assert [config["lr"] for config in seen] == [1, 2]
    runs = store.list_runs(sweep_id)
    assert [(run.state, run.value) for run in runs] == [(RunState.FINISHED, 1.0), (RunState.FINISHED, 0.5)]
    assert besom.run is None
    assert store.get_sweep(sweep_id).project == "proj"


def test_a_sweep_may_be_a_function_or_a_file(store: Store, home: Any) -> None:
    assert store.get_sweep(besom.sweep(lambda: SWEEP)).method == "grid"
    (home / "sweep.yaml").write_text("method: random\nparameters: {lr: {min: 0.0, max: 1.0}}\n")
    assert store.get_sweep(besom.sweep("sweep.yaml")).method == "random"


def test_what_a_sweep_says_in_vain_is_warned_of(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    besom.sweep({**SWEEP, "controller": {"type": "local"}})
    assert caplog.messages == ["sweep config: controller is W&B's own and has no effect"]


def test_an_agent_without_a_function_starts_the_program(store: Store, home: Any) -> None:
    (home / "train.py").write_text(
        "import besom\nwith besom.init() as run: run.log({'loss': run.config.lr})\n"
    )
    sweep_id = besom.sweep({**SWEEP, "program": "train.py"})
    result = besom.agent(sweep_id)
    assert result.exit_code == 0
    assert [run.value for run in store.list_runs(sweep_id)] == [1.0, 2.0]


def test_an_agent_takes_the_settings_that_wandbs_does(store: Store, home: Any) -> None:
    def fail() -> None:
        raise ValueError("no data")

    many = {**SWEEP, "parameters": {"lr": {"min": 1, "max": 9}}}
    with pytest.raises(besom.RunFailedError, match="2 runs failed one after another"):
        besom.agent(besom.sweep(many), fail, max_consecutive_failed_runs=2)
    (home / "fail.py").write_text("raise SystemExit(1)")
    sweep_id = besom.sweep({**many, "program": "fail.py"})
    result = besom.agent(sweep_id, forward_signals=True, term_timeout=3, max_consecutive_failed_runs=1)
    assert (result.exit_code, len(store.list_runs(sweep_id))) == (1, 1)


def test_importing_besom_loads_only_the_standard_library(python: Python) -> None:
    done = python(
        """
        import sys
        before = set(sys.modules)
        import besom
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        assert new - set(sys.stdlib_module_names) == {"besom"}, new
        assert [name for name in sys.modules if name.startswith("besom")] == ["besom"]
        """
    )
    assert done.returncode == 0, done.stderr


def test_the_module_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(besom)) is besom
