"""How long an agent goes on without its store, and when it tries again."""

from __future__ import annotations

_FIRST, _LONGEST = 0.5, 30.0


class Patience:
    """Remembers since when the store has failed; times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self.down_since: float | None = None
        self.retry_at = 0.0
        self._pause = _FIRST

    def worked(self) -> None:
        """Take note that the store did what it was asked."""
        self.down_since, self.retry_at, self._pause = None, 0.0, _FIRST

    def failed(self, *, now: float) -> float:
        """Take note of a failure and put the next try off, ever longer; gives how long the store is down."""
        if self.down_since is None:
            self.down_since = now
        self.retry_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST)
        return now - self.down_since
