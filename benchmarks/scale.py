"""How many runs the three stores carry per second as agents are added, and 128 agents on 20 000 runs.

An agent here is a light client: it claims a run, sends two reports, each acknowledged, and ends it, without
training anything. Clients, stores and servers share one machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Figure, main
from benchmarks.networked import durable_server
from besom.testing.load import carry
from besom.testing.servers import ServerProcess

AGENTS = (1, 8, 32, 128)
LOAD = (128, 20_000)


@contextmanager
def stores() -> Generator[dict[str, str]]:
    """Give an address of each of the three stores."""
    with tempfile.TemporaryDirectory(prefix="besom-scale-") as folder, durable_server() as postgres:
        home = Path(folder) / "server"
        home.mkdir()
        server = ServerProcess(home, f"sqlite:///{home}/besom.db", max_rate=1e9)
        os.environ["BESOM_TOKEN"] = server.token
        server.start()
        try:
            yield {
                "SQLite": f"sqlite:///{folder}/besom.db",
                "PostgreSQL": postgres.url("scale"),
                "server": server.url,
            }
        finally:
            server.kill()


def measure(quick: bool) -> list[Figure]:
    """Let ever more agents finish grids on each store."""
    figures: list[Figure] = []
    with stores() as urls:
        for name, url in urls.items():
            for agents in AGENTS:
                runs = 200 if quick else 2_000
                carried = carry(url, agents=agents, runs=runs)
                p99 = 1e3 * carried.seconds[int(0.99 * runs)]
                note = f"p99 of a run's calls {p99:.0f} ms"
                figures.append(
                    Figure(f"{name}: runs/s, {agents} agents", carried.rate, "/s", None, "higher", note)
                )
            if name != "SQLite" and not quick:
                agents, runs = LOAD
                carried = carry(url, agents=agents, runs=runs)
                figures.append(
                    Figure(
                        f"{name}: runs/s, {runs} runs of {agents} agents", carried.rate, "/s", None, "higher"
                    )
                )
    return figures


if __name__ == "__main__":
    main("scale", measure)
