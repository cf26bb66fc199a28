from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from besom.errors import StoreError, StoreFullError
from besom.journal import Account, Delivery, Journal, read_account, read_entries, replay
from besom.records import CONTINUE, Directive, HistoryRow, Lease, Outcome, Run, RunState
from besom.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(str(tmp_path / "besom.db"))
    yield store
    store.close()


@pytest.fixture
def run(store: Store) -> Run:
    return store.create_run(run_id=None, project=None, name=None, lease_seconds=60)


def write(path: Path, *entries: tuple[str, Any]) -> None:
    journal = Journal(path)
    for kind, body in entries:
        journal.append(kind, 1.5, body)
    journal.close()


def row(step: int, **data: Any) -> tuple[str, Any]:
    return "history", {"step": step, "data": data}


def test_a_replay_moves_rows_summary_and_config_to_the_store(store: Store, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "j"
    start = ("start", {"metric": {"name": "loss", "goal": "minimize"}})
    write(path, start, ("config", {"lr": 0.1}), row(0, loss=2.0), row(1, loss=1.0), ("preempting", {}))
    told = replay(store, run.lease, path)
    assert (told.finished, told.preempting, told.step) == (None, True, 1)
    assert (told.summary, told.value, told.config) == ({"loss": 1.0}, 1.0, {"lr": 0.1})
    assert [(row.step, row.time, row.data) for row in store.history(run.id)] == [
        (0, 1.5, {"loss": 2.0}),
        (1, 1.5, {"loss": 1.0}),
    ]
    stored = store.get_run(run.id)
    assert (stored.summary, stored.value, stored.config) == ({"loss": 1.0}, 1.0, {"lr": 0.1})


def test_a_replay_may_be_repeated_and_goes_on_where_it_stopped(
    store: Store, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "j"
    write(path, row(0, loss=2.0))
    first = replay(store, run.lease, path)
    assert replay(store, run.lease, path) == first
    write(path, row(1, loss=1.0), ("finish", {"state": "failed", "exit_code": 3, "error": "boom"}))
    told = replay(store, run.lease, path)
    assert told.finished == Outcome(RunState.FAILED, 3, "boom", {"loss": 1.0}, None)
    assert [row.step for row in store.history(run.id)] == [0, 1]


def test_a_delivered_journal_is_not_read_again(store: Store, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, row(0, loss=2.0), ("finish", {"state": "finished", "exit_code": 0, "error": None}))
    told = replay(store, run.lease, path)
    write(path, ("delivered", told.as_entry()))
    store.close()
    assert replay(store, run.lease, path) == told


def test_a_run_that_never_called_init_has_nothing_to_replay(store: Store, run: Run, tmp_path: Path) -> None:
    told = replay(store, run.lease, tmp_path / "none")
    assert (told.finished, told.preempting, told.config, told.summary) == (None, False, None, {})


def test_a_torn_last_line_is_passed_over_and_writing_goes_on_after_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, row(0, loss=1))
    with path.open("ab") as file:
        file.write(b'{"kind":"history","time":1.0,"bo')
    assert read_account(path).step == 0
    write(path, row(1, loss=2))
    with path.open("rb") as file:
        assert [entry.body["step"] for entry in read_entries(file)] == [0, 1]


def test_a_reader_that_waits_at_a_torn_line_reads_it_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, row(0, loss=1))
    line = path.read_bytes()
    with path.open("ab") as writer, path.open("rb") as reader:
        assert len(list(read_entries(reader))) == 1
        writer.write(line[:20])
        writer.flush()
        assert list(read_entries(reader)) == []
        writer.write(line[20:])
        writer.flush()
        assert [entry.seq for entry in read_entries(reader)] == [2 * len(line)]


