"""What an exception or an exit says about how a program ended."""

from __future__ import annotations

import os
import traceback

ERROR_LINES = 20


def agent_lives() -> bool:
    """Say whether the agent that started this process is still there."""
    try:
        os.kill(int(os.environ["BESOM_AGENT_PID"]), 0)
    except (KeyError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def exit_code_of(exception: SystemExit) -> tuple[int, str | None]:
    """Give the process's exit code and message for a SystemExit."""
    if exception.code is None or isinstance(exception.code, int):
        return int(exception.code or 0), None
    return 1, str(exception.code)


def last_lines(exception: BaseException) -> str:
    """Give the end of a traceback, where the cause stands."""
    lines = "".join(traceback.format_exception(exception)).rstrip().splitlines()
    return "\n".join(lines[-ERROR_LINES:])
