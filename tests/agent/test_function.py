from __future__ import annotations

import time
from importlib import import_module

import pytest

import besom
from besom.agent import run_function_agent
from besom.agent.prepare import prepare_folder
from besom.errors import NotFoundError, RunFailedError, RunStopped, StoreError
from besom.journal import Journal
from besom.records import Run, RunState, SweepState
from besom.scheduler import Scheduler
from besom.testing.agents import Lab

SWEEP = "{method: grid, parameters: {x: {values: [1, 2, 3, 4, 5, 6]}}, metric: {name: loss}}"


def test_a_function_is_called_for_every_run(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)

    def train() -> None:
        run = besom.init()
        run.log({"loss": run.config["x"] ** 2})

    result = run_function_agent(lab.store, sweep.id, train)
    assert [(run.state, run.value) for run in lab.runs(sweep)] == [
        (RunState.FINISHED, float(x * x)) for x in range(1, 7)
    ]
    assert (result.exit_code, result.counts) == (0, {RunState.FINISHED: 6})
    assert lab.store.get_sweep(sweep.id).state is SweepState.FINISHED


def test_a_function_agent_takes_as_many_runs_as_it_is_told(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)
    run_function_agent(lab.store, sweep.id, lambda: None, count=2)
    assert lab.states(sweep) == [RunState.FINISHED] * 2


def test_an_exception_fails_its_run_and_the_next_goes_on(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)
    calls: list[int] = []

    def train() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("diverged")

    run_function_agent(lab.store, sweep.id, train)
    runs = lab.runs(sweep)
    assert [run.state for run in runs].count(RunState.FINISHED) == 5
    assert runs[1].state is RunState.FAILED
    assert "ValueError: diverged" in (runs[1].error or "")


def test_a_function_that_always_fails_ends_the_agent(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)

    def train() -> None:
        raise ValueError("no data")

    with pytest.raises(RunFailedError, match=r"3 runs failed within the first minute(.|\n)*no data"):
        run_function_agent(lab.store, sweep.id, train)
    assert lab.states(sweep) == [RunState.FAILED] * 3


def test_a_function_may_stop_its_run_or_exit(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)
    endings = [RunStopped("enough"), SystemExit(0), SystemExit(3), None]

    def train() -> None:
        ending = endings.pop(0)
        if ending is not None:
            raise ending

    run_function_agent(lab.store, sweep.id, train, count=4)
    assert lab.states(sweep) == [RunState.STOPPED, RunState.FINISHED, RunState.FAILED, RunState.FINISHED]


def test_a_function_that_never_asks_is_stopped_at_a_log(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)

    def train() -> None:
        run = besom.init()
        lab.store.request_stop(run.id, "it falls behind")
        for _ in range(2000):
            run.log({"loss": 1})
            time.sleep(0.005)
        raise AssertionError("nothing has stopped it")

    run_function_agent(lab.store, sweep.id, train, count=1)
    [run] = lab.runs(sweep)
    assert (run.state, run.stop_reason, run.error) == (RunState.STOPPED, "it falls behind", None)


def test_a_function_that_asks_by_itself_may_log_to_its_end(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)

    def train() -> None:
        run = besom.init()
        lab.store.request_stop(run.id, "it falls behind")
        while run.ask_stop({"loss": 1}) is None:
            time.sleep(0.005)
        run.log({"test": 0.5})

    run_function_agent(lab.store, sweep.id, train, count=1)
    [run] = lab.runs(sweep)
    assert (run.state, run.summary) == (RunState.STOPPED, {"loss": 1, "test": 0.5})


def test_ctrl_c_gives_the_run_back(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)

    def train() -> None:
        besom.init().log({"loss": 1})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_function_agent(lab.store, sweep.id, train)
    assert lab.states(sweep) == [RunState.PREEMPTED]
    run_function_agent(lab.store, sweep.id, lambda: None)
    assert lab.states(sweep) == [RunState.FINISHED] * 6
    assert lab.runs(sweep)[0].attempt == 2


