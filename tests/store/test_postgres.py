"""What is PostgreSQL's own: addresses, schemas, connections that break, clients that work at once."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psycopg
import pytest

from besom.errors import StoreError, StoreVersionError, UsageError
from besom.records import Outcome, RunState, SweepState
from besom.store import open_store
from besom.store.address import hide_password
from besom.store.postgres import PostgresStore, database, open_postgres
from besom.store.postgres.address import parse_address
from besom.store.sqlite.database import Database as SqliteDatabase
from besom.testing.postgres import PostgresServer
from besom.testing.stores import StoreContract, Time
from besom.testing.stores.ground import claim, finish, point, row, sweep_with


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    store = open_postgres(postgres_url)
    yield store
    store.close()


class TestPostgres(StoreContract):
    @pytest.fixture(autouse=True)
    def serve(self, postgres_url: str) -> None:
        self.address = postgres_url

    def open(self, folder: Path, time: Time) -> PostgresStore:
        return open_postgres(self.address, clock=time)


# ---- the address


def test_a_password_is_never_shown() -> None:
    url = "postgresql://me:secret@host:5433/db?sslmode=require&sslpassword=secret2&schema=mine"
    assert hide_password(url) == url.replace("secret2", "***").replace("secret", "***")
    assert hide_password("sqlite:///a@b.db") == "sqlite:///a@b.db"
    assert hide_password("a@b.db") == "a@b.db"
    address = parse_address(url)
    assert address.schema == "mine"
    assert "schema" not in address.conninfo
    assert "sslmode=require" in address.conninfo


@pytest.mark.parametrize(
    "url", ["postgresql://h/db?schema=No", "postgresql://h/db?schema=a;drop", "mysql://h/db"]
)
def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match=r"schema=|postgresql://"):
        parse_address(url)


def test_what_libpq_cannot_read_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        open_postgres("postgresql://h/db?nonsense=1")


def test_a_server_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is the server there") as caught:
        open_postgres(f"postgresql://me:secret@/db?host={tmp_path}")
    assert str(caught.value).lower().count("is the server") == 1


def test_a_database_that_is_not_there_is_said_how_to_make(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match="createdb") as caught:
        open_postgres(postgres.url("s").replace("/postgres?", "/nothing?"))
    assert caught.value.exit_code == 4


def test_open_store_finds_it_by_its_scheme(postgres_url: str) -> None:
    store = open_store(postgres_url)
    sweep = sweep_with(store)
    store.close()
    again = open_store(store.url)
    assert again.get_sweep(sweep.id) == sweep
    again.close()


def test_settings_in_the_address_reach_the_server(postgres_url: str) -> None:
    store = open_postgres(f"{postgres_url}&options=-csynchronous_commit%3Doff")
    assert store._database.read("SHOW synchronous_commit") == [("off",)]
    sweep_with(store)
    store.close()


# ---- the schema


def test_two_schemas_are_two_stores(postgres: PostgresServer, store: PostgresStore) -> None:
    sweep_with(store)
    other = open_postgres(f"{store.url}2")
    assert other.list_sweeps() == []
    other.close()


def test_clients_that_open_a_new_store_at_once_make_one_schema(postgres_url: str) -> None:
    barrier = threading.Barrier(8)
    failed: list[Exception] = []

    def open_it() -> None:
        barrier.wait()
        try:
            open_postgres(postgres_url).close()
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_schema_of_a_newer_besom_is_refused(store: PostgresStore) -> None:
    with store._database.transaction() as transaction:
        transaction.execute("UPDATE store SET version = %s", (database.VERSION + 1,))
    with pytest.raises(StoreVersionError, match="newer besom"):
        open_postgres(store.url)


def test_a_schema_of_an_older_besom_is_brought_up_to_date(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(database, "MIGRATIONS", database.MIGRATIONS[:4])
        older.setattr(database, "VERSION", 4)
        store = open_postgres(postgres_url)
        sweep = sweep_with(store)
        for number, value in ((10, 2.0), (11, 1.0), (12, 3.0)):
            store.enqueue(sweep.id, point(number), outcome=Outcome(RunState.FINISHED, value=value))
        store.close()
    store = open_postgres(postgres_url)
    best = store.best_run(sweep.id)
    assert best is not None
    assert (best.key, best.value) == ("k11", 1.0)
    assert finish(store, claim(store, sweep), 0.5) == store.best_run(sweep.id)
    store.close()


def test_the_best_run_is_the_best_of_those_that_are_left(store: PostgresStore) -> None:
    sweep = sweep_with(store)
    runs = [finish(store, claim(store, sweep), value) for value in (3.0, 1.0, 2.0)]
    store.retry(runs[1].id)
    assert store.best_run(sweep.id) == runs[2]
    store.delete_run(runs[2].id, release=False)
    assert store.best_run(sweep.id) == runs[0]
    again = finish(store, claim(store, sweep), 4.0)
    assert again.id == runs[1].id
    assert store.best_run(sweep.id) == runs[0]


def test_both_backends_have_the_same_queries() -> None:
    own = {"expire_leases", "expire_proposers", "expire_tallies", "get_boot", "set_boot"}
    theirs = {"lock_run", "lock_sweep", "claim_at_once", "claim_batch_at_once", "finish_at_once"}
    postgres = database.Database.queries.all()
    assert set(postgres) - theirs == set(SqliteDatabase.queries.all()) - own


# ---- text


def test_a_nul_is_kept_as_an_escape(store: PostgresStore) -> None:
    run = claim(store, sweep_with(store))
    ended = store.finish(run.lease, Outcome(RunState.FAILED, 1, "nul\0inside"))
    assert ended.error == "nul\\x00inside"


def test_an_id_that_is_no_unicode_is_a_usage_error(store: PostgresStore) -> None:
    with pytest.raises(UsageError):
        store.get_run("\ud800")


# ---- connections


def test_a_connection_that_was_cut_is_made_again(store: PostgresStore, postgres_url: str) -> None:
    sweep = sweep_with(store)
    run = claim(store, sweep)
    with psycopg.connect(parse_address(postgres_url).conninfo, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'besom' AND pid <> pg_backend_pid()"
        )
    with pytest.raises(StoreError, match=r"terminat|closed|server"):
        store.report(run.lease, [row(1)], lease_seconds=60.0)
    assert store.report(run.lease, [row(1)], lease_seconds=60.0).action == "continue"
    assert [one.seq for one in store.history(run.id)] == [1]


def test_a_forked_child_gets_a_connection_of_its_own(store: PostgresStore) -> None:
    sweep = sweep_with(store)
    child = os.fork()
    if child == 0:
        try:
            claim(store, sweep)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert claim(store, sweep).number == 2


def test_an_error_leaves_no_transaction_open(store: PostgresStore) -> None:
    sweep = sweep_with(store)

    def fail() -> None:
        with store._database.transaction() as transaction:
            store._database.lock_sweep(transaction, sweep.id)
            transaction.execute("SELECT nonsense")

    with pytest.raises(psycopg.Error):
        fail()
    other = open_postgres(store.url)
    assert claim(other, sweep).number == 1
    other.close()


# ---- many at once


def work(url: str, sweep_id: str) -> list[int]:
    """Take runs until there are none, each with reports and heartbeats between; give their numbers."""
    store = open_postgres(url)
    numbers: list[int] = []
    while (run := store.claim(sweep_id, "agent", lease_seconds=60.0)) is not None:
        for seq in (1, 2):
            store.report(run.lease, [row(seq)], summary={"loss": seq}, value=float(seq), lease_seconds=60.0)
            store.heartbeat([run.lease], lease_seconds=60.0)
        store.finish(run.lease, Outcome(RunState.FINISHED, 0, summary={"loss": 1}, value=1.0))
        numbers.append(run.number)
    store.close()
    return numbers


@pytest.mark.slow
def test_eight_processes_take_each_of_1000_runs_once(store: PostgresStore) -> None:
    sweep = sweep_with(store, 1000)
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(8, mp_context=fork) as pool:
        taken = [number for part in pool.map(work, [store.url] * 8, [sweep.id] * 8) for number in part]
    assert sorted(taken) == list(range(1, 1001))
    assert Counter(run.state for run in store.list_runs(sweep.id)) == {RunState.FINISHED: 1000}
    assert store.progress(sweep.id).count(RunState.FINISHED) == 1000
    assert store.finish_sweep(sweep.id).state is SweepState.FINISHED
    changes = [one.changed for one in store.observations(sweep.id)]
    assert changes == sorted(set(changes))


@pytest.mark.slow
def test_who_reads_on_from_the_last_change_misses_none(store: PostgresStore) -> None:
    """A number that is given before another must not become visible after it."""
    sweep = sweep_with(store, 300)
    seen: list[str] = []
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(4, mp_context=fork) as pool:
        workers = [pool.submit(work, store.url, sweep.id) for _ in range(4)]
        after = 0
        while not all(worker.done() for worker in workers):
            for one in store.observations(sweep.id, after=after):
                seen.append(one.run_id)
                after = one.changed
    seen += [one.run_id for one in store.observations(sweep.id, after=after)]
    assert sum(len(worker.result()) for worker in workers) == 300
    assert sorted(seen) == sorted(run.id for run in store.list_runs(sweep.id))


def test_a_finished_run_waits_for_nobody_else_s_sweep(store: PostgresStore) -> None:
    mine, other = sweep_with(store), sweep_with(store)
    run = claim(store, mine)
    second = open_postgres(store.url)
    with second._database.transaction() as transaction:
        second._database.lock_sweep(transaction, other.id)
        assert finish(store, run, 1.0).state is RunState.FINISHED
    second.close()
