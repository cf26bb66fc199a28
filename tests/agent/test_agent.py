from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from besom.agent import AgentEvent, AgentOptions, run_agent
from besom.errors import NotFoundError, StoreError, UsageError
from besom.records import Outcome, Run, RunState, SweepState
from besom.scheduler import Scheduler
from besom.sweep import cancel_sweep, pause_sweep, resume_sweep, stop_sweep
from besom.testing.agents import Lab


def test_a_grid_is_run_to_its_end(lab: Lab) -> None:
    sweep = lab.python_sweep("import sys; print(sys.argv[1:])", "[1, 2, 3]")
    result = lab.agent(sweep)
    runs = lab.runs(sweep)
    assert [lab.output(run) for run in runs] == ["['--x=1']\n", "['--x=2']\n", "['--x=3']\n"]
    assert [(run.state, run.exit_code, run.attempt) for run in runs] == [(RunState.FINISHED, 0, 1)] * 3
    assert lab.store.get_sweep(sweep.id).state is SweepState.FINISHED
    assert (result.exit_code, result.reason, result.counts) == (
        0,
        "the sweep is finished",
        {RunState.FINISHED: 3},
    )


def test_what_a_program_reports_is_in_the_store(lab: Lab) -> None:
    sweep = lab.python_sweep(
        """
        import besom
        run = besom.init()
        for step in range(3):
            run.log({"loss": run.config["x"] / (step + 1)})
        """,
        "[3.0]",
        metric={"name": "loss", "goal": "minimize"},
    )
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert (run.state, run.value, run.summary["loss"]) == (RunState.FINISHED, 1.0, 1.0)
    assert [row.data["loss"] for row in lab.store.history(run.id)] == [3.0, 1.5, 1.0]


def test_workers_run_programs_at_the_same_time(lab: Lab) -> None:
    # Each program ends only once it has seen all three.
    script = 'touch "seen$1"; while [ $(ls seen* | wc -l) -lt 3 ]; do sleep 0.02; done'
    sweep = lab.shell_sweep(script, "[1, 2, 3]")
    lab.agent(sweep, workers=3, timeout=30.0)
    assert lab.states(sweep) == [RunState.FINISHED] * 3


def test_a_failed_run_tells_why(lab: Lab) -> None:
    sweep = lab.python_sweep("print('hello')\nraise ValueError('no such optimizer')")
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert (run.state, run.exit_code, run.error) == (RunState.FAILED, 1, "ValueError: no such optimizer")


def test_only_the_failing_attempts_output_is_blamed(lab: Lab) -> None:
    sweep = lab.shell_sweep("if [ -e tried ]; then exit 3; fi; touch tried; echo one; exit 2", max_attempts=2)
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert [tried.error for tried in lab.store.attempts(run.id)] == ["exit code 2: one", "exit code 3"]


