"""What PostgreSQL's errors mean for the one who sees them."""

from __future__ import annotations

from besom.errors import StoreError, StoreFullError, UsageError

ADVICE = (
    # What refuses a connection comes as text alone.
    ("authentication failed", "look at the user and the password in the address, or in ~/.pgpass"),
    ("no password supplied", "look at the user and the password in the address, or in ~/.pgpass"),
    ("database", "does not exist", "create it: createdb NAME"),
    ("too many clients", "raise max_connections: every agent and every running program needs one or two"),
    ("remaining connection slots", "raise max_connections: every agent and running program needs one or two"),
    ("connection to server", "is the server there, and may this machine reach it?"),
    ("permission denied", "the user needs CREATE on the database; or name another schema with ?schema="),
    ("read-only transaction", "the server only lets itself be read; name the primary"),
)
"""Words of a message, and what to do about it."""


def explain(error: Exception, where: str) -> Exception:
    """Give the error to raise for what PostgreSQL or the way to it raised."""
    import psycopg

    if isinstance(error, (OverflowError, UnicodeEncodeError)):
        return UsageError(f"{where}: a value cannot be stored: {error}")
    if not isinstance(error, psycopg.Error):
        return error
    state = error.sqlstate or ""
    said = _said(error)
    if state == "53100":
        return StoreFullError(
            f"{where}: no space left on the server's disk; nothing was written. "
            "Free some space and run the same command again"
        )
    if isinstance(error, psycopg.DataError):
        return UsageError(f"{where}: a value cannot be stored: {said}")
    if isinstance(error, (psycopg.ProgrammingError, psycopg.IntegrityError)) and state != "42501":
        return error  # a fault of ours
    advice = next((advice for *signs, advice in ADVICE if all(sign in said for sign in signs)), "")
    return StoreError(f"{where}: {said}" + (f": {advice}" if advice else ""))


def _said(error: Exception) -> str:
    """Give its message in one line, without libpq's own advice."""
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    return " ".join(line for line in lines if not line.startswith("Is the server running"))
