"""A run's program as a process: in a session of its own, its output in a file, a thread awaiting its end.

The output goes to the file by descriptor, not by way of the agent, whose death a program does not notice.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

RANK_VARIABLES = frozenset(
    """
    RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK GROUP_WORLD_SIZE
    ROLE_RANK ROLE_NAME ROLE_WORLD_SIZE MASTER_ADDR MASTER_PORT
    JSM_NAMESPACE_RANK JSM_NAMESPACE_LOCAL_RANK JSM_NAMESPACE_SIZE
    SLURM_PROCID SLURM_LOCALID SLURM_NODEID SLURM_NTASKS SLURM_NPROCS SLURM_NTASKS_PER_NODE
    SLURM_TASKS_PER_NODE SLURM_STEP_NUM_TASKS SLURM_STEP_TASKS_PER_NODE SLURM_GTIDS SLURM_TASK_PID
    """.split()  # noqa: SIM905 - 26 lines as a list
)
_RANK_PREFIXES = ("OMPI_COMM_", "OMPI_MCA_orte_", "PMI_", "PMIX_", "MPI_LOCAL", "MV2_COMM_", "TORCHELASTIC_")


class Child(Protocol):
    """A process that was started for a run."""

    def signal(self, number: int) -> None:
        """Send a signal to the program and everything it started; nothing if they are gone."""
        ...

    def reap(self) -> int:
        """Kill what is left of it, wait for its end, and give its exit code, -N for signal N."""
        ...


@dataclass(frozen=True, slots=True)
class ProgramChild:
    """A program as a child; its pid is also its process group and session."""

    process: subprocess.Popen[bytes]

    def signal(self, number: int) -> None:
        """Send a signal to the program and everything in its process group; nothing if they are gone."""
        # Sound against reuse of the pid: until `reap`, the program itself holds it, if only as a zombie.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def reap(self) -> int:
        """Kill what an ended program left in its process group; give its exit code, -N for signal N."""
        self.signal(signal.SIGKILL)
        return self.process.wait()


def start_child(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    output: Path,
    on_end: Callable[[], None],
) -> ProgramChild:
    """Start a program in `folder`, appending what it prints to `output`; a thread calls `on_end` at its end.

    OSError or ValueError when it cannot be started: no such program, an argument too long or with a NUL byte.
    """
    with output.open("ab") as sink:
        # No preexec_fn: without one, CPython uses vfork, whose cost does not grow with the agent's memory.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
    child = ProgramChild(process)
    call_at_end(process.pid, process.wait, on_end, child)
    return child


def call_at_end(pid: int, wait: Callable[[], object], on_end: Callable[[], None], child: Child) -> None:
    """Have a thread call `on_end` when a child process has ended; OSError, and it is killed, if none can.

    `wait` waits for its end where the system cannot without reaping it.
    """
    waiting = threading.Thread(target=_wait, args=(pid, wait, on_end), name=f"wait-{pid}", daemon=True)
    try:
        waiting.start()
    except RuntimeError as error:  # too many threads
        child.signal(signal.SIGKILL)
        child.reap()
        raise OSError(f"nothing can wait for its end: {error}") from error


def child_environment(own: Mapping[str, str], *added: Mapping[str, str]) -> dict[str, str]:
    """Give the agent's environment without its rank variables, and with what is `added`.

    An agent may itself be one of many tasks of a job (`srun besom agent`). Its rank is not its run's:
    Lightning would take a run under `SLURM_PROCID=3` for the fourth process of a group and log nothing.
    """
    environment = {name: value for name, value in own.items() if not _is_rank(name)}
    for more in added:
        environment |= more
    return environment


def kill_orphans(run_id: str, *, before: int) -> None:
    """Kill what attempts `before` the given one at a run still have running on this machine.

    They have lost their lease: their agent died and they never reported, or it slept too long. Two attempts
    must not write the same checkpoints. Needs a Linux /proc; elsewhere it does nothing.
    """
    for pid, attempt in run_processes(run_id):
        if attempt < before and pid != os.getpid():
            log.warning("run %s: killing process %d, which attempt %d left behind", run_id, pid, attempt)
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def run_processes(run_id: str) -> list[tuple[int, int]]:
    """Give (pid, attempt) of every process of a run on this machine, as their environments tell."""
    found: list[tuple[int, int]] = []
    wanted = f"BESOM_RUN_ID={run_id}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or somebody else's
            continue
        if wanted in words:
            attempts = [word[14:] for word in words if word.startswith(b"BESOM_ATTEMPT=")]
            found += [(int(path.parent.name), int(number)) for number in attempts if number.isdigit()]
    return found


def process_identity(pid: int) -> str | None:
    """Give "pid start boot", which names a process for good; None if it is gone, or without a Linux /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else f"{pid} {fields[18]} {boot}"


def _is_rank(name: str) -> bool:
    return name in RANK_VARIABLES or name.startswith(_RANK_PREFIXES)


def _wait(pid: int, wait: Callable[[], object], on_end: Callable[[], None]) -> None:
    if hasattr(os, "waitid"):
        # Leaves the zombie, so that the process group cannot be anybody else's until the agent has reaped it.
        with suppress(ChildProcessError):  # it has been reaped already
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    else:  # macOS before Python 3.13
        wait()
    on_end()
