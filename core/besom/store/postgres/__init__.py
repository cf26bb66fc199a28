"""The PostgreSQL backend: many machines share one database.

State lives in a schema of its own. Whoever moves the runs of a sweep holds that sweep's row of counts until
it commits; what runs report, the bulk of all calls, goes by the run alone.
"""

from __future__ import annotations

from besom.store.postgres.store import PostgresStore, open_postgres

__all__ = ["PostgresStore", "open_postgres"]
