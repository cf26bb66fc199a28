"""How many runs a store carries per second, against Optuna's storages and bare SQLite, in the same minutes.

One cycle is what a run costs its store: a claim, ten separately acknowledged reports, an ending. Each of
besom's reports also brings the new summary and metric, as those of a real run do. `floor` is the least that
SQLite itself can do the same work with: a minimal schema, one statement per step, no queue. Every contender
runs the given number of processes for the same time; the runs it counts are looked up afterwards. Each
process goes through one cycle before its time begins: what is measured is an agent at work, not its start.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.harness import Figure, main
from besom.records import Batch, HistoryRow, Metric, Outcome, RunState, Suggestion, SweepDraft
from besom.store import open_store

REPORTS = 10
WORKERS = (1, 8, 32)
POINTS = 60_000


class Contender(Protocol):
    """A store under test; its file is `path`."""

    def prepare(self, path: Path) -> None:
        """Make the store, with enough to claim."""
        ...

    def cycle(self, path: Path, worker: int) -> Callable[[], bool]:
        """Open the store in a worker and give one cycle; it returns False when nothing is left to claim."""
        ...

    def finished(self, path: Path) -> int:
        """Count the runs that ended with all their reports."""
        ...


@dataclass(frozen=True)
class Floor:
    """Bare SQLite."""

    synchronous: str = "normal"

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open the file the way besom does, without its queue."""
        connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        return connection

    def prepare(self, path: Path) -> None:
        with self.connect(path) as connection:
            connection.execute(
                "CREATE TABLE trial (id INTEGER PRIMARY KEY, state INT NOT NULL DEFAULT 0, worker INT,"
                " lease REAL, params TEXT, value REAL)"
            )
            connection.execute(
                "CREATE TABLE val (trial INT, step INT, v REAL, PRIMARY KEY (trial, step)) WITHOUT ROWID"
            )
            connection.execute("CREATE INDEX waiting ON trial (id) WHERE state = 0")
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO trial (params) VALUES (?)",
                ((f'{{"lr":0.001,"bs":{i}}}',) for i in range(POINTS)),
            )
            connection.execute("COMMIT")
        connection.close()

    def cycle(self, path: Path, worker: int) -> Callable[[], bool]:
        execute = self.connect(path).execute
        claim = (
            "UPDATE trial SET state = 1, worker = ?, lease = ? WHERE id ="
            " (SELECT id FROM trial WHERE state = 0 ORDER BY id LIMIT 1) RETURNING id, params"
        )

        def one() -> bool:
            row = execute(claim, (worker, time.time())).fetchone()
            if row is None:
                return False
            for step in range(REPORTS):
                execute("INSERT INTO val VALUES (?, ?, ?)", (row[0], step, 0.5))
            execute(
                "UPDATE trial SET state = 2, value = ? WHERE id = ? AND worker = ?", (0.5, row[0], worker)
            )
            return True

        return one

    def finished(self, path: Path) -> int:
        connection = self.connect(path)
        sql = "SELECT count(*) FROM trial WHERE state = 2 AND (SELECT count(*) FROM val WHERE trial = id) = ?"
        found: int = connection.execute(sql, (REPORTS,)).fetchone()[0]
        connection.close()
        return found


@dataclass(frozen=True)
class Besom:
    """This package."""

    query: str = ""

    def url(self, path: Path) -> str:
        """Give the store's address."""
        return f"sqlite:///{path}{self.query}"

    def prepare(self, path: Path) -> None:
        store = open_store(self.url(path))
        draft = SweepDraft(config={}, name="bench", method="grid", metric=Metric("loss"))
        sweep = store.create_sweep(draft)
        points = tuple(
            Suggestion(f"{i * 2654435761 % 2**32:08x}", {"lr": 0.001, "bs": i}) for i in range(POINTS)
        )
        store.offer(sweep.id, Batch(points, POINTS, exhausted=True), version=1, cursor=0)
        store.close()

    def cycle(self, path: Path, worker: int) -> Callable[[], bool]:
        store = open_store(self.url(path))
        sweep_id = store.list_sweeps()[0].id
        agent_id = store.add_agent(sweep_id, host="bench", pid=worker).id

        def one() -> bool:
            run = store.claim(sweep_id, agent_id, lease_seconds=60)
            if run is None:
                return False
            for step in range(REPORTS):
                row = HistoryRow(seq=step + 1, step=step, time=0.0, data={"loss": 0.5})
                store.report(run.lease, [row], summary={"loss": 0.5}, value=0.5, lease_seconds=60)
            store.finish(run.lease, Outcome(RunState.FINISHED, exit_code=0))
            return True

        return one

    def finished(self, path: Path) -> int:
        store = open_store(self.url(path))
        runs = store.list_runs(store.list_sweeps()[0].id, states=[RunState.FINISHED])
        complete = sum(len(store.history(run.id)) == REPORTS for run in runs)
        store.close()
        return complete


