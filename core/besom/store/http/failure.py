"""Errors as they travel: the same class at both ends."""

from __future__ import annotations

from typing import Any

from besom.errors import (
    BesomError,
    NotFoundError,
    StateError,
    StoreError,
    StoreFullError,
    StorePlaceError,
    StoreVersionError,
    UsageError,
)
from besom.jsonable import is_dict

STATUS: dict[type[Exception], int] = {
    UsageError: 422,
    IndexError: 422,
    NotFoundError: 404,
    StateError: 409,
    StoreError: 503,
    StoreVersionError: 503,
    StoreFullError: 507,
    StorePlaceError: 503,
}
_KINDS: dict[str, type[Exception]] = {kind.__name__: kind for kind in STATUS}


def describe(error: Exception) -> tuple[int, dict[str, Any]]:
    """Give the status and the body that tell of an error."""
    kind = next((kind for kind in type(error).__mro__ if kind in STATUS), None)
    if kind is None:
        status = 422 if isinstance(error, BesomError) else 500
        return status, {"error": {"kind": "Exception", "message": "the server failed; its log says why"}}
    return STATUS[kind], {"error": {"kind": kind.__name__, "message": str(error)}}


def rebuild(status: int, body: Any, where: str) -> Exception:
    """Give the error that an answer tells of."""
    if is_dict(body) and is_dict(said := body.get("error")):
        kind = _KINDS.get(said.get("kind", ""), StoreError)
        message = str(said.get("message"))
        return kind(
            message if issubclass(kind, (UsageError, NotFoundError, StateError)) else f"{where}: {message}"
        )
    return StoreError(f"{where}: the server answered {status}; is it besom's, and does a proxy reach it?")
