"""`besom agent --queue`: an agent that joins the sweeps which messages of an SQS queue name.

A message decides when to look, never what to run: stores are pinned on this side, nothing but a sweep's own
program is run, and a message that is lost, doubled or handed out again changes nothing in the store.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum, auto
from signal import Signals
from typing import NoReturn

from besom.agent import AgentEvent, AgentOptions, AgentResult, run_agent
from besom.agent.patience import Pause
from besom.agent.signals import received
from besom.errors import BesomError, NotFoundError, UsageError
from besom.records import RunState, Sweep, SweepState
from besom.store import open_store
from besom_aws.aws import POLL_SECONDS, AwsAwayError, AwsError
from besom_aws.message import Message, decode_message
from besom_aws.pins import StorePins
from besom_aws.queue import Queue, Received, kept

_OVER = (SweepState.FINISHED, SweepState.STOPPED, SweepState.CANCELED)

Talk = Callable[[Sweep], AbstractContextManager[Callable[[AgentEvent], None]]]


class _Fate(Enum):
    """What becomes of a message."""

    DELETE = auto()
    GIVE_BACK = auto()  # others see it at once
    LEAVE = auto()  # it comes again when its time is up, and goes to the dead-letter queue after some times


class _ToldToLeaveError(BaseException):
    """A signal came while no run was there to be ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def run_queue_agent(
    options: AgentOptions,
    *,
    url: str,
    store: str,
    allow_stores: Sequence[str] = (),
    idle: float | None = None,
    talk: Talk,
    say: Callable[[str], None],
) -> AgentResult:
    """Join the sweeps that messages name, one message after another, until a signal ends it.

    Messages may name `store`, which is the agent's own, and `allow_stores`, addresses or references. After
    `idle` seconds without a message it leaves. `talk` shows the events of a sweep, `say` a line of the
    queue's. `options.count` counts the runs of all messages. UsageError, NotFoundError, AwsError or
    AwsAwayError where the queue cannot be used; StoreError when a store stays away.
    """

    def leave(number: int) -> NoReturn:
        raise _ToldToLeaveError(number)

    agent = _QueueAgent(Queue(url), StorePins(store, allow_stores), options, idle, talk, say)
    with received(leave, forward=False):
        try:
            return agent.serve()
        except _ToldToLeaveError as told:
            return agent.result(128 + told.number, f"received {Signals(told.number).name}")


@dataclass
class _QueueAgent:
    """What an agent of a queue knows between two messages."""

    queue: Queue
    pins: StorePins
    options: AgentOptions
    idle: float | None
    talk: Talk
    say: Callable[[str], None]
    counts: Counter[RunState] = field(default_factory=Counter[RunState])
    failed: bool = False  # the runs of a sweep kept failing
    left: AgentResult | None = None
    reached: bool = False  # the queue has answered

    def __post_init__(self) -> None:
        self.hidden = max(1, math.ceil(self.options.lease_seconds))

    def serve(self) -> AgentResult:
        """Take messages until there is a reason to leave."""
        since = time.monotonic()
        while True:
            wait = math.inf if self.idle is None else max(0.0, self.idle - time.monotonic() + since)
            message = self._receive(math.ceil(min(wait, POLL_SECONDS)))
            if message is not None:
                self._take(message)
                since = time.monotonic()
            elif time.monotonic() - since >= wait:
                return self.result(int(self.failed), f"no message came for {self.idle:g} s")
            if self.left is not None:
                return self.left

    def result(self, exit_code: int, reason: str) -> AgentResult:
        """Give how the agent left, with the runs of all messages."""
        return AgentResult(exit_code, reason, dict(self.counts))

    def _receive(self, wait: int) -> Received | None:
        """Take a message; once the queue has been reached, failures are borne like those of a store."""
        pause, since = Pause(0.5, 30.0), time.monotonic()
        while True:
            try:
                message = self.queue.receive(wait=wait, hidden=self.hidden)
            except AwsAwayError as error:  # noqa: PERF203 - that is what is tried again
                if not self.reached or time.monotonic() - since > self.options.store_patience:
                    raise
                self.say(f"{error}; trying again")
                time.sleep(pause.next())
            else:
                self.reached = True
                return message

    # ---- one message

    def _take(self, message: Received) -> None:
        fate = _Fate.GIVE_BACK  # what a signal means for it
        try:
            with kept(self.queue, message, self.hidden):
                fate = self._join(message)
        except Exception:
            fate = _Fate.LEAVE
            raise
        finally:
            self._settle(message, fate)

    def _settle(self, message: Received, fate: _Fate) -> None:
        try:
            if fate is _Fate.DELETE:
                self.queue.delete(message)
            elif fate is _Fate.GIVE_BACK:
                self.queue.hide(message, 0)
        except BesomError as error:  # it comes again by itself, and finds the sweep as it is then
            self.say(f"{error}; it comes again")

    def _join(self, message: Received) -> _Fate:
        try:
            wanted = decode_message(message.body)
            url = self.pins.address(wanted.store)
            return self._work(wanted, url)
        except (UsageError, NotFoundError, AwsError) as error:
            self.say(
                f"message {message.id} is left for the dead-letter queue"
                f" (handed out {message.times} times): {error}"
            )
            return _Fate.LEAVE

    def _work(self, wanted: Message, url: str) -> _Fate:
        """Be an agent of the sweep, and say what becomes of the message then."""
        taken = sum(self.counts.values())
        rest = None if self.options.count is None else self.options.count - taken
        count = min((one for one in (rest, wanted.count) if one is not None), default=None)
        store = open_store(url)
        try:
            sweep = store.get_sweep(wanted.sweep)
            with self.talk(sweep) as tell:
                options = dataclasses.replace(self.options, count=count)
                result = run_agent(store, sweep.id, options, on_event=tell)
            state = store.get_sweep(sweep.id).state
        finally:
            store.close()
        self.counts.update(result.counts)
        if result.exit_code >= 128:
            self.left = self.result(result.exit_code, result.reason)
            return _Fate.GIVE_BACK
        self.say(f"sweep {sweep.id}: {result.reason}")
        if result.exit_code:
            self.failed = True
            return _Fate.LEAVE
        return self._fate(sum(result.counts.values()), rest, wanted.count, over=state in _OVER)

    def _fate(self, took: int, rest: int | None, wanted: int | None, *, over: bool) -> _Fate:
        if rest is not None and took >= rest:
            self.left = self.result(int(self.failed), "took as many runs as it was to")
        if over or (wanted is not None and took >= wanted):
            return _Fate.DELETE
        return _Fate.GIVE_BACK if self.left is not None else _Fate.LEAVE