@dataclass(frozen=True)
class Optuna:
    """Optuna with two sampled parameters and its cheapest sampler and pruner."""

    journal: bool = False

    def storage(self, path: Path) -> Any:
        """Open the storage."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if self.journal:
            from optuna.storages.journal import JournalFileBackend

            return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        return optuna.storages.RDBStorage(
            f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 100}}
        )

    def prepare(self, path: Path) -> None:
        import optuna

        optuna.create_study(study_name="bench", storage=self.storage(path))

    def cycle(self, path: Path, worker: int) -> Callable[[], bool]:
        import optuna

        study = optuna.load_study(
            study_name="bench",
            storage=self.storage(path),
            sampler=optuna.samplers.RandomSampler(seed=worker),
            pruner=optuna.pruners.NopPruner(),
        )

        def one() -> bool:
            trial = study.ask()
            trial.suggest_float("lr", 1e-5, 1, log=True)
            trial.suggest_int("bs", 1, 64)
            for step in range(REPORTS):
                trial.report(0.5, step)
            study.tell(trial, 0.5)
            return True

        return one

    def finished(self, path: Path) -> int:
        import optuna

        trials = optuna.load_study(study_name="bench", storage=self.storage(path)).get_trials(deepcopy=False)
        return sum(
            trial.state.is_finished() and len(trial.intermediate_values) == REPORTS for trial in trials
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What a contender did."""

    rate: float  # cycles per second
    latencies: Sequence[float]  # seconds per cycle, sorted

    def quantile(self, q: float) -> float:
        """Give a quantile of the latencies in milliseconds."""
        return 1e3 * self.latencies[min(len(self.latencies) - 1, int(q * len(self.latencies)))]


def contest(contender: Contender, workers: int, seconds: float) -> Measured:
    """Let `workers` processes go through cycles for `seconds`."""
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="besom-bench-") as folder:
        path = Path(folder) / "store.db"
        contender.prepare(path)
        ready, results = fork.Barrier(workers + 1), fork.SimpleQueue()
        processes = [
            fork.Process(target=_work, args=(contender, path, worker, seconds, ready, results))
            for worker in range(workers)
        ]
        for process in processes:
            process.start()
        ready.wait()
        started = time.perf_counter()
        reports: list[list[float]] = [results.get() for _ in processes]
        elapsed = time.perf_counter() - started
        for process in processes:
            process.join()
        latencies = sorted(latency for report in reports for latency in report)
        finished = contender.finished(path)
        if finished != workers + len(latencies):
            acknowledged = workers + len(latencies)
            raise SystemExit(f"{contender}: {acknowledged} cycles were acknowledged, {finished} are there")
        return Measured(len(latencies) / elapsed, latencies)


def _work(  # noqa: PLR0917 - a process's arguments
    contender: Contender, path: Path, worker: int, seconds: float, ready: Any, results: Any
) -> None:
    cycle = contender.cycle(path, worker)
    cycle()
    ready.wait()
    latencies: list[float] = []
    started = now = time.perf_counter()
    while now < started + seconds and cycle():
        before, now = now, time.perf_counter()
        latencies.append(now - before)
    results.put(latencies)


def measure(quick: bool) -> list[Figure]:
    """Compare the stores at 1, 8 and 32 processes."""
    import optuna  # noqa: F401 - here, so that the workers do not import it in their own time

    rounds, ours, theirs = (3, 0.5, 1.0) if quick else (7, 2.0, 15.0)
    figures: list[Figure] = []
    for workers in WORKERS:
        pairs = [(contest(Floor(), workers, ours), contest(Besom(), workers, ours)) for _ in range(rounds)]
        floor = median(pair[0].rate for pair in pairs)
        rate = median(pair[1].rate for pair in pairs)
        full = median(contest(Besom("?synchronous=full"), workers, ours).rate for _ in range(rounds))
        bare = median(contest(Floor("full"), workers, ours).rate for _ in range(rounds))
        rdb, journal = contest(Optuna(), workers, theirs), contest(Optuna(journal=True), workers, theirs)
        at = f"at {workers}"
        note = f"{rate:,.0f} runs/s against"
        figures += [
            Figure(f"runs/s {at}", rate, "/s", None, "higher"),
            Figure(f"÷ SQLite floor {at}", 100 * rate / floor, "%", 40, "higher", f"{note} {floor:,.0f}"),
            Figure(
                f"÷ Optuna RDB-SQLite {at}", rate / rdb.rate, "x", 100, "higher", f"{note} {rdb.rate:.1f}"
            ),
            Figure(
                f"÷ Optuna JournalFile {at}",
                rate / journal.rate,
                "x",
                10,
                "higher",
                f"{note} {journal.rate:.0f}",
            ),
            Figure(
                f"synchronous=full ÷ RDB {at}",
                full / rdb.rate,
                "x",
                20,
                "higher",
                f"{full:,.0f} runs/s; SQLite's own floor with it {bare:,.0f}",
            ),
        ]
        if workers == max(WORKERS):
            p99 = median(pair[1].quantile(0.99) for pair in pairs)
            worst = max(pair[1].latencies[-1] for pair in pairs)
            floor_p99 = median(pair[0].quantile(0.99) for pair in pairs)
            rivals = f"max {1e3 * worst:.0f}, floor {floor_p99:.0f}; Optuna {1e3 * rdb.latencies[-1]:.0f}"
            figures.append(Figure(f"p99 of a cycle {at}", p99, "ms", 100, "lower", rivals))
    return figures


if __name__ == "__main__":
    main("store", measure)
