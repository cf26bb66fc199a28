"""The server: a store behind HTTP, for agents without a database. Needs `besom[server]`."""

from __future__ import annotations
