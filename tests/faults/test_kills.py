"""Nothing is lost or done twice, wherever the processes of a sweep are killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest

from besom.records import RunState, Sweep
from besom.testing.agents import Lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 200
SIZE = 60

# It says what `log` returned from, in a way that no later death of it can take back.
PROGRAM = """
    import os, time
    import besom

    said = os.open(os.environ["ACKNOWLEDGED"], os.O_WRONLY | os.O_APPEND)
    run = besom.init()
    for number in range(15):
        run.log({"number": number, "x": run.config["x"]})
        os.write(said, f"{run.id} {run.attempt} {number}\\n".encode())
        time.sleep(0.01)
    run.finish()
"""


def start_sweep(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    said = lab.folder / "acknowledged"
    said.touch()
    monkeypatch.setenv("ACKNOWLEDGED", str(said))
    # What these tests provoke is more than any program should be allowed.
    return lab.python_sweep(PROGRAM, str(list(range(SIZE))), max_attempts=1000)


def kill(pid: int) -> bool:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def check(lab: Lab, sweep: Sweep) -> None:
    """Every point ran once to its end, and everything that `log` returned from is in the store."""
    runs = lab.runs(sweep)
    assert Counter(run.state for run in runs) == {RunState.FINISHED: SIZE}
    assert sorted(run.params["x"] for run in runs) == list(range(SIZE))
    for run in runs:
        finished = [
            tried.attempt
            for tried in lab.store.attempts(run.id)
            if tried.state is RunState.FINISHED and not tried.superseded
        ]
        assert finished == [run.attempt]
    acknowledged: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for line in (lab.folder / "acknowledged").read_text().splitlines():
        words = line.split()
        acknowledged[words[0], int(words[1])].add(int(words[2]))
    for (run_id, attempt), numbers in acknowledged.items():
        stored = [row.data["number"] for row in lab.store.history(run_id, attempt=attempt)]
        assert stored == sorted(set(stored)), f"{run_id} attempt {attempt} has rows twice or out of order"
        assert numbers <= set(stored), f"{run_id} attempt {attempt} has lost {numbers - set(stored)}"
    (lab.folder / "acknowledged").write_text("")


def test_agents_killed_at_200_random_points(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(1)
    options: dict[str, Any] = {"workers": 2, "lease_seconds": 1.0, "flapping": False}
    sweep = start_sweep(lab, monkeypatch)
    killed = 0
    while killed < KILLS:
        agent = lab.start_agent(sweep, **options)
        time.sleep(random.uniform(0.0, 0.8))
        if agent.poll() is not None:  # it came to the end of its sweep
            assert agent.returncode == 0, lab.agent_output()
            check(lab, sweep)
            sweep = start_sweep(lab, monkeypatch)
            continue
        orphans = lab.programs() if random.random() < 0.5 else []
        agent.kill()
        for pid in orphans:  # half of the time the machine dies, else only the agent
            kill(pid)
        agent.wait(20)
        killed += 1
    assert lab.agent(sweep, **options).exit_code == 0
    check(lab, sweep)


def test_programs_killed_at_200_random_points(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(2)
    killed = 0
    while killed < KILLS:
        sweep = start_sweep(lab, monkeypatch)
        agent = lab.start_agent(sweep, workers=2, flapping=False)
        while killed < KILLS and agent.poll() is None:
            time.sleep(random.uniform(0.0, 0.3))
            if alive := lab.programs():
                killed += kill(random.choice(alive))
        assert agent.wait(300) == 0, lab.agent_output()
        check(lab, sweep)


def test_agents_told_to_leave_at_20_random_points(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(3)
    sweep = start_sweep(lab, monkeypatch)
    for _ in range(20):
        agent = lab.start_agent(sweep, workers=2)
        wait_for_joining(lab, sweep, agent.pid)
        time.sleep(random.uniform(0.0, 0.6))
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(60) == 143, lab.agent_output()
        assert not lab.programs()
        states = Counter(lab.states(sweep))
        assert set(states) <= {RunState.PREEMPTED, RunState.FINISHED, RunState.PENDING}
    assert lab.agent(sweep).exit_code == 0
    assert all(run.failures == run.crashes == 0 for run in lab.runs(sweep))
    check(lab, sweep)


def wait_for_joining(lab: Lab, sweep: Sweep, pid: int) -> None:
    lab.wait(lambda: pid in {agent.pid for agent in lab.store.list_agents(sweep.id)})


def test_a_sweep_of_killed_agents_has_no_file_left_open(lab: Lab) -> None:
    sweep = lab.shell_sweep("exec sleep 60")
    agent = lab.start_agent(sweep, lease_seconds=0.5)
    lab.wait(lab.programs)
    (orphan,) = lab.programs()
    assert all("besom.db" not in str(link.readlink()) for link in Path(f"/proc/{orphan}/fd").iterdir())
    agent.kill()
    agent.wait(20)
    os.killpg(orphan, signal.SIGKILL)
