"""How many runs the stores of several machines carry per second, against Optuna's in the same minutes.

The cycle is that of `benchmarks.store`: a claim, ten separately acknowledged reports, an ending. PostgreSQL,
whose server flushes to disk as it does by default, plays against Optuna's RDB storage in the same server and
against `floor`: psycopg with a minimal schema and one prepared statement per step. The server (`besom serve`
over SQLite) plays against Optuna's gRPC proxy over SQLite. Clients and servers share one machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import Figure, main
from benchmarks.store import POINTS, REPORTS, Besom, Measured, Optuna, contest
from besom.testing.postgres import PostgresServer, find_server, postgres_server
from besom.testing.servers import ServerProcess

WORKERS = (1, 8, 32)


@contextmanager
def durable_server() -> Generator[PostgresServer]:
    """Give a PostgreSQL server that flushes each commit to disk."""
    programs = find_server()
    if programs is None:
        raise SystemExit("no PostgreSQL server is installed here (Debian: apt install postgresql)")
    with postgres_server(programs, settings={"fsync": "on"}) as server:
        yield server


def free_port() -> int:
    """Give a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def schema_of(path: Path) -> str:
    """Give the schema that stands for the file of a contest."""
    return "".join(letter if letter.isalnum() else "_" for letter in path.parent.name.lower())


@dataclass(frozen=True)
class PostgresFloor:
    """Bare psycopg."""

    server: PostgresServer

    def connect(self, path: Path) -> Any:
        """Open a connection as besom does."""
        import psycopg

        conninfo = self.server.url("none").rpartition("&schema=")[0]
        connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=0)
        connection.execute(f"SET search_path TO {schema_of(path)}".encode())
        return connection

    def prepare(self, path: Path) -> None:
        """Make a table of trials and one of values."""
        with self.connect(path) as connection:
            connection.execute(f"CREATE SCHEMA {schema_of(path)}".encode())
            connection.execute(
                "CREATE TABLE trial (id BIGSERIAL PRIMARY KEY, state INT NOT NULL DEFAULT 0, worker INT,"
                " lease DOUBLE PRECISION, params TEXT, value DOUBLE PRECISION)"
            )
            connection.execute(
                "CREATE TABLE val (trial BIGINT, step INT, v DOUBLE PRECISION, PRIMARY KEY (trial, step))"
            )
            connection.execute("CREATE INDEX waiting ON trial (id) WHERE state = 0")
            connection.execute(
                "INSERT INTO trial (params) SELECT '{\"lr\":0.001,\"bs\":' || i || '}'"
                f" FROM generate_series(1, {POINTS}) AS i"
            )

    def cycle(self, path: Path, worker: int) -> Callable[[], bool]:
        """One statement per step."""
        execute = self.connect(path).execute
        claim = (
            "UPDATE trial SET state = 1, worker = %s, lease = %s WHERE id ="
            " (SELECT id FROM trial WHERE state = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"
            " RETURNING id, params"
        )

        def one() -> bool:
            row = execute(claim, (worker, time.time())).fetchone()
            if row is None:
                return False
            for step in range(REPORTS):
                execute("INSERT INTO val VALUES (%s, %s, %s)", (row[0], step, 0.5))
            execute(
                "UPDATE trial SET state = 2, value = %s WHERE id = %s AND worker = %s", (0.5, row[0], worker)
            )
            return True

        return one

    def finished(self, path: Path) -> int:
        """Count by joining."""
        sql = (
            "SELECT count(*) FROM trial JOIN"
            " (SELECT trial FROM val GROUP BY trial HAVING count(*) = %s) AS full_"
            " ON full_.trial = id WHERE state = 2"
        )
        with self.connect(path) as connection:
            found: int = connection.execute(sql, (REPORTS,)).fetchone()[0]
        return found


@dataclass(frozen=True)
class PostgresBesom(Besom):
    """This package on PostgreSQL."""

    server: PostgresServer | None = None

    def url(self, path: Path) -> str:
        """Give a schema of its own to each contest."""
        assert self.server is not None
        return self.server.url(schema_of(path))


@dataclass(frozen=True)
class ServedBesom(Besom):
    """This package behind `besom serve`, over a SQLite file."""

    servers: list[ServerProcess] = field(default_factory=list[ServerProcess])  # the one that `prepare` starts

    def url(self, path: Path) -> str:
        """Give the address of the server."""
        del path
        return self.servers[0].url

    def prepare(self, path: Path) -> None:
        """Start the server; what it carries is to be limited by nothing but itself."""
        server = ServerProcess(path.parent, f"sqlite:///{path}", max_rate=1e9)
        os.environ["BESOM_TOKEN"] = server.token
        server.start()
        self.servers.append(server)
        super().prepare(path)

    def finished(self, path: Path) -> int:
        """Count in the file, and end the server."""
        self.servers.pop().kill()
        return Besom().finished(path)


