"""What goes wrong with one run, or at a bad moment, must not harm the others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from besom.agent import AgentEvent, AgentOptions, AgentResult, run_agent
from besom.errors import StoreError, UsageError
from besom.folders import RunFolder, run_folder
from besom.journal import Journal
from besom.records import Outcome, Run, RunState, Sweep
from besom.scheduler import Scheduler
from besom.store.clock import Clock, since_boot
from besom.store.sqlite.store import open_sqlite
from besom.sweep import retry_runs
from besom.testing.agents import Lab

UNSTORABLE = {"step": 2**63, "data": {"loss": 1.0}}


class Failing:
    """A store of which one method fails while a file exists."""

    def __init__(self, store: Any, method: str, error: Exception, file: Path) -> None:
        self._store, self._method, self._error, self._file = store, method, error, file

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name != self._method:
            return found

        def call(*args: Any, **words: Any) -> Any:
            if self._file.exists():
                raise self._error
            return found(*args, **words)

        return call


def claimed(lab: Lab, sweep: Sweep, *, lease_seconds: float = 60.0) -> tuple[Run, RunFolder]:
    """Take a run as an agent does that is somewhere else, and make its folder."""
    agent = lab.store.add_agent(sweep.id, host="elsewhere", pid=1)
    run = Scheduler(lab.store, sweep.id, agent_id=agent.id, lease_seconds=lease_seconds).claim()
    assert isinstance(run, Run)
    folder = run_folder(run.id)
    folder.path.mkdir(parents=True)
    return run, folder


def watch(seen: list[AgentEvent]) -> Callable[[AgentEvent], None]:
    return seen.append


def test_a_run_whose_journal_no_store_can_take_fails_alone(lab: Lab) -> None:
    sweep = lab.python_sweep(
        f"""
        import besom
        run = besom.init()
        run.log({{"loss": 0.5}})
        if run.config["x"] == 1:
            from pathlib import Path
            from besom.journal import Journal
            Journal(Path(run.dir) / "journal.1.jsonl").append("history", 1.0, {UNSTORABLE!r})
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        "[1, 2, 3]",
    )
    assert lab.agent(sweep, workers=2).exit_code == 0
    assert sorted(lab.states(sweep)) == [RunState.FAILED, RunState.FINISHED, RunState.FINISHED]
    failed = next(run for run in lab.runs(sweep) if run.state is RunState.FAILED)
    assert (failed.params["x"], failed.exit_code) == (1, 137)
    assert (failed.error or "").startswith("what it reported cannot be stored: UsageError: ")


def test_what_an_earlier_attempt_left_does_not_keep_the_next_from_running(lab: Lab) -> None:
    sweep = lab.shell_sweep("true", "[1, 2]")
    run, folder = claimed(lab, sweep)
    with closing(Journal(folder.journal(1))) as journal:
        journal.append("history", 1.0, UNSTORABLE)
    lab.store.finish(run.lease, Outcome(RunState.PREEMPTED))
    assert lab.agent(sweep).exit_code == 0
    assert lab.states(sweep) == [RunState.FINISHED] * 2
    assert lab.store.get_run(run.id).attempt == 2


def test_a_run_that_is_removed_while_its_program_lingers_is_lost_alone(lab: Lab) -> None:
    sweep = lab.python_sweep(
        """
        import pathlib, time, besom
        run = besom.init()
        run.finish()
        while run.config["x"] == 1 and not pathlib.Path("removed").exists():
            time.sleep(0.02)
        """,
        "[1, 2]",
    )
    seen: list[AgentEvent] = []

    def remove() -> None:
        lab.wait(
            lambda: any(run.params["x"] == 1 and run.state is RunState.FINISHED for run in lab.runs(sweep))
        )
        (run,) = [run for run in lab.runs(sweep) if run.params["x"] == 1]
        lab.store.delete_run(run.id, release=False)
        (lab.folder / "removed").touch()

    remover = threading.Thread(target=remove)
    remover.start()
    result = lab.agent(sweep, on_event=watch(seen), workers=2)
    remover.join()
    assert result.exit_code == 0
    assert [event.kind for event in seen].count("lost") == 1
    assert lab.states(sweep) == [RunState.FINISHED]


