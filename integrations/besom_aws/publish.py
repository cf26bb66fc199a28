"""Invites agents to a sweep by messages of an SQS queue."""

from __future__ import annotations

from besom.errors import StateError
from besom.records import Sweep, SweepState
from besom_aws.message import Message, encode_message
from besom_aws.queue import Queue

_OVER = (SweepState.FINISHED, SweepState.STOPPED, SweepState.CANCELED)


def publish_sweep(
    sweep: Sweep, queue: str, *, agents: int, store: str | None, count: int | None = None
) -> list[str]:
    """Send `agents` messages, each of which has one agent join the sweep; gives their ids.

    `store` is its address or a reference to it, None for the agents' own; `count` is how many runs each takes
    at most. UsageError if the address holds a password, StateError for a sweep that is over.
    """
    body = encode_message(Message(sweep.id, store, count))
    if sweep.state in _OVER:
        raise StateError(
            f"sweep {sweep.id} is {sweep.state.value}; `besom resume` or `besom extend` has it go on"
        )
    return Queue(queue).send([body] * agents)