def test_runs_that_keep_failing_end_the_agent(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo cannot open data; exit 1", "[1, 2, 3, 4, 5, 6]")
    result = lab.agent(sweep)
    assert lab.states(sweep) == [RunState.FAILED] * 3
    assert result.exit_code == 1
    assert result.reason.startswith("3 runs failed within the first minute and none finished; the latest is ")
    assert result.reason.endswith("It ended with:\ncannot open data")


def test_an_agent_takes_as_many_runs_as_it_is_told(lab: Lab) -> None:
    sweep = lab.shell_sweep("true", "[1, 2, 3, 4]")
    assert lab.agent(sweep, count=3, workers=2).exit_code == 0
    assert lab.states(sweep) == [RunState.FINISHED] * 3
    assert lab.store.get_sweep(sweep.id).state is SweepState.RUNNING


def test_a_run_that_takes_too_long_fails(lab: Lab) -> None:
    sweep = lab.shell_sweep("sleep 60")
    lab.agent(sweep, timeout=0.3)
    (run,) = lab.runs(sweep)
    assert (run.state, run.error) == (RunState.FAILED, "timed out after 0.3 s")


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace_period(lab: Lab) -> None:
    sweep = lab.shell_sweep("trap '' TERM; while true; do sleep 0.05; done")
    began = time.monotonic()
    lab.agent(sweep, timeout=0.2, grace=0.3)
    assert 0.5 <= time.monotonic() - began < 20
    (run,) = lab.runs(sweep)
    assert (run.state, run.exit_code) == (RunState.FAILED, 137)


def test_a_program_killed_by_a_signal_nobody_here_sent_has_failed(lab: Lab) -> None:
    sweep = lab.shell_sweep("kill -KILL $$")
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert (run.state, run.exit_code, run.error) == (
        RunState.FAILED,
        137,
        "killed by SIGKILL: out of memory?",
    )


def stop_when_started(lab: Lab, *, kill: bool = False) -> Any:
    def on_event(event: AgentEvent) -> None:
        if event.kind == "started":
            assert event.run is not None
            lab.wait(lambda: event.run is not None and "ready" in lab.output(event.run))
            lab.store.request_stop(event.run.id, "not promising", kill=kill)

    return on_event


def test_a_run_that_is_asked_to_stop_is_stopped(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo ready; sleep 60")
    lab.agent(sweep, on_event=stop_when_started(lab), lease_seconds=0.3)
    (run,) = lab.runs(sweep)
    assert (run.state, run.stop_reason, run.exit_code) == (RunState.STOPPED, "not promising", 143)


def test_a_program_that_asks_should_stop_ends_by_itself(lab: Lab) -> None:
    sweep = lab.python_sweep(
        """
        import time, besom
        run = besom.init()
        assert not run.should_stop
        print("ready", flush=True)
        while not run.should_stop:
            run.log({"loss": 1})
            time.sleep(0.05)
        print("saved")
        """
    )
    lab.agent(sweep, on_event=stop_when_started(lab), lease_seconds=1.0)
    (run,) = lab.runs(sweep)
    assert (run.state, run.exit_code) == (RunState.STOPPED, 0)
    assert lab.output(run) == "ready\nsaved\n"


def test_a_program_that_asked_once_but_does_not_end_is_made_to(lab: Lab) -> None:
    sweep = lab.python_sweep(
        """
        import time, besom
        run = besom.init()
        run.should_stop
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    lab.agent(sweep, on_event=stop_when_started(lab), lease_seconds=0.3, grace=0.5)
    assert lab.states(sweep) == [RunState.STOPPED]


def test_canceling_a_sweep_kills_its_runs(lab: Lab) -> None:
    sweep = lab.shell_sweep("sleep 60", "[1, 2, 3]")

    def on_event(event: AgentEvent) -> None:
        if event.kind == "started":
            cancel_sweep(lab.store, sweep.id)

    result = lab.agent(sweep, on_event=on_event, lease_seconds=0.3)
    assert lab.states(sweep) == [RunState.KILLED]
    assert (result.exit_code, result.reason) == (0, "the sweep is canceled")


def test_stopping_a_sweep_lets_running_runs_end(lab: Lab) -> None:
    sweep = lab.shell_sweep("sleep 0.3", "[1, 2, 3]")

    def on_event(event: AgentEvent) -> None:
        if event.kind == "started":
            stop_sweep(lab.store, sweep.id)

    assert lab.agent(sweep, on_event=on_event).reason == "the sweep is stopped"
    assert lab.states(sweep) == [RunState.FINISHED]


def test_an_agent_waits_while_its_sweep_is_paused(lab: Lab) -> None:
    sweep = lab.shell_sweep("true", "[1, 2]")
    seen: list[str] = []

    def on_event(event: AgentEvent) -> None:
        seen.append(event.kind)
        if event.kind == "ended" and seen.count("ended") == 1:
            pause_sweep(lab.store, sweep.id)
        if event.kind == "paused":
            resume_sweep(lab.store, sweep.id)

    lab.agent(sweep, on_event=on_event)
    assert lab.states(sweep) == [RunState.FINISHED] * 2
    assert seen == ["joined", "started", "ended", "paused", "started", "ended", "leaving"]


def test_an_agent_that_shall_not_wait_leaves_a_paused_sweep(lab: Lab) -> None:
    sweep = lab.shell_sweep("true")
    lab.store.set_sweep_state(sweep.id, SweepState.RUNNING, allowed=set(SweepState))
    pause_sweep(lab.store, sweep.id)
    assert lab.agent(sweep, wait=False).reason == "there is nothing to take now"


def test_an_agent_waits_for_runs_of_others_unless_it_shall_not(lab: Lab) -> None:
    sweep = lab.shell_sweep("true", max_attempts=2)
    lab.agent(sweep, count=0)
    other = lab.store.add_agent(sweep.id, host="elsewhere", pid=1)
    assert isinstance(Scheduler(lab.store, sweep.id, agent_id=other.id).claim(), Run)
    assert lab.agent(sweep, wait=False).reason == "there is nothing to take now"

    def on_event(event: AgentEvent) -> None:
        if event.kind == "waiting":
            lab.store.finish(lab.runs(sweep)[0].lease, Outcome(RunState.FAILED, 1))

    lab.agent(sweep, on_event=on_event)
    assert [(run.state, run.attempt) for run in lab.runs(sweep)] == [(RunState.FINISHED, 2)]


def test_a_finished_sweep_has_nothing_for_an_agent(lab: Lab) -> None:
    sweep = lab.shell_sweep("true")
    lab.agent(sweep)
    assert lab.agent(sweep).counts == {}


def test_each_run_has_gpus_of_its_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7")
    script = (
        'echo $CUDA_VISIBLE_DEVICES; touch "seen$1"; while [ $(ls seen* | wc -l) -lt 2 ]; do sleep 0.02; done'
    )
    sweep = lab.shell_sweep(script, "[1, 2]")
    lab.agent(sweep, workers=2, gpus_per_run=2)
    assert sorted(map(lab.output, lab.runs(sweep))) == ["2,3\n", "5,7\n"]


def test_too_few_gpus_are_noticed_before_a_run_is_taken(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    sweep = lab.shell_sweep("true")
    with pytest.raises(UsageError, match="need 2 GPUs"):
        lab.agent(sweep, workers=2, gpus_per_run=1)
    assert lab.runs(sweep) == []


def test_a_program_beside_the_sweep_file_runs_there(lab: Lab) -> None:
    project = lab.folder / "project"
    lab.write("project/train.py", "import os; print(os.getcwd())")
    sweep = lab.sweep("{method: grid, program: train.py, parameters: {x: {value: 1}}}", folder=project)
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert lab.output(run) == f"{project.resolve()}\n"


def test_the_agents_own_folder_comes_first(lab: Lab) -> None:
    project = lab.folder / "project"
    lab.write("project/train.py", "print('there')")
    lab.write("train.py", "print('here')")
    sweep = lab.sweep("{method: grid, program: train.py, parameters: {x: {value: 1}}}", folder=project)
    lab.agent(sweep)
    assert lab.output(lab.runs(sweep)[0]) == "here\n"


def test_a_missing_program_is_noticed_before_a_run_is_taken(lab: Lab) -> None:
    project = lab.folder / "project"
    sweep = lab.sweep("{method: grid, program: train.py, parameters: {x: {value: 1}}}", folder=project)
    with pytest.raises(UsageError, match=rf"'train\.py' was not found in {lab.folder} and {project}; mend"):
        lab.agent(sweep)
    assert lab.runs(sweep) == []
    assert lab.store.list_agents(sweep.id) == []


def test_an_unknown_sweep_is_an_error(lab: Lab) -> None:
    with pytest.raises(NotFoundError):
        run_agent(lab.store, "nosuch")


@pytest.mark.parametrize(
    ("command", "values", "says"),
    [
        (["/no/such/thing"], "[1]", "No such file or directory"),
        (["echo", "${args}"], '["a\\0b"]', "null byte"),
        (["echo", "${args}"], '["' + "x" * 200_000 + '"]', "Argument list too long"),
    ],
)
def test_a_program_that_cannot_be_started_fails_its_run(
    lab: Lab, command: list[str], values: str, says: str
) -> None:
    sweep = lab.sweep(
        f"method: grid\ncommand: {json.dumps(command)}\nparameters: {{x: {{values: {values}}}}}"
    )
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.startswith("the program could not be started: ")
    assert says in run.error


def test_a_folder_that_cannot_be_written_gives_the_run_back(lab: Lab) -> None:
    sweep = lab.shell_sweep("true", "[1, 2]")
    runs = lab.folder / ".besom" / "runs"
    runs.write_text("in the way")
    result = lab.agent(sweep)
    assert result.exit_code == 1
    assert "cannot be written" in result.reason
    assert lab.states(sweep) == [RunState.PREEMPTED]
    runs.unlink()
    lab.agent(sweep)
    assert lab.states(sweep) == [RunState.FINISHED] * 2


def test_lines_are_shown_as_they_are_printed(lab: Lab) -> None:
    script = "echo one; while [ ! -e shown ]; do sleep 0.02; done; printf 'two\\r\\nthree'"
    sweep = lab.shell_sweep(script)
    lines: list[str] = []

    def on_event(event: AgentEvent) -> None:
        if event.kind == "output":
            lines.append(event.detail)
            (lab.folder / "shown").touch()

    lab.agent(sweep, on_event=on_event, show_output=True, timeout=30.0)
    assert lines == ["one", "two", "three"]


def test_a_program_sees_its_run_and_not_the_agents_rank(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    sweep = lab.python_sweep(
        """
        import os, json
        print(json.dumps({name: os.environ[name] for name in os.environ if name[:5] in ("BESOM", "SLURM")}))
        """
    )
    lab.agent(sweep, lease_seconds=45.0)
    (run,) = lab.runs(sweep)
    folder = lab.folder / ".besom" / "runs" / run.id
    assert json.loads(lab.output(run)) == {
        "BESOM_STORE": lab.store.url,
        "BESOM_DIR": str(lab.folder / ".besom"),
        "BESOM_SWEEP_ID": sweep.id,
        "BESOM_RUN_ID": run.id,
        "BESOM_ATTEMPT": "1",
        "BESOM_RUN_DIR": str(folder),
        "BESOM_PARAMS_FILE": str(folder / "params.json"),
        "BESOM_AGENT_PID": str(os.getpid()),
        "BESOM_LEASE_SECONDS": "45",
        "SLURM_JOB_ID": "17",
    }
    assert json.loads((folder / "params.json").read_text()) == {"x": 1}


def test_a_program_that_is_being_preempted_goes_back_into_the_queue(lab: Lab) -> None:
    sweep = lab.python_sweep(
        """
        import besom, sys
        run = besom.init()
        run.log({"loss": 1})
        if not run.resumed:
            run.mark_preempting()
            sys.exit(7)
        print("resumed at", run.step)
        """
    )
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert [tried.state for tried in lab.store.attempts(run.id)] == [RunState.PREEMPTED, RunState.FINISHED]
    assert lab.output(run) == "resumed at 2\n"


def test_what_a_killed_program_logged_is_in_the_store(lab: Lab) -> None:
    sweep = lab.python_sweep(
        """
        import besom, os, signal
        run = besom.init()
        for step in range(500):
            run.log({"loss": step})
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert run.state is RunState.FAILED
    assert [row.data["loss"] for row in lab.store.history(run.id)] == list(range(500))


def test_the_mark_of_a_program_that_polls_does_not_outlive_its_attempt(lab: Lab) -> None:
    sweep = lab.shell_sweep('ls "$BESOM_RUN_DIR"; touch "$BESOM_RUN_DIR/polls-stop"; exit 1', max_attempts=2)
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert run.attempt == 2
    assert "polls-stop" not in lab.output(run)


def test_an_error_in_what_watches_the_agent_leaves_no_program_behind(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo $$ > pid; exec sleep 60")

    def on_event(event: AgentEvent) -> None:
        if event.kind == "started":
            lab.wait(lambda: (lab.folder / "pid").exists() and (lab.folder / "pid").read_text().strip())
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        lab.agent(sweep, on_event=on_event)
    pid = int((lab.folder / "pid").read_text())
    lab.wait(lambda: not Path(f"/proc/{pid}").exists())


class Interrupted:
    """A store that cannot be reached while a file exists."""

    def __init__(self, store: Any, file: Path) -> None:
        self._store = store
        self._file = file

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*args: Any, **words: Any) -> Any:
            if self._file.exists():
                raise StoreError("the store is away")
            return found(*args, **words)

        return call


def test_an_agent_outlives_an_interruption_of_its_store(lab: Lab) -> None:
    sweep = lab.shell_sweep("touch away; sleep 0.2; [ $1 = --x=1 ] || rm -f away", "[1, 2]")
    store: Any = Interrupted(lab.store, lab.folder / "away")
    seen: list[str] = []

    def on_event(event: AgentEvent) -> None:
        seen.append(event.kind)
        if event.kind == "store":
            (lab.folder / "away").unlink(missing_ok=True)

    result = run_agent(store, sweep.id, AgentOptions(), on_event=on_event)
    assert (result.exit_code, lab.states(sweep)) == (0, [RunState.FINISHED] * 2)
    assert "store" in seen


def test_an_agent_gives_up_on_a_store_that_stays_away(lab: Lab) -> None:
    sweep = lab.shell_sweep("touch away; exec sleep 60")
    store: Any = Interrupted(lab.store, lab.folder / "away")
    began = time.monotonic()
    with pytest.raises(StoreError, match="the store is away"):
        run_agent(store, sweep.id, AgentOptions(store_patience=0.2, lease_seconds=0.3, grace=5.0))
    assert time.monotonic() - began < 30
    assert lab.states(sweep) == [RunState.RUNNING]


def test_an_agent_starts_the_next_run_at_once(lab: Lab) -> None:
    sweep = lab.shell_sweep("true", json.dumps(list(range(20))))
    began = time.monotonic()
    lab.agent(sweep)
    assert time.monotonic() - began < 20 * 0.25  # W&B's agent needs five seconds for each
    assert len(lab.runs(sweep)) == 20


def test_the_interpreter_is_the_agents(lab: Lab) -> None:
    sweep = lab.python_sweep("import sys; print(sys.executable)")
    lab.agent(sweep)
    assert lab.output(lab.runs(sweep)[0]) == f"{sys.executable}\n"
