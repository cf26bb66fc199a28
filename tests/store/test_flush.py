"""Durability to loss of power: nothing is acknowledged before the log is on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import threading
from pathlib import Path

import pytest

from besom.errors import StoreError
from besom.records import HistoryRow, Outcome, Run, RunState, Suggestion, SweepDraft
from besom.store.clock import boot_id
from besom.store.sqlite import flush
from besom.store.sqlite.store import SqliteStore, open_sqlite


class Disk:
    """What a loss of power would leave of a store: its files as they were at the latest flush of the log."""

    def __init__(self, path: Path, left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.left, self.flushes = path, left, 0
        self.fault: OSError | None = None
        monkeypatch.setattr(flush, "_sync", self.sync)

    def sync(self, file: int) -> None:
        if self.fault is not None:
            raise self.fault
        assert Path(f"/proc/self/fd/{file}").readlink() == Path(f"{self.path}-wal")
        self.flushes += 1
        for name in ("", "-wal"):
            shutil.copyfile(f"{self.path}{name}", f"{self.left}{name}")

    def after_the_loss(self) -> SqliteStore:
        Path(f"{self.left}-shm").unlink(missing_ok=True)
        return open_sqlite(str(self.left))


@pytest.fixture
def disk(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(path, tmp_path / "left.db", monkeypatch)


def open_full(path: Path) -> SqliteStore:
    return open_sqlite(f"sqlite:///{path}?synchronous=full")


def report(store: SqliteStore, run: Run, seq: int) -> None:
    store.report(run.lease, [HistoryRow(seq, seq, 0.0, {"loss": 0.5})], lease_seconds=60)


def test_every_acknowledged_call_outlives_a_loss_of_power(path: Path, disk: Disk) -> None:
    store = open_full(path)
    sweep = store.create_sweep(SweepDraft(config={}, name="s", method="random"))
    run = store.enqueue(sweep.id, Suggestion("k", {"lr": 1}))
    agent = store.add_agent(sweep.id, host="h", pid=1)
    run = store.claim(sweep.id, agent.id, lease_seconds=60) or run
    for seq in range(1, 5):
        report(store, run, seq)
        left = disk.after_the_loss()
        assert [row.seq for row in left.history(run.id)] == list(range(1, seq + 1))
        left.close()
    store.finish(run.lease, Outcome(RunState.FINISHED))
    left = disk.after_the_loss()
    assert left.get_run(run.id).state is RunState.FINISHED
    left.close()
    store.close()


def test_without_it_nothing_is_flushed(path: Path, disk: Disk) -> None:
    store = open_sqlite(str(path))
    store.create_sweep(SweepDraft(config={}, name="s", method="random"))
    store.close()
    assert disk.flushes == 0


def test_one_flush_serves_all_who_committed_before_it(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_full(path)
    runs = [store.create_run(run_id=None, project=None, name=None, lease_seconds=60) for _ in range(6)]
    before, begun, go_on = disk.flushes, threading.Event(), threading.Event()

    def slow(file: int) -> None:
        disk.sync(file)
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(flush, "_sync", slow)
    threads = [threading.Thread(target=report, args=(store, run, 1)) for run in runs]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    other = open_sqlite(str(path))
    while not all(len(other.history(run.id)) == 1 for run in runs):  # committed, if not flushed
        assert all(thread.is_alive() for thread in threads)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert disk.flushes - before == 2
    left = disk.after_the_loss()
    assert [len(left.history(run.id)) for run in runs] == [1] * 6
    for opened in (left, other, store):
        opened.close()


def test_a_flush_that_fails_is_told_and_does_not_count(path: Path, disk: Disk) -> None:
    store = open_full(path)
    run = store.create_run(run_id=None, project=None, name=None, lease_seconds=60)
    disk.fault = OSError(errno.EIO, "Input/output error")
    with pytest.raises(StoreError, match=r"Input/output error"):
        report(store, run, 1)
    disk.fault = None
    report(store, run, 1)
    left = disk.after_the_loss()
    assert [row.seq for row in left.history(run.id)] == [1]
    left.close()
    store.close()


@pytest.mark.parametrize(
    "found", [struct.pack("QQ", 5, 1 << 40) + b"another boot".ljust(64, b"\0"), b"", b"x" * 7]
)
def test_counters_of_another_start_of_the_machine_do_not_count(path: Path, disk: Disk, found: bytes) -> None:
    Path(f"{path}.flush").write_bytes(found)
    store = open_full(path)
    run = store.create_run(run_id=None, project=None, name=None, lease_seconds=60)
    left = disk.after_the_loss()
    assert left.get_run(run.id).state is RunState.RUNNING
    assert Path(f"{path}.flush").read_bytes()[16:].rstrip(b"\0").decode() == boot_id()
    left.close()
    store.close()


def test_a_forked_child_flushes_for_itself(path: Path, disk: Disk) -> None:
    store = open_full(path)
    run = store.create_run(run_id=None, project=None, name=None, lease_seconds=60)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            report(store, run, 1)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    report(store, run, 2)
    left = disk.after_the_loss()
    assert [row.seq for row in left.history(run.id)] == [1, 2]
    left.close()
    store.close()
