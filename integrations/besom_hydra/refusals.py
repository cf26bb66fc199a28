"""What a multirun refuses is told in a line, as Hydra tells what is wrong, and not by a traceback."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from hydra.errors import CompactHydraException

from besom.errors import BesomError


@contextmanager
def told_in_a_line() -> Generator[None]:
    """Make what besom can explain HydraException, of which Hydra prints the message alone."""
    try:
        yield
    except BesomError as error:
        raise CompactHydraException(str(error)) from error


def require_at_least(node: str, options: object, lowest: Mapping[str, float]) -> None:
    """Raise HydraException for an option of `node`, such as hydra.sweeper, that is below its lowest value."""
    for name, least in lowest.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise CompactHydraException(f"{node}.{name} must be at least {least}, not {value}")