@given(cut=st.integers(0, 400))
def test_law_any_prefix_of_a_journal_gives_its_whole_lines(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        write(path, *(row(step, loss=step / 7) for step in range(5)))
        whole = path.read_bytes()
        path.write_bytes(whole[:cut])
        with path.open("rb") as file:
            steps = [entry.body["step"] for entry in read_entries(file)]
        assert steps == list(range(whole[:cut].count(b"\n")))


def test_two_writers_share_a_journal_and_one_of_them_delivers(store: Store, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "j"
    first, second = Journal(path), Journal(path)
    assert first.lock()
    assert not second.lock()
    for step in range(50):
        (first, second)[step % 2].append("history", 0.0, {"step": step, "data": {}})
    first.close()
    assert second.lock()
    second.close()
    replay(store, run.lease, path)
    assert [row.step for row in store.history(run.id)] == list(range(50))
    assert len({row.seq for row in store.history(run.id)}) == 50


def test_values_json_has_no_words_for_are_stored(store: Store, run: Run, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    body = journal.append(
        "history", 0.0, {"step": 0, "data": {"nan": math.nan, "big": 10**5000, "s": "\ud800"}}
    )
    journal.close()
    assert body["data"]["nan"] == "NaN"
    told = replay(store, run.lease, tmp_path / "j")
    assert told.summary == body["data"]
    assert store.history(run.id)[0].data == body["data"]


class Flaky:
    """A way into the store that fails the first time it is asked each thing."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self.store, self.lease, self.calls = store, lease, 0

    def report(self, rows: Any, *, summary: Any = None, value: float | None = None) -> Directive:
        self.calls += 1
        if self.calls % 2:
            raise StoreError("the store is away")
        return self.store.report(self.lease, rows, summary=summary, value=value, lease_seconds=60)


def test_a_delivery_goes_on_after_an_error_without_a_gap(store: Store, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "j"
    delivery = None
    for step in range(4):
        write(path, row(step, loss=step))
        delivery = delivery or Delivery(store, Flaky(store, run.lease), path)
        with pytest.raises(StoreError):
            delivery.deliver()
        assert delivery.deliver() == CONTINUE
        assert delivery.deliver() is None
    assert delivery is not None
    delivery.close()
    assert [row.step for row in store.history(run.id)] == [0, 1, 2, 3]


def test_a_full_disk_is_a_clear_error() -> None:
    journal = Journal(Path("/dev/full"))
    with pytest.raises(StoreFullError, match="Free some space"):
        journal.append("history", 0.0, {"step": 0, "data": {}})
    journal.close()


def test_writing_goes_on_after_a_disk_was_full_in_the_middle_of_a_line(tmp_path: Path) -> None:
    program = """
    import resource, signal, sys
    from pathlib import Path
    from besom.errors import StoreFullError
    from besom.journal import Journal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal(Path(sys.argv[1]))
    journal.append("history", 0.0, {"step": 0, "data": {}})
    resource.setrlimit(resource.RLIMIT_FSIZE, (90, resource.RLIM_INFINITY))
    for step in (1, 2):
        try:
            journal.append("history", 0.0, {"step": step, "data": {}})
        except StoreFullError:
            print("full")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.append("history", 0.0, {"step": 3, "data": {}})
    """
    path = tmp_path / "j"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "full\nfull\n"
    with path.open("rb") as file:
        assert [entry.body["step"] for entry in read_entries(file)] == [0, 3]


def test_a_kill_at_any_point_loses_no_log_that_returned(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from besom.journal import Journal
        journal = Journal(Path(sys.argv[1]))
        step = 0
        while True:
            journal.append("history", 0.0, {"step": step, "data": {"loss": "x" * (step % 3000)}})
            os.write(1, b"%d\\n" % step)
            step += 1
        """
    )
    rng = random.Random(7)
    for trial in range(25):
        path = tmp_path / f"j{trial}"
        process = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        acknowledged = -1
        for _ in range(rng.randrange(1, 400)):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines(keepends=True)
        process.wait()
        process.stdout.close()
        acknowledged = max([acknowledged, *(int(line) for line in rest if line.endswith(b"\n"))])
        with path.open("rb") as file:
            steps = [entry.body["step"] for entry in read_entries(file)]
        assert steps == list(range(len(steps)))
        assert len(steps) > acknowledged


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from("ab"), st.floats(allow_nan=False) | st.integers(), max_size=2))
)
def test_law_an_account_gives_the_last_value_of_each_metric(rows: list[dict[str, Any]]) -> None:
    account = Account()
    account.summarizer.define("b", summary="min,max")
    expected: dict[str, Any] = {}
    for data in rows:
        account.summarizer.log(data)
        expected |= data
    finite = [data["b"] for data in rows if "b" in data and math.isfinite(data["b"])]
    expected.pop("b", None)
    if finite:
        expected["b"] = {"min": min(finite), "max": max(finite)}
    assert account.summarizer.summary == expected


def test_history_rows_of_one_batch_keep_their_order(store: Store, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, *(row(step, text="y" * 1000) for step in range(1000)))  # four batches
    replay(store, run.lease, path)
    rows: list[HistoryRow] = store.history(run.id)
    assert [row.step for row in rows] == list(range(1000))
    assert [row.seq for row in rows] == sorted({row.seq for row in rows})


def test_a_replay_tells_that_the_program_was_told_to_end(store: Store, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, row(0, loss=1.0))
    assert replay(store, run.lease, path).stopping is None
    write(path, ("stopping", {"action": "stop"}))
    assert replay(store, run.lease, path).stopping == "stop"
    write(path, ("stopping", {"action": "kill"}))
    told = replay(store, run.lease, path)
    assert told.stopping == "kill"
    write(path, ("delivered", told.as_entry()))
    assert replay(store, run.lease, path) == told


def test_a_replay_reads_on_behind_a_batch_without_news(store: Store, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "j"
    table = ["x" * 1000] * 300  # more than a batch
    write(path, row(0, table=table))
    told = replay(store, run.lease, path)
    # A second process of the same attempt: `python prepare.py && python train.py`.
    ending = ("finish", {"state": "finished", "exit_code": 0, "error": None})
    write(path, ("delivered", told.as_entry()), row(1, loss=0.5), ending)
    told = replay(store, run.lease, path)
    assert told.finished is not None
    assert [row.step for row in store.history(run.id)] == [0, 1]
