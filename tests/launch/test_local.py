from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from besom.launch import AgentJob, Launched, Launcher
from besom.launch.local import LocalLauncher
from besom.records import RunState
from besom.testing.agents import Lab
from besom.testing.launchers import LauncherContract


class TestLocalLauncher(LauncherContract):
    @pytest.fixture
    def launcher(self) -> Launcher:
        return LocalLauncher()


def test_a_preview_is_the_command_line_of_each_agent() -> None:
    job = AgentJob("abc", "sqlite:////data/my sweeps.db", ("--count", "3"))
    line = f"BESOM_STORE='sqlite:////data/my sweeps.db' {sys.executable} -m besom agent abc --count 3"
    assert LocalLauncher().preview(job, 2) == f"{line}\n{line}"


def test_a_password_is_in_no_command_line(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never answers, so the agent stays
        store = f"postgresql://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/x"
        job = AgentJob("abc", store)
        assert "hunter2" not in LocalLauncher().preview(job, 1)
        (agent,) = LocalLauncher().launch(job, 1)
        pid = int(agent.job_id.partition("-")[0])
        while not (words := Path(f"/proc/{pid}/cmdline").read_bytes()):
            time.sleep(0.01)  # its exec is under way
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert b"abc" in words
    assert b"hunter2" not in words


@pytest.mark.slow
def test_an_agent_outlives_what_started_it_and_writes_to_a_log(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo hello")
    (agent,) = LocalLauncher().launch(AgentJob(sweep.id, lab.store.url), 1)
    lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED])
    (log,) = (lab.folder / ".besom" / "agents").iterdir()
    assert str(log) in agent.description
    pid = int(agent.job_id.partition("-")[0])
    os.waitpid(pid, 0)
    assert lab.runs(sweep)[0].id in log.read_text()


def test_a_process_that_only_has_the_pid_of_an_agent_is_left_alone() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        LocalLauncher().cancel([Launched(f"{os.getpid()}-1", "another process")])
        LocalLauncher().cancel([Launched("999999999-1", "no process at all")])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == []
