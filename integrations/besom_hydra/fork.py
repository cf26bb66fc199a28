"""A job as a fork of this process: it starts with everything that was imported and composed already."""

from __future__ import annotations

import atexit
import functools
import gc
import io
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from besom.agent.process import call_at_end

_PR_SET_PDEATHSIG = 1
_OURS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class ForkedChild:
    """A process that was forked; its pid is also its process group and session."""

    pid: int

    def signal(self, number: int) -> None:
        """Send a signal to the process and everything in its group; nothing if they are gone."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # it has not made its group yet; what it is sent waits for it to be ready
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        except PermissionError:
            pass

    def reap(self) -> int:
        """Kill what it left in its process group; give its exit code, -N for signal N."""
        self.signal(signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@dataclass(frozen=True, slots=True)
class Seeds:
    """What the random numbers of jobs are made from; `numpy` is empty where it is not imported."""

    python: int
    numpy: tuple[int, ...]


def fork(
    perform: Callable[[], int],
    *,
    seeds: Seeds,
    number: int,
    environment: Mapping[str, str],
    output: Path,
    on_end: Callable[[], None],
) -> ForkedChild:
    """Call `perform` in a fork of this process, which then exits with what it gave; a thread calls `on_end`.

    It has the environment given and no other, random numbers by `seeds` and `number`, prints to `output`, and
    dies with this process. OSError when no process can be made.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if sys.platform == "linux":
        _prctl()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    parent = os.getpid()
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of threads. Those here wait for children, and hold no lock that a child needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _be_child(perform, lambda: _vary(seeds, number), environment, output, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    child = ForkedChild(pid)
    call_at_end(pid, lambda: os.waitpid(pid, 0), on_end, child)
    return child


def die_with(parent: int) -> None:
    """Have this process killed when its parent dies; within a second where the system cannot (not Linux)."""
    if sys.platform != "linux":
        threading.Thread(target=_watch, args=(parent,), name="watch-parent", daemon=True).start()
        return
    _prctl()(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before it was asked for
        os._exit(1)


@functools.cache
def _prctl() -> Any:
    """Give the system's function; loading what calls it takes 4 ms, which forks are to find done."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True).prctl


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _be_child(
    perform: Callable[[], int],
    vary: Callable[[], None],
    environment: Mapping[str, str],
    output: Path,
    parent: int,
) -> NoReturn:
    code = 1
    try:
        gc.freeze()  # its garbage collector would copy all of the parent's memory by marking it
        os.setsid()
        die_with(parent)
        _print_to(output)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for received in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(received) is not signal.SIG_IGN:
                signal.signal(received, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
        os.environ.clear()
        os.environ.update(environment)
        atexit._clear()  # noqa: SLF001 - what the parent is to do at its end
        vary()
        code = perform()
    except BaseException:  # noqa: BLE001 - nothing may go on as if it were the parent
        traceback.print_exc()
    finally:
        _leave(code)


def _leave(code: int) -> NoReturn:
    try:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for the program's own threads
            atexit._run_exitfuncs()  # noqa: SLF001 - as at the end of any process
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
    finally:
        os._exit(code)


def _print_to(output: Path) -> None:
    sink = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    source = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((source, 0), (sink, 1), (sink, 2)):
        os.dup2(descriptor, standard)
    # The parent's may be anything, such as what a notebook or a test has put there.
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    for standard, name in ((1, "stdout"), (2, "stderr")):
        file = io.FileIO(standard, "w", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def current_seeds() -> Seeds:
    """Give what this process's random numbers would be next, without using them up."""
    ours = random.Random()  # noqa: S311
    ours.setstate(random.getstate())
    numpy: Any = sys.modules.get("numpy")
    theirs: tuple[int, ...] = ()
    if numpy is not None:
        state = numpy.random.RandomState()
        state.set_state(numpy.random.get_state())
        theirs = tuple(map(int, state.randint(0, 2**32, 4, dtype="uint32")))
    return Seeds(ours.getrandbits(64), theirs)


def _vary(seeds: Seeds, number: int) -> None:
    """Give each job random numbers of its own, the same again if those of the parent were seeded."""
    random.seed(f"{seeds.python} {number}")  # noqa: TID251
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed([*seeds.numpy, number])