def test_a_method_that_fails_lets_the_runs_that_run_come_to_their_end(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = lab.shell_sweep("touch failing; sleep 0.5", "[1, 2, 3]")
    store: Any = Failing(lab.store, "claim", UsageError("no point is left"), lab.folder / "failing")
    result = run_agent(store, sweep.id, AgentOptions())
    assert result == AgentResult(
        1, "the sweep's next run cannot be told: no point is left", {RunState.FINISHED: 1}
    )
    assert lab.states(sweep) == [RunState.FINISHED]
    assert caplog.messages == [], "what besom can explain needs no traceback"


def test_an_agent_that_breaks_gives_its_runs_back(lab: Lab) -> None:
    sweep = lab.shell_sweep("exec sleep 60", "[1, 2]")

    def on_event(event: AgentEvent) -> None:
        if event.kind == "started" and len(lab.runs(sweep)) == 2:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        lab.agent(sweep, on_event=on_event, workers=2)
    assert lab.states(sweep) == [RunState.PREEMPTED] * 2


def test_a_run_that_was_claimed_but_not_started_is_given_back_by_a_leaving_agent(lab: Lab) -> None:
    sweep = lab.shell_sweep("true")
    run, folder = claimed(lab, sweep)
    with closing(Journal(folder.journal(1))) as journal:
        journal.append("start", 1.0, {})
    lab.store.finish(run.lease, Outcome(RunState.PREEMPTED))
    away = lab.folder / "away"
    away.touch()
    seen: list[AgentEvent] = []

    def on_event(event: AgentEvent) -> None:
        seen.append(event)
        if event.kind == "store":
            os.kill(os.getpid(), signal.SIGTERM)
            away.unlink()

    store: Any = Failing(lab.store, "last_row", StoreError("away"), away)
    assert run_agent(store, sweep.id, AgentOptions(), on_event=on_event).exit_code == 143
    assert [event.kind for event in seen] == ["joined", "store", "leaving", "ended"]
    assert lab.states(sweep) == [RunState.PREEMPTED]


def test_a_program_that_leaves_its_loop_because_it_should_stop_is_stopped(lab: Lab) -> None:
    sweep = lab.python_sweep(
        """
        import time, besom
        run = besom.init()
        print("ready", flush=True)
        while not run.should_stop:
            run.log({"loss": 1})
            time.sleep(0.02)
        """
    )

    def on_event(event: AgentEvent) -> None:
        if event.kind == "started" and (run := event.run) is not None:
            lab.wait(lambda: "ready" in lab.output(run))
            lab.store.request_stop(run.id, "enough")

    # The program learns it from its own report, long before the agent beats.
    lab.agent(sweep, on_event=on_event)
    assert [(run.state, run.exit_code) for run in lab.runs(sweep)] == [(RunState.STOPPED, 0)]


def test_an_agent_that_slept_keeps_the_runs_it_still_has(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = [0.0]

    def clock() -> float:
        return since_boot() + slept[0]

    monkeypatch.setattr(import_module("besom.agent.loop"), "since_boot", clock)
    store = open_sqlite(str(lab.folder / ".besom" / "besom.db"), clock=Clock(lease=clock))
    sweep = lab.shell_sweep(
        "while [ ! -e slept ]; do sleep 0.02; done; [ $1 = --x=1 ] || sleep 1", "[1, 2, 3]"
    )
    seen: list[AgentEvent] = []

    def on_event(event: AgentEvent) -> None:
        seen.append(event)
        if [event.kind for event in seen].count("started") == 2 and not slept[0]:
            slept[0] = 3600.0
            (lab.folder / "slept").touch()

    run_agent(store, sweep.id, AgentOptions(workers=2), on_event=on_event)
    assert "lost" not in [event.kind for event in seen]
    assert [(run.state, run.attempt, run.crashes) for run in lab.runs(sweep)] == [
        (RunState.FINISHED, 1, 0)
    ] * 3
    store.close()


def test_an_ending_that_a_lost_attempt_had_told_its_journal_is_kept(lab: Lab) -> None:
    sweep = lab.shell_sweep("true")
    run, folder = claimed(lab, sweep, lease_seconds=0.01)
    journal = Journal(folder.journal(1))
    journal.append("start", 1.0, {"metric": {"name": "loss", "goal": "minimize"}})
    journal.append("config", 1.0, {"x": 1})
    journal.append("history", 1.0, {"step": 0, "data": {"loss": 0.125}})
    journal.append("finish", 2.0, {"state": "finished", "exit_code": 0, "error": None})
    journal.close()
    lab.wait(lambda: lab.store.reap(sweep.id) or lab.store.get_run(run.id).crashes)
    lab.agent(sweep)
    first, second = lab.store.attempts(run.id)
    assert (first.state, first.superseded, first.value) == (RunState.FINISHED, True, 0.125)
    assert (second.state, second.superseded) == (RunState.FINISHED, False)


def test_a_run_that_can_be_retried_is_after_its_unstorable_attempt(lab: Lab) -> None:
    sweep = lab.shell_sweep("true")
    run, folder = claimed(lab, sweep)
    with closing(Journal(folder.journal(1))) as journal:
        journal.append("history", 1.0, UNSTORABLE)
    lab.store.finish(run.lease, Outcome(RunState.FAILED, 1))
    retry_runs(lab.store, sweep.id)
    lab.agent(sweep)
    assert [(run.state, run.attempt) for run in lab.runs(sweep)] == [(RunState.FINISHED, 2)]


def test_an_agent_hears_signals_while_its_method_searches(lab: Lab) -> None:
    sweep = lab.sweep(
        """
        method: grid
        command: ["true"]
        parameters:
          a: {distribution: int_uniform, min: 0, max: 99999}
          b: {distribution: int_uniform, min: 0, max: 99999}
        constraints: ["a + b >= 199998"]
        """
    )
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    began = time.monotonic()
    timer.start()
    assert lab.agent(sweep).exit_code == 143
    assert time.monotonic() - began < 10


def test_points_that_are_far_apart_are_all_found(lab: Lab) -> None:
    sweep = lab.sweep(
        """
        method: grid
        command: ["true"]
        parameters:
          a: {distribution: int_uniform, min: 0, max: 99}
          b: {distribution: int_uniform, min: 0, max: 99}
        constraints: ["a * b in (0, 9801)", "a == b"]
        """
    )
    seen: list[AgentEvent] = []
    lab.agent(sweep, on_event=watch(seen))
    assert [run.params for run in lab.runs(sweep)] == [{"a": 0, "b": 0}, {"a": 99, "b": 99}]
    assert "waiting" not in [event.kind for event in seen]
