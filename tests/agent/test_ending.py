from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from besom.agent.ending import Told, exit_status, failure, outcome_of, read_tail
from besom.journal import Replayed
from besom.records import Outcome, RunState

SILENT = Replayed(None, preempting=False, summary={}, value=None, config=None, step=None)
REPORTED = Replayed(None, preempting=False, summary={"loss": 0.5}, value=0.5, config={"lr": 1}, step=3)
PREEMPTING = Replayed(None, preempting=True, summary={}, value=None, config={}, step=None)
TOLD_TO_STOP = replace(SILENT, config={}, stopping="stop")
TOLD_TO_DIE = replace(SILENT, config={}, stopping="kill")
FINISHED = Replayed(
    Outcome(RunState.FINISHED, 0, None, {"loss": 0.5}, 0.5),
    preempting=False,
    summary={"loss": 0.5},
    value=0.5,
    config={},
    step=3,
)

TRACEBACK = """\
epoch 1
Traceback (most recent call last):
  File "train.py", line 3, in inner
    raise KeyError("x")
KeyError: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "train.py", line 7, in <module>
    main()
    ^^^^^^
ValueError: lr must be positive
 and small
Exception ignored in: <function f>
"""


@pytest.mark.parametrize(
    ("code", "told", "replayed", "state"),
    [
        (0, None, SILENT, RunState.FINISHED),
        (1, None, SILENT, RunState.FAILED),
        (-signal.SIGSEGV, None, SILENT, RunState.FAILED),
        (1, None, PREEMPTING, RunState.PREEMPTED),
        (-signal.SIGTERM, None, PREEMPTING, RunState.PREEMPTED),
        (0, None, PREEMPTING, RunState.FINISHED),
        (-signal.SIGTERM, Told.STOP, SILENT, RunState.STOPPED),
        (0, Told.STOP, SILENT, RunState.STOPPED),
        (1, Told.STOP, PREEMPTING, RunState.STOPPED),
        (-signal.SIGKILL, Told.KILL, SILENT, RunState.KILLED),
        (0, Told.PREEMPT, SILENT, RunState.PREEMPTED),
        (-signal.SIGTERM, Told.PREEMPT, SILENT, RunState.PREEMPTED),
        (-signal.SIGTERM, Told.TIMEOUT, SILENT, RunState.FAILED),
        (-signal.SIGTERM, Told.PREEMPT, FINISHED, RunState.FINISHED),
        (1, None, FINISHED, RunState.FINISHED),
        (0, None, TOLD_TO_STOP, RunState.STOPPED),
        (0, None, TOLD_TO_DIE, RunState.KILLED),
        (1, None, TOLD_TO_STOP, RunState.FAILED),
        (0, Told.PREEMPT, TOLD_TO_STOP, RunState.PREEMPTED),
    ],
)
def test_the_ending_follows_from_exit_code_journal_and_what_the_agent_did(
    code: int, told: Told | None, replayed: Replayed, state: RunState
) -> None:
    assert outcome_of(code, told, "because", replayed, "").state is state


def test_a_run_that_took_too_long_says_so() -> None:
    assert (
        outcome_of(-15, Told.TIMEOUT, "timed out after 12 s", SILENT, TRACEBACK).error
        == "timed out after 12 s"
    )


def test_what_was_reported_is_part_of_the_outcome() -> None:
    outcome = outcome_of(0, None, "", REPORTED, "")
    assert (outcome.summary, outcome.value) == ({"loss": 0.5}, 0.5)


def test_a_program_that_never_called_init_leaves_what_is_stored_alone() -> None:
    assert outcome_of(0, None, "", SILENT, "").summary is None


def test_exit_codes_are_written_as_shells_write_them() -> None:
    assert (exit_status(0), exit_status(3), exit_status(-9), exit_status(-15)) == (0, 3, 137, 143)


@pytest.mark.parametrize(
    ("code", "output", "error"),
    [
        (1, TRACEBACK, "ValueError: lr must be positive"),
        (1, "Traceback (most recent call last):\n  File ...\nKeyboardInterrupt\n", "KeyboardInterrupt"),
        (1, 'Traceback (most recent call last):\n  File "a"\na.b.Custom: no\n', "a.b.Custom: no"),
        (2, "usage: train.py\ntrain.py: error: no --lr\n\n", "exit code 2: train.py: error: no --lr"),
        (7, "", "exit code 7"),
        (-signal.SIGKILL, "epoch 1\n", "killed by SIGKILL: out of memory?"),
        (-signal.SIGSEGV, "", "killed by SIGSEGV"),
        (137, "", "exit code 137 (killed by SIGKILL): out of memory?"),
        (255, "ssh: gone", "exit code 255: ssh: gone"),
        (1, "x" * 10_000, "exit code 1: " + "x" * 486 + "…"),
        (1, "Traceback (most recent call last):\n  File cut", "exit code 1: File cut"),
    ],
)
def test_a_failure_is_told_in_one_line(code: int, output: str, error: str) -> None:
    assert failure(code, output) == error


def test_only_the_end_of_this_attempts_output_is_read(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    assert read_tail(path) == ""
    path.write_bytes(b"first attempt\n" + b"second \xff\n")
    assert read_tail(path, start=14) == "second \ufffd\n"
    path.write_bytes(b"x" * 1_000_000 + b"end")
    assert len(read_tail(path)) == 64 * 1024
    assert read_tail(path).endswith("xend")
