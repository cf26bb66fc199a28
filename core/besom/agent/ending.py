"""How an attempt ended, told from its program's exit code, its journal, and what the agent did to it.

* The program called `finish`: as it said.
* The agent ended it: STOPPED, KILLED, FAILED (timed out) or PREEMPTED (the agent itself has to leave).
* Exit code 0 after it learned that it shall stop: STOPPED, or KILLED.
* Exit code 0 otherwise: FINISHED.
* Another exit code after `mark_preempting`: PREEMPTED.
* Any other exit code or signal: FAILED.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from enum import Enum
from pathlib import Path

from besom.journal import Replayed
from besom.records import Lease, Outcome, Run, RunState

_TAIL_BYTES = 64 * 1024
_TRACEBACK = "Traceback (most recent call last):"
_LONGEST = 500
_ADVICE = "Set the environment variable HYDRA_FULL_ERROR=1"  # follows every error of a Hydra app


class Told(Enum):
    """Why an agent ends a program."""

    STOP = "stop"
    TIMEOUT = "timeout"
    PREEMPT = "preempt"  # the agent was told to leave
    KILL = "kill"
    LOST = "lost"  # a later attempt has the run


_STATES = {
    Told.STOP: RunState.STOPPED,
    Told.TIMEOUT: RunState.FAILED,
    Told.PREEMPT: RunState.PREEMPTED,
    Told.KILL: RunState.KILLED,
}

_ASKED = {None: RunState.FINISHED, "stop": RunState.STOPPED, "kill": RunState.KILLED}
_BECOMES = {
    RunState.FAILED: {RunState.FAILED, RunState.PENDING},
    RunState.PREEMPTED: {RunState.PREEMPTED, RunState.STOPPED, RunState.KILLED},
}


def outcome_of(code: int, told: Told | None, reason: str, replayed: Replayed, output: str) -> Outcome:
    """Give the outcome of an attempt whose program printed `output` and ended with `code` (-N: signal N)."""
    if replayed.finished is not None:
        finished = replayed.finished
        return finished if finished.exit_code is not None else replace(finished, exit_code=exit_status(code))
    if told is not None:
        state = _STATES[told]
        error = reason if told is Told.TIMEOUT else None
    elif code == 0:
        state, error = _ASKED[replayed.stopping], None
    elif replayed.preempting:
        state, error = RunState.PREEMPTED, None
    else:
        state, error = RunState.FAILED, replayed.error or failure(code, output)
    summary = dict(replayed.summary) if replayed.config is not None else None
    return Outcome(state, exit_status(code), error, summary, replayed.value)


def counts(run: Run, lease: Lease, outcome: Outcome) -> bool:
    """Say whether an attempt's outcome is what made the run, as `finish` gave it, what it is."""
    return run.attempt == lease.attempt and run.state in _BECOMES.get(outcome.state, {outcome.state})


def exit_status(code: int) -> int:
    """Give an exit code as shells and schedulers write it: 128 + N for signal N."""
    return code if code >= 0 else 128 - code


def failure(code: int, output: str) -> str:
    """Say in one line why a program failed: its exception, or its exit code and the last line it printed."""
    if line := _exception_line(output):
        return line
    status = exit_status(code)
    if status > 128 and (name := _signal_name(status - 128)):
        told = f"killed by {name}" if code < 0 else f"exit code {code} (killed by {name})"
        return f"{told}: out of memory?" if name == "SIGKILL" else told
    lines = (line.strip() for line in reversed(output.splitlines()))
    last = next((line for line in lines if line and not line.startswith(_ADVICE)), "")
    return _shorten(f"exit code {code}: {last}" if last else f"exit code {code}")


def read_tail(path: Path, *, start: int = 0) -> str:
    """Give the end of a file as text, at most 64 KiB and nothing before offset `start`; "" without a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _exception_line(output: str) -> str | None:
    """Give the exception of the last traceback in one line, such as "ValueError: lr must be positive"."""
    _, found, after = output.rpartition(_TRACEBACK)
    if not found:
        return None
    for line in after.splitlines():
        # Of a traceback, only the frames before the exception are indented.
        if re.match(r"[A-Za-z_][\w.]*(:|$)", line):
            return _shorten(line.rstrip())
    return None


def _signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
