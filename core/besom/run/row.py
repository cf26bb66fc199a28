"""What `log` takes, made fit for the journal."""

from __future__ import annotations

import operator
from typing import Any

from besom.errors import UsageError
from besom.jsonable import SCALARS, is_mapping, jsonable

LAST_STEP = 2**63 - 1
"""Stores keep steps as 64-bit integers."""

_TEXT = frozenset({str})


def as_row(data: Any) -> Any:
    """Give metrics as they can be kept: the dict itself if it is plain, else a JSON copy."""
    if not is_mapping(data):
        raise UsageError(f'log takes a dict such as {{"loss": 0.1}}, not {type(data).__name__}')
    plain = SCALARS.issuperset(map(type, data.values())) and _TEXT.issuperset(map(type, data))
    # Containers are copied, so that the program may go on changing them.
    return data if plain else jsonable(data)


def as_step(step: Any) -> int:
    """Give a step as int; UsageError if it is no whole number."""
    try:
        return operator.index(step)
    except TypeError:
        number = jsonable(step)
        if isinstance(number, float) and number.is_integer():
            return int(number)
        raise UsageError(f"log(step={step!r}): a step is a whole number") from None
