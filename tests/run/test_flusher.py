from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.errors import NotFoundError, StoreError
from besom.journal import Journal
from besom.records import Lease, Outcome, Run, RunState
from besom.run import init
from besom.run.flusher import Flusher
from besom.store import Store, open_store


def wait_until(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def run(store: Store) -> Run:
    return store.create_run(run_id=None, project=None, name=None, lease_seconds=60)


def append(path: Path, *steps: int) -> None:
    journal = Journal(path)
    for step in steps:
        journal.append("history", 0.0, {"step": step, "data": {"loss": step}})
    journal.close()


def test_a_flusher_outlives_a_store_that_is_away(
    store: Store, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j"
    append(path, 0)
    away = threading.Event()
    away.set()
    calls: list[float] = []

    def open_it() -> Store:
        calls.append(time.monotonic())
        if away.is_set():
            raise NotFoundError("no store is called 'x'") if len(calls) == 1 else StoreError("away")
        return open_store()

    flusher = Flusher(open_it, run.lease, None, path, lease_seconds=60)
    flusher.start()
    wait_until(lambda: len(calls) >= 2)
    append(path, 1)
    away.clear()
    flusher.wake()
    wait_until(lambda: len(store.history(run.id)) == 2)
    assert flusher.directive.action == "continue"
    assert flusher.settle(None, patience=5) is not None
    assert len([record for record in caplog.records if "does not answer" in record.getMessage()]) == 1


def test_settling_gives_up_on_a_store_that_stays_away(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def open_it() -> Store:
        raise StoreError("away")

    append(tmp_path / "j", 0)
    flusher = Flusher(open_it, run.lease, None, tmp_path / "j", lease_seconds=60)
    flusher.start()
    assert flusher.settle(None, patience=0.1) is None
    assert "not all of" in caplog.text


def test_a_lease_is_kept_without_any_log(store: Store, sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESOM_LEASE_SECONDS", "1.5")
    sweep = sweeps.create()
    record, folder = sweeps.claim(sweep)
    store.heartbeat([record.lease], lease_seconds=1.5)
    sweeps.enter(record, folder)
    run = init()
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        assert store.reap(sweep.id) == 0
        time.sleep(0.05)
    run.finish()
    assert store.get_run(record.id).state is RunState.FINISHED


def test_rows_reach_the_store_while_the_program_goes_on(store: Store) -> None:
    run = init()
    run.log({"loss": 1})
    began = time.monotonic()
    wait_until(lambda: store.history(run.id))
    assert time.monotonic() - began < 5
    run.log({"loss": 2})
    wait_until(lambda: len(store.history(run.id)) == 2)
    assert store.get_run(run.id).summary == {"loss": 2}


def test_threads_and_signal_handlers_may_log(store: Store) -> None:
    import signal

    run = init()

    def on_alarm(*_: object) -> None:
        run.log({"alarm": 1})

    def log_many() -> None:
        for _ in range(500):
            run.log({"loss": 1})

    previous = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        threads = [threading.Thread(target=log_many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(2000):
            run.log({"main": 1})
        for thread in threads:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    run.finish()
    rows = store.history(run.id)
    assert sum("loss" in row.data for row in rows) == 2000
    assert sum("main" in row.data for row in rows) == 2000
    assert [row.seq for row in rows] == sorted({row.seq for row in rows})


def test_a_full_disk_ends_the_run_as_failed_and_keeps_what_was_logged(store: Store) -> None:
    program = """
    import resource, signal
    import besom
    from besom.errors import StoreFullError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    run = besom.init(id="full")
    run.log({"loss": 1})
    size = run.dir.joinpath("journal.1.jsonl").stat().st_size
    from besom.journal import Journal
    # The limit is there only around writes to the journal: the store's file is larger already.
    append = Journal.append
    def limited(self, *args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
        try:
            return append(self, *args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    Journal.append = limited
    with run:
        run.log({"loss": 2})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "StoreFullError: the disk is full" in done.stderr
    stored = store.get_run("full")
    assert (stored.state, stored.summary) == (RunState.FAILED, {"loss": 1})
    assert "StoreFullError" in str(stored.error)


def test_warnings_are_for_the_log_and_never_printed(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("besom").addHandler(logging.NullHandler())
    run = init()
    run.log({"a": 1}, step=5)
    run.log({"a": 1}, step=1)
    run.finish()
    assert capfd.readouterr() == ("", "")


def test_what_a_lost_attempt_logged_is_kept_also_where_it_heard_of_it(
    store: Store, sweeps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BESOM_LEASE_SECONDS", "60")
    sweep = sweeps.create()
    record, folder = sweeps.claim(sweep)
    sweeps.enter(record, folder)
    run = init()
    run.log({"loss": 1})
    wait_until(lambda: store.history(record.id))
    store.finish(record.lease, Outcome(RunState.PREEMPTED))
    again, _ = sweeps.claim(sweep)
    assert again.attempt == 2
    wait_until(lambda: run.should_stop)
    for loss in (2, 3):
        run.log({"loss": loss})
    run.finish()
    assert [row.data["loss"] for row in store.history(record.id, attempt=1)] == [1, 2, 3]


def test_a_run_that_was_removed_ends_without_waiting(store: Store) -> None:
    run = init()
    run.log({"loss": 1})
    wait_until(lambda: store.history(run.id))
    store.finish(Lease(run.id, 1), Outcome(RunState.FINISHED))
    store.delete_run(run.id, release=True)
    run.log({"loss": 2})
    began = time.monotonic()
    run.finish()
    assert time.monotonic() - began < 10


def test_a_journal_that_cannot_be_read_for_a_while_is_delivered_later(
    store: Store, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "away" / "j"
    flusher = Flusher(open_store, run.lease, None, path, lease_seconds=60)
    flusher.start()
    wait_until(lambda: "does not answer" in caplog.text)  # FileNotFoundError, as ESTALE or EIO would be
    path.parent.mkdir()
    append(path, 0)
    told = flusher.settle(None, patience=20)
    assert told is not None
    assert told.step == 0
    assert len(store.history(run.id)) == 1


@pytest.mark.parametrize("owned_by_function_agent", [False, True])
def test_a_forked_child_logs_whatever_its_parents_threads_hold(
    owned_by_function_agent: bool, store: Store, sweeps: Any
) -> None:
    program = """
    import os, signal, sys, warnings
    warnings.simplefilter("ignore")
    import besom
    from besom.folders import run_folder
    from besom.run import assigned, init
    from besom.store import open_store

    def fork_and_log(run):
        event = run._flusher._wake
        event._cond.acquire()  # what the flusher's thread holds for a moment at each wake-up
        event._flag = False
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            (init() if run.sweep_id else run).log({"child": 2})
            os._exit(0)
        event._cond.release()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        init().finish()
        return code

    if len(sys.argv) > 1:
        store = open_store()
        run = store.get_run(sys.argv[1])
        with assigned(run, store.get_sweep(run.sweep_id), store, run_folder(run.id)) as live:
            code = fork_and_log(live)
    else:
        code = fork_and_log(init(id="parent"))
    sys.exit(0 if code == 0 else 9)
    """
    arguments = []
    if owned_by_function_agent:
        record, _ = sweeps.claim(sweeps.create())
        arguments = [record.id]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert store.get_run(arguments[0] if arguments else "parent").summary == {"child": 2}
