"""Turns the signals an agent receives into events of its loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

LEAVE = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""What makes an agent leave."""

FORWARDED = LEAVE | {
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
    signal.SIGWINCH,
}
"""What `--forward-signals` hands on to the programs."""


@contextmanager
def received(handle: Callable[[int], None], *, forward: bool) -> Generator[None]:
    """Have `handle` called with each signal while inside, and restore what was there before.

    Signals that were ignored stay so (`nohup`). In any other thread than the main one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}
    for number in FORWARDED if forward else LEAVE:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, lambda received, _frame: handle(received))
    try:
        yield
    finally:
        for restored, handler in before.items():
            signal.signal(restored, handler)
