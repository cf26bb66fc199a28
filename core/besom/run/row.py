"""What `log` takes, made fit for the journal."""

from __future__ import annotations

import operator
from typing import Any

from besom.errors import UsageError
from besom.jsonable import SCALARS, is_mapping, jsonable


def as_row(data: Any) -> Any:
    """Give metrics as they can be kept: the dict itself if its values are plain, else a JSON copy."""
    if not is_mapping(data):
        raise UsageError(f'log takes a dict such as {{"loss": 0.1}}, not {type(data).__name__}')
    # Containers are copied, so that the program may go on changing them.
    return data if SCALARS.issuperset(map(type, data.values())) else jsonable(data)


def as_step(step: Any) -> int:
    """Give a step as int; UsageError if it is no whole number."""
    try:
        return operator.index(step)
    except TypeError:
        number = jsonable(step)
        if isinstance(number, float) and number.is_integer():
            return int(number)
        raise UsageError(f"log(step={step!r}): a step is a whole number") from None
