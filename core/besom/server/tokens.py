"""Tokens: who may do what at a server, until when. Only their hashes are kept."""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from besom.errors import NotFoundError, StoreError
from besom.folders import besom_dir
from besom.store.http.operations import SCOPES, Scope

PREFIX = "besom"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its file knows it; times are seconds since the epoch."""

    id: str
    scope: Scope
    digest: str  # SHA-256 of the whole token; 256 random bits need no slower hash
    created: float
    expires: float | None = None
    note: str = ""

    def expired(self, now: float) -> bool:
        """Say whether its time is over."""
        return self.expires is not None and now >= self.expires

    def allows(self, scope: Scope) -> bool:
        """Say whether it may do what needs `scope`."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


def default_tokens() -> Path:
    """Give the file that tokens are kept in where no other is named."""
    return besom_dir() / "tokens.json"


class Tokens:
    """The tokens in a file, read anew whenever it has changed: what is revoked is out at once."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._tokens: dict[str, Token] = {}

    def check(self, given: str, *, look: bool = True) -> Token | None:
        """Give the token that a caller showed, if it is one and valid; `look` at the file first."""
        words = given.split("_", 2)
        tokens = self._current() if look else self._tokens
        token = tokens.get(words[1]) if len(words) == 3 else None
        digest = _digest(given)
        known = hmac.compare_digest(token.digest if token else _digest(""), digest)
        return token if token and known and not token.expired(self._clock()) else None

    def list(self) -> list[Token]:
        """Give every token, expired ones too, oldest first."""
        return sorted(self._current().values(), key=lambda token: token.created)

    def create(self, scope: Scope, *, seconds: float | None, note: str = "") -> tuple[Token, str]:
        """Make a token that is valid for so long (None: until it is revoked); gives it and its text."""
        token_id = secrets.token_hex(4)
        text = f"{PREFIX}_{token_id}_{secrets.token_urlsafe(32)}"
        now = self._clock()
        token = Token(token_id, scope, _digest(text), now, None if seconds is None else now + seconds, note)
        with self._changing() as tokens:
            tokens[token_id] = token
        return token, text

    def revoke(self, token_id: str) -> None:
        """Make a token invalid at once; NotFoundError if there is none of this id."""
        with self._changing() as tokens:
            if tokens.pop(token_id, None) is None:
                raise NotFoundError(f"{self.path} has no token {token_id!r}; `besom token ls` lists them")

    def _current(self) -> dict[str, Token]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._tokens, self._seen = {}, None
            return self._tokens
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen != self._seen:
            self._tokens, self._seen = self._read(), seen
        return self._tokens

    def _read(self) -> dict[str, Token]:
        try:
            entries: list[dict[str, Any]] = json.loads(self.path.read_text())
            return {entry["id"]: Token(**entry) for entry in entries}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{self.path}: this is no file of tokens: {error}") from error

    @contextmanager
    def _changing(self) -> Generator[dict[str, Token]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = self._read()
            yield tokens
            fresh = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
            text = json.dumps([asdict(token) for token in tokens.values()], indent=1)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        finally:
            os.close(lock)


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
