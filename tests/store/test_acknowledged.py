"""What a call on PostgreSQL has answered survives the server's death, though no commit held others up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from besom.records import Outcome, RunState, SweepState
from besom.store.postgres import PostgresStore, open_postgres
from besom.testing.postgres import PostgresServer, find_server, postgres_server
from besom.testing.stores.ground import claim, finish, point, row, set_state, sweep_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Step = tuple[Callable[[PostgresStore], object], Callable[[PostgresStore], object]]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Give a server that writes a commit to disk only when somebody waits for it."""
    programs = find_server()
    assert programs, "no PostgreSQL server is installed here (Debian: apt install postgresql)"
    with postgres_server(programs, settings={"wal_writer_delay": "10s"}) as server:
        yield server


def after_a_kill(server: PostgresServer, do: Callable[[PostgresStore], object]) -> None:
    """Do something, and kill the server as soon as it has answered."""
    store = open_postgres(server.url("besom"))
    do(store)
    server.kill()
    store.close()
    server.start()


def test_what_is_committed_and_not_waited_for_is_lost(server: PostgresServer) -> None:
    """Without this, the next test could not fail."""
    with closing(open_postgres(server.url("besom"))) as store:
        sweep = sweep_with(store)

    def rename(store: PostgresStore) -> None:
        with store._database.transaction() as transaction:
            transaction.execute("SET LOCAL synchronous_commit = off")
            transaction.execute("UPDATE sweep SET name = 'lost'")

    after_a_kill(server, rename)
    with closing(open_postgres(server.url("besom"))) as store:
        assert store.get_sweep(sweep.id).name == "demo"


def test_what_was_answered_survives_a_kill_right_after_it(server: PostgresServer) -> None:
    with closing(open_postgres(server.url("besom"))) as store:
        sweep = sweep_with(store, 6)
        target = claim(store, sweep)
        failing, asked, ending = (claim(store, sweep) for _ in range(3))

    def report(store: PostgresStore) -> object:
        return store.report(target.lease, [row(1)], summary={"loss": 1}, value=1.0, lease_seconds=60.0)

    steps: list[Step] = [
        (lambda store: claim(store, sweep), lambda store: len(store.list_runs(sweep.id)) == 5),
        (report, lambda store: store.get_run(target.id).value == 1.0 and store.last_row(target.lease)),
        (
            lambda store: finish(store, ending, 2.0),
            lambda store: store.get_run(ending.id).state is RunState.FINISHED,
        ),
        (
            lambda store: store.finish(failing.lease, Outcome(RunState.PREEMPTED)),
            lambda store: store.get_run(failing.id).state is RunState.PREEMPTED,
        ),
        (
            lambda store: store.request_stop(asked.id, "enough"),
            lambda store: store.get_run(asked.id).stop_reason == "enough",
        ),
        (
            lambda store: store.enqueue(sweep.id, point(99)),
            lambda store: store.find_key(sweep.id, "k99"),
        ),
        (
            lambda store: set_state(store, sweep, SweepState.PAUSED),
            lambda store: store.get_sweep(sweep.id).state is SweepState.PAUSED,
        ),
    ]
    for do, is_there in steps:
        after_a_kill(server, do)
        with closing(open_postgres(server.url("besom"))) as store:
            assert is_there(store)
