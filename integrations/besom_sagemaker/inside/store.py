"""The store that a program finds inside a job: its run's folder, and nothing more.

The journal is what carries a run home, so reports need no second place. What this store does is to tell the
program what is wanted of it, from the file that the runner writes when a stop request comes, and what earlier
attempts have logged, from the journals that the runner has fetched. Its address is `job:///path/of/folder`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from besom.errors import NotFoundError, UsageError
from besom.folders import RunFolder, escape_path, read_run_file
from besom.journal import read_account, read_entries
from besom.records import (
    CONTINUE,
    Attempt,
    Directive,
    HistoryRow,
    Lease,
    Outcome,
    Run,
    RunState,
    Sweep,
    SweepState,
)

DIRECTIVE = "directive.json"
EARLIER = "earlier.json"


def job_store_url(folder: RunFolder) -> str:
    """Give the address of the store in a run's folder."""
    return f"job://{escape_path(str(folder.path.absolute()))}"


def open_job_store(url: str) -> JobStore:
    """Open the store at `job:///path/of/folder`; NotFoundError if no run is there."""
    folder = RunFolder(Path(unquote(url.removeprefix("job://"))))
    if not folder.run_file.exists():
        raise NotFoundError(f"{url}: no run of a training job is there")
    return JobStore(url, folder)


def write_directive(folder: RunFolder, directive: Directive) -> None:
    """Tell the run's program what is wanted of it."""
    fresh = folder.path / f"{DIRECTIVE}.new"
    fresh.write_text(json.dumps([directive.action, directive.reason]))
    fresh.replace(folder.path / DIRECTIVE)


def write_earlier(folder: RunFolder, states: Mapping[int, str]) -> None:
    """Note how earlier attempts ended, by their numbers."""
    (folder.path / EARLIER).write_text(json.dumps({str(number): state for number, state in states.items()}))


class JobStore:
    """As much of a store as a program's run needs; all else is a UsageError."""

    def __init__(self, url: str, folder: RunFolder) -> None:
        self.url = url
        self._folder = folder

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def get_sweep(self, sweep_id: str) -> Sweep:
        """Give as much of the sweep as is known here; its stopper judges outside."""
        about = read_run_file(self._folder)
        return Sweep(
            id=sweep_id,
            name=sweep_id,
            state=SweepState.RUNNING,
            method="",
            config={},
            metric=about.metric,
            run_cap=None,
            max_attempts=None,
            expected_runs=None,
            project=about.project,
            entity=about.entity,
            text=None,
            folder=None,
            version=1,
            cursor=0,
            exhausted=False,
            created=0.0,
            updated=0.0,
        )

    def report(
        self,
        lease: Lease,
        rows: Sequence[HistoryRow],
        *,
        summary: Mapping[str, Any] | None = None,
        value: float | None = None,
        lease_seconds: float,
    ) -> Directive:
        """Say what is wanted of the run; the rows are in its journal already."""
        return self._directive()

    def heartbeat(self, leases: Sequence[Lease], *, lease_seconds: float) -> dict[Lease, Directive]:
        """Say what is wanted of the run."""
        return dict.fromkeys(leases, self._directive())

    def set_run_config(self, lease: Lease, config: Mapping[str, Any]) -> None:
        """Do nothing: the config is in the journal."""

    def finish(self, lease: Lease, outcome: Outcome) -> Run:
        """Give the run as ended; its journal says so already."""
        about = read_run_file(self._folder)
        params: dict[str, Any] = json.loads(self._folder.params_file.read_text())
        return Run(
            id=lease.run_id,
            sweep_id=about.sweep_id,
            number=about.number,
            name=about.name,
            state=outcome.state,
            params=params,
            key="",
            source="method",
            attempt=lease.attempt,
            failures=0,
            crashes=0,
            config=params,
            summary=outcome.summary or {},
            value=outcome.value,
            agent_id=None,
            stop_reason=None,
            exit_code=outcome.exit_code,
            error=outcome.error,
            created=0.0,
            started=0.0,
            ended=0.0,
            changed=0,
        )

    def last_row(self, lease: Lease) -> HistoryRow | None:
        """Give the newest row of an earlier attempt; of the present one None, for nothing waits for it."""
        about = read_run_file(self._folder)
        path = self._folder.journal(lease.attempt)
        if lease.attempt >= about.attempt or not path.exists():
            return None
        last: HistoryRow | None = None
        with path.open("rb") as file:
            for entry in read_entries(file):
                if entry.kind == "history":
                    last = HistoryRow(entry.seq, entry.body["step"], entry.time, entry.body["data"])
        return last

    def attempts(self, run_id: str) -> list[Attempt]:
        """Give the earlier attempts that the job was told of."""
        try:
            states: dict[str, str] = json.loads((self._folder.path / EARLIER).read_text())
        except FileNotFoundError:
            return []
        return [self._attempt(run_id, int(number), RunState(state)) for number, state in states.items()]

    def _attempt(self, run_id: str, number: int, state: RunState) -> Attempt:
        told = read_account(self._folder.journal(number)).replayed()
        ended = Attempt(run_id, number, None, 0.0, 0.0, state, False, None, None, {}, None)
        return dataclasses.replace(ended, summary=told.summary, value=told.value)

    def _directive(self) -> Directive:
        try:
            action, reason = json.loads((self._folder.path / DIRECTIVE).read_text())
        except FileNotFoundError:
            return CONTINUE
        return Directive(action, reason)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UsageError(
            f"the store inside a training job knows its own run only, so it has no {name}; "
            "ask the sweep's store from outside"
        )
