"""Rows that a program does not wait for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.errors import StateError, StoreFullError
from besom.journal import Journal, read_entries
from besom.run import LiveRun, init
from besom.run.waiting import MOST, Waiting
from besom.store import Store
from besom.summarize import Summarizer


def rows(store: Store, run: LiveRun) -> list[tuple[int, Any]]:
    return [(row.step, row.data) for row in store.history(run.id)]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_rows_reach_the_store_while_the_program_does_something_else(store: Store) -> None:
    run = init()
    run.log_later({"a": 1}, step=1)
    until(lambda: rows(store, run) == [(1, {"a": 1})])
    run.log_later({"a": 2}, step=2)
    until(lambda: rows(store, run) == [(1, {"a": 1}), (2, {"a": 2})])


def test_what_is_logged_after_them_comes_after_them(store: Store) -> None:
    run = init()
    run.log_later({"a": 1}, step=1)
    run.log_later({"a": 2.5, "b": float("nan")}, step=2)
    run.log({"a": 3}, step=2)
    run.log_later({"a": 4}, step=5)
    run.log({"a": 5})
    run.finish()
    assert rows(store, run) == [
        (1, {"a": 1}),
        (2, {"a": 2.5, "b": "NaN"}),
        (2, {"a": 3}),
        (5, {"a": 4}),
        (5, {"a": 5}),
    ]


def test_the_summary_knows_them_at_once(store: Store) -> None:
    run = init()
    run.define_metric("a", summary="max")
    run.log_later({"a": 2}, step=1)
    run.log_later({"a": 1}, step=2)
    assert run.summary["a"]["max"] == 2


def test_the_answer_to_a_report_comes_after_they_are_in_the_store(store: Store) -> None:
    run = init()
    run.log_later({"a": 1}, step=1)
    assert run.ask_stop() is None
    assert rows(store, run) == [(1, {"a": 1})]


def test_a_step_that_goes_back_is_ignored(store: Store) -> None:
    run = init()
    run.log_later({"a": 1}, step=5)
    run.log_later({"a": 2}, step=4)
    run.finish()
    assert rows(store, run) == [(5, {"a": 1})]
    with pytest.raises(StateError, match="has ended"):
        run.log_later({"a": 3}, step=6)


def test_the_program_may_change_its_containers_afterwards(store: Store) -> None:
    run = init()
    points = [1]
    run.log_later({"points": points}, step=1)
    points.append(2)
    run.finish()
    assert rows(store, run) == [(1, {"points": [1]})]


def test_the_parents_rows_are_not_written_by_a_fork(store: Store) -> None:
    run = init()
    run.log_later({"a": 1}, step=1)
    child = os.fork()
    if child == 0:
        run.log_later({"a": 2}, step=2)  # written at once: nobody else would
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    run.finish()
    assert sorted(rows(store, run)) == [(1, {"a": 1}), (2, {"a": 2})]


def test_rows_do_not_wait_for_ever_where_nobody_comes_for_them() -> None:
    waiting = Waiting()
    assert not waiting.add(0, {})
    until(lambda: waiting.add(1, {}))
    waiting = Waiting()
    assert [waiting.add(step, {}) for step in range(MOST)][-1]


def test_rows_that_a_full_disk_refused_are_written_once_there_is_room(tmp_path: Path) -> None:
    waiting = Waiting()
    for step in range(3):
        waiting.add(step, {"a": step})
    with pytest.raises(StoreFullError):
        waiting.write(Journal(Path("/dev/full")), Summarizer())
    summarizer = Summarizer()
    waiting.write(Journal(tmp_path / "journal"), summarizer)
    with (tmp_path / "journal").open("rb") as file:
        assert [entry.body["step"] for entry in read_entries(file)] == [0, 1, 2]
    assert summarizer.summary == {"a": 2}
