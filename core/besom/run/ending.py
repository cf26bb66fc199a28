"""What becomes of a run when its process ends, forks or crashes."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
from types import TracebackType
from typing import Any, NoReturn

from besom.errors import RunStopped
from besom.run.active import active_run
from besom.run.flusher import working

LONGEST_WAIT = 5.0  # seconds that a fork waits for a flusher to be outside the store

_exit: SystemExit | None = None
_quiet = False  # whether the fork that goes on has `working`


@functools.cache
def watch() -> None:
    """Hook into the end of this process, once."""
    atexit.register(_at_exit)
    watch_forks()
    sys.excepthook = functools.partial(_on_exception, sys.excepthook)
    # An exit code is told to nobody inside a process, and outside every agent nobody else is there to see it.
    sys.exit = functools.partial(_on_exit, sys.exit)


@functools.cache
def watch_forks() -> None:
    """Hook into the forks of this process, once: what a thread holds must not stay locked there."""
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


def _at_exit() -> None:
    run = active_run()
    if run is None:
        return
    unhandled = _unhandled()
    if run.inherited or (run.judged and unhandled is None):
        run.leave()
    else:
        run.end_with(unhandled or _exit)


def _unhandled() -> BaseException | None:
    """Give the exception that ends this process, also where another hook than ours was told of it."""
    if hasattr(sys, "ps1"):
        return None  # in an interactive session it was the last of many
    found: BaseException | None = getattr(sys, "last_value", None)
    return found


def _before_fork() -> None:
    global _quiet  # noqa: PLW0603
    _quiet = working.acquire(timeout=LONGEST_WAIT)


def _after_fork() -> None:
    if _quiet:
        working.release()


def _in_child() -> None:
    _after_fork()
    run = active_run()
    if run is not None:
        run.after_fork_in_child()


def _on_exception(
    hook: Any, kind: type[BaseException], exception: BaseException, trace: TracebackType | None
) -> None:
    run = active_run()
    if run is not None and not run.inherited:
        run.end_with(exception)
    if not isinstance(exception, RunStopped):
        hook(kind, exception, trace)


def _on_exit(leave: Any, status: Any = None, /) -> NoReturn:
    global _exit  # noqa: PLW0603
    if threading.current_thread() is threading.main_thread():
        _exit = SystemExit(status)
        _exit.__context__ = sys.exception() if sys.version_info >= (3, 11) else sys.exc_info()[1]
    leave(status)
    raise AssertionError("sys.exit returned")
