"""The backend, put together."""

from __future__ import annotations

from typing import Any

from besom.records import Lease, Outcome, Run
from besom.store.postgres.address import parse_address
from besom.store.postgres.database import Database, open_database
from besom.store.relational.database import Time
from besom.store.relational.queue import require_claimable
from besom.store.relational.rows import new_id, plain, run_of
from besom.store.relational.runs import ending
from besom.store.relational.store import RelationalStore


class PostgresStore(RelationalStore):
    """A Store in one schema of a PostgreSQL database.

    To take a run and to end it are each one round trip, where nothing out of the ordinary is to be done.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._call = database.call

    def claim(self, sweep_id: str, agent_id: str, *, lease_seconds: float) -> Run | None:
        """Take what waits, unless a lease has run out, nothing waits or the sweep does not run."""
        columns = {**self._claiming(sweep_id, agent_id, lease_seconds), "id": new_id()}
        row = self._call(self._sql.claim_at_once, columns)
        return super().claim(sweep_id, agent_id, lease_seconds=lease_seconds) if row is None else run_of(row)

    def claim_batch(self, sweep_id: str, agent_id: str, count: int, *, lease_seconds: float) -> list[Run]:
        """Take what waits, with the same exceptions."""
        require_claimable(count)
        ids = [new_id() for _ in range(count)]
        columns = {**self._claiming(sweep_id, agent_id, lease_seconds), "ids": ids}
        rows = self._call(self._sql.claim_batch_at_once, columns)
        if rows is None:
            return super().claim_batch(sweep_id, agent_id, count, lease_seconds=lease_seconds)
        return [run_of(row) for row in rows]

    def _claiming(self, sweep_id: str, agent_id: str, lease_seconds: float) -> dict[str, Any]:
        lease_now = self._lease_now()
        return {
            "sweep": sweep_id,
            "agent": plain(agent_id),
            "now": self._wall(),
            "lease_now": lease_now,
            "lease": lease_now + lease_seconds,
        }

    def finish(self, lease: Lease, outcome: Outcome) -> Run:
        """End the run, unless it may go back into the queue, its sweep has a target or its lease is lost."""
        row = self._call(self._sql.finish_at_once, ending(lease, outcome, self._wall()))
        return super().finish(lease, outcome) if row is None else run_of(row)


def open_postgres(url: str, *, clock: Time | None = None) -> PostgresStore:
    """Open the store at `postgresql://user@host/database`, creating its schema where there is none.

    `?schema=name` chooses the schema ("besom"); everything else in the address is libpq's. Without `clock`
    the server's own time counts. UsageError for an address that is none, StoreVersionError for a schema of a
    newer besom, StoreError when the server cannot be used.
    """
    return PostgresStore(open_database(parse_address(url), clock))
