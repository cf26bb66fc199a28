from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.errors import RunStopped, UsageError
from besom.journal import replay
from besom.records import Outcome, RunState
from besom.run import LiveRun, active_run, assigned, init
from besom.run.attach import rank
from besom.store import Store


def wait_until(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_run_outside_every_sweep_is_kept_in_the_default_store(store: Store) -> None:
    run = init(project="p", name="first", config={"lr": 0.1}, tags=["a"], group="g")
    assert active_run() is run
    assert init(config={"batch": 2}) is run
    assert (run.sweep_id, run.project, run.name, run.resumed, run.resume_path) == (
        None,
        "p",
        "first",
        False,
        None,
    )
    run.log({"loss": 1.0})
    run.config.epochs = 3
    run.finish()
    assert active_run() is None
    stored = store.get_run(run.id)
    assert (stored.state, stored.source, stored.exit_code) == (RunState.FINISHED, "solo", 0)
    assert stored.config == {"lr": 0.1, "batch": 2, "epochs": 3}
    assert init().id != run.id


def test_reinit_starts_another_run(store: Store) -> None:
    first = init()
    second = init(reinit=True)
    assert second.id != first.id
    assert store.get_run(first.id).state is RunState.FINISHED


def test_a_run_id_in_the_environment_means_attach(sweeps: Any, store: Store) -> None:
    sweep = sweeps.create({"lr": 0.5, "model": {"depth": 3}})
    record, folder = sweeps.claim(sweep)
    sweeps.enter(record, folder)
    run = init(
        config=argparse.Namespace(lr=0.1, batch=8, model={"width": 2}),
        project="x",
        entity="y",
        id="z",
        name="n",
    )
    assert (run.id, run.sweep_id, run.project, run.entity) == (record.id, sweep.id, "proj", "team")
    assert run.config.as_dict() == {"lr": 0.5, "batch": 8, "model": {"width": 2, "depth": 3}}
    assert run.dir == folder.path
    run.log({"loss": 0.25})
    wait_until(lambda: store.history(run.id))
    stored = store.get_run(run.id)
    assert (stored.value, stored.summary, stored.config) == (0.25, {"loss": 0.25}, run.config.as_dict())
    run.finish()
    assert store.get_run(run.id).state is RunState.FINISHED


def test_config_defaults_lie_below_init_and_the_sweep(sweeps: Any, home: Path) -> None:
    (home / "config-defaults.yaml").write_text("lr: {value: 1}\nbatch: {value: 1}\nepochs: {value: 1}\n")
    sweeps.enter(*sweeps.claim(sweeps.create({"lr": 3})))
    assert init(config={"batch": 2, "lr": 2}).config.as_dict() == {"lr": 3, "batch": 2, "epochs": 1}


def test_init_reads_a_yaml_file_as_config(store: Store, home: Path) -> None:
    (home / "my.yaml").write_text("lr: {value: 1e-3}\n")
    assert init(config="my.yaml").config.lr == 1e-3


def test_a_broken_environment_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESOM_RUN_ID", "abc")
    with pytest.raises(UsageError, match="BESOM_RUN_DIR"):
        init()


def test_a_disabled_run_keeps_nothing(home: Path) -> None:
    with init(mode="disabled", config={"lr": 0.1}) as run:
        run.log({"loss": 1})
        run.define_metric("loss", summary="min")
        run.summary["x"] = 1
        run.mark_preempting()
        run.check_stop()
        assert run.log_code() is None
        assert run.save_checkpoint("c").is_absolute()
        assert run.summary.as_dict() == {"loss": 1, "x": 1}
        assert run.dir.is_dir()
    assert not (home / ".besom").exists()


def test_other_ranks_get_the_same_config_and_write_nothing(
    sweeps: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder = sweeps.claim(sweeps.create({"lr": 0.5}))
    sweeps.enter(record, folder)
    monkeypatch.setenv("RANK", "1")
    run = init(config={"lr": 0.1, "batch": 4})
    assert (run.id, run.config.as_dict()) == (record.id, {"lr": 0.5, "batch": 4})
    run.log({"loss": 1})
    assert run.should_stop is False
    run.finish()
    assert not folder.journal(1).exists()
    assert not folder.polls_stop.exists()
    assert store.get_run(record.id).state is RunState.RUNNING


def test_other_ranks_outside_a_sweep_start_no_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    init(config={"a": 1}).log({"loss": 1})
    assert store.list_runs(None) == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 0),
        ({"RANK": "3", "LOCAL_RANK": "1"}, 3),
        ({"RANK": "0", "LOCAL_RANK": "1"}, 0),
        ({"SLURM_PROCID": "5"}, 0),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "1"}, 0),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, 5),
        ({"OMPI_COMM_WORLD_RANK": "2"}, 2),
        ({"PMI_RANK": "4"}, 4),
        ({"LOCAL_RANK": "1"}, 1),
        ({"RANK": "nonsense"}, 0),
    ],
)
def test_the_rank_is_read_as_launchers_set_it(
    environment: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert rank() == expected


def test_an_id_resumes_an_ended_run(store: Store) -> None:
    run = init(id="mine", config={"lr": 0.1})
    run.log({"loss": 1.0})
    run.save_checkpoint("ckpt.pt")
    Path("ckpt.pt").touch()
    run.finish(1)
    again = init(id="mine", resume="allow", config={"batch": 1})
    assert (again.id, again.resumed, again.attempt, again.step) == ("mine", True, 2, 1)
    assert again.resume_path == Path("ckpt.pt").absolute()
    assert again.config.as_dict() == {"lr": 0.1, "batch": 1}
    assert again.summary.as_dict() == {"loss": 1.0}
    again.log({"acc": 1})
    again.finish()
    assert store.get_run("mine").summary == {"loss": 1.0, "acc": 1}
    with pytest.raises(UsageError, match="there is a run"):
        init(id="mine", resume="never")
    with pytest.raises(UsageError, match="there is no run"):
        init(id="yours", resume="must")
    for bad in ("../x", "a/b", ".hidden", ""):
        with pytest.raises(UsageError, match="cannot be a run's id"):
            init(id=bad)


def test_a_killed_run_alone_is_resumed_with_all_that_it_logged(store: Store, python: Any) -> None:
    program = """
    import os, besom
    run = besom.init(id="mine")
    for step in range(1000):
        run.log({"step": step})
    os.kill(os.getpid(), 9)
    """
    assert python(program).returncode == -9
    run = init(id="mine", resume="must")
    assert (run.attempt, run.step, run.summary.as_dict()) == (2, 1000, {"step": 999})
    assert [tried.error for tried in store.attempts("mine")] == ["its process died", None]
    assert len(store.history("mine", attempt=1)) == 1000
    assert "run mine is running" in python('import besom; besom.init(id="mine")').stderr


def test_a_second_attempt_goes_on_from_its_checkpoint(sweeps: Any, store: Store) -> None:
    sweep = sweeps.create(max_attempts=2)
    record, folder = sweeps.claim(sweep)
    sweeps.enter(record, folder)
    run = init()
    for step in range(5):
        run.log({"loss": 5 - step})
    (folder.checkpoints / "a.pt").touch()
    newest = folder.checkpoints / "b.pt"
    newest.touch()
    os.utime(newest, (2e9, 2e9))
    run.mark_preempting()
    run.finish(1)
    assert store.get_run(record.id).state is RunState.PREEMPTED
    record, folder = sweeps.claim(sweep)
    sweeps.enter(record, folder)
    run = init()
    assert (run.resumed, run.attempt, run.step, run.resume_path) == (True, 2, 5, newest)
    run.log({"loss": 2}, step=3)  # the checkpoint was older than the last log
    run.log({"loss": 1})
    assert run.summary["loss"] == 1
    run.finish()
    assert [row.step for row in store.history(record.id, attempt=2)] == [3, 3]
    assert store.get_run(record.id).state is RunState.FINISHED


def test_the_summary_rule_answers_for_the_sweeps_metric(sweeps: Any, store: Store) -> None:
    for metric, rule, expected in [
        ("loss", "min", 1.0),
        ("loss.min", "min", 1.0),
        ("loss.max", "max", 3.0),
        ("loss", "max", 3.0),
        ("loss", "none", None),
    ]:
        record, folder = sweeps.claim(sweeps.create(metric=metric))
        sweeps.enter(record, folder)
        run = init()
        run.define_metric("loss", summary=rule)
        for loss in (3.0, 1.0, 2.0):
            run.log({"loss": loss})
        run.finish()
        assert store.get_run(record.id).value == expected, (metric, rule)


def test_asking_should_stop_tells_the_agent_and_hears_of_a_stop(sweeps: Any, store: Store) -> None:
    record, folder = sweeps.claim(sweeps.create())
    sweeps.enter(record, folder)
    run = init()
    assert not folder.polls_stop.exists()
    assert run.should_stop is False
    assert folder.polls_stop.exists()
    store.request_stop(record.id, "enough")
    run.log({"loss": 1})
    wait_until(lambda: run.should_stop)
    with pytest.raises(RunStopped, match="enough"):
        run.check_stop()
    run.finish()
    assert store.get_run(record.id).state is RunState.STOPPED


def test_a_program_that_only_polls_hears_of_a_kill(sweeps: Any, store: Store) -> None:
    record, folder = sweeps.claim(sweeps.create())
    sweeps.enter(record, folder)
    with pytest.raises(RunStopped), init() as run:  # noqa: PT012
        assert not run.should_stop
        store.request_stop(record.id, "canceled", kill=True)
        while True:
            run.check_stop()
            time.sleep(0.01)
    assert store.get_run(record.id).state is RunState.KILLED


def test_a_run_taken_over_by_a_later_attempt_is_told(sweeps: Any, store: Store) -> None:
    sweep = sweeps.create(max_attempts=2)
    record, folder = sweeps.claim(sweep)
    sweeps.enter(record, folder)
    run = init()
    run.log({"loss": 1})
    wait_until(lambda: store.history(record.id))
    store.finish(record.lease, Outcome(RunState.PREEMPTED))
    sweeps.claim(sweep)
    run.log({"loss": 2})
    wait_until(lambda: run.should_stop)
    run.finish()
    again = store.get_run(record.id)
    assert (again.attempt, again.state) == (2, RunState.RUNNING)


def test_a_function_agents_run_is_found_by_init_and_ended_by_leaving(sweeps: Any, store: Store) -> None:
    sweep = sweeps.create({"lr": 1}, {"lr": 2}, {"lr": 3}, {"lr": 4})

    def attempt(function: Callable[[], object]) -> tuple[RunState, str | None]:
        record, folder = sweeps.claim(sweep)
        try:
            with assigned(record, sweep, store, folder):
                function()
        except (RunStopped, ValueError):
            pass
        stored = store.get_run(record.id)
        return stored.state, stored.error

    def trains() -> None:
        run = init(config={"lr": 0.1, "batch": 8})
        assert run.config.as_dict() == {"lr": 1, "batch": 8}
        run.log({"loss": 1})

    def fails() -> None:
        init().log({"loss": 1})
        raise ValueError("boom")

    def stops() -> None:
        raise RunStopped("enough")

    assert attempt(trains) == (RunState.FINISHED, None)
    state, error = attempt(fails)
    assert state is RunState.FAILED
    assert error is not None
    assert "ValueError: boom" in error
    assert attempt(stops) == (RunState.STOPPED, None)
    assert attempt(lambda: init().finish(0)) == (RunState.FINISHED, None)
    assert active_run() is None
    assert [run.summary for run in store.list_runs(sweep.id)] == [{"loss": 1}, {"loss": 1}, {}, {}]


def test_a_second_process_of_a_run_adds_to_its_journal_and_does_not_end_it(
    sweeps: Any, store: Store, python: Any
) -> None:
    record, folder = sweeps.claim(sweeps.create())
    sweeps.enter(record, folder)
    with init() as run:
        run.log({"loss": 1})
        done = python("import besom\nwith besom.init() as run: run.log({'eval': 2}, step=9)")
        assert done.returncode == 0, done.stderr
        assert store.get_run(record.id).state is RunState.RUNNING
    stored = store.get_run(record.id)
    assert (stored.state, stored.summary) == (RunState.FINISHED, {"loss": 1, "eval": 2})


def test_attaching_opens_no_store(sweeps: Any, python: Any) -> None:
    record, folder = sweeps.claim(sweeps.create({"lr": 0.5}))
    environment = {**sweeps.environment(record, folder), "BESOM_STORE": "nowhere://at.all"}
    done = python(
        """
        import sys
        import besom, besom.run.live
        besom.run  # a door, not the module
        sys.modules["besom.run.live"].LEAVE_PATIENCE = 0.1
        run = besom.init()
        run.log({"loss": run.config.lr})
        """,
        environment=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "has reached the store" in done.stderr
    store_told = replay(sweeps.store, record.lease, folder.journal(1))
    assert (store_told.finished, store_told.summary) == (None, {"loss": 0.5})
    assert json.loads(folder.params_file.read_text()) == {"lr": 0.5}


def test_repr_names_the_run(store: Store) -> None:
    run: LiveRun = init(id="abc", name="first")
    assert repr(run) == "<besom run abc 'first'>"


@pytest.mark.parametrize(
    ("state", "summary"),
    [
        (RunState.PREEMPTED, {"loss": {"mean": 4.0}, "note": 1}),
        (RunState.FAILED, {"loss": {"mean": 10.0}}),
    ],
)
def test_an_attempt_goes_on_with_the_summary_of_an_interrupted_one_only(
    state: RunState, summary: Any, sweeps: Any, store: Store
) -> None:
    sweep = sweeps.create(max_attempts=2)
    record, folder = sweeps.claim(sweep)
    sweeps.enter(record, folder)
    run = init()
    run.define_metric("loss", summary="mean")
    run.summary["note"] = 1
    for loss in (1.0, 2.0, 3.0):
        run.log({"loss": loss})
    run._end(state, 1, None)  # as the agent would
    record, folder = sweeps.claim(sweep)
    assert record.attempt == 2
    sweeps.enter(record, folder)
    run = init()
    assert run.step == 3
    run.define_metric("loss", summary="mean")
    run.log({"loss": 10.0})
    assert run.summary.as_dict() == summary
    run.finish()
    assert store.get_run(record.id).summary == summary


def test_a_failed_attempts_metric_is_not_taken_over_by_way_of_one_that_never_reported(
    sweeps: Any, store: Store
) -> None:
    sweep = sweeps.create(max_attempts=3)
    record, folder = sweeps.claim(sweep)
    sweeps.enter(record, folder)
    init().log({"loss": 0.01})
    finish = active_run()
    assert finish is not None
    finish.finish(1)
    record, _ = sweeps.claim(sweep)
    store.finish(record.lease, Outcome(RunState.PREEMPTED))
    record, folder = sweeps.claim(sweep)
    assert record.attempt == 3
    sweeps.enter(record, folder)
    run = init()
    run.log({"acc": 1.0})
    run.finish()
    stored = store.get_run(record.id)
    assert (stored.summary, stored.value) == ({"acc": 1.0}, None)
