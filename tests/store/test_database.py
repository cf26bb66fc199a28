from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from besom.errors import StoreError, StoreVersionError, UsageError
from besom.records import Metric, Outcome, RunState, Suggestion, SweepDraft
from besom.store.relational import queries
from besom.store.sqlite import SqliteStore, database, migrations, open_sqlite
from besom.store.sqlite.migrations import PACKAGE
from besom.testing.stores.ground import MINUTE, batch, claim, finish, point, row, sweep_with

HOSTILE = [
    "'; DROP TABLE run; --",
    '"quoted" `ticks` $(touch /tmp/x)',
    "nul\0inside",
    "ü \u2028 \U0001f9f9 \u202e",
    "\ud800 lone surrogate",
    "../../etc/passwd",
    "x" * 100_000,
    "line\nbreak\r\ttab",
    "%s %d {0} ?1 :name",
]


def schema_of(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return {(kind, name, table, re.sub(r"\s+", " ", sql or "")) for kind, name, table, sql in rows}


def test_an_older_store_is_migrated_when_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = open_sqlite(str(path))
    sweep = sweep_with(old, 1)
    old.close()
    script = "ALTER TABLE agent ADD COLUMN nickname TEXT;"
    version = database.VERSION + 1
    monkeypatch.setattr(database, "VERSION", version)
    monkeypatch.setattr(database, "migrations", lambda: (*migrations.migrations(), script))
    new = open_sqlite(str(path))
    assert new.get_sweep(sweep.id) == sweep
    new.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        assert "nickname" in str(schema_of(connection))
    connection.close()


def test_a_store_of_the_first_schema_works_once_it_is_opened(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(migrations.migrations()[0])
    connection.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute(
        "INSERT INTO sweep (id, name, state, method, config, created, updated)"
        " VALUES ('old', 'old', 'running', 'grid', '{}', 1, 1)"
    )
    connection.execute("INSERT INTO suggestion VALUES ('old', 1, 'k0', '{}')")
    connection.commit()
    connection.close()
    store = open_sqlite(str(path))
    assert store.lease_proposer("old", "a", lease_seconds=9) == 1
    run = store.claim("old", "agent", lease_seconds=9)
    assert run is not None
    assert run.key == "k0"
    store.close()


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_sqlite(str(path)).close()
    script = "ALTER TABLE agent ADD COLUMN nickname TEXT;\nALTER TABLE nothing ADD COLUMN x;"
    with monkeypatch.context() as patch:
        patch.setattr(database, "VERSION", database.VERSION + 1)
        patch.setattr(database, "migrations", lambda: (*migrations.migrations(), script))
        with pytest.raises(StoreError, match="nothing"):
            open_sqlite(str(path))
    again = open_sqlite(str(path))
    sweep_with(again)
    again.close()


def test_a_store_of_a_newer_besom_is_refused_with_what_to_do(path: Path) -> None:
    open_sqlite(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreVersionError, match=r"newer besom.*99.*pip install --upgrade besom") as caught:
        open_sqlite(str(path))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        open_sqlite(str(path))
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_named(path: Path) -> None:
    path.write_text("method: grid\n" * 1000)
    with pytest.raises(StoreError, match="no besom store") as caught:
        open_sqlite(str(path))
    assert str(path) in str(caught.value)


def test_a_damaged_store_is_an_error_that_names_it(path: Path) -> None:
    store = open_sqlite(str(path))
    sweep = sweep_with(store, 500)
    store.close()
    content = bytearray(path.read_bytes())
    content[database.PAGE_BYTES :] = os.urandom(len(content) - database.PAGE_BYTES)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged") as caught:
        claim(open_sqlite(str(path)), sweep)
    assert str(path) in str(caught.value)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    store = open_sqlite(str(path))
    sweep_with(store)
    store.close()


def test_every_query_is_named_once_and_is_valid(store: SqliteStore) -> None:
    named = store._database.queries.all()
    text = "".join(queries.read_sql(PACKAGE, name) for name in queries.FILES)
    assert len(named) == text.count("-- name: ")
    connection = sqlite3.connect(store._database.where)
    for sql in named.values():
        names = set(re.findall(r":(\w+)", sql))
        parameters = dict.fromkeys(names, 1) if names else (1,) * sql.count("?")
        assert connection.execute(f"EXPLAIN {sql}", parameters).fetchall()
    with pytest.raises(AttributeError):
        _ = store._database.queries.nothing


def test_every_query_is_used(store: SqliteStore) -> None:
    folders = (Path(queries.__file__).parent, Path(database.__file__).parent)
    code = "".join(file.read_text() for folder in folders for file in folder.glob("*.py"))
    assert [
        name for name in store._database.queries.all() if not re.search(rf"(_sql|queries)\.{name}\b", code)
    ] == []


@pytest.mark.parametrize(
    "name",
    [
        "gate", "claim_queued", "take_suggestion", "insert_claimed", "overdue", "report", "prolong",
        "end_run",
        "offer", "observations", "list_changed", "active", "lowest", "highest", "lowest_running",
        "find_key", "counts", "history", "last_row", "rung_size", "rung_loss", "run_marks",
        "list_agents", "has_work",
        "next_reap",
    ],
)  # fmt: skip
def test_no_query_that_agents_make_scans_a_table(store: SqliteStore, name: str) -> None:
    sql = store._database.queries.all()[name]
    names = set(re.findall(r":(\w+)", sql))
    parameters = dict.fromkeys(names, 1) if names else (1,) * sql.count("?")
    plan = store._database.read(f"EXPLAIN QUERY PLAN {sql}", parameters)
    steps = [step for *_, step in plan if step != "SCAN CONSTANT ROW" and "json_each" not in step]
    assert [step for step in steps if step.startswith("SCAN")] == []
    if name not in {"overdue", "lowest_running"}:
        assert [step for step in steps if "TEMP B-TREE" in step] == []


def test_statements_of_a_script_keep_triggers_whole() -> None:
    script = "CREATE TABLE a (x);\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM a;\nEND;\n"
    assert [part.split()[1] for part in migrations.statements(script)] == ["TABLE", "TRIGGER"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_kept_as_text(store: SqliteStore, text: str) -> None:
    kept = text.encode("utf-8", "backslashreplace").decode()
    draft = SweepDraft(
        config={"x": text, text: 1}, name=text, method=text, metric=Metric(text), project=text, entity=text,
        text=text, folder=text,
    )  # fmt: skip
    sweep = store.create_sweep(draft)
    assert (sweep.name, sweep.method, sweep.project, sweep.entity, sweep.text, sweep.folder) == (kept,) * 6
    assert sweep.config == {"x": text, text: 1}
    agent = store.add_agent(sweep.id, host=text, pid=1)
    assert store.list_agents(sweep.id)[0].host == agent.host == kept
    run = store.enqueue(sweep.id, Suggestion("key", {"x": text}))
    claimed = store.claim(sweep.id, text, lease_seconds=MINUTE)
    assert claimed is not None
    assert (claimed.params, claimed.agent_id) == ({"x": text}, kept)
    store.report(claimed.lease, [row(1, x=text)], summary={text: text}, lease_seconds=MINUTE)
    assert store.request_stop(run.id, text).stop_reason == kept
    ended = store.finish(claimed.lease, Outcome(RunState.FAILED, error=text))
    assert (ended.error, ended.summary) == (kept, {text: text})
    assert store.history(run.id)[0].data == {"x": text}
    solo = store.create_run(run_id=None, project=text, name=text, lease_seconds=MINUTE)
    assert solo.name == kept
    assert store.get_sweep(sweep.id).id == sweep.id


def test_an_id_that_is_no_unicode_is_a_usage_error(store: SqliteStore) -> None:
    with pytest.raises(UsageError):
        store.get_run("\ud800")


def test_a_collision_of_ids_is_solved_by_another_id(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_with(store, 3)
    drawn = iter(["same0000", "same0000", "same0000", "other000"])
    monkeypatch.setattr("besom.store.relational.part.new_id", lambda: next(drawn))
    assert [claim(store, sweep).id for _ in range(2)] == ["same0000", "other000"]
    assert [run.number for run in store.list_runs(sweep.id)] == [1, 2]


def test_a_foreign_lock_is_waited_for_and_then_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    store = open_sqlite(str(path))
    sweep = sweep_with(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        store.claim(sweep.id, "agent", lease_seconds=1)
    assert len(store.list_sweeps()) == 1
    other.execute("ROLLBACK")
    assert claim(store, sweep).number == 1
    other.close()
    store.close()


def test_readers_do_not_wait_for_writers(store: SqliteStore) -> None:
    sweep = sweep_with(store)
    with store._database.transaction():
        assert store.get_sweep(sweep.id).id == sweep.id


def test_a_closed_store_says_so(path: Path) -> None:
    store = open_sqlite(str(path))
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.list_sweeps()


def test_an_error_in_a_transaction_undoes_it_and_lets_the_next_writer_in(store: SqliteStore) -> None:
    sweep = sweep_with(store, 2)

    def fail() -> None:
        with store._database.transaction() as transaction:
            transaction.execute("DELETE FROM suggestion")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.progress(sweep.id).buffered == 2
    claim(store, sweep)


def test_threads_have_connections_of_their_own(store: SqliteStore) -> None:
    sweep = sweep_with(store, 1)
    run = claim(store, sweep)
    failed: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(50):
                store.report(run.lease, [row(1 + worker * 50 + number)], lease_seconds=MINUTE)
                store.get_run(run.id)
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(store.history(run.id)) == 200


def test_a_forked_child_and_its_parent_both_go_on(path: Path) -> None:
    script = f"""
import os
from besom.store import open_store
from besom.testing.stores.ground import claim, finish, sweep_with
store = open_store({str(path)!r})
sweep = sweep_with(store, 40)
finish(store, claim(store, sweep))
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        for _ in range(10):
            finish(store, claim(store, sweep))
        store.close()
        os._exit(0)
    children.append(child)
for _ in range(9):
    finish(store, claim(store, sweep))
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
runs = store.list_runs(sweep.id)
assert sorted(run.number for run in runs) == list(range(1, 41)), len(runs)
assert len({{run.key for run in runs}}) == 40
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    store = open_sqlite(str(path))
    assert store._database.read("PRAGMA integrity_check") == [("ok",)]
    store.close()


def test_an_offer_of_many_points_keeps_their_order(store: SqliteStore) -> None:
    sweep = sweep_with(store, 0, exhausted=False)
    assert store.offer(sweep.id, batch(range(1000)), version=1, cursor=0) == 1000
    assert [finish(store, claim(store, sweep)).key for _ in range(50)] == [point(n).key for n in range(50)]


def test_a_store_may_be_closed_while_other_threads_read(path: Path) -> None:
    # In a process of its own: what is tested for would be a segmentation fault.
    program = """
        import random, sys, threading, time
        from besom.errors import StoreError
        from besom.store.sqlite import open_sqlite
        from besom.testing.stores.ground import sweep_with

        store = open_sqlite(sys.argv[1])
        sweep = sweep_with(store, 3)
        store.close()

        def look(store, ready):
            ready.wait()
            try:
                while True:
                    store.wait(sweep.id, "", seconds=0)
            except StoreError:
                pass

        for _ in range(100):
            store, ready = open_sqlite(sys.argv[1]), threading.Barrier(4)
            threads = [threading.Thread(target=look, args=(store, ready)) for _ in range(3)]
            for thread in threads:
                thread.start()
            ready.wait()
            time.sleep(random.random() / 100)
            store.close()
            for thread in threads:
                thread.join()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], check=True, timeout=100)