def test_a_function_agent_of_an_unknown_sweep_is_an_error(lab: Lab) -> None:
    with pytest.raises(NotFoundError):
        run_function_agent(lab.store, "nosuch", lambda: None)


def test_a_function_agent_tries_again_when_the_store_fails(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = lab.sweep(SWEEP)
    claim = lab.store.claim
    failures = [StoreError("away"), None]

    class Shaky:
        def __getattr__(self, name: str) -> object:
            return getattr(lab.store, name)

        def claim(self, *args: object, **words: object) -> object:
            if (failure := failures.pop(0) if failures else None) is not None:
                raise failure
            return claim(*args, **words)  # type: ignore[arg-type]

    run_function_agent(Shaky(), sweep.id, lambda: None, count=1)  # type: ignore[arg-type]
    assert lab.states(sweep) == [RunState.FINISHED]
    assert "the store fails: away; trying again" in caplog.text


def test_the_function_runs_in_the_calling_thread(lab: Lab) -> None:
    import threading

    sweep = lab.sweep(SWEEP)
    seen: list[object] = []
    run_function_agent(lab.store, sweep.id, lambda: seen.append(threading.current_thread()), count=1)
    assert seen == [threading.current_thread()]


def test_a_folder_that_cannot_be_written_gives_the_run_back(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)
    runs = lab.folder / ".besom" / "runs"
    runs.write_text("in the way")
    with pytest.raises(OSError, match="Not a directory"):
        run_function_agent(lab.store, sweep.id, lambda: None)
    assert lab.states(sweep) == [RunState.PREEMPTED]


def test_a_function_that_changes_the_working_directory_keeps_its_runs_together(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BESOM_DIR", ".besom")
    sweep = lab.sweep(SWEEP)

    def train() -> None:
        run = besom.init()
        elsewhere = lab.folder / f"out{run.config['x']}"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)

    run_function_agent(lab.store, sweep.id, train, count=3)
    found = sorted(path.name for path in (lab.folder / ".besom" / "runs").iterdir())
    assert found == sorted(run.id for run in lab.runs(sweep))
    assert list(lab.folder.glob("out*/.besom")) == []


@pytest.mark.parametrize(("step", "state"), [(1, RunState.FINISHED), (2**63, RunState.FAILED)])
def test_a_run_that_leaving_its_function_could_not_end_ends_as_its_journal_says(
    lab: Lab, step: int, state: RunState
) -> None:
    sweep = lab.sweep(SWEEP)
    run = Scheduler(lab.store, sweep.id, agent_id="a").claim()
    assert isinstance(run, Run)
    folder = prepare_folder(lab.store, run, sweep, lab.folder / ".besom")
    journal = Journal(folder.journal(1))
    journal.append("history", 1.0, {"step": step, "data": {"loss": 1.0}})
    journal.append("finish", 1.0, {"state": "finished", "exit_code": 0, "error": None})
    journal.close()
    ending = import_module("besom.agent.function")._ending
    assert ending(lab.store, run, folder) is state
    assert lab.store.get_run(run.id).state is state


def test_a_run_that_its_function_removes_is_not_counted(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)

    def train() -> None:
        run = besom.init()
        run.finish()
        if run.config["x"] == 1:
            lab.store.delete_run(run.id, release=False)

    result = run_function_agent(lab.store, sweep.id, train, count=2)
    assert result.counts == {RunState.FINISHED: 1}


def test_a_function_agent_finds_points_that_are_far_apart(lab: Lab) -> None:
    sweep = lab.sweep(
        """
        method: grid
        parameters:
          a: {distribution: int_uniform, min: 0, max: 99}
          b: {distribution: int_uniform, min: 0, max: 99}
        constraints: ["a * b in (0, 9801)", "a == b"]
        """
    )
    run_function_agent(lab.store, sweep.id, lambda: None)
    assert [run.params for run in lab.runs(sweep)] == [{"a": 0, "b": 0}, {"a": 99, "b": 99}]
