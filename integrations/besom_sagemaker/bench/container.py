"""Containers without docker: a process that sees its own /opt/ml.

Where the kernel lets us, in private mount, process and host name namespaces, with the job's folder mounted at
/opt/ml and its first process really being process 1. Elsewhere as a plain process, with the folder named by
SAGEMAKER_BASE_DIR, in which SageMaker's own toolkit and besom's runner look as well.
"""

from __future__ import annotations

import functools
import os
import signal
import site
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NAMESPACES = ("--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
_ENTER = (
    'mkdir -p /opt/ml && mount --bind "$0" /opt/ml && mount --bind "$0/../hosts" /etc/hosts'
    ' && hostname algo-1 && exec "$@"'
)
HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@functools.cache
def namespaces() -> tuple[str, ...] | None:
    """Give the words of `unshare` that make a container here; None where the kernel does not let us."""
    for words in (_NAMESPACES, ("--user", "--map-root-user", *_NAMESPACES)):
        try:
            asked = subprocess.run(
                ["unshare", *words, "sh", "-c", "mkdir -p /opt/ml && mount --bind /tmp /opt/ml"],
                capture_output=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if asked.returncode == 0:
            return words
    return None


@dataclass(frozen=True, slots=True)
class Container:
    """A running container; `process` prints what is in it."""

    process: subprocess.Popen[bytes]
    enclosed: bool

    def terminate(self) -> bool:
        """Send SIGTERM to the first process in it; False while that would not feel it.

        Process 1 feels a signal only once it has a handler for it, and a container that has just been started
        has none yet: try again.
        """
        first = self._first()
        if first is None or (self.enclosed and not _feels(first, signal.SIGTERM)):
            return False
        with suppress(ProcessLookupError):
            os.kill(first, signal.SIGTERM)
        return True

    def kill(self) -> None:
        """End everything in it."""
        with suppress(ProcessLookupError):
            if (first := self._first()) is not None:
                os.kill(first, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _first(self) -> int | None:
        """Give the first process in it, None while or once there is none."""
        pid = self.process.pid
        if not self.enclosed:
            return pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(children[0]) if children else None


def _feels(pid: int, number: int) -> bool:
    """Say whether a process is the container's own program, and has a handler for a signal."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    if _ENTER.encode() in words:  # what makes the container ready, and becomes the program then
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def start_container(
    root: Path, argv: Sequence[str], environment: Mapping[str, str], *, enclosed: bool
) -> Container:
    """Start a container on the folder that is to be /opt/ml; `root.parent / "hosts"` is its /etc/hosts."""
    variables = dict(environment)
    words = list(argv)
    if enclosed:
        words = ["unshare", *(namespaces() or ()), "bash", "-c", _ENTER, str(root), *words]
    else:
        variables["SAGEMAKER_BASE_DIR"] = str(root)
        words = [word.replace("/opt/ml", str(root)) for word in words]
    process = subprocess.Popen(
        words,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/" if enclosed else root,
        start_new_session=True,
    )
    return Container(process, enclosed)


def make_image(folder: Path, parent: Path | None = None) -> Path:
    """Give the bin folder of an image: a Python of its own that sees what `parent` has (None: this Python).

    What a job installs goes into `folder` and nowhere else.
    """
    if parent is not None:
        executable = (parent / "bin" / "python3").resolve()
        packages = [str(path) for path in sorted((parent / "lib").glob("python3*/site-packages"))]
        version = Path(packages[0]).parent.name if packages else _version()
    else:
        executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        packages, version = site.getsitepackages(), _version()
    programs = folder / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    (folder / "pyvenv.cfg").write_text(f"home = {executable.parent}\ninclude-system-site-packages = false\n")
    own = folder / "lib" / version / "site-packages"
    own.mkdir(parents=True, exist_ok=True)
    (own / "_image.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in packages))
    for name in ("python", "python3"):
        if not (programs / name).is_symlink():
            (programs / name).symlink_to(executable)
    return programs


def _version() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"
