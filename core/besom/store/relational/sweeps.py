"""Sweeps and their agents."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from besom.errors import StateError
from besom.records import Agent, RunState, Sweep, SweepDraft, SweepState
from besom.store.relational.part import Part
from besom.store.relational.rows import agent_of, dumps, metric_text, plain, sweep_of

CANCELED = "the sweep was canceled"


class Sweeps(Part):
    """The part of the protocol that is about whole sweeps."""

    def create_sweep(self, draft: SweepDraft) -> Sweep:
        """Insert the sweep and its file."""
        columns = {
            "name": plain(draft.name) or None,
            "method": plain(draft.method),
            "metric": metric_text(draft.metric),
            "run_cap": draft.run_cap,
            "max_attempts": draft.max_attempts,
            "expected_runs": None if draft.expected_runs is None else str(draft.expected_runs),
            "project": plain(draft.project),
            "entity": plain(draft.entity),
            "folder": plain(draft.folder),
            "now": self._wall(),
            "config": dumps(draft.config),
            "text": plain(draft.text),
        }

        with self._database.transaction() as transaction:
            return sweep_of(self._insert(transaction, self._sql.insert_sweep, columns))

    def list_sweeps(self, *, project: str | None = None) -> list[Sweep]:
        """Read backwards in the order of creation, whatever the wall clock said."""
        return [sweep_of(row) for row in self._database.read(self._sql.list_sweeps, {"project": project})]

    def set_sweep_state(self, sweep_id: str, state: SweepState, *, allowed: Collection[SweepState]) -> Sweep:
        """Check and move in one transaction."""
        now = self._wall()
        with self._database.transaction() as transaction:
            self._database.lock_sweep(transaction, sweep_id)
            sweep = self._sweep_in(transaction, sweep_id)
            if sweep.state is state:
                return sweep
            if sweep.state not in allowed:
                possible = ", ".join(sorted(one.value for one in allowed))
                raise StateError(
                    f"sweep {sweep_id} is {sweep.state.value}; to become {state.value} it must be {possible}"
                )
            transaction.execute(self._sql.set_sweep_state, {"id": sweep_id, "state": state.value, "now": now})
            if state is SweepState.CANCELED:
                killed = {"reason": CANCELED, "kill": 1, "state": RunState.KILLED.value, "now": now}
                for (run_id,) in transaction.execute(self._sql.queued_ids, (sweep_id,)).fetchall():
                    transaction.execute(self._sql.stop_queued, {**killed, "run": run_id}).fetchone()
                for (run_id,) in transaction.execute(self._sql.running_ids, (sweep_id,)).fetchall():
                    transaction.execute(self._sql.request_stop, {**killed, "run": run_id}).fetchone()
            return self._sweep_in(transaction, sweep_id)

    def amend_sweep(
        self,
        sweep_id: str,
        *,
        version: int,
        config: Mapping[str, Any],
        run_cap: int | None,
        max_attempts: int | None,
        expected_runs: int | None,
        text: str | None,
    ) -> Sweep:
        """Swap the file, rewind the cursor, empty the buffer."""
        columns = {
            "id": sweep_id,
            "config": dumps(config),
            "run_cap": run_cap,
            "max_attempts": max_attempts,
            "expected_runs": None if expected_runs is None else str(expected_runs),
            "text": plain(text),
            "now": self._wall(),
        }
        with self._database.transaction() as transaction:
            self._database.lock_sweep(transaction, sweep_id)
            sweep = self._sweep_in(transaction, sweep_id)
            if sweep.version != version:
                raise StateError(
                    f"sweep {sweep_id} was changed by somebody else: it is at version {sweep.version}, "
                    f"not {version}; look at it and try again"
                )
            transaction.execute(self._sql.amend_sweep, columns)
            transaction.execute(self._sql.empty_buffer, (sweep_id,))
            return self._sweep_in(transaction, sweep_id)

    def finish_sweep(self, sweep_id: str) -> Sweep:
        """Look and move in one transaction, so that no claim comes between."""
        now = self._wall()
        with self._database.transaction() as transaction:
            self._database.lock_sweep(transaction, sweep_id)
            sweep = self._sweep_in(transaction, sweep_id)
            room = self._gate(transaction, sweep_id).room
            if sweep.state is not SweepState.RUNNING or (room and not sweep.exhausted):
                return sweep
            if transaction.execute(self._sql.has_work, {"sweep": sweep_id, "room": room}).fetchone()[0]:
                return sweep
            transaction.execute(
                self._sql.set_sweep_state,
                {"id": sweep_id, "state": SweepState.FINISHED.value, "now": now},
            )
            return self._sweep_in(transaction, sweep_id)

    def add_agent(self, sweep_id: str, *, host: str, pid: int, job: str | None = None) -> Agent:
        """Insert the agent."""
        now = self._wall()
        with self._database.transaction() as transaction:
            self._sweep_in(transaction, sweep_id)
            columns = {"sweep": sweep_id, "host": plain(host), "pid": pid, "now": now}
            columns["job"] = None if job is None else plain(job)
            return agent_of(self._insert(transaction, self._sql.insert_agent, columns))

    def list_agents(self, sweep_id: str) -> list[Agent]:
        """Read backwards in the order of registration."""
        return [agent_of(row) for row in self._database.read(self._sql.list_agents, (sweep_id,))]
