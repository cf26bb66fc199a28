"""How much is too much: requests per second and token, refusals per minute and address."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable


class Rate:
    """Lets each of many callers do `per_second` things, and `burst` at once."""

    def __init__(
        self,
        per_second: float,
        burst: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        callers: int = 10_000,
    ) -> None:
        self._per_second, self._burst = per_second, burst
        self._clock, self._callers = clock, callers
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> bool:
        """Say whether the caller may, and count it if so."""
        now = self._clock()
        left, then = self._left.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_second)
        allowed = left >= 1
        self._left[caller] = (left - 1 if allowed else left, now)
        if len(self._left) > self._callers:
            self._left.popitem(last=False)
        return allowed
