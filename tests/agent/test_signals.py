"""What an agent does when it is signaled, suspended or killed; each agent here is a process."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess

import pytest

from besom.agent.process import process_identity
from besom.records import Outcome, RunState
from besom.testing.agents import Lab

pytestmark = pytest.mark.slow

RESUMABLE = """
    import pathlib, sys, time
    import besom

    run = besom.init()
    saved, new = pathlib.Path(run.dir, "checkpoints", "step.txt"), pathlib.Path(run.dir, "step.txt")
    first = int(run.resume_path.read_text()) if run.resumed and run.resume_path else 0
    print("from", first, flush=True)
    for step in range(first, 100):
        run.log({"step_done": step})
        new.write_text(str(step + 1))
        new.replace(saved)  # whole, whenever the signal comes
        if first:
            break
        time.sleep(0.02)
    else:
        time.sleep(60)
"""


def started(lab: Lab, count: int = 1) -> bool:
    ready = [path for path in lab.folder.glob(".besom/runs/*/output.log") if path.stat().st_size]
    return len(ready) >= count


def test_sigterm_gives_the_runs_back_and_a_later_agent_resumes_them(lab: Lab) -> None:
    sweep = lab.python_sweep(RESUMABLE, "[1, 2]")
    agent = lab.start_agent(sweep, workers=2)
    lab.wait(lambda: started(lab, 2))
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 143
    runs = lab.runs(sweep)
    assert [run.state for run in runs] == [RunState.PREEMPTED] * 2
    logged = [len(lab.store.history(run.id, attempt=1)) for run in runs]
    assert lab.agent(sweep).exit_code == 0
    for run, count in zip(lab.runs(sweep), logged, strict=True):
        assert (run.state, run.attempt, run.failures) == (RunState.FINISHED, 2, 0)
        first = int(lab.output(run).splitlines()[1].split()[1])
        assert first in (count - 1, count)


def test_a_program_that_ended_itself_before_the_agents_sigterm_keeps_its_ending(lab: Lab) -> None:
    sweep = lab.python_sweep(
        """
        import time, besom
        besom.init().finish()
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    agent = lab.start_agent(sweep)
    lab.wait(lambda: started(lab))
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 143
    assert lab.states(sweep) == [RunState.FINISHED]


def test_a_second_sigterm_kills(lab: Lab) -> None:
    sweep = lab.shell_sweep("trap 'echo no' TERM; echo ready; while true; do sleep 0.05; done")
    agent = lab.start_agent(sweep, grace=60.0)
    lab.wait(lambda: started(lab))
    agent.send_signal(signal.SIGTERM)
    lab.wait(lambda: "no" in lab.output(lab.runs(sweep)[0]))
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 143
    assert lab.states(sweep) == [RunState.PREEMPTED]


