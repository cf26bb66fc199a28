from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from besom.errors import StoreFullError
from besom.records import RunState
from besom.store.sqlite import Clock, open_sqlite
from besom.store.sqlite.failure import explain
from besom.testing.stores.ground import Time, claim, finish, sweep_with

CLAIMER = """
import sys
from besom.records import Outcome, RunState
from besom.store import open_store
store = open_store(sys.argv[1])
agent = store.add_agent(sys.argv[2], host="here", pid=0)
for _ in range(int(sys.argv[3])):
    run = store.claim(sys.argv[2], agent.id, lease_seconds=600)
    if run is None:
        break
    print(run.id, run.key, run.number)
"""

WRITER = """
import sys
from besom.records import HistoryRow, Outcome, RunState
from besom.store import open_store
store = open_store(sys.argv[1])
while (run := store.claim(sys.argv[2], "writer", lease_seconds=600)) is not None:
    print("claimed", run.id, run.attempt, flush=True)
    for seq in range(1, 4):
        rows = [HistoryRow(seq, seq, 0.0, {"x": seq})]
        store.report(run.lease, rows, summary={"x": seq}, lease_seconds=600)
        print("reported", run.id, run.attempt, seq, flush=True)
    store.finish(run.lease, Outcome(RunState.FINISHED, value=1.0))
    print("finished", run.id, run.attempt, flush=True)
"""

FULL_DISK = """
import subprocess, sys
from pathlib import Path
from besom.errors import StoreFullError
from besom.records import HistoryRow, Outcome, RunState
from besom.store import open_store
from besom.testing.stores.ground import claim, finish, sweep_with

folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
url = f"sqlite:///{folder}/besom.db" + sys.argv[2]
store = open_store(url)
sweep = sweep_with(store, 50)
first = finish(store, claim(store, sweep), 0.5)
run = claim(store, sweep)
ballast = folder / "ballast"
with ballast.open("wb", buffering=0) as file:
    try:
        while True:
            file.write(b"x" * 4096)
    except OSError:
        pass
acknowledged = refused = 0
for seq in range(1, 2000):
    try:
        rows = [HistoryRow(seq, seq, 0.0, {"text": "x" * 300}), HistoryRow(10**6 + seq, seq, 0.0, {})]
        store.report(run.lease, rows, summary={"seq": seq}, lease_seconds=600)
        acknowledged = seq
    except StoreFullError as error:
        assert str(folder) in str(error) and "Free some space" in str(error), error
        refused += 1
        if refused == 20:
            break
assert refused == 20, (acknowledged, refused)
end = Outcome(RunState.FINISHED)
for call in (lambda: store.finish(run.lease, end), lambda: open_store(f"{folder}/other.db")):
    try:
        call()
    except StoreFullError:
        continue
    raise SystemExit("a full disk went unnoticed")
assert store.get_run(run.id).state is RunState.RUNNING
assert store.get_run(first.id) == first
kept = range(1, acknowledged + 1)
assert [row.seq for row in store.history(run.id)] == [*kept, *(10**6 + seq for seq in kept)]
assert store.get_run(run.id).summary == ({"seq": acknowledged} if acknowledged else {})
ballast.unlink()
store.report(run.lease, [HistoryRow(10**7, 1, 0.0, {})], summary={"seq": -1}, lease_seconds=600)
assert finish(store, run).summary == {"seq": -1}
store.close()
store = open_store(url)
assert claim(store, sweep).number == 3
assert store._database.read("PRAGMA integrity_check") == [("ok",)]
store.close()
print("survived", acknowledged)
"""


