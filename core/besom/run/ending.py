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
from besom.run.live import active_run, agent_lives

_exit: SystemExit | None = None


@functools.cache
def watch() -> None:
    """Hook into the end of this process, once."""
    atexit.register(_at_exit)
    os.register_at_fork(after_in_child=_after_fork)
    sys.excepthook = functools.partial(_on_exception, sys.excepthook)
    # An exit code is told to nobody inside a process, and outside every agent nobody else is there to see it.
    sys.exit = functools.partial(_on_exit, sys.exit)


def _at_exit() -> None:
    run = active_run()
    if run is None:
        return
    if run.inherited or agent_lives():
        run.leave()
    else:
        run.end_with(_exit)


def _after_fork() -> None:
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
    leave(status)
    raise AssertionError("sys.exit returned")
