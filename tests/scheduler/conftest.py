from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from besom.records import Sweep
from besom.store import Store, open_store
from besom.sweep import create_sweep
from besom.sweepfile import from_mapping


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    yield store
    store.close()


@pytest.fixture
def new_sweep(store: Store) -> Callable[..., Sweep]:
    """Creates a grid over `a` unless told otherwise."""

    def create(**changes: Any) -> Sweep:
        config: dict[str, Any] = {
            "method": "grid",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"a": {"values": [1, 2, 3]}},
        }
        config |= changes
        return create_sweep(store, from_mapping({key: v for key, v in config.items() if v is not None}))

    return create
