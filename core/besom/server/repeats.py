"""Calls that must not be done twice: who asks again gets the answer that there was."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

SECONDS = 300.0
ANSWERS = 10_000
BYTES = 64 * 2**20

Answer = TypeVar("Answer")


class Repeats(Generic[Answer]):
    """Remembers answers for `SECONDS`: so many, of so many bytes together; the oldest is forgotten first."""

    def __init__(self, size: Callable[[Answer], int], *, answers: int = ANSWERS, total: int = BYTES) -> None:
        self._size = size
        self._most, self._total = answers, total
        self._answers: OrderedDict[tuple[str, str], tuple[float, asyncio.Future[Answer]]] = OrderedDict()
        self._bytes = 0

    async def once(self, key: tuple[str, str], do: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Have a call done, unless one of that key was; it goes on to its end even if its caller leaves."""
        if key not in self._answers:
            self._forget()
            self._answers[key] = (time.monotonic(), asyncio.ensure_future(self._weighed(do)))
        return await asyncio.shield(self._answers[key][1])

    async def _weighed(self, do: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        answer = await do()
        self._bytes += self._size(answer)
        return answer

    def _forget(self) -> None:
        oldest = time.monotonic() - SECONDS
        while self._answers:
            since, answer = next(iter(self._answers.values()))
            full = len(self._answers) >= self._most or self._bytes > self._total
            if not answer.done() or not (full or since < oldest):
                return
            self._answers.popitem(last=False)
            self._bytes -= self._size(answer.result())
