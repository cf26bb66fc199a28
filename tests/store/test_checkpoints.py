"""The write-ahead log stays short, and copying it into the file is nobody's trouble."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from besom.records import HistoryRow, Run
from besom.store.sqlite import SqliteStore, checkpoints, database, open_sqlite
from besom.testing.stores.ground import MINUTE, claim, sweep_with

ROWS = 400
EVERY = 25
TEXT = "x" * 4000


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "COMMITS", EVERY)
    monkeypatch.setattr(database, "FLUSHED_COMMITS", EVERY)


def report(store: SqliteStore, run: Run, seqs: range) -> None:
    for seq in seqs:
        row = HistoryRow(seq=seq, step=seq, time=0.0, data={"text": TEXT})
        store.report(run.lease, [row], lease_seconds=MINUTE)


def log_size(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def started(store: SqliteStore) -> Run:
    run = claim(store, sweep_with(store, 1))
    assert run is not None
    return run


@pytest.mark.parametrize("query", ["", "?synchronous=full"])
def test_the_log_begins_anew_after_every_batch_of_transactions(path: Path, query: str) -> None:
    store = open_sqlite(f"sqlite:///{path}{query}")
    report(store, started(store), range(1, ROWS))
    assert log_size(path) < EVERY * 5 * len(TEXT) < ROWS * len(TEXT) < path.stat().st_size
    store.close()


def test_processes_count_their_transactions_together(path: Path) -> None:
    store = open_sqlite(str(path))
    run = started(store)
    others = [open_sqlite(str(path)) for _ in range(4)]
    for seq in range(1, ROWS):
        report(others[seq % 4], run, range(seq, seq + 1))
    assert log_size(path) < EVERY * 5 * len(TEXT)
    assert len(store.history(run.id)) == ROWS - 1
    for each in [store, *others]:
        each.close()


def test_a_reader_in_the_middle_of_its_query_is_waited_for_by_nobody(path: Path) -> None:
    store = open_sqlite(str(path))
    run = started(store)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    before = reader.execute("SELECT count(*) FROM history").fetchone()
    report(store, run, range(1, ROWS))
    assert log_size(path) > ROWS * len(TEXT)  # what the reader may still ask for is kept
    assert reader.execute("SELECT count(*) FROM history").fetchone() == before
    reader.close()
    report(store, run, range(ROWS, ROWS + 2 * EVERY))
    full = log_size(path)
    report(store, run, range(ROWS + 2 * EVERY, 3 * ROWS))
    assert log_size(path) == full
    store.close()


def test_a_checkpoint_that_fails_takes_nothing_from_what_was_committed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_sqlite(str(path))
    run = started(store)
    failures: list[str] = []

    class Failing:
        def execute(self, sql: str) -> sqlite3.Cursor:
            failures.append(sql)
            raise sqlite3.OperationalError("disk I/O error")

    copy = checkpoints.Checkpoints.copy
    monkeypatch.setattr(checkpoints.Checkpoints, "copy", lambda self, _: copy(self, Failing()))  # type: ignore[arg-type]
    report(store, run, range(1, 2 * EVERY))
    assert failures
    assert len(store.history(run.id)) == 2 * EVERY - 1
    store.close()


def test_a_lock_file_that_somebody_empties_costs_no_more_than_the_count(path: Path) -> None:
    store = open_sqlite(str(path))
    run = started(store)
    for seq in range(1, ROWS):
        path.with_name(f"{path.name}.lock").write_bytes(b"" if seq % 3 else b"\xff" * 20)
        report(store, run, range(seq, seq + 1))
    assert len(store.history(run.id)) == ROWS - 1
    store.close()


def test_a_forked_child_counts_in_the_same_place(path: Path) -> None:
    store = open_sqlite(str(path))
    run = started(store)
    report(store, run, range(1, 3))
    child = os.fork()
    if not child:
        report(store, run, range(3, 100))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    report(store, run, range(100, ROWS))
    assert log_size(path) < EVERY * 5 * len(TEXT)
    assert len(store.history(run.id)) == ROWS - 1
    store.close()
