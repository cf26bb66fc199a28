"""How long an agent waits: for runs to come, and for a store that fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from besom.errors import StoreError, StorePlaceError, StoreVersionError

T = TypeVar("T")

log = logging.getLogger(__name__)


class Pause:
    """A pause that grows, doubling from `first` to `longest` seconds."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def next(self) -> float:
        """Give how long to pause now."""
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return pause

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next = self._first


class Patience:
    """Remembers since when the store has failed; times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self.down_since: float | None = None
        self.retry_at = 0.0
        self._pause = Pause(0.5, 30.0)

    def worked(self) -> None:
        """Take note that the store did what it was asked."""
        self.down_since, self.retry_at = None, 0.0
        self._pause.reset()

    def bear(self, error: StoreError, *, now: float, longest: float) -> bool:
        """Put the next try off, ever longer; says whether this is the first failure.

        Raises the error when waiting cannot help, or has not helped for `longest` seconds.
        """
        if isinstance(error, (StoreVersionError, StorePlaceError)):
            raise error
        log.warning("the store fails: %s; trying again", error)
        first = self.down_since is None
        if self.down_since is None:
            self.down_since = now
        if now - self.down_since > longest:
            raise error
        self.retry_at = now + self._pause.next()
        return first


def patiently(step: Callable[[], T], *, longest: float) -> T:
    """Do a step, again and again while the store fails; StoreError after `longest` seconds of it."""
    patience = Patience()
    while True:
        try:
            return step()
        except StoreError as error:
            patience.bear(error, now=time.monotonic(), longest=longest)
        time.sleep(max(0.0, patience.retry_at - time.monotonic()))
