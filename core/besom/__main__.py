"""`python -m besom` is the `besom` command."""

from __future__ import annotations

from besom.cli import main

main()
