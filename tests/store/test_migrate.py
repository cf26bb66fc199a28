"""A store that is moved to another database is the same store, and its sweeps go on where they stood."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from besom.cli import cli
from besom.errors import StateError, UsageError
from besom.records import Outcome, Run, RunState, Suggestion, SweepState
from besom.scheduler import Scheduler
from besom.store import Store, open_store
from besom.store.migrate import COLUMNS, migrate
from besom.sweep import create_sweep
from besom.sweepfile import parse
from besom.testing.postgres import PostgresServer
from besom.testing.stores.ground import claim, finish, row, set_state, sweep_with

Ends = tuple[Store, Store]


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite", "sqlite to sqlite"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    """Give an open source and an open, empty destination."""
    stores = [open_store(url) for url in addresses(request, tmp_path)]
    yield stores[0], stores[1]
    for store in stores:
        store.close()


def addresses(request: pytest.FixtureRequest, folder: Path) -> list[str]:
    words = str(request.param).split(" to ")
    return [
        request.getfixturevalue("postgres_url") if word == "postgresql" else f"sqlite:///{folder}/{place}.db"
        for place, word in enumerate(words)
    ]


def everything(store: Store) -> dict[str, Any]:
    """Give all that a store tells."""
    told: dict[str, Any] = {}
    runs = store.list_runs(None)
    for sweep in store.list_sweeps():
        mine = store.list_runs(sweep.id)
        runs += mine
        told[sweep.id] = (
            sweep,
            store.progress(sweep.id),
            store.best_run(sweep.id),
            store.buffer(sweep.id),
            store.active(sweep.id),
            store.observations(sweep.id, summaries=True),
            store.list_agents(sweep.id),
            [run.id for run in store.list_runs(sweep.id, changed_after=0)],
            [store.rung_size(sweep.id, rung) for rung in range(3)],
        )
    for run in runs:
        attempts = store.attempts(run.id)
        rows = [store.history(run.id, attempt=one.attempt) for one in attempts]
        told[run.id] = (run, attempts, rows, store.run_marks(run.id))
    told["order"] = [sweep.id for sweep in store.list_sweeps()]
    return told


def act(store: Store, random: Random, steps: int) -> None:
    """Do what agents, programs and people do, in any order; nothing runs afterwards."""
    sweeps = [sweep_with(store, random.randint(1, 6), name=f"s{n}", max_attempts=3) for n in range(2)]
    running: list[Any] = []
    for step in range(steps):
        sweep = random.choice(sweeps)
        match random.randrange(7):
            case 0 | 1 | 2:
                agent = store.add_agent(sweep.id, host="héllo", pid=step, job="slurm:7")
                if run := store.claim(sweep.id, agent.id, lease_seconds=600):
                    running.append(run)
            case 3 if running:
                run = random.choice(running)
                rows = [
                    row(seq, loss=random.random(), text="ä\u2028") for seq in range(1, random.randint(2, 5))
                ]
                store.report(run.lease, rows, summary={"loss": step}, value=step / 7, lease_seconds=600)
                store.mark(run.sweep_id, run.id, random.randrange(3), step / 3)
            case 4 if running:
                state = random.choice(
                    [RunState.FINISHED, RunState.FAILED, RunState.PREEMPTED, RunState.STOPPED]
                )
                finish(store, running.pop(random.randrange(len(running))), random.random(), state)
            case 5:
                point = Suggestion(f"chosen{step}", {"x": [step, None, 1.5, "ü"]})
                outcome = Outcome(RunState.FINISHED, summary={"loss": 1}, value=1.0) if step % 2 else None
                store.enqueue(sweep.id, point, outcome=outcome)
            case 6 if ended := store.list_runs(sweep.id, states=[RunState.FINISHED]):
                store.delete_run(random.choice(ended).id, release=random.random() < 0.5)
            case _:
                pass
    for run in running:
        finish(store, run, None, RunState.PREEMPTED)
    solo = store.create_run(run_id=f"solo-{random.random()}", project="p", name=None, lease_seconds=600)
    finish(store, solo)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_store_that_went_there_and_back_is_the_same(
    postgres: PostgresServer, tmp_path: Path, seed: int
) -> None:
    folder = tmp_path / uuid.uuid4().hex
    first, back = open_store(f"sqlite:///{folder}/a.db"), open_store(f"sqlite:///{folder}/b.db")
    there = open_store(postgres.url(f"s{uuid.uuid4().hex}"))
    act(first, Random(seed), 40)
    before = everything(first)
    moved = migrate(first, there)
    assert everything(there) == before
    assert migrate(there, back).rows == moved.rows
    assert everything(back) == before == everything(first)
    for store in (first, there, back):
        store.close()


def test_what_happens_next_is_the_same_in_both(ends: Ends) -> None:
    old, new = ends
    act(old, Random(5), 40)
    migrate(old, new)
    (sweep, *_) = old.list_sweeps()
    for store in ends:
        store.enqueue(sweep.id, Suggestion("later", {"x": 9}))
    taken = [[store.claim(sweep.id, "agent", lease_seconds=60) for _ in range(6)] for store in ends]
    told = [[(run.number, run.key, run.attempt, run.changed) for run in runs if run] for runs in taken]
    assert told[0] == told[1] != []


def test_a_grid_that_was_half_done_is_completed_exactly(ends: Ends) -> None:
    old, new = ends
    text = (
        "method: grid\nprogram: x.py\nparameters: {a: {values: [1, 2, 3, 4, 5]}, b: {values: [1, 2, 3, 4]}}"
    )
    sweep = create_sweep(old, parse(text))
    half = Scheduler(old, sweep.id, agent_id="before")
    for _ in range(9):
        run = half.claim()
        assert isinstance(run, Run)
        finish(old, run, 1.0)
    migrate(old, new)
    rest = Scheduler(new, sweep.id, agent_id="after")
    while isinstance(run := rest.claim(), Run):
        finish(new, run, 1.0)
    runs = new.list_runs(sweep.id)
    assert Counter((run.params["a"], run.params["b"]) for run in runs) == {
        (a, b): 1 for a in range(1, 6) for b in range(1, 5)
    }
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert Counter(run.agent_id for run in runs) == {"before": 9, "after": 11}
    assert new.get_sweep(sweep.id).state is SweepState.FINISHED


def test_running_runs_are_refused_or_attempted_anew(ends: Ends) -> None:
    old, new = ends
    sweep = sweep_with(old, 2)
    run = claim(old, sweep)
    with pytest.raises(StateError, match="1 runs are running"):
        migrate(old, new)
    assert new.list_sweeps() == []
    migrate(old, new, running=True)
    again = claim(new, sweep)
    assert (again.id, again.attempt) == (run.id, 2)
    assert old.get_run(run.id).state is RunState.RUNNING


def test_a_destination_that_holds_the_sweep_is_left_alone(ends: Ends) -> None:
    old, new = ends
    act(old, Random(1), 30)
    migrate(old, new)
    before = everything(new)
    sweep_with(old)
    with pytest.raises(StateError, match="holds sweep"):
        migrate(old, new)
    assert everything(new) == before


def test_what_the_destination_holds_stays(ends: Ends) -> None:
    old, new = ends
    act(old, Random(2), 30)
    act(new, Random(3), 30)
    theirs, mine = everything(old), everything(new)
    migrate(old, new)
    both = everything(new)
    solos = {run.id for run in new.list_runs(None)}
    for name, told in {**theirs, **mine}.items():
        if name not in ("order", *solos):
            assert both[name] == told
    assert sorted(run.number for run in new.list_runs(None)) == [1, 2]
    with_runs = [set_state(new, sweep, SweepState.RUNNING) for sweep in new.list_sweeps()]
    changes = [new.claim(sweep.id, "agent", lease_seconds=60) for sweep in with_runs]
    latest = max(
        run.changed
        for run, *_ in (told for name, told in both.items() if name != "order")
        if hasattr(run, "changed")
    )
    assert all(run.changed > latest for run in changes if run)


def test_a_store_cannot_be_copied_onto_itself(ends: Ends) -> None:
    with pytest.raises(UsageError, match="both"):
        migrate(ends[0], ends[0])


def test_the_command_moves_a_store_and_says_how_much(tmp_path: Path, postgres_url: str) -> None:
    url = f"sqlite:///{tmp_path}/besom.db"
    store = open_store(url)
    sweep = sweep_with(store, 3)
    finish(store, claim(store, sweep))
    store.close()
    done = CliRunner().invoke(cli, ["migrate", url, postgres_url])
    assert done.exit_code == 0, done.output
    assert "1 sweep, 1 run, 0 history rows, 2 waiting suggestions copied" in done.output
    again = CliRunner().invoke(cli, ["migrate", postgres_url, url])
    assert again.exit_code != 0
    missing = CliRunner().invoke(cli, ["migrate", f"sqlite:///{tmp_path}/none.db", postgres_url])
    assert missing.exit_code != 0
    assert not (tmp_path / "none.db").exists()


def test_every_column_of_every_table_is_copied(ends: Ends) -> None:
    for store in ends:
        database: Any = cast("Any", store)._database
        for table, columns in COLUMNS.items():
            with database.transaction() as transaction:
                answer = transaction.execute(f"SELECT * FROM {table}")
                names: set[str] = {part[0] for part in answer.description} - {"ordinal"} | (
                    {"ordinal"} & set(columns)
                )
            assert names == set(columns)
