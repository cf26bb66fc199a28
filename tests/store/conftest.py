from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from besom.store.sqlite import SqliteStore, open_sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "besom.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = open_sqlite(str(path))
    yield store
    store.close()
