from __future__ import annotations

import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from besom.agent.process import (
    ProgramChild,
    child_environment,
    kill_orphans,
    process_identity,
    run_processes,
    start_child,
)


class Start(Protocol):
    def __call__(self, *argv: str, environment: Mapping[str, str] | None = None) -> ProgramChild: ...


@pytest.fixture
def ended() -> queue.SimpleQueue[None]:
    return queue.SimpleQueue()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


@pytest.fixture
def start(tmp_path: Path, output: Path, ended: queue.SimpleQueue[None]) -> Start:
    def run(*argv: str, environment: Mapping[str, str] | None = None) -> ProgramChild:
        return start_child(
            argv,
            environment=os.environ if environment is None else environment,
            folder=tmp_path,
            output=output,
            on_end=lambda: ended.put(None),
        )

    return run


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_what_a_program_prints_is_appended_to_its_output(
    start: Start, output: Path, ended: queue.SimpleQueue[None]
) -> None:
    output.write_text("before\n")
    child = start("sh", "-c", "echo out; echo err >&2")
    ended.get(timeout=20)
    assert child.reap() == 0
    assert output.read_text() == "before\nout\nerr\n"


def test_a_program_reads_nothing_from_the_terminal(start: Start, output: Path) -> None:
    child = start(sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))")
    assert child.process.wait(20) == 0
    assert output.read_text() == "''\n"


def test_a_program_has_its_own_session_and_folder(start: Start, output: Path, tmp_path: Path) -> None:
    child = start(sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid(), os.getcwd())")
    assert child.process.wait(20) == 0
    assert output.read_text() == f"True {tmp_path.resolve()}\n"


def test_the_exit_code_is_told_and_that_of_a_signal_is_negative(
    start: Start, ended: queue.SimpleQueue[None]
) -> None:
    child = start("sh", "-c", "exit 3")
    ended.get(timeout=20)
    assert child.reap() == 3
    child = start("sleep", "60")
    child.signal(signal.SIGTERM)
    ended.get(timeout=20)
    assert child.reap() == -signal.SIGTERM


def test_what_a_program_leaves_behind_is_killed_with_it(
    start: Start, output: Path, ended: queue.SimpleQueue[None]
) -> None:
    child = start("sh", "-c", "sleep 60 & echo $!")
    ended.get(timeout=20)
    left = int(output.read_text())
    assert process_identity(left)
    assert child.reap() == 0
    wait_until(lambda: process_identity(left) is None)


def test_a_signal_reaches_the_whole_process_group(
    start: Start, output: Path, ended: queue.SimpleQueue[None]
) -> None:
    child = start("sh", "-c", "sleep 60 & echo $!; wait")
    wait_until(lambda: output.exists() and output.read_text().endswith("\n"))
    grandchild = int(output.read_text())
    child.signal(signal.SIGTERM)
    ended.get(timeout=20)
    assert child.reap() == -signal.SIGTERM
    wait_until(lambda: process_identity(grandchild) is None)


def test_a_signal_to_what_is_gone_does_nothing(start: Start, ended: queue.SimpleQueue[None]) -> None:
    child = start("true")
    ended.get(timeout=20)
    child.reap()
    child.signal(signal.SIGTERM)


@pytest.mark.parametrize("argv", [["/no/such/program"], ["echo", "a\0b"], ["echo", "x" * 4_000_000]])
def test_a_program_that_cannot_be_started_is_an_error_here_and_now(start: Start, argv: list[str]) -> None:
    with pytest.raises((OSError, ValueError), match=r"."):
        start(*argv)


def test_rank_variables_of_the_agent_do_not_reach_its_programs() -> None:
    own = {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "MASTER_ADDR": "node1",
        "SLURM_PROCID": "3",
        "SLURM_NTASKS": "4",
        "SLURM_LOCALID": "3",
        "OMPI_COMM_WORLD_RANK": "3",
        "PMI_RANK": "3",
        "PMIX_RANK": "3",
        "TORCHELASTIC_RUN_ID": "none",
        "SLURM_JOB_ID": "17",
        "PATH": "/bin",
        "RANKING": "kept",
    }
    assert child_environment(own) == {"SLURM_JOB_ID": "17", "PATH": "/bin", "RANKING": "kept"}


def test_what_is_added_to_the_environment_wins_over_what_is_there() -> None:
    assert child_environment({"A": "1", "B": "1"}, {"B": "2"}, {"C": "3"}) == {"A": "1", "B": "2", "C": "3"}


def test_what_earlier_attempts_left_is_killed_and_nothing_else(
    start: Start, output: Path, ended: queue.SimpleQueue[None]
) -> None:
    def process_of(run: str, attempt: int) -> ProgramChild:
        return start(
            "sleep", "60", environment=os.environ | {"BESOM_RUN_ID": run, "BESOM_ATTEMPT": str(attempt)}
        )

    # The first hides in another session, as the workers of some launchers do.
    hidden = os.environ | {"BESOM_RUN_ID": "run", "BESOM_ATTEMPT": "1"}
    gone = start("sh", "-c", "setsid sleep 60 & echo $!; wait", environment=hidden)
    wait_until(lambda: output.exists() and output.read_text().endswith("\n"))
    old, present, other = process_of("run", 2), process_of("run", 3), process_of("runner", 1)
    wait_until(lambda: len(run_processes("run")) == 4)
    kill_orphans("run", before=3)
    ended.get(timeout=20)
    ended.get(timeout=20)
    assert [gone.reap(), old.reap()] == [-signal.SIGKILL] * 2
    wait_until(lambda: run_processes("run") == [(present.process.pid, 3)])
    assert run_processes("runner") == [(other.process.pid, 1)]
    for child in (present, other):
        child.signal(signal.SIGKILL)
        child.process.wait(20)


def test_the_identity_of_a_process_ends_with_it(start: Start, ended: queue.SimpleQueue[None]) -> None:
    child = start("sleep", "60")
    identity = process_identity(child.process.pid)
    assert identity is not None
    assert identity.startswith(f"{child.process.pid} ")
    child.signal(signal.SIGKILL)
    ended.get(timeout=20)
    assert process_identity(child.process.pid) is None
    child.reap()
    assert process_identity(child.process.pid) is None
