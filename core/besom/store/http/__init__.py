"""The HTTP backend: a store that a server (`besom serve`) keeps, for those who cannot reach a database."""

from __future__ import annotations

from besom.store.http.store import HttpStore, open_http

__all__ = ["HttpStore", "open_http"]
