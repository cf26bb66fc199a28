"""A container without docker: a process, and all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    process: subprocess.Popen[bytes]

    @property
    def exit_code(self) -> int | None:
        """The code it ended with, as docker has it (137 for a death by SIGKILL); None while it runs."""
        code = self.process.poll()
        return code if code is None or code >= 0 else 128 - code

    def terminate(self) -> None:
        """Send SIGTERM to its first process."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End everything in it at once, as the loss of its host does."""
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def start_container(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, output: Path
) -> Container:
    """Run a command in a folder, with these variables and no others; what it prints is added to `output`."""
    with output.open("ab") as log:
        return Container(
            subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )
        )


def _descendants(pid: int) -> list[int]:
    """Give the processes that a process has started, and those that they have."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *_descendants(child)]
    return found
