"""Notices that runs keep failing, so that a mistake in the program does not use up a sweep.

The first two rules and their numbers are W&B's, and so are the environment variables that change them.
"""

from __future__ import annotations

from collections.abc import Mapping

from besom.agent.options import AgentOptions
from besom.errors import UsageError
from besom.records import GOOD_ENDINGS, RunState

FLAPPING_FAILURES = 3
FLAPPING_SECONDS = 60.0


class Breaker:
    """Counts how an agent's runs end; `tripped` says why it should leave."""

    def __init__(self, options: AgentOptions, environment: Mapping[str, str], *, now: float) -> None:
        off = environment.get("WANDB_AGENT_DISABLE_FLAPPING") == "true"
        self._flapping = options.flapping and not off
        self._max_initial = _max_initial(options, environment)
        self._max_consecutive = options.max_consecutive_failures
        self._started = now
        self._good = 0
        self._failed = 0
        self._consecutive = 0
        self.tripped: str | None = None

    def record(self, state: RunState, *, now: float) -> None:
        """Take note of how a run ended; `now` is in seconds on the clock of the constructor's."""
        if state in GOOD_ENDINGS:
            self._good += 1
            self._consecutive = 0
        elif state is RunState.FAILED:
            self._failed += 1
            self._consecutive += 1
            self.tripped = self.tripped or self._verdict(now)

    def _verdict(self, now: float) -> str | None:
        early = now - self._started < FLAPPING_SECONDS
        if self._max_consecutive is not None and self._consecutive >= self._max_consecutive:
            return f"{self._consecutive} runs failed one after another"
        if self._good or not self._flapping:
            return None
        if early and self._failed >= FLAPPING_FAILURES:
            return f"{self._failed} runs failed within the first minute and none finished"
        if self._failed >= self._max_initial:
            return f"the first {self._failed} runs all failed"
        return None


def _max_initial(options: AgentOptions, environment: Mapping[str, str]) -> int:
    named = environment.get("WANDB_AGENT_MAX_INITIAL_FAILURES")
    if named is None:
        return options.max_initial_failures
    if not named.isdecimal():
        raise UsageError(f"WANDB_AGENT_MAX_INITIAL_FAILURES must be a whole number, not {named!r}")
    return int(named)
