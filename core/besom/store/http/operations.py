"""What the server offers: one line for each operation of the Store protocol, with who may call it.

Arguments and results are known from the protocol's own signatures.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Literal

from besom.errors import UsageError
from besom.store.base import Store
from besom.store.http.codec import Codec, codec_of

Scope = Literal["read", "agent", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "agent", "admin")
"""Each may do what those before it may."""

TABLE: dict[str, Scope] = {
    "create_sweep": "admin",
    "get_sweep": "read",
    "list_sweeps": "read",
    "set_sweep_state": "admin",
    "amend_sweep": "admin",
    "progress": "read",
    "offer": "agent",
    "lease_proposer": "agent",
    "buffer": "read",
    "enqueue": "admin",
    "claim": "agent",
    "claim_batch": "agent",
    "wait": "read",
    "reap": "agent",
    "finish_sweep": "agent",
    "create_run": "agent",
    "heartbeat": "agent",
    "report": "agent",
    "set_run_config": "agent",
    "finish": "agent",
    "request_stop": "agent",  # early termination is decided where the run reports
    "retry": "admin",
    "delete_run": "admin",
    "get_run": "read",
    "list_runs": "read",
    "best_run": "read",
    "find_key": "read",
    "attempts": "read",
    "history": "read",
    "last_row": "read",
    "observations": "read",
    "active": "read",
    "mark": "agent",
    "rung_size": "read",
    "rung_loss": "read",
    "run_marks": "read",
    "add_agent": "agent",
    "list_agents": "read",
}

ONCE = frozenset({"create_sweep", "create_run", "add_agent", "claim", "claim_batch", "enqueue"})
"""What must not be done again when only its answer was lost: the server remembers what it answered."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the store as it travels."""

    name: str
    scope: Scope
    description: str
    signature: inspect.Signature
    parameters: Mapping[str, Codec]
    required: list[str]  # the names of the arguments that have no default
    result: Codec

    @property
    def path(self) -> str:
        """Where the server has it."""
        return f"/v1/{self.name}"

    @property
    def once(self) -> bool:
        """Say whether a repeated call would do it again."""
        return self.name in ONCE

    def write(self, *args: Any, **words: Any) -> dict[str, Any]:
        """Give the body of a call."""
        given = self.signature.bind(None, *args, **words).arguments
        return {name: codec.write(given[name]) for name, codec in self.parameters.items() if name in given}

    def read(self, body: Any) -> dict[str, Any]:
        """Give the arguments in the body of a call; UsageError when they are not what they should be."""
        if not isinstance(body, dict):
            raise UsageError("the body must be a JSON object that holds the arguments")
        given = typing.cast("dict[str, Any]", body)
        if unknown := sorted(given.keys() - self.parameters.keys()):
            raise UsageError(f"{self.name} has no argument {unknown[0][:100]!r}")
        if missing := [name for name in self.required if name not in given]:
            raise UsageError(f"{self.name} needs {missing[0]!r}")
        return {name: self.parameters[name].read(value, name) for name, value in given.items()}


@cache
def operations() -> dict[str, Operation]:
    """Give every operation by its name."""
    return {name: _operation(name, scope) for name, scope in TABLE.items()}


def _operation(name: str, scope: Scope) -> Operation:
    method = getattr(Store, name)
    hints = typing.get_type_hints(method)
    result = codec_of(hints.pop("return"))
    signature = inspect.signature(method)
    return Operation(
        name=name,
        scope=scope,
        description=inspect.getdoc(method) or "",
        signature=signature,
        parameters={name: codec_of(hint) for name, hint in hints.items()},
        required=[name for name in hints if signature.parameters[name].default is inspect.Parameter.empty],
        result=result,
    )


@cache
def digest() -> str:
    """Give what two besoms that understand each other have in common."""
    described = [
        (
            one.name,
            one.required,
            [(name, codec.schema) for name, codec in one.parameters.items()],
            one.result.schema,
        )
        for one in operations().values()
    ]
    return sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
