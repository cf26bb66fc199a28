"""Makes a run's folder ready for its next attempt, and saves what earlier attempts left in it."""

from __future__ import annotations

from besom.agent.process import kill_orphans
from besom.folders import RunFolder, run_folder, write_run_folder
from besom.journal import replay
from besom.records import Lease, Run, Sweep
from besom.store.base import Store


def prepare_folder(store: Store, run: Run, sweep: Sweep) -> RunFolder:
    """Give the run's folder, ready for the attempt that was just claimed; OSError when it cannot be written.

    What killed processes of earlier attempts logged is still in their journals: it goes to the store first,
    so that the program resumes behind it.
    """
    folder = run_folder(run.id)
    if run.attempt > 1:
        kill_orphans(run.id, before=run.attempt)
        for attempt in range(1, run.attempt):
            replay(store, Lease(run.id, attempt), folder.journal(attempt))
    write_run_folder(folder, run, sweep)
    folder.polls_stop.unlink(missing_ok=True)
    return folder