def test_the_first_ctrl_c_waits_for_the_runs(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo ready; while [ ! -e go ]; do sleep 0.02; done", "[1, 2]")
    agent = lab.start_agent(sweep)
    lab.wait(lambda: started(lab))
    agent.send_signal(signal.SIGINT)
    with pytest.raises(Exception, match="timed out"):
        agent.wait(0.5)
    (lab.folder / "go").touch()
    assert agent.wait(30) == 130
    assert lab.states(sweep) == [RunState.FINISHED]
    assert "leaving received SIGINT; what runs may end, another interrupts it" in lab.agent_output()


def test_the_second_ctrl_c_preempts_and_the_third_kills(lab: Lab) -> None:
    sweep = lab.shell_sweep("trap 'echo no' TERM; echo ready; while true; do sleep 0.05; done")
    agent = lab.start_agent(sweep, grace=60.0)
    lab.wait(lambda: started(lab))
    agent.send_signal(signal.SIGINT)
    lab.wait(lambda: "leaving" in lab.agent_output())  # else the kernel makes one of the two
    agent.send_signal(signal.SIGINT)
    lab.wait(lambda: "no" in lab.output(lab.runs(sweep)[0]))
    agent.send_signal(signal.SIGINT)
    assert agent.wait(30) == 130
    assert lab.states(sweep) == [RunState.PREEMPTED]


def test_signals_are_forwarded_when_asked(lab: Lab) -> None:
    sweep = lab.shell_sweep("trap 'echo usr1; exit 0' USR1; echo ready; while true; do sleep 0.02; done")
    agent = lab.start_agent(sweep, forward_signals=True)
    lab.wait(lambda: started(lab))
    agent.send_signal(signal.SIGUSR1)
    assert agent.wait(30) == 0
    (run,) = lab.runs(sweep)
    assert run.state is RunState.FINISHED
    assert "usr1" in lab.output(run)


def test_a_forwarded_ctrl_c_preempts_what_it_ends(lab: Lab) -> None:
    sweep = lab.shell_sweep("trap 'echo int; exit 1' INT; echo ready; while true; do sleep 0.02; done")
    agent = lab.start_agent(sweep, forward_signals=True)
    lab.wait(lambda: started(lab))
    agent.send_signal(signal.SIGINT)
    assert agent.wait(30) == 130
    (run,) = lab.runs(sweep)
    assert run.state is RunState.PREEMPTED
    assert "int" in lab.output(run)


def test_a_scheduler_that_signals_program_and_agent_at_once_preempts(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo $$; exec sleep 60")
    agent = lab.start_agent(sweep)
    lab.wait(lambda: started(lab))
    os.kill(int(lab.output(lab.runs(sweep)[0])), signal.SIGTERM)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 143
    assert lab.states(sweep) == [RunState.PREEMPTED]


def suspend(lab: Lab, agent: subprocess.Popen[bytes]) -> None:
    """Stop a process where it does not hold the store's lock."""
    with (lab.folder / ".besom" / "besom.db.lock").open("w") as lock:
        while True:
            agent.send_signal(signal.SIGSTOP)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                agent.send_signal(signal.SIGCONT)
            else:
                return


def test_an_agent_that_slept_too_long_kills_what_another_has_taken(lab: Lab) -> None:
    sweep = lab.shell_sweep('echo "$BESOM_ATTEMPT $$"; [ $BESOM_ATTEMPT = 2 ] || exec sleep 60')
    sleeper = lab.start_agent(sweep, lease_seconds=0.6)
    lab.wait(lambda: started(lab))
    suspend(lab, sleeper)
    (run,) = lab.runs(sweep)
    assert lab.agent(sweep).exit_code == 0
    sleeper.send_signal(signal.SIGCONT)
    assert sleeper.wait(30) == 0
    attempts = lab.store.attempts(run.id)
    assert [(tried.attempt, tried.state) for tried in attempts if not tried.superseded][-1] == (
        2,
        RunState.FINISHED,
    )


def test_an_orphan_of_a_killed_agent_does_not_share_its_folder_with_the_next_attempt(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo $$; [ $BESOM_ATTEMPT = 2 ] || exec sleep 60")
    agent = lab.start_agent(sweep, lease_seconds=0.5)
    lab.wait(lambda: started(lab))
    agent.send_signal(signal.SIGKILL)
    agent.wait(30)
    (run,) = lab.runs(sweep)
    orphan = int(lab.output(run))
    assert process_identity(orphan)
    assert lab.agent(sweep).exit_code == 0
    lab.wait(lambda: process_identity(orphan) is None)
    assert lab.states(sweep) == [RunState.FINISHED]


def test_an_agent_started_under_nohup_ignores_sighup(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo ready; while [ ! -e go ]; do sleep 0.02; done")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        agent = lab.start_agent(sweep)
        lab.wait(lambda: started(lab))
    finally:
        signal.signal(signal.SIGHUP, before)
    agent.send_signal(signal.SIGHUP)
    (lab.folder / "go").touch()
    assert agent.wait(30) == 0


def test_hanging_up_preempts(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo ready; exec sleep 60")
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup an agent would ignore it, too
    try:
        agent = lab.start_agent(sweep)
    finally:
        signal.signal(signal.SIGHUP, before)
    lab.wait(lambda: started(lab))
    agent.send_signal(signal.SIGHUP)
    assert agent.wait(30) == 129
    assert lab.states(sweep) == [RunState.PREEMPTED]


def test_a_late_ending_changes_nothing(lab: Lab) -> None:
    sweep = lab.shell_sweep("true")
    lab.agent(sweep)
    (run,) = lab.runs(sweep)
    assert lab.store.finish(run.lease, Outcome(RunState.FAILED, 1)).state is RunState.FINISHED