@dataclass(frozen=True)
class PostgresOptuna(Optuna):
    """Optuna's RDB storage in the same server."""

    server: PostgresServer | None = None

    def storage(self, path: Path) -> Any:
        """Open it in a database of its own."""
        import optuna
        import psycopg

        assert self.server is not None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        conninfo = self.server.url("none").rpartition("&schema=")[0]
        name = schema_of(path)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if there is None:
                connection.execute(f"CREATE DATABASE {name}".encode())
        url = conninfo.replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")
        return optuna.storages.RDBStorage(url)


@dataclass(frozen=True)
class ProxiedOptuna(Optuna):
    """Optuna's gRPC proxy over a SQLite file."""

    port: int = 0
    proxies: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def prepare(self, path: Path) -> None:
        """Start the proxy."""
        super().prepare(path)
        script = (
            "import optuna, sys; optuna.storages.run_grpc_proxy_server(optuna.storages.RDBStorage("
            "f'sqlite:///{sys.argv[1]}', engine_kwargs={'connect_args': {'timeout': 100}}),"
            " host='127.0.0.1', port=int(sys.argv[2]))"
        )
        command = [sys.executable, "-c", script, str(path), str(self.port)]
        self.proxies.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    def cycle(self, path: Path, worker: int) -> Callable[[], bool]:
        """Connect to the proxy, in the worker's own process only: gRPC does not survive a fork."""
        del path
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=self.port)
        storage.wait_server_ready(timeout=60)
        sampler = optuna.samplers.RandomSampler(seed=worker)
        study = optuna.load_study(
            study_name="bench", storage=storage, sampler=sampler, pruner=optuna.pruners.NopPruner()
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
        """End the proxy, and count in the file."""
        proxy = self.proxies.pop()
        proxy.kill()
        proxy.wait()
        return super().finished(path)


def measure(quick: bool) -> list[Figure]:
    """Compare the stores at 1, 8 and 32 processes."""
    import optuna  # noqa: F401 - here, so that the workers do not import it in their own time

    rounds, ours, theirs = (1, 1.5, 3.0) if quick else (5, 3.0, 15.0)
    figures: list[Figure] = []
    with durable_server() as server:
        for workers in WORKERS:
            pairs = [
                (
                    contest(PostgresFloor(server), workers, ours),
                    contest(PostgresBesom(server=server), workers, ours),
                )
                for _ in range(rounds)
            ]
            rdb = contest(PostgresOptuna(server=server), workers, theirs)
            floor = median(pair[0].rate for pair in pairs)
            figures += _figures("PostgreSQL", "Optuna RDB", workers, [pair[1] for pair in pairs], rdb)
            rate = figures[-3].value
            note = f"{rate:,.0f} runs/s against {floor:,.0f}"
            figures.append(
                Figure(f"PostgreSQL ÷ floor at {workers}", 100 * rate / floor, "%", 50, "higher", note)
            )
    for workers in WORKERS:
        served = [contest(ServedBesom(), workers, ours) for _ in range(rounds)]
        figures += _figures(
            "server",
            "Optuna gRPC",
            workers,
            served,
            contest(ProxiedOptuna(port=free_port()), workers, theirs),
        )
    return figures


def _figures(name: str, rival: str, workers: int, ours: list[Measured], theirs: Measured) -> list[Figure]:
    rate = median(one.rate for one in ours)
    p99 = median(one.quantile(0.99) for one in ours)
    note = f"{rate:,.0f} runs/s against {theirs.rate:.1f}"
    return [
        Figure(f"{name}: runs/s at {workers}", rate, "/s", None, "higher"),
        Figure(f"{name} ÷ {rival} at {workers}", rate / theirs.rate, "x", 20, "higher", note),
        Figure(
            f"{name}: p99 of a cycle at {workers}",
            p99,
            "ms",
            100 if workers == max(WORKERS) else None,
            "lower",
            f"median {median(one.quantile(0.5) for one in ours):.1f}; {rival}'s {theirs.quantile(0.99):,.0f}",
        ),
    ]


if __name__ == "__main__":
    main("networked", measure)
