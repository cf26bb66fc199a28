from __future__ import annotations

import signal
from pathlib import Path

import pytest

from besom.agent import ahead
from besom.testing.agents import Lab

SWEEP = """
method: bayes
metric: {name: loss, goal: minimize}
command: [sh, -c, "sleep 0.4"]
parameters: {x: {min: 0.0, max: 1.0}}
"""


def proposers(lab: Lab) -> dict[int, int]:
    """Give the processes of this test's agents that make suggestions ahead, with their agents."""
    found: dict[int, int] = {}
    for agent in lab.agents:
        listed = Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
        children = listed.read_text().split() if agent.poll() is None else []
        found.update({int(child): agent.pid for child in children if ahead.CODE in words_of(int(child))})
    return found


def words_of(pid: int) -> list[str]:
    """Give a process's command; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


@pytest.mark.slow
def test_agents_with_runs_beside_each_other_share_one_proposer_that_ends_with_its_agent(lab: Lab) -> None:
    sweep = lab.sweep(SWEEP)
    agents = [lab.start_agent(sweep, workers=2) for _ in range(2)]
    lab.wait(lambda: proposers(lab), 60)
    lab.wait(lambda: lab.store.buffer(sweep.id), 60)
    ((first, first_owner),) = proposers(lab).items()
    owner = next(agent for agent in agents if agent.pid == first_owner)
    owner.send_signal(signal.SIGKILL)
    owner.wait(20)
    lab.wait(lambda: ahead.CODE not in words_of(first))
    other = next(agent for agent in agents if agent is not owner)
    lab.wait(lambda: proposers(lab), 60)
    assert other.poll() is None
    other.send_signal(signal.SIGINT)
    assert other.wait(60) == 130
    assert proposers(lab) == {}
    keys = [run.key for run in lab.runs(sweep)]
    assert len(keys) == len(set(keys))


def test_an_agent_alone_with_one_run_at_a_time_starts_no_proposer(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(ahead, "LOOK_EVERY", 0.0)
    started: list[str] = []

    def start(self: ahead.Ahead, url: str, sweep_id: str, holder: str) -> None:
        started.append(holder)

    monkeypatch.setattr(ahead.Ahead, "_start", start)
    sweep = lab.sweep(SWEEP.replace("0.4", "0"))
    lab.agent(sweep, count=4)
    assert len(lab.runs(sweep)) == 4
    assert started == []