def spawn(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_eight_agents_claim_two_thousand_runs_each_and_none_twice(path: Path) -> None:
    store = open_sqlite(str(path))
    sweep = sweep_with(store, 16_000)
    agents = [spawn(CLAIMER, store.url, sweep.id, "2000") for _ in range(8)]
    claimed = [line.split() for agent in agents for line in agent.communicate()[0].splitlines()]
    assert [agent.returncode for agent in agents] == [0] * 8
    assert len(claimed) == 16_000
    assert len({run for run, _, _ in claimed}) == len({key for _, key, _ in claimed}) == 16_000
    assert sorted(int(number) for _, _, number in claimed) == list(range(1, 16_001))
    progress = store.progress(sweep.id)
    assert (progress.counts, progress.buffered) == ({RunState.RUNNING: 16_000}, 0)
    store.close()


@pytest.mark.slow
def test_killing_writers_at_random_points_loses_nothing_acknowledged(path: Path) -> None:
    moment = random.Random(7)
    store = open_sqlite(str(path))
    sweep = sweep_with(store, 100_000)
    said: list[list[str]] = []
    for _ in range(25):
        writers = [spawn(WRITER, store.url, sweep.id) for _ in range(2)]
        heard = [writer.stdout.readline() for writer in writers if writer.stdout]
        time.sleep(moment.uniform(0, 0.05))
        for writer, first in zip(writers, heard, strict=True):
            writer.send_signal(signal.SIGKILL)
            rest, _ = writer.communicate()
            # The last line may be torn; what is whole was acknowledged before it was printed.
            said += [line.split() for line in (first + rest).split("\n")[:-1]]
        claim(store, sweep)
    assert len(said) > 200
    rows: dict[str, int] = {}
    for word, run, _attempt, *seq in said:
        if word == "reported":
            rows[run] = max(rows.get(run, 0), int(seq[0]))
        elif word == "finished":
            assert store.get_run(run).state is RunState.FINISHED
        else:
            assert store.get_run(run).attempt == 1
    for run, last in rows.items():
        assert [row.seq for row in store.history(run)][:last] == list(range(1, last + 1))
    runs = store.list_runs(sweep.id)
    counts = store.progress(sweep.id).counts
    assert counts == {state: sum(run.state is state for run in runs) for state in {run.state for run in runs}}
    assert sorted(run.number for run in runs) == list(range(1, len(runs) + 1))
    assert store._database.read("PRAGMA integrity_check") == [("ok",)]
    store.close()


@pytest.mark.parametrize("query", ["", "?synchronous=full"])
def test_a_full_disk_is_a_clear_error_and_the_store_goes_on_when_there_is_room(
    tmp_path: Path, query: str
) -> None:
    # In a mount namespace of its own, so that nothing is left mounted; without root, in a user namespace too.
    enter = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    ended = subprocess.run(
        [*enter, sys.executable, "-c", FULL_DISK, str(tmp_path), query],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.stdout.startswith("survived"), (
        f"needs the right to mount a tmpfs: {ended.stdout}{ended.stderr}"
    )


def test_an_io_error_on_a_disk_without_space_means_a_full_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    error = sqlite3.OperationalError("disk I/O error")
    assert not isinstance(explain(error, path), StoreFullError)
    monkeypatch.setattr("besom.store.sqlite.failure.LEAST_SPACE", 1 << 62)
    assert isinstance(explain(error, path), StoreFullError)
    assert not isinstance(explain(error, path / "not" / "there"), StoreFullError)
    assert explain(sqlite3.IntegrityError("a fault of ours"), path).args == ("a fault of ours",)


def test_a_random_walk_of_the_wall_clock_ends_no_lease_early(path: Path) -> None:
    walk = random.Random(3)
    clock = Time()
    store = open_sqlite(str(path), clock=Clock(clock.wall, clock.lease, "boot"))
    sweep = sweep_with(store, 1)
    run = claim(store, sweep, seconds=60)
    for _ in range(200):
        clock.lease_now += walk.uniform(0, 59)
        clock.wall_now += walk.uniform(-7200, 7200)
        assert store.reap(sweep.id) == 0
        assert store.heartbeat([run.lease], lease_seconds=60)[run.lease].action == "continue"
    clock.lease_now += 60
    assert store.reap(sweep.id) == 1
    store.close()


def test_finish_survives_a_clock_that_went_back(path: Path) -> None:
    clock = Time()
    store = open_sqlite(str(path), clock=Clock(clock.wall, clock.lease, "boot"))
    sweep = sweep_with(store, 1)
    run = claim(store, sweep)
    clock.wall_now -= 86_400
    ended = finish(store, run)
    assert ended.ended is not None
    assert ended.started is not None
    assert ended.ended < ended.started
    store.close()
