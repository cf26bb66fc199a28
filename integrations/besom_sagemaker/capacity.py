"""How a driver works, and how many jobs it has at once when AWS has no more."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DriverOptions:
    """How a driver works; all times in seconds."""

    max_jobs: int = 4
    runs_per_job: int = 1
    count: int | None = None  # runs to take
    poll_seconds: float = 5.0
    lease_seconds: float = 300.0
    store_patience: float = 300.0
    budget_usd: float | None = None
    grace: float = 100.0
    retry_first: float = 15.0  # after a quota was met
    retry_longest: float = 300.0


@dataclass(slots=True)
class Capacity:
    """How many jobs may be there at once: lowered where AWS has no more, and raised again by and by."""

    most: int
    options: DriverOptions
    limit: int = field(init=False)
    resume_at: float = 0.0
    _pause: float = field(init=False)

    def __post_init__(self) -> None:
        self.limit, self._pause = self.most, self.options.retry_first

    def refused(self, now: float, live: int, *, lower: bool) -> float:
        """Take note that AWS would have no more; gives for how long to leave it alone."""
        if lower:
            self.limit = max(1, min(self.limit, live))
        pause, self._pause = self._pause, min(2 * self._pause, self.options.retry_longest)
        self.resume_at = now + pause
        return pause

    def accepted(self) -> None:
        """Take note that AWS took a job: one more may be tried."""
        self._pause = self.options.retry_first
        self.limit = min(self.most, self.limit + 1)
