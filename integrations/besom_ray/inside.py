"""What a job runs on its node: `besom` with the job's words, and a guard that outlives it.

The programs of an agent are sessions of their own. When Ray kills an agent, or loses the process that watches
over it, they would train on, on GPUs that the next job has by then. So the guard kills them: whatever becomes
of the agent, a job that has ended has left nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PAUSE = 0.05  # seconds between looks for programs, which may be starting others
_LOOKS = 600  # until a program that not even SIGKILL ends is left to the system


def main(words: Sequence[str]) -> None:
    """Run besom's command line; when this process is gone, the programs that it has started go too."""
    if job := os.environ.get("BESOM_JOB"):
        guard(job)
    # Only now: what is imported before the fork is in the guard's memory for as long as the job takes.
    from besom.cli import main as besom

    sys.argv = ["besom", *words]
    besom()


def guard(job: str) -> None:
    """Start the process that waits for the end of this one and kills the programs that `job` has left."""
    ending, held = os.pipe()  # nobody writes to it: it closes when this process ends, in whatever way
    if child := os.fork():
        os.close(ending)
        os.waitpid(child, 0)
        return
    try:
        # Nobody's child and in a session of its own, so that what ends the job does not end its guard.
        os.close(held)
        os.setsid()
        if os.fork():
            return
        _cut_loose()
        os.read(ending, 1)
        kill_programs(job)
    finally:
        os._exit(0)


def kill_programs(job: str) -> None:
    """Kill every program that was started for a run in `job` on this machine; needs a Linux /proc."""
    for _ in range(_LOOKS):
        left = _programs(job)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return
        time.sleep(_PAUSE)


def _cut_loose() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)


def _programs(job: str) -> list[int]:
    """Give the processes whose environment names the job and a run."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # gone meanwhile, or somebody else's
            words = path.read_bytes().split(b"\0")
            if f"BESOM_JOB={job}".encode() in words and any(w.startswith(b"BESOM_RUN_ID=") for w in words):
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
