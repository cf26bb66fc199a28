"""Why a fit has failed, in the words that its run keeps."""

from __future__ import annotations

import traceback

_LINES = 20
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


def is_out_of_memory(exception: BaseException) -> bool:
    """Say whether memory ran out, that of a device or that of the machine."""
    if isinstance(exception, MemoryError) or type(exception).__name__ == "OutOfMemoryError":
        return True
    text = str(exception).lower()
    return isinstance(exception, RuntimeError) and any(words in text for words in _MEMORY)


def is_sigterm(exception: BaseException) -> bool:
    """Say whether it is what Lightning makes of SIGTERM, whichever import root it comes from."""
    return isinstance(exception, SystemExit) and type(exception).__name__ == "SIGTERMException"


def failure_text(exception: BaseException, rank: int) -> str:
    """Give the end of the traceback, which rank it is of, and before it whether memory ran out."""
    lines = "".join(traceback.format_exception(exception)).rstrip().splitlines()[-_LINES:]
    where = f"on rank {rank}:\n" if rank else ""
    what = "out of memory\n" if is_out_of_memory(exception) else ""
    return what + where + "\n".join(lines)
