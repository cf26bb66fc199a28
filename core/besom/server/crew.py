"""Threads that do calls, as many at a time as wait, so that all share what it costs to wake a thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Crew(Generic[Result]):
    """So many threads; calls begin in the order in which they came. All of one event loop."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._free = threads
        self._waiting: deque[tuple[Callable[[], Result], asyncio.Future[Result]]] = deque()

    def do(self, call: Callable[[], Result]) -> asyncio.Future[Result]:
        """Have a call done, which must not raise."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._share_out)  # together with what comes in the same moment
        self._waiting.append((call, done))
        return done

    def _share_out(self) -> None:
        while self._free and self._waiting:
            share = -(-len(self._waiting) // self._free)
            self._free -= 1
            calls = [self._waiting.popleft() for _ in range(share)]
            self._pool.submit(self._work, calls, asyncio.get_running_loop())

    def _work(
        self,
        calls: list[tuple[Callable[[], Result], asyncio.Future[Result]]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        results = [(done, call()) for call, done in calls]
        loop.call_soon_threadsafe(self._hand_back, results)

    def _hand_back(self, results: list[tuple[asyncio.Future[Result], Result]]) -> None:
        self._free += 1
        for done, result in results:
            if not done.done():  # its caller may be gone
                done.set_result(result)
        self._share_out()
