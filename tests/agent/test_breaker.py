from __future__ import annotations

import pytest

from besom.agent.breaker import Breaker
from besom.agent.options import AgentOptions
from besom.agent.patience import Patience
from besom.errors import UsageError
from besom.records import RunState

GOOD, BAD = RunState.FINISHED, RunState.FAILED


def tripped(
    states: list[RunState], *, options: AgentOptions | None = None, every: float = 1.0, **environment: str
) -> str | None:
    breaker = Breaker(options or AgentOptions(), environment, now=100.0)
    for number, state in enumerate(states, 1):
        breaker.record(state, now=100.0 + number * every)
    return breaker.tripped


def test_three_failures_in_the_first_minute_are_enough() -> None:
    assert tripped([BAD] * 2) is None
    assert tripped([BAD] * 3) == "3 runs failed within the first minute and none finished"


def test_a_run_that_finished_shows_that_the_program_works() -> None:
    assert tripped([GOOD, *[BAD] * 50]) is None
    assert tripped([RunState.STOPPED, *[BAD] * 50]) is None


def test_slow_failures_count_when_they_are_the_first_five() -> None:
    assert tripped([BAD] * 4, every=100) is None
    assert tripped([BAD] * 5, every=100) == "the first 5 runs all failed"


def test_preempted_and_killed_runs_say_nothing_about_the_program() -> None:
    assert tripped([RunState.PREEMPTED, RunState.KILLED] * 10) is None


def test_failures_one_after_another_count_at_any_time() -> None:
    options = AgentOptions(max_consecutive_failures=2)
    assert tripped([GOOD, BAD, GOOD, BAD, GOOD], options=options, every=100) is None
    assert tripped([GOOD, BAD, BAD], options=options, every=100) == "2 runs failed one after another"


def test_it_can_be_turned_off_by_option_or_as_in_wandb() -> None:
    assert tripped([BAD] * 50, options=AgentOptions(flapping=False)) is None
    assert tripped([BAD] * 50, WANDB_AGENT_DISABLE_FLAPPING="true") is None
    assert tripped([BAD] * 50, WANDB_AGENT_DISABLE_FLAPPING="false") is not None


def test_the_number_of_initial_failures_can_be_set_as_in_wandb() -> None:
    assert tripped([BAD] * 8, every=100, WANDB_AGENT_MAX_INITIAL_FAILURES="9") is None
    assert tripped([BAD] * 9, every=100, WANDB_AGENT_MAX_INITIAL_FAILURES="9") is not None
    with pytest.raises(UsageError, match="must be a whole number, not 'many'"):
        tripped([], WANDB_AGENT_MAX_INITIAL_FAILURES="many")


def test_the_first_verdict_stays() -> None:
    assert tripped([BAD] * 10) == tripped([BAD] * 3)


def test_a_store_that_fails_is_tried_less_and_less_often() -> None:
    patience = Patience()
    pauses: list[float] = []
    now = 0.0
    for _ in range(9):
        patience.failed(now=now)
        pauses.append(patience.retry_at - now)
        now = patience.retry_at
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert patience.failed(now=now) == now
    patience.worked()
    assert (patience.down_since, patience.retry_at) == (None, 0.0)
