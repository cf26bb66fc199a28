"""Long polls: any number of callers wait for news of a sweep, and one thread looks for all of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from besom.store.base import Store

LONGEST = 15.0  # seconds that one call may take
LOOK = 1.0  # seconds that a thread is bound at a time: what the server's end waits for
THREADS = 16  # sweeps that are looked after at a time; callers for others wait until one is free


@dataclass(slots=True)
class _Look:
    """What callers who have seen the same word of a sweep wait for together."""

    callers: int = 0
    word: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Waits:
    """The `wait` of a store without a thread for each caller; its threads do nothing else.

    So they keep no connection to a database when they have waited.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._looks: dict[tuple[str, str], _Look] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limiter: anyio.CapacityLimiter | None = None
        self._closed = False

    @property
    def callers(self) -> int:
        """How many wait."""
        return sum(look.callers for look in self._looks.values())

    def close(self) -> None:
        """Let all who wait go within a second, with what they have seen."""
        self._closed = True

    async def wait(self, sweep_id: str, seen: str, seconds: float) -> str:
        """Give what the store's `wait` does where a word was seen; after `LONGEST` seconds at the latest."""
        key = sweep_id, seen
        look = self._looks.get(key)
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        if look is None:
            look = self._looks[key] = _Look()
            task = asyncio.ensure_future(self._look(key, look, self._limiter))
            self._tasks.add(task)  # the loop itself would let it be collected
            task.add_done_callback(self._tasks.discard)
        look.callers += 1
        until = time.monotonic() + min(seconds, LONGEST)
        try:
            while not (look.word.done() or self._closed) and (left := until - time.monotonic()) > 0:
                await asyncio.wait({look.word}, timeout=min(left, LOOK))
        finally:
            look.callers -= 1
        return look.word.result() if look.word.done() else seen

    async def _look(self, key: tuple[str, str], look: _Look, limiter: anyio.CapacityLimiter) -> None:
        sweep_id, seen = key

        def once() -> str:
            return self.store.wait(sweep_id, seen, seconds=LOOK)

        try:
            word = seen
            while word == seen and look.callers:
                word = await anyio.to_thread.run_sync(once, limiter=limiter)
            look.word.set_result(word)
        except Exception as error:  # noqa: BLE001 - the callers' to raise
            look.word.set_exception(error)
            look.word.exception()  # nobody may be left to ask for it
        finally:
            if self._looks.get(key) is look:
                del self._looks[key]
