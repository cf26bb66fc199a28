"""What an exception or an exit says about how a program ended."""

from __future__ import annotations

import os
import traceback

from besom.errors import RunStopped

ERROR_LINES = 20
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")  # as torch says it


def agent_lives() -> bool:
    """Say whether the agent that started this process is still there."""
    try:
        os.kill(int(os.environ["BESOM_AGENT_PID"]), 0)
    except (KeyError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def cause_of_exit(exception: BaseException) -> BaseException:
    """Give the KeyboardInterrupt that an exit was made of, else the exception itself."""
    context = exception.__context__
    made = isinstance(exception, SystemExit) and isinstance(context, KeyboardInterrupt)
    return context if made and context is not None else exception


def code_and_error(exception: BaseException) -> tuple[int, str | None]:
    """Give the exit code that an exception makes of a program, and what to say about it.

    The error is what a SystemExit says, else `failure_text`.
    """
    if isinstance(exception, RunStopped):
        return 0, None
    if isinstance(exception, KeyboardInterrupt):
        return 130, "interrupted from the keyboard"
    if isinstance(exception, SystemExit):
        code = exception.code
        return (int(code or 0), None) if code is None or isinstance(code, int) else (1, str(code))
    return 1, failure_text(exception)


def is_out_of_memory(exception: BaseException) -> bool:
    """Say whether memory ran out, that of a device or that of the machine."""
    if isinstance(exception, MemoryError) or type(exception).__name__ == "OutOfMemoryError":
        return True
    text = str(exception).lower()
    return isinstance(exception, RuntimeError) and any(words in text for words in _MEMORY)


def failure_text(exception: BaseException, where: str = "") -> str:
    """Give the end of the traceback; before it a line that memory ran out, if it did, and `where`."""
    lines = "".join(traceback.format_exception(exception)).rstrip().splitlines()[-ERROR_LINES:]
    what = "out of memory" if is_out_of_memory(exception) else ""
    return "\n".join([*filter(None, (what, where)), *lines])
